/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/pop3_fixture.h"

static const char wrong[] = "-ERR [AUTH] wrong user name or password";

static uint64_t logins(enum auth_verdict verdict)
{
    return counter_read(&fixture.worker.counters.logins[verdict]);
}

Test(pop3_auth, takes_user_and_pass)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_login_client();
    cr_assert_eq(logins(AUTH_OK), 1);
    cr_assert_eq(fake.open_policy, STORE_LOCK_EXCLUSIVE);
    struct pop3_session *pop3 = pop3_of(fixture_session());
    cr_assert_str_eq(pop3->user, "demo@localhost");
    cr_assert_null(pop3->login, "the loan has been given back");
    close(client);
    pop3_end();
}

Test(pop3_auth, takes_the_maildrop_over_where_that_is_configured)
{
    pop3_begin(LOOP_EPOLL);
    fixture.config.pop3.takeover = true;
    close(pop3_login_client());
    cr_assert_eq(fake.open_policy, STORE_LOCK_TAKEOVER);
    pop3_end();
}

Test(pop3_auth, passes_the_password_on_as_it_came)
{
    static const struct {
        const char *line, *password;
    } cases[] = {{"PASS two words", "two words"},
                 {"PASS  leading", " leading"},
                 {"PASS trailing  ", "trailing  "},
                 {"PASS  ", " "},
                 {"PASS a\tb \xff", "a\tb \xff"}};
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(client, "USER demo", "+OK send PASS");
        ask(client, cases[i].line, wrong);
        cr_assert_str_eq(fake.auth_password, cases[i].password);
    }
    close(client);
    pop3_end();
}

Test(pop3_auth, wants_user_before_pass)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "PASS right", "-ERR send USER first");
    ask(client, "USER demo", "+OK send PASS");
    ask(client, "PASS", "-ERR PASS needs a password");
    ask(client, "PASS right", "-ERR send USER first");
    close(client);
    pop3_end();
}

Test(pop3_auth, forgets_the_user_after_a_failure)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "USER demo", "+OK send PASS");
    ask(client, "PASS nonsense", wrong);
    ask(client, "PASS right", "-ERR send USER first");
    close(client);
    pop3_end();
    cr_assert_eq(logins(AUTH_FAILED), 1);
}

Test(pop3_auth, forgets_the_user_when_something_else_follows)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "USER demo", "+OK send PASS");
    ask(client, "STAT", "-ERR command not allowed now");
    ask(client, "PASS right", "-ERR send USER first");
    close(client);
    pop3_end();
}

Test(pop3_auth, takes_another_user_and_forgives_capa_in_between)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "USER other", "+OK send PASS");
    ask(client, "USER demo", "+OK send PASS");
    say(client, "CAPA\r\nPASS right\r\n");
    expect(client, "+OK capabilities follow\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\n"
                   "AUTH-RESP-CODE\r\nUSER\r\nSASL PLAIN STEP\r\n.\r\n"
                   "+OK 0 messages (0 octets)\r\n");
    cr_assert_eq(fake.auth_name_length, 4);
    close(client);
    pop3_end();
}

Test(pop3_auth, says_ok_to_any_name_and_cuts_an_over_long_one_to_an_impossible_length)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    char line[1600] = "USER ";
    memset(line + 5, 'u', 1500);
    ask(client, line, "+OK send PASS");
    ask(client, "PASS any", wrong);
    cr_assert_eq(fake.auth_name_length, AUTH_NAME_MAX + 1);
    close(client);
    pop3_end();
}

Test(pop3_auth, answers_each_verdict_with_its_code)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "USER demo", "+OK send PASS");
    ask(client, "PASS disabled", "-ERR [SYS/PERM] account is not admitted: unpaid");
    ask(client, "USER demo", "+OK send PASS");
    ask(client, "PASS down", "-ERR [SYS/TEMP] login is not possible now, wait and try again later");
    close(client);
    pop3_end();
}

