/* SPDX-License-Identifier: Apache-2.0 */
/* Mail put into a maildrop by its administrator: the octets as they come, no header added. */
#include "server/admin_request.h"

#include <string.h>
#include <time.h>

static void refuse_delivery(struct admin_request *request, enum status status)
{
    const char *why = status_name(status);
    switch (status) {
    case STATUS_TOO_BIG:
        why = "the message is larger than lmtp.message_octets_max allows";
        break;
    case STATUS_NO_SPACE:
        why = "the volume is full";
        break;
    case STATUS_READ_ONLY:
        why = "the volume is read-only after a failed write: see the server's log, then restart it";
        break;
    case STATUS_EXISTS:
        why = "the maildrop has a message with this unique-id already";
        break;
    default:
        break;
    }
    admin_refuse(request, status, "%s: not delivered: %s", request->identity.name, why);
}

static void on_writable(void *owner)
{
    admin_request_resume(owner);
}

static void on_delivered(void *owner, enum status status, uint64_t uid)
{
    struct admin_request *request = owner;
    request->delivery = NULL; /* it is gone with this call */
    if (status != STATUS_OK) {
        refuse_delivery(request, status);
        return;
    }
    doc_put_number(&request->answer, "uid", uid);
    admin_answer(request);
}

void admin_deliver_begin(struct admin_request *request)
{
    static const struct store_delivery_events events = {on_writable, on_delivered};
    if (!admin_read_account(request)) {
        return;
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    const char *sender = doc_text(&request->question, "sender");
    struct store_delivery_info info = {
        .sender = sender != NULL ? sender : "",
        .uidl = doc_text(&request->question, "uidl"),
        .received_ms = (int64_t)doc_number(&request->question, "received_ms", now_ms),
        .size_hint = request->octets_left,
    };
    enum status status =
        store_delivery_begin(&request->host->client, &info, &events, request, &request->delivery);
    if (status != STATUS_OK) {
        refuse_delivery(request, status);
    }
}

enum status admin_deliver_octets(struct admin_request *request, const uint8_t *data, size_t length)
{
    enum status status = store_delivery_add(request->delivery, data, length);
    if (status != STATUS_OK && status != STATUS_PENDING) {
        store_delivery_abort(&request->delivery);
        refuse_delivery(request, status);
        return STATUS_OK; /* the rest is skipped */
    }
    return status;
}

void admin_deliver_run(struct admin_request *request)
{
    struct store_recipient recipient = {.drop = request->account.drop,
                                        .address = request->account.name};
    enum status status = store_delivery_commit(request->delivery, &recipient, 1);
    if (status != STATUS_PENDING) {
        store_delivery_abort(&request->delivery);
        refuse_delivery(request, status);
    }
}

void admin_deliver_cancel(struct admin_request *request)
{
    store_delivery_abort(&request->delivery);
}
