/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/pop3_fixture.h"

static int begin(uint32_t count)
{
    pop3_begin(LOOP_EPOLL);
    for (uint32_t i = 0; i < count; i++) {
        fake_add("A: b\n\nbody\n");
    }
    return pop3_login_client();
}

static void mark(int client, uint32_t msgno)
{
    char line[32];
    (void)snprintf(line, sizeof line, "DELE %u", msgno);
    ask(client, line, "+OK marked to be deleted");
}

Test(pop3_update, quit_before_login_ends_without_a_commit)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "QUIT", "+OK bye");
    expect_end(client);
    pop3_end();
}

Test(pop3_update, quit_without_marks_frees_the_maildrop_before_it_answers)
{
    int client = begin(2);
    mark(client, 1);
    ask(client, "RSET", "+OK 2 messages (28 octets)");
    say(client, "QUIT\r\n");
    for (unsigned i = 0; fake.views > 0 && i < FIXTURE_TURNS_MAX; i++) {
        fixture_turn();
    }
    cr_assert_eq(fake.committed_count, 0);
    expect(client, "+OK bye\r\n");
    expect_end(client);
    pop3_end();
}

Test(pop3_update, quit_commits_exactly_the_marked_and_answers_after_it)
{
    int client = begin(200);
    mark(client, 1);
    mark(client, 64);
    mark(client, 65);
    mark(client, 200);
    say(client, "QUIT\r\n");
    expect_silence(client);
    static const uint32_t indexes[] = {0, 63, 64, 199};
    cr_assert_eq(fake.committed_count, 4);
    cr_assert_eq(memcmp(fake.committed, indexes, sizeof indexes), 0);
    fake_answer_commit(STATUS_OK);
    expect(client, "+OK bye\r\n");
    expect_end(client);
    pop3_end();
    cr_assert_eq(counter_read(&fixture.worker.counters.messages_expunged), 4);
}

static void fail_commit(enum status status, bool at_once, const char *reply)
{
    memset(&fake, 0, sizeof fake);
    int client = begin(1);
    mark(client, 1);
    fake.commit_now = at_once ? status : STATUS_PENDING;
    say(client, "QUIT\r\n");
    if (!at_once) {
        fixture_settle();
        fake_answer_commit(status);
    }
    expect(client, reply);
    expect(client, "\r\n");
    expect_end(client);
    pop3_end();
    cr_assert_eq(counter_read(&fixture.worker.counters.messages_expunged), 0);
}

Test(pop3_update, a_failed_commit_is_told_and_ends_the_session)
{
    static const char temporary[] =
        "-ERR [SYS/TEMP] some deleted messages not removed, try again later";
    fail_commit(STATUS_READ_ONLY, false, temporary);
    fail_commit(STATUS_NO_SPACE, false, temporary);
    fail_commit(STATUS_UNKNOWN, false, temporary);
    fail_commit(STATUS_NO_MEMORY, true, temporary);
    fail_commit(STATUS_LOST, false,
                "-ERR [IN-USE] another session has taken the lock, deleted messages not removed");
}

Test(pop3_update, a_commit_outlives_the_client)
{
    int client = begin(2);
    mark(client, 2);
    say(client, "NOOP\r\nQUIT\r\n"); /* a reply stays unread: the close is a reset */
    fixture_settle();
    close(client);
    for (unsigned i = 0; !list_empty(&fixture.worker.sessions) && i < FIXTURE_TURNS_MAX; i++) {
        fixture_turn();
    }
    cr_assert_eq(fixture.worker.session_count, 1, "kept for the audit line");
    fake_answer_commit(STATUS_OK);
    pop3_end();
    cr_assert_eq(counter_read(&fixture.worker.counters.messages_expunged), 1);
}

Test(pop3_update, commands_behind_quit_are_not_answered)
{
    int client = begin(1);
    say(client, "DELE 1\r\nQUIT\r\nNOOP\r\nNOOP\r\n");
    fixture_settle();
    fake_answer_commit(STATUS_OK);
    expect(client, "+OK marked to be deleted\r\n+OK bye\r\n");
    expect_end(client);
    pop3_end();
}

Test(pop3_update, a_half_closed_client_still_gets_its_commit)
{
    int client = begin(1);
    say(client, "DELE 1\r\nQUIT\r\n");
    shutdown(client, SHUT_WR);
    fixture_settle();
    fake_answer_commit(STATUS_OK);
    expect(client, "+OK marked to be deleted\r\n+OK bye\r\n");
    expect_end(client);
    pop3_end();
}

/* Standard error of the child goes to a file, from which the audit lines are read back. */
Test(pop3_update, writes_down_every_unique_id_once_removed)
{
    enum { COUNT = 300 };
    FILE *log = tmpfile();
    cr_assert_eq(dup2(fileno(log), STDERR_FILENO), STDERR_FILENO);
    int client = begin(COUNT);
    for (uint32_t i = 1; i <= COUNT; i++) {
        mark(client, i);
    }
    say(client, "QUIT\r\n");
    fixture_settle();
    rewind(log);
    static char line[LOG_LINE_MAX + 1];
    while (fgets(line, sizeof line, log) != NULL) {
        cr_assert_null(strstr(line, " expunge "), "nothing is written down before it is durable");
    }
    fake_answer_commit(STATUS_OK);
    expect(client, "+OK bye\r\n");
    expect_end(client);
    rewind(log);
    unsigned lines = 0, found = 0;
    while (fgets(line, sizeof line, log) != NULL) {
        if (strstr(line, " expunge ") == NULL) {
            continue;
        }
        lines++;
        cr_assert_not_null(strstr(line, " user=demo@localhost count=300 uidls=00000001."));
        cr_assert_eq(line[strlen(line) - 1], '\n', "no line is cut");
        for (const char *at = line; (at = strstr(at, "00000001.")) != NULL; at++) {
            char expected[STORAGE_UIDL_LENGTH_MAX];
            int length = snprintf(expected, sizeof expected, "00000001.%016x", 0x101 + found);
            cr_assert_eq(strncmp(at, expected, (size_t)length), 0, "%.30s", at);
            found++;
        }
    }
    cr_assert_eq(found, COUNT);
    cr_assert_lt(lines, COUNT / 10);
    pop3_end();
    fclose(log);
}
