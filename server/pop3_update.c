/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UPDATE: what was marked is removed in one durable step, then the maildrop is free, then the
 * client is told, then the connection is closed: in this order (RFC 1939 section 6). Nothing is
 * removed on any other way out of a session.
 */
#include "server/pop3.h"

#include "server/reply.h"
#include "server/server_limits.h"

#include <assert.h>
#include <string.h>

/* --- the audit line --- */

/* The longest run of whole unique-ids at `text` that one value of a log line holds. */
static size_t audit_piece(const char *text, size_t length)
{
    if (length <= LOG_VALUE_MAX) {
        return length;
    }
    const char *comma = memrchr(text, ',', LOG_VALUE_MAX + 1);
    assert(comma != NULL && comma != text); /* a unique-id is much shorter than a value */
    return (size_t)(comma - text);
}

/* Which messages are gone for good: one line, or several when they are many. */
static void log_expunge(struct pop3_session *pop3)
{
    const char *at = pop3->expunged_uidls;
    const char *end = at + pop3->expunged_length;
    while (at < end) {
        struct log_line line;
        session_log_begin(&pop3->session, &line, LOG_LEVEL_INFO, "expunge");
        log_text(&line, "user", pop3->user);
        log_number(&line, "count", pop3->expunged_count);
        for (unsigned i = 0; i < POP3_EXPUNGE_FIELDS_MAX && at < end; i++) {
            size_t length = audit_piece(at, (size_t)(end - at));
            log_octets(&line, "uidls", at, length);
            at += length;
            at += at < end; /* the comma between two pieces */
        }
        log_end(&line);
    }
}

/* --- the commit --- */

static const char *failure_text(enum status status)
{
    if (status == STATUS_LOST) {
        return "-ERR [IN-USE] another session has taken the lock, deleted messages not removed";
    }
    return "-ERR [SYS/TEMP] some deleted messages not removed, try again later";
}

static void log_commit_failure(struct pop3_session *pop3, enum status status)
{
    struct log_line line;
    session_log_begin(&pop3->session, &line,
                      status == STATUS_LOST ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "expunge_failed");
    log_text(&line, "user", pop3->user);
    log_number(&line, "count", pop3->expunged_count);
    log_text(&line, "status", status_name(status));
    log_end(&line);
}

/* The store has answered; the maildrop is free already. */
static void commit_answered(struct pop3_session *pop3, enum status status)
{
    if (status != STATUS_OK) {
        log_commit_failure(pop3, status);
        return;
    }
    pop3->removed_count = pop3->expunged_count;
    counter_add(&pop3->session.worker->counters.messages_expunged, pop3->expunged_count);
    log_expunge(pop3);
}

static enum verdict say_goodbye(struct pop3_session *pop3, enum status status)
{
    reply_line(&pop3->session, status == STATUS_OK ? "+OK bye" : failure_text(status));
    return VERDICT_CLOSE;
}

static void on_committed(void *owner, enum status status)
{
    struct pop3_session *pop3 = owner;
    pop3->commit_pending = false;
    commit_answered(pop3, status);
    if (pop3->session.ended) {
        pop3_released_late(pop3);
        return;
    }
    session_continue(&pop3->session, say_goodbye(pop3, status), status == STATUS_OK);
}

/* Fills in the indexes of the messages marked, and their unique-ids for the audit line. */
static void collect_marked(struct pop3_session *pop3, uint32_t *indexes)
{
    uint32_t count = 0;
    size_t length = 0;
    for (uint32_t i = 0; i < pop3->message_count; i++) {
        if (pop3_is_deleted(pop3, i)) {
            indexes[count++] = i;
            length += store_view_uidl(pop3->view, i, pop3->expunged_uidls + length);
            pop3->expunged_uidls[length++] = ',';
        }
    }
    assert(count == pop3->expunged_count);
    pop3->expunged_length = length - 1;
}

/* Octets of the unique-ids marked, with a comma behind each. */
static size_t measure_uidls(const struct pop3_session *pop3)
{
    char uidl[STORAGE_UIDL_LENGTH_MAX];
    size_t length = 0;
    for (uint32_t i = 0; i < pop3->message_count; i++) {
        if (pop3_is_deleted(pop3, i)) {
            length += store_view_uidl(pop3->view, i, uidl) + 1;
        }
    }
    return length;
}

/* Hands everything over to the store. The view is gone afterwards, whatever the answer. */
static enum status submit_commit(struct pop3_session *pop3)
{
    uint32_t count = pop3->expunged_count = pop3->message_count - pop3->left_count;
    uint32_t *indexes = mem_arena_alloc(&pop3->arena, (size_t)count * sizeof *indexes);
    /* The unique-ids cannot be asked for later: the view belongs to the store from here on. */
    pop3->expunged_uidls = mem_arena_alloc(&pop3->arena, measure_uidls(pop3));
    if (indexes == NULL || pop3->expunged_uidls == NULL) {
        store_view_close(&pop3->view);
        return STATUS_NO_MEMORY;
    }
    collect_marked(pop3, indexes);
    struct store_commit *commit; /* never detached: the audit line waits for the answer */
    return store_commit(&pop3->view, indexes, count, on_committed, pop3, &commit);
}

enum verdict pop3_quit(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    if (pop3->state == POP3_AUTHORIZATION) {
        return say_goodbye(pop3, STATUS_OK);
    }
    pop3_set_state(pop3, POP3_UPDATE);
    if (pop3->left_count == pop3->message_count) {
        store_view_close(&pop3->view);
        return say_goodbye(pop3, STATUS_OK);
    }
    enum status status = submit_commit(pop3);
    if (status == STATUS_PENDING) {
        pop3->commit_pending = true;
        return VERDICT_WAIT;
    }
    commit_answered(pop3, status);
    return say_goodbye(pop3, status);
}
