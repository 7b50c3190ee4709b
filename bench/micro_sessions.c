/* SPDX-License-Identifier: Apache-2.0 */
/* Whole commands through a session: socket pair, loop, connection, command table, store. */
#include "bench/micro.h"

#include "server/pop3.h"

#include <stdio.h>
#include <string.h>

#define LINE    "\r\n"
#define LISTING "\r\n.\r\n"
#define LARGE   100000 /* lines of the large maildrop's listings */

static int client = -1;

static void open_few(struct stage *stage)
{
    client = stage_login(stage, STAGE_FEW);
}

static void open_large(struct stage *stage)
{
    client = stage_login(stage, STAGE_LARGE);
}

static void leave(struct stage *stage)
{
    stage_leave(stage, client);
}

static void run_login(struct stage *stage, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        client = stage_login(stage, STAGE_FEW);
        (void)stage_ask(stage, client, "STAT", LINE);
        (void)stage_ask(stage, client, "QUIT", LINE);
        stage_leave(stage, client);
    }
}

static void ask_often(struct stage *stage, const char *command, const char *end, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        (void)stage_ask(stage, client, command, end);
    }
}

static void run_noop(struct stage *stage, unsigned count)
{
    ask_often(stage, "NOOP", LINE, count);
}

static void run_stat(struct stage *stage, unsigned count)
{
    ask_often(stage, "STAT", LINE, count);
}

static void run_retr(struct stage *stage, unsigned count)
{
    ask_often(stage, "RETR 5", LISTING, count);
}

static void run_list(struct stage *stage, unsigned count)
{
    ask_often(stage, "LIST", LISTING, count / LARGE);
}

static void run_uidl(struct stage *stage, unsigned count)
{
    ask_often(stage, "UIDL", LISTING, count / LARGE);
}

/* --- rendering alone: what a listing's producer writes, sent nowhere --- */

static struct pop3_session *session;

static void open_rendering(struct stage *stage, const char *command)
{
    open_large(stage);
    (void)stage_ask(stage, client, command, LISTING); /* installs the producer */
    session = pop3_of(list_entry(stage->worker.sessions.next, struct session, link));
}

static void open_render_list(struct stage *stage)
{
    open_rendering(stage, "LIST");
}

static void open_render_uidl(struct stage *stage)
{
    open_rendering(stage, "UIDL");
}

static void run_render(struct stage *stage, unsigned count)
{
    static uint8_t block[SENDQ_RESERVE_MAX];
    for (unsigned done = 0; done < count; done += LARGE) {
        struct pop3_listing *listing = &session->listing;
        size_t length;
        listing->next = 0;
        listing->ended = false;
        while (listing->reader.fill(&listing->reader, block, sizeof block, &length) == STATUS_OK) {
        }
        stage_check(listing->ended, "a listing did not end");
    }
}

/* --- LMTP --- */

static void open_lmtp(struct stage *stage)
{
    client = stage_connect(stage, &stage->lmtp);
    (void)stage_hear(stage, client, LINE);
    stage_say(stage, client, "LHLO bench.test\r\n", 17);
    /* The greeting's last line begins with "250 ", the others with "250-". */
    (void)stage_hear(stage, client, LINE);
}

static void run_delivery(struct stage *stage, unsigned count)
{
    char rcpt[128];
    (void)snprintf(rcpt, sizeof rcpt, "RCPT TO:<%s>", stage_name(STAGE_INBOX));
    for (unsigned i = 0; i < count; i++) {
        (void)stage_ask(stage, client, "MAIL FROM:<a@bench.test>", LINE);
        (void)stage_ask(stage, client, rcpt, LINE);
        (void)stage_ask(stage, client, "DATA", LINE);
        stage_say(stage, client, stage->message, STAGE_MESSAGE_OCTETS);
        stage_say(stage, client, ".\r\n", 3);
        (void)stage_hear(stage, client, LINE);
    }
}

const struct micro_piece micro_sessions[] = {
    {"login", "session (connect, USER, PASS, STAT, QUIT)", 40, true, LOOP_EPOLL, NULL, run_login,
     NULL},
    {"noop", "NOOP", 400, true, LOOP_EPOLL, open_few, run_noop, leave},
    {"noop-uring", "NOOP", 400, false, LOOP_IO_URING, open_few, run_noop, leave},
    {"stat", "STAT", 400, true, LOOP_EPOLL, open_few, run_stat, leave},
    {"retr-4k", "RETR of 4 KB", 200, true, LOOP_EPOLL, open_few, run_retr, leave},
    {"list-100000", "line of LIST, sent", LARGE, true, LOOP_EPOLL, open_large, run_list, leave},
    {"uidl-100000", "line of UIDL, sent", LARGE, true, LOOP_EPOLL, open_large, run_uidl, leave},
    {"render-list", "line of LIST", LARGE, false, LOOP_EPOLL, open_render_list, run_render, leave},
    {"render-uidl", "line of UIDL", LARGE, false, LOOP_EPOLL, open_render_uidl, run_render, leave},
    {"deliver-4k", "LMTP delivery of 4 KB, alone", 20, true, LOOP_EPOLL, open_lmtp, run_delivery,
     leave},
    {0}};