Test(pop3_auth, answers_each_failure_to_open_with_its_code_and_stays)
{
    static const struct {
        enum status status;
        const char *reply;
    } cases[] = {
        {STATUS_BUSY, "-ERR [IN-USE] maildrop is locked by another session, wait and try again"},
        {STATUS_CORRUPT, "-ERR [SYS/PERM] maildrop cannot be opened, please tell your provider"},
        {STATUS_NOT_FOUND, "-ERR [SYS/PERM] maildrop cannot be opened, please tell your provider"},
        {STATUS_IO, "-ERR [SYS/TEMP] maildrop cannot be opened now, wait and try again later"},
        {STATUS_TIMEOUT, "-ERR [SYS/TEMP] maildrop cannot be opened now, wait and try again later"},
    };
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake.open_status = cases[i].status;
        ask(client, "USER demo", "+OK send PASS");
        ask(client, "PASS right", cases[i].reply);
    }
    cr_assert_eq(counter_read(&fixture.worker.counters.login_in_use), 1);
    fake.open_status = STATUS_OK;
    say(client, "USER demo\r\nPASS right\r\n");
    expect(client, SEND_PASS "+OK 0 messages (0 octets)\r\n");
    close(client);
    pop3_end();
}

Test(pop3_auth, holds_commands_back_while_a_verdict_is_pending)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "USER demo\r\nPASS late\r\nSTAT\r\n");
    expect(client, SEND_PASS);
    expect_silence(client);
    fake.open_later = true;
    fake_answer_auth(AUTH_OK);
    expect_silence(client);
    fake_answer_open(STATUS_OK);
    expect(client, "+OK 0 messages (0 octets)\r\n+OK 0 0\r\n");
    close(client);
    pop3_end();
}

Test(pop3_auth, answers_a_late_failure_and_goes_on)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "USER demo\r\nPASS late\r\nCAPA\r\n");
    expect(client, SEND_PASS);
    expect_silence(client);
    fake_answer_auth(AUTH_FAILED);
    expect(client, wrong);
    expect(client, "\r\n+OK capabilities follow\r\n");
    fake.open_later = true;
    say(client, "USER demo\r\nPASS right\r\n");
    fixture_settle();
    fake_answer_open(STATUS_BUSY);
    close(client);
    pop3_end();
}

Test(pop3_auth, gives_a_pending_verdict_up_when_the_client_goes)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "USER demo\r\nPASS late\r\n");
    fixture_settle(); /* the reply to USER stays unread: the close is a reset */
    close(client);
    pop3_end();
    cr_assert(fake.auth_cancelled);
}

static void vanish_while_opening(enum status answer)
{
    pop3_begin(LOOP_EPOLL);
    fake.open_later = true;
    int client = pop3_connect();
    say(client, "USER demo\r\nPASS right\r\n");
    fixture_settle();
    close(client);
    for (unsigned i = 0; !fake.open_cancelled && i < FIXTURE_TURNS_MAX; i++) {
        fixture_turn();
    }
    cr_assert(fake.open_cancelled);
    cr_assert_eq(fixture.worker.session_count, 1, "kept until it is answered");
    fake_answer_open(answer);
    pop3_end();
}

Test(pop3_auth, gives_a_pending_open_up_when_the_client_goes)
{
    vanish_while_opening(STATUS_CANCELLED);
}

Test(pop3_auth, releases_a_maildrop_opened_for_a_client_that_is_gone)
{
    vanish_while_opening(STATUS_OK);
}

Test(pop3_auth, ends_at_the_login_deadline_also_while_a_verdict_is_pending)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "USER demo\r\nPASS late\r\n");
    expect(client, SEND_PASS);
    fixture_settle();
    deadline_arm(loop_wheel(fixture.worker.loop), &fixture_session()->login, 0);
    expect_end(client);
    pop3_end();
    cr_assert(fake.auth_cancelled);
}

Test(pop3_auth, announces_the_same_and_the_implementation_after_login)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_login_client();
    ask(client, "CAPA",
        "+OK capabilities follow\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\n"
        "AUTH-RESP-CODE\r\nUSER\r\nSASL PLAIN STEP\r\nIMPLEMENTATION Restante-" RESTANTE_VERSION
        "\r\n.");
    close(client);
    pop3_end();
}

Test(pop3_auth, takes_no_password_in_the_clear_where_that_is_not_allowed)
{
    pop3_begin(LOOP_EPOLL);
    fixture.config_listener.policy.plaintext_without_tls = false;
    int client = pop3_connect();
    ask(client, "USER demo", "-ERR passwords in the clear are not taken here");
    ask(client, "PASS right", "-ERR send USER first");
    ask(client, "CAPA",
        "+OK capabilities follow\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\n"
        "AUTH-RESP-CODE\r\n.");
    close(client);
    pop3_end();
}

Test(pop3_auth, refuses_stls_where_there_is_no_certificate)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "STLS", "-ERR TLS is not available here");
    ask(client, "STLS now", "-ERR wrong number of arguments");
    close(client);
    close(pop3_login_client());
    pop3_end();
}
