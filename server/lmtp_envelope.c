/* SPDX-License-Identifier: Apache-2.0 */
/* MAIL and RCPT: who a message is from and whose it is. */
#include "server/config.h"
#include "server/lmtp.h"
#include "server/lmtp_address.h"
#include "server/reply.h"

#include <assert.h>
#include <string.h>

#define RECIPIENTS_FIRST 8 /* entries of the first table; it doubles */

static const char too_many[] = "452 4.5.3 Too many recipients, send the rest in another message";
static const char out_of_memory[] = "451 4.3.0 Short of memory, try later";

static void reply_syntax(struct session *session, enum lmtp_syntax syntax, bool recipient)
{
    switch (syntax) {
    case LMTP_SYNTAX_OK:
        break;
    case LMTP_SYNTAX_COMMAND:
        reply_line(session, recipient ? "501 5.5.4 Say RCPT TO:<address>"
                                      : "501 5.5.4 Say MAIL FROM:<address>");
        break;
    case LMTP_SYNTAX_ADDRESS:
        reply_line(session, recipient ? "501 5.1.3 Malformed recipient address"
                                      : "501 5.1.7 Malformed sender address");
        break;
    case LMTP_SYNTAX_NOT_ASCII:
        reply_line(session, "553 5.6.7 Such an address needs SMTPUTF8");
        break;
    case LMTP_SYNTAX_PARAMETER:
        reply_line(session, "501 5.5.4 Malformed parameter");
        break;
    case LMTP_SYNTAX_UNKNOWN_PARAMETER:
        reply_line(session, "555 5.5.4 Parameter or value not known here");
        break;
    }
}

/* --- MAIL --- */

static bool begin_transaction(struct lmtp *lmtp, const struct lmtp_mail *mail)
{
    lmtp->arena.block_size = LMTP_ARENA_BLOCK;
    struct lmtp_transaction *transaction = mem_arena_alloc(&lmtp->arena, sizeof *transaction);
    char *sender = mem_arena_copy(&lmtp->arena, mail->sender.data, mail->sender.length);
    if (transaction == NULL || sender == NULL) {
        mem_arena_clear(&lmtp->arena);
        return false;
    }
    *transaction = (struct lmtp_transaction){.lmtp = lmtp,
                                             .sender = sender,
                                             .size = mail->size,
                                             .utf8 = mail->utf8,
                                             .failure = STATUS_OK};
    lmtp_data_init(&transaction->decoder);
    lmtp->transaction = transaction;
    return true;
}

enum verdict lmtp_envelope_mail(struct session *session, const struct command_line *line)
{
    struct lmtp *lmtp = lmtp_of(session);
    struct lmtp_mail mail;
    enum lmtp_syntax syntax = lmtp_parse_mail(line->rest, &mail);
    if (syntax != LMTP_SYNTAX_OK) {
        reply_syntax(session, syntax, false);
        return VERDICT_DONE;
    }
    if (mail.size > session->worker->config->lmtp.message_octets_max) {
        reply_line(session, "552 5.3.4 Message is larger than the limit");
        return VERDICT_DONE;
    }
    if (!begin_transaction(lmtp, &mail)) {
        reply_line(session, out_of_memory);
        return VERDICT_DONE;
    }
    lmtp_set_state(lmtp, LMTP_ADDRESSED);
    reply_line(session, "250 2.1.0 Sender ok");
    return VERDICT_NEXT;
}

/* --- RCPT --- */

/* Makes room for one more; the outgrown table stays in the arena until the transaction ends, which
 * at most doubles what the recipients take. */
static bool reserve_recipient(struct lmtp *lmtp)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    if (transaction->recipient_count < transaction->recipient_capacity) {
        return true;
    }
    unsigned capacity = transaction->recipient_capacity > 0 ? transaction->recipient_capacity * 2
                                                            : RECIPIENTS_FIRST;
    struct lmtp_recipient *table =
        mem_arena_alloc(&lmtp->arena, capacity * sizeof(struct lmtp_recipient));
    if (table == NULL) {
        return false;
    }
    if (transaction->recipient_count > 0) {
        memcpy(table, transaction->recipients,
               transaction->recipient_count * sizeof(struct lmtp_recipient));
    }
    transaction->recipients = table;
    transaction->recipient_capacity = capacity;
    return true;
}

static bool is_repeated(const struct lmtp_transaction *transaction, struct store_drop drop)
{
    for (unsigned i = 0; i < transaction->recipient_count; i++) {
        const struct store_drop *other = &transaction->recipients[i].to.drop;
        if (other->id == drop.id && other->volume == drop.volume) {
            return true;
        }
    }
    return false;
}

static bool add_recipient(struct lmtp *lmtp, const struct auth_identity *identity, bool further)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    struct mem_arena *arena = &lmtp->arena;
    struct lmtp_recipient recipient = {
        .to = {.drop = identity->drop,
               .address =
                   mem_arena_copy(arena, transaction->address, strlen(transaction->address))},
        .user = mem_arena_copy(arena, identity->name, strlen(identity->name)),
        .repeated = is_repeated(transaction, identity->drop),
        .further = further,
    };
    bool has_orcpt = transaction->orcpt[0] != '\0';
    if (has_orcpt) {
        recipient.to.orcpt = mem_arena_copy(arena, transaction->orcpt, strlen(transaction->orcpt));
    }
    if (recipient.to.address == NULL || recipient.user == NULL ||
        (has_orcpt && recipient.to.orcpt == NULL) || !reserve_recipient(lmtp)) {
        return false;
    }
    transaction->recipients[transaction->recipient_count++] = recipient;
    transaction->drop_count += !recipient.repeated;
    return true;
}

