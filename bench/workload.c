/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload.h"

#include <string.h>

static const struct work_kind_info kinds[WORK_KIND_COUNT] = {
    [WORK_LOGIN] = {.name = "login",
                    .about = "a session: connect, log in, STAT, QUIT",
                    .session = true,
                    .steps = {STEP_STAT, STEP_QUIT}},
    [WORK_POLL] = {.name = "poll",
                   .about = "a session that looks for new mail: STAT, UIDL, QUIT",
                   .session = true,
                   .steps = {STEP_STAT, STEP_UIDL, STEP_QUIT}},
    [WORK_NOOP] = {.name = "noop",
                   .about = "one NOOP in a session that stays",
                   .steps = {STEP_NOOP}},
    [WORK_RETR] = {.name = "retr",
                   .about = "one message fetched in a session that stays",
                   .preamble = {STEP_LIST},
                   .steps = {STEP_RETR}},
    [WORK_DOWNLOAD] = {.name = "download-delete",
                       .about = "a session that fetches and deletes all: STAT, LIST, RETR and "
                                "DELE of each, QUIT",
                       .session = true,
                       .steps = {STEP_STAT, STEP_LIST, STEP_FETCH_DELETE, STEP_QUIT}},
    [WORK_LEAVE] = {.name = "leave-on-server",
                    .about = "a session that fetches what is new and deletes nothing: STAT, UIDL, "
                             "LIST, RETR of each, QUIT",
                    .session = true,
                    .steps = {STEP_STAT, STEP_UIDL, STEP_LIST, STEP_FETCH_NEW, STEP_QUIT}},
    [WORK_DELIVER] = {.name = "deliver",
                      .about = "one message over LMTP, on a connection that stays: MAIL, RCPT, "
                               "DATA, until the server has taken it",
                      .lmtp = true},
    [WORK_IDLE] = {.name = "idle", .about = "none: sessions that stay open and say nothing"},
};

/*
 * Published profiles. What their sources do not say is said here, and was chosen.
 *
 * sun-light-pop, sun-heavy-pop: Sun Java System Communications Services 6 2005Q4 Deployment
 * Planning Guide (819-2660), chapter on sizing, "Defining Your Messaging User Base",
 * https://docs.oracle.com/cd/E19636-01/819-2660/acrhk/index.html. Light: four messages an hour for
 * a concurrent client, single recipients, all read and deleted in one session. Heavy: six an hour,
 * two recipients each; 85 % of users delete after reading, 15 % leave on the server. How often
 * clients look is not published: one session for each message sent.
 *
 * imaptest-pop3: pop3-profile.conf of imaptest (https://github.com/dovecot/imaptest): a delivery to
 * the inbox every 10 s, a login every minute, all clients keep their mail. Its deliveries to a spam
 * folder are left out, since POP3 does not show one.
 *
 * specmail2001-like: rates as others quote them from the Architecture White Paper 1.00 of
 * SPECmail2001, https://spec.org/mail2001/docs/architecturewhitepaper-v1.00, of which only the
 * beginning could be read here; so are the limits of its verdict. For 100,000 users 8.33 messages
 * a second from local users (10 % of them to local ones) and 7.50 from outside, 4.17 initial POP
 * checks and 12.50 repeated ones; runs at 80, 100 and 120 %; 95 % of responses within 5 s,
 * deliveries within 60 s. Repeated checks come soon after the first and find, as a rule, nothing.
 * The white paper's remote server, modem speeds and message sizes are not here: a result is not a
 * SPECmail2001 result.
 */
#define SUN_URL  "https://docs.oracle.com/cd/E19636-01/819-2660/acrhk/index.html"
#define SPEC_URL "https://spec.org/mail2001/docs/architecturewhitepaper-v1.00"

static const struct workload workloads[] = {
    {.name = "login", .weights = {[WORK_LOGIN] = 1}},
    {.name = "poll", .weights = {[WORK_POLL] = 1}},
    {.name = "noop", .weights = {[WORK_NOOP] = 1}},
    {.name = "retr", .weights = {[WORK_RETR] = 1}},
    {.name = "download-delete", .weights = {[WORK_DOWNLOAD] = 1}},
    {.name = "leave-on-server", .weights = {[WORK_LEAVE] = 1}},
    {.name = "deliver", .weights = {[WORK_DELIVER] = 1}, .sizes = "fixed:4096"},
    {.name = "idle", .weights = {[WORK_IDLE] = 1}},
    {.name = "sun-light-pop",
     .weights = {[WORK_DELIVER] = 4, [WORK_DOWNLOAD] = 4},
     .sizes = "sun-light-pop",
     .rate_per_user = 8.0 / 3600,
     .source = SUN_URL},
    {.name = "sun-heavy-pop",
     .weights = {[WORK_DELIVER] = 12, [WORK_DOWNLOAD] = 5.1, [WORK_LEAVE] = 0.9},
     .sizes = "sun-heavy-pop",
     .rate_per_user = 18.0 / 3600,
     .source = SUN_URL},
    {.name = "imaptest-pop3",
     .weights = {[WORK_DELIVER] = 6, [WORK_LEAVE] = 1},
     .sizes = "imaptest-pop3",
     .rate_per_user = 7.0 / 60,
     .source = "https://github.com/dovecot/imaptest/blob/main/pop3-profile.conf"},
    {.name = "specmail2001-like",
     .weights = {[WORK_DELIVER] = 8.33, [WORK_DOWNLOAD] = 4.17, [WORK_POLL] = 12.5},
     .sizes = "specmail2001-like",
     .rate_per_user = 25.0 / 100000,
     .qos_ms = 5000,
     .qos_share = 0.95,
     .qos_delivery_ms = 60000,
     .load_count = 3,
     .loads = {80, 100, 120},
     .source = SPEC_URL},
};

const struct work_kind_info *work_kind_info(enum work_kind kind)
{
    return &kinds[kind];
}

const struct workload *workload_at(size_t index)
{
    return index < sizeof workloads / sizeof workloads[0] ? &workloads[index] : NULL;
}

const struct workload *workload_find(const char *name)
{
    size_t index = 0;
    const struct workload *workload = workload_at(0);
    while (workload != NULL && strcmp(workload->name, name) != 0) {
        workload = workload_at(++index);
    }
    return workload;
}

enum work_kind workload_draw(const struct workload *workload, struct dice *dice)
{
    double total = 0;
    enum work_kind last = WORK_LOGIN;
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        total += workload->weights[kind];
        last = workload->weights[kind] > 0 ? (enum work_kind)kind : last;
    }
    double at = dice_share(dice) * total;
    for (unsigned kind = 0; kind < (unsigned)last; kind++) {
        if (at < workload->weights[kind]) {
            return (enum work_kind)kind;
        }
        at -= workload->weights[kind];
    }
    return last;
}

bool workload_uses_lmtp(const struct workload *workload)
{
    return workload->weights[WORK_DELIVER] > 0;
}

bool workload_uses_pop3(const struct workload *workload)
{
    bool any = false;
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        any = any || (workload->weights[kind] > 0 && !kinds[kind].lmtp);
    }
    return any;
}

enum work_kind workload_staying(const struct workload *workload)
{
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        if (workload->weights[kind] > 0 && !kinds[kind].session && !kinds[kind].lmtp) {
            return (enum work_kind)kind;
        }
    }
    return WORK_KIND_COUNT;
}
