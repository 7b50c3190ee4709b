/* SPDX-License-Identifier: Apache-2.0 */
/* The command table, the states and the ends of a session; the commands have files of their own. */
#include "tests/unit/pop3_fixture.h"

static const char dialogue[] = "USER demo\r\nPASS right\r\nSTAT\r\nLIST\r\nRETR 1\r\nTOP 1 0\r\n"
                               "UIDL 1\r\nDELE 1\r\nSTAT\r\nRSET\r\nNOOP\r\nQUIT\r\n";
static const char answers[] = SEND_PASS "+OK 1 messages (17 octets)\r\n"
                                        "+OK 1 17\r\n"
                                        "+OK 1 messages (17 octets)\r\n1 17\r\n.\r\n"
                                        "+OK 17 octets\r\nA: b\r\n\r\nbody\r\n...\r\n.\r\n"
                                        "+OK top of message follows\r\nA: b\r\n\r\n.\r\n"
                                        "+OK 1 00000001.0000000000000101\r\n"
                                        "+OK marked to be deleted\r\n"
                                        "+OK 0 0\r\n"
                                        "+OK 1 messages (17 octets)\r\n"
                                        "+OK\r\n"
                                        "+OK bye\r\n";

static void hold_dialogue(enum loop_kind kind, size_t step)
{
    pop3_begin(kind);
    fake_add("A: b\n\nbody\n..\n");
    fake.messages[0].octets = 17; /* whatever the store says is what is listed */
    int client = pop3_connect();
    for (size_t at = 0; at < sizeof dialogue - 1; at += step) {
        size_t left = sizeof dialogue - 1 - at;
        say_octets(client, dialogue + at, left < step ? left : step);
        if (step == 1) {
            fixture_turn();
        }
    }
    expect(client, answers);
    expect_end(client);
    pop3_end();
}

Test(pop3, answers_a_whole_session_in_one_write_on_epoll)
{
    hold_dialogue(LOOP_EPOLL, sizeof dialogue);
}

Test(pop3, answers_a_whole_session_in_one_write_on_io_uring)
{
    if (loop_probe_uring(NULL) != STATUS_OK) {
        cr_skip_test("no io_uring here");
    }
    hold_dialogue(LOOP_IO_URING, sizeof dialogue);
}

Test(pop3, answers_a_whole_session_byte_by_byte)
{
    hold_dialogue(LOOP_EPOLL, 1);
}

Test(pop3, keeps_an_idle_session_small)
{
    cr_assert_leq(sizeof(struct pop3_session), 3072, "%zu octets", sizeof(struct pop3_session));
}

Test(pop3, refuses_what_the_state_does_not_allow)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    static const char *const later[] = {"STAT",   "LIST", "UIDL", "RETR 1",
                                        "DELE 1", "NOOP", "RSET", "TOP 1 1"};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        ask(client, later[i], "-ERR command not allowed now");
    }
    close(client);
    client = pop3_login_client();
    ask(client, "USER demo", "-ERR command not allowed now");
    ask(client, "PASS right", "-ERR command not allowed now");
    ask(client, "quit", "+OK bye");
    expect_end(client);
    pop3_end();
}

Test(pop3, refuses_wrong_counts_of_arguments)
{
    pop3_begin(LOOP_EPOLL);
    fake_add("A: b\n\nbody\n");
    int client = pop3_login_client();
    static const char *const wrong[] = {"STAT 1", "LIST 1 1",  "UIDL 1 1", "RETR",   "RETR 1 1",
                                        "DELE",   "DELE 1 1",  "NOOP 1",   "RSET 1", "TOP",
                                        "TOP 1",  "TOP 1 1 1", "QUIT 1",   "CAPA 1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ask(client, wrong[i], "-ERR wrong number of arguments");
    }
    close(client);
    pop3_end();
}

Test(pop3, ends_after_three_bad_lines_before_login)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "ONE\r\n\r\nTHREE\r\nUSER demo\r\n");
    expect(client,
           "-ERR unknown command\r\n-ERR unknown command\r\n-ERR too many bad commands\r\n");
    expect_end(client);
    pop3_end();
}

Test(pop3, ends_after_twenty_bad_lines_and_removes_nothing)
{
    pop3_begin(LOOP_EPOLL);
    fake_add("A: b\n\nbody\n");
    int client = pop3_login_client();
    ask(client, "DELE 1", "+OK marked to be deleted");
    for (unsigned i = 0; i < 19; i++) {
        ask(client, "X", "-ERR unknown command");
    }
    ask(client, "X", "-ERR too many bad commands");
    expect_end(client);
    cr_assert_eq(fake.committed_count, 0);
    pop3_end();
}

Test(pop3, releases_the_maildrop_when_the_client_goes)
{
    pop3_begin(LOOP_EPOLL);
    fake_add("A: b\n\nbody\n");
    int client = pop3_login_client();
    ask(client, "DELE 1", "+OK marked to be deleted");
    close(client);
    pop3_end();
    cr_assert_eq(fake.committed_count, 0);
}

Test(pop3, releases_the_maildrop_of_a_client_that_only_listens_on)
{
    pop3_begin(LOOP_EPOLL);
    fake_add("A: b\n\nbody\n");
    int client = pop3_login_client();
    shutdown(client, SHUT_WR);
    for (unsigned i = 0; fake.views > 0 && i < FIXTURE_TURNS_MAX; i++) {
        fixture_turn();
    }
    cr_assert_eq(fake.views, 0);
    expect_end(client);
    pop3_end();
}

Test(pop3, ends_an_idle_session_without_a_word)
{
    pop3_begin(LOOP_EPOLL);
    fixture.config.pop3.idle_timeout_s = 1;
    int client = pop3_login_client();
    fixture_session()->active_ms -= 1000;
    expect_end(client);
    pop3_end();
}

Test(pop3, ends_a_session_that_does_not_log_in_without_a_word)
{
    pop3_begin(LOOP_EPOLL);
    fixture.config.pop3.login_timeout_s = 0;
    int client = fixture_connect();
    char heard[128];
    (void)hear(client, heard, sizeof heard); /* the greeting may still have come */
    close(client);
    pop3_end();
}

Test(pop3, has_no_login_deadline_after_the_login)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_login_client();
    cr_assert_not(deadline_armed(&fixture_session()->login));
    close(client);
    pop3_end();
}

Test(pop3, ends_clean_sessions_when_the_server_drains)
{
    pop3_begin(LOOP_EPOLL);
    int before_login = pop3_connect();
    session_drain(fixture_session()); /* not draining yet: nothing happens */
    fixture.worker.draining = true;
    session_drain(fixture_session());
    expect_end(before_login);
    pop3_end();
}

Test(pop3, lets_a_session_with_marks_finish_when_the_server_drains)
{
    pop3_begin(LOOP_EPOLL);
    fake_add("A: b\n\nbody\n");
    int client = pop3_login_client();
    ask(client, "DELE 1", "+OK marked to be deleted");
    fixture.worker.draining = true;
    session_drain(fixture_session());
    ask(client, "STAT", "+OK 0 0");
    say(client, "QUIT\r\n");
    expect_silence(client);
    fake_answer_commit(STATUS_OK);
    expect(client, "+OK bye\r\n");
    expect_end(client);
    pop3_end();
}

Test(pop3, counts_its_sessions)
{
    pop3_begin(LOOP_EPOLL);
    struct counter *open = &fixture.worker.counters.sessions_pop3;
    int first = pop3_connect(), second = pop3_connect();
    cr_assert_eq(counter_read(open), 2);
    close(first);
    close(second);
    pop3_end();
    cr_assert_eq(counter_read(open), 0);
}
