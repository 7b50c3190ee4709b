/* SPDX-License-Identifier: Apache-2.0 */
/* A login explained, the cache of verified credentials, and the defence. */
#include "auth/auth_explain.h"
#include "auth/auth_penalty.h"
#include "io/mem.h"
#include "server/admin_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENALTIES_MAX 1000 /* of one answer: about 150 KiB */

/* "from": an address without a port. */
static bool read_peer(struct admin_request *request, const char *from, struct address *out_peer)
{
    char text[ADDRESS_TEXT_MAX];
    const char *format = strchr(from, ':') != NULL ? "[%.60s]:0" : "%.60s:0";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, sizeof text, format, from); /* one of the two above */
#pragma GCC diagnostic pop
    if (address_parse(text, out_peer) == STATUS_OK) {
        return true;
    }
    admin_refuse(request, STATUS_INVALID, "\"%.60s\" is not an address like 192.0.2.7", from);
    return false;
}

static void put_steps(struct doc *answer, const struct auth_explanation *explanation)
{
    struct doc steps;
    doc_array(&steps);
    for (uint32_t i = 0; i < explanation->count; i++) {
        struct doc step;
        doc_object(&step);
        doc_put_text(&step, "what", explanation->steps[i].what);
        doc_put_bool(&step, "good", explanation->steps[i].is_good);
        doc_put_text(&step, "text", explanation->steps[i].text);
        doc_append(&steps, &step);
    }
    doc_put(answer, "steps", &steps);
    doc_put_text(answer, "verdict",
                 explanation->verdict == AUTH_PENDING ? "open"
                                                      : auth_verdict_name(explanation->verdict));
}

void admin_auth_test(struct admin_request *request)
{
    const char *name = doc_text(&request->question, "name");
    const char *from = doc_text(&request->question, "from");
    struct address peer;
    if (name == NULL) {
        admin_refuse(request, STATUS_INVALID, "the request has no \"name\"");
        return;
    }
    if (from != NULL && !read_peer(request, from, &peer)) {
        return;
    }
    struct auth_explanation *explanation = calloc(1, sizeof *explanation);
    if (explanation == NULL) {
        admin_refuse(request, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    struct auth_question question = {
        .name = name,
        .name_length = strlen(name),
        .password = (const char *)request->payload,
        .password_length = request->payload_length,
        .peer = from != NULL ? &peer : NULL,
        .tls = doc_bool(&request->question, "tls"),
    };
    auth_explain(request->host->auth, &question, explanation);
    if (request->payload != NULL) {
        mem_wipe(request->payload, request->payload_length);
    }
    put_steps(&request->answer, explanation);
    free(explanation);
    admin_answer(request);
}

void admin_auth_cache(struct admin_request *request)
{
    struct auth_numbers numbers;
    auth_numbers(request->host->auth, &numbers);
    doc_put_number(&request->answer, "entries", numbers.cache_entries);
    doc_put_number(&request->answer, "hits", numbers.cache_hits);
    doc_put_number(&request->answer, "negative_hits", numbers.cache_negative_hits);
    doc_put_number(&request->answer, "misses", numbers.cache_misses);
    doc_put_number(&request->answer, "stale_logins", numbers.stale);
    doc_put_number(&request->answer, "hashes", numbers.hashes);
    doc_put_number(&request->answer, "hashes_waiting", numbers.hash_waiting);
    doc_put_number(&request->answer, "hashes_refused", numbers.hash_refused);
    admin_answer(request);
}

/* "name" limits it to one user. */
void admin_auth_flush(struct admin_request *request)
{
    const char *name = doc_text(&request->question, "name");
    if (name != NULL && !admin_read_name(request)) {
        return;
    }
    auth_forget(request->host->auth, name != NULL ? request->identity.name : NULL);
    admin_answer(request);
}

void admin_penalty_list(struct admin_request *request)
{
    struct auth_penalty *penalties = calloc(PENALTIES_MAX, sizeof *penalties);
    if (penalties == NULL) {
        admin_refuse(request, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    uint64_t count = auth_penalties(request->host->auth, penalties, PENALTIES_MAX);
    struct doc list;
    doc_array(&list);
    for (uint64_t i = 0; i < count && i < PENALTIES_MAX; i++) {
        struct doc one;
        doc_object(&one);
        doc_put_text(&one, "kind", penalties[i].is_account ? "account" : "address");
        doc_put_text(&one, "who", penalties[i].who);
        doc_put_number(&one, "failures", penalties[i].failures);
        doc_put_number(&one, "delay_ms", penalties[i].delay_ms);
        doc_put_number(&one, "age_ms", penalties[i].age_ms > 0 ? (uint64_t)penalties[i].age_ms : 0);
        doc_append(&list, &one);
    }
    free(penalties);
    doc_put(&request->answer, "penalties", &list);
    doc_put_number(&request->answer, "count", count);
    admin_answer(request);
}

void admin_penalty_clear(struct admin_request *request)
{
    const char *who = doc_text(&request->question, "who");
    doc_put_number(&request->answer, "cleared", auth_penalty_clear(request->host->auth, who));
    admin_answer(request);
}