/* All accounts that the address stands for, or none of them. STATUS_LIMIT, STATUS_NO_MEMORY. */
static enum status add_recipients(struct lmtp *lmtp)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    const struct auth_lookup *lookup = &transaction->lookup;
    unsigned count_before = transaction->recipient_count, drops_before = transaction->drop_count;
    if (lookup->other_count >= STORAGE_RECIPIENTS_MAX - count_before) {
        return STATUS_LIMIT;
    }
    bool added = add_recipient(lmtp, &lookup->identity, false);
    for (uint32_t i = 0; added && i < lookup->other_count; i++) {
        added = add_recipient(lmtp, &lookup->others[i], true);
    }
    if (!added) {
        transaction->recipient_count = count_before;
        transaction->drop_count = drops_before;
    }
    return added ? STATUS_OK : STATUS_NO_MEMORY;
}

/* Answers RCPT with what the look-up has found. */
static enum verdict answer_lookup(struct lmtp *lmtp, enum status status)
{
    struct session *session = &lmtp->session;
    switch (status) {
    case STATUS_OK:
        break;
    case STATUS_NOT_FOUND:
        reply_line(session, "550 5.1.1 No such user here");
        return VERDICT_DONE;
    case STATUS_DENIED:
        reply_line(session, "550 5.1.2 No such domain here");
        return VERDICT_DONE;
    case STATUS_INVALID:
    case STATUS_TOO_BIG:
        reply_line(session, "501 5.1.3 Malformed recipient address");
        return VERDICT_DONE;
    default:
        reply_line(session, "451 4.3.0 User database does not answer, try later");
        return VERDICT_DONE;
    }
    status = add_recipients(lmtp);
    if (status != STATUS_OK) {
        reply_line(session, status == STATUS_LIMIT ? too_many : out_of_memory);
        return VERDICT_DONE;
    }
    if (lmtp->state == LMTP_ADDRESSED) {
        lmtp_set_state(lmtp, LMTP_ACCEPTED);
    }
    reply_line(session, "250 2.1.5 Recipient ok");
    return VERDICT_NEXT;
}

static void on_lookup_done(struct auth_lookup *lookup, enum status status)
{
    struct lmtp_transaction *transaction = list_entry(lookup, struct lmtp_transaction, lookup);
    struct lmtp *lmtp = transaction->lmtp;
    transaction->looking = false;
    lmtp->session.failed = false;
    enum verdict verdict = answer_lookup(lmtp, status);
    auth_lookup_clear(lookup);
    session_continue(&lmtp->session, verdict, !lmtp->session.failed);
}

/* Why no recipient can be taken now, or NULL. */
static const char *refusal(const struct lmtp *lmtp)
{
    const struct config *config = lmtp->session.worker->config;
    if (lmtp->transaction->recipient_count >= config->lmtp.recipients_max) {
        return too_many;
    }
    switch (store_delivery_admits(&lmtp->session.worker->store)) {
    case STATUS_OK:
        return NULL;
    case STATUS_NO_SPACE:
        return "452 4.3.1 Mail store is full, try later";
    default:
        return "451 4.3.0 Mail store takes no mail now, try later";
    }
}

static enum status look_up(struct lmtp *lmtp, const struct lmtp_rcpt *rcpt)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    assert(rcpt->address.length <= LMTP_ADDRESS_LEN_MAX);
    assert(rcpt->orcpt.length <= LMTP_ORCPT_LEN_MAX);
    memcpy(transaction->address, rcpt->address.data, rcpt->address.length);
    transaction->address[rcpt->address.length] = '\0';
    if (rcpt->orcpt.length > 0) {
        memcpy(transaction->orcpt, rcpt->orcpt.data, rcpt->orcpt.length);
    }
    transaction->orcpt[rcpt->orcpt.length] = '\0';
    transaction->lookup =
        (struct auth_lookup){.client = &lmtp->session.worker->auth, .on_done = on_lookup_done};
    return auth_find_recipient(&transaction->lookup, transaction->address, rcpt->address.length);
}

enum verdict lmtp_envelope_rcpt(struct session *session, const struct command_line *line)
{
    struct lmtp *lmtp = lmtp_of(session);
    struct lmtp_rcpt rcpt;
    enum lmtp_syntax syntax = lmtp_parse_rcpt(line->rest, lmtp->transaction->utf8, &rcpt);
    if (syntax != LMTP_SYNTAX_OK) {
        reply_syntax(session, syntax, true);
        return VERDICT_DONE;
    }
    const char *why_not = refusal(lmtp);
    if (why_not != NULL) {
        reply_line(session, why_not);
        return VERDICT_DONE;
    }
    enum status status = look_up(lmtp, &rcpt);
    if (status == STATUS_PENDING) {
        lmtp->transaction->looking = true;
        return VERDICT_WAIT;
    }
    enum verdict verdict = answer_lookup(lmtp, status);
    auth_lookup_clear(&lmtp->transaction->lookup);
    return verdict;
}
