/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/pop3_fixture.h"

static const char wrong[] = "-ERR [AUTH] wrong user name or password";
static const char welcome[] = "+OK 0 messages (0 octets)";
static const char not_base64[] = "-ERR that is not base64";

/* base64 of "right", "wrong", "late" */
#define RIGHT "cmlnaHQ="
#define WRONG "d3Jvbmc="
#define LATE  "bGF0ZQ=="

Test(pop3_sasl, takes_an_initial_response)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH PLAIN " RIGHT, welcome);
    cr_assert_str_eq(fake.initial, "right");
    cr_assert_str_eq(pop3_of(fixture_session())->mechanism, "FAKE");
    ask(client, "AUTH PLAIN " RIGHT, "-ERR command not allowed now");
    close(client);
    pop3_end();
}

Test(pop3_sasl, asks_with_plus_and_space_when_there_is_no_initial_response)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "auth plain", "+ ");
    cr_assert_str_eq(fake.initial, "(none)");
    ask(client, RIGHT, welcome);
    close(client);
    pop3_end();
}

Test(pop3_sasl, tells_an_empty_initial_response_from_none)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH PLAIN =", wrong);
    cr_assert_str_eq(fake.initial, "");
    ask(client, "AUTH STEP =", "+ Zmlyc3QgcXVlc3Rpb24=");
    cr_assert_str_eq(fake.initial, "");
    ask(client, "*", "-ERR authentication cancelled");
    close(client);
    pop3_end();
}

Test(pop3_sasl, asks_as_often_as_the_mechanism_does)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH STEP", "+ Zmlyc3QgcXVlc3Rpb24=");
    ask(client, "", "+ c2Vjb25kIHF1ZXN0aW9u");
    cr_assert_str_eq(fake.answer, "", "an empty line is an empty answer");
    ask(client, RIGHT, welcome);
    close(client);
    pop3_end();
}

Test(pop3_sasl, takes_answers_sent_ahead_and_no_command_among_them)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "AUTH STEP\r\nU1RBVA==\r\n" RIGHT "\r\nSTAT\r\n");
    expect(client, "+ Zmlyc3QgcXVlc3Rpb24=\r\n+ c2Vjb25kIHF1ZXN0aW9u\r\n");
    expect(client, welcome);
    expect(client, "\r\n+OK 0 0\r\n");
    close(client);
    pop3_end();
}

Test(pop3_sasl, ends_an_exchange_on_request_and_stays)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    for (unsigned i = 0; i < 10; i++) {
        ask(client, "AUTH STEP", "+ Zmlyc3QgcXVlc3Rpb24=");
        ask(client, "*", "-ERR authentication cancelled");
    }
    cr_assert(fake.auth_cancelled);
    ask(client, "AUTH PLAIN " RIGHT, welcome);
    close(client);
    pop3_end();
}

Test(pop3_sasl, refuses_what_is_not_base64)
{
    static const char *const cases[] = {"cmlnaHQ", "cmln aHQ=", "cmlnaHQ==",         "!",
                                        "====",    "cmlnaHR=",  "AUTH PLAIN " RIGHT, "QUIT\t"};
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(client, "AUTH STEP", "+ Zmlyc3QgcXVlc3Rpb24=");
        ask(client, cases[i], not_base64);
    }
    ask(client, "AUTH PLAIN cmlnaHQ", not_base64);
    ask(client, "AUTH PLAIN " RIGHT " more", "-ERR wrong number of arguments");
    ask(client, "AUTH PLAIN " RIGHT, welcome);
    close(client);
    pop3_end();
}

Test(pop3_sasl, fails_with_the_words_of_pass)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH PLAIN " WRONG, wrong);
    ask(client, "AUTH PLAIN", "+ ");
    ask(client, WRONG, wrong);
    cr_assert_eq(counter_read(&fixture.worker.counters.logins[AUTH_FAILED]), 2);
    close(client);
    pop3_end();
}

Test(pop3_sasl, refuses_an_unknown_mechanism_without_counting_a_login)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH KERBEROS_V4",
        "-ERR this mechanism is not available here; AUTH alone lists those that are");
    cr_assert_eq(counter_read(&fixture.worker.counters.logins[AUTH_FAILED]), 0);
    close(client);
    pop3_end();
}

Test(pop3_sasl, lists_mechanisms_for_a_bare_auth)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH", "+OK mechanisms follow\r\nPLAIN\r\nSTEP\r\n.");
    ask(client, "AUTH ", "+OK mechanisms follow\r\nPLAIN\r\nSTEP\r\n.");
    fixture.config_listener.policy.plaintext_without_tls = false;
    ask(client, "AUTH", "+OK mechanisms follow\r\n.");
    close(client);
    pop3_end();
}

Test(pop3_sasl, forgets_the_user_of_a_user_command)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "USER demo", "+OK send PASS");
    ask(client, "AUTH PLAIN " WRONG, wrong);
    ask(client, "PASS right", "-ERR send USER first");
    close(client);
    pop3_end();
}

Test(pop3_sasl, holds_commands_back_while_a_verdict_is_pending)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "AUTH PLAIN " LATE "\r\nSTAT\r\n");
    expect_silence(client);
    fake_answer_auth(AUTH_OK);
    expect(client, welcome);
    expect(client, "\r\n+OK 0 0\r\n");
    close(client);
    pop3_end();
}

Test(pop3_sasl, asks_also_after_a_pending_verdict)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    say(client, "AUTH PLAIN " LATE "\r\n");
    fixture_settle();
    struct auth_request *request = fake.auth;
    request->challenge = "again";
    request->challenge_length = 5;
    fake_answer_auth(AUTH_CHALLENGE);
    expect(client, "+ YWdhaW4=\r\n");
    ask(client, RIGHT, welcome);
    close(client);
    pop3_end();
}

static void take_token(size_t octets, const char *reply)
{
    /* "AAAA" is three octets of zero. */
    size_t length = octets;
    char *line = calloc(1, length + 1);
    memcpy(line, "AUTH PLAIN ", 11);
    memset(line + 11, 'A', length - 11);
    int client = pop3_connect();
    ask(client, line, reply);
    ask(client, "AUTH PLAIN", "+ ");
    memset(line, 'A', length);
    ask(client, line, reply);
    ask(client, "AUTH PLAIN " RIGHT, welcome);
    close(client);
    free(line);
}

Test(pop3_sasl, takes_lines_that_a_token_of_sixteen_kilobytes_needs)
{
    pop3_begin(LOOP_EPOLL);
    /* 4 x n + 11 octets in the first case, hence what is not base64 in the second. */
    int client = pop3_connect();
    static char line[POP3_SASL_LINE_LEN_MAX];
    size_t base64 = (POP3_SASL_LINE_LEN_MAX - 13) / 4 * 4;
    cr_assert_geq(base64 / 4 * 3, 16384 + 2000, "and what stands around it");
    memset(line, 'A', sizeof line - 1);
    memcpy(line, "AUTH PLAIN ", 11);
    line[11 + base64] = '\0';
    ask(client, line, wrong);
    ask(client, "AUTH PLAIN", "+ ");
    base64 = (POP3_SASL_LINE_LEN_MAX - 2) / 4 * 4;
    memset(line, 'A', base64);
    line[base64] = '\0';
    ask(client, line, wrong);
    ask(client, "AUTH PLAIN " RIGHT, welcome);
    close(client);
    pop3_end();
}

Test(pop3_sasl, refuses_longer_lines_once)
{
    pop3_begin(LOOP_EPOLL);
    take_token(POP3_SASL_LINE_LEN_MAX - 1, "-ERR line too long");
    pop3_end();
}

Test(pop3_sasl, gives_other_commands_no_longer_lines)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    static char line[POP3_LINE_LEN_MAX + 16] = "USER ";
    memset(line + 5, 'u', sizeof line - 6);
    ask(client, line, "-ERR line too long");
    close(client);
    client = pop3_login_client();
    memcpy(line, "AUTH ", 5);
    ask(client, line, "-ERR line too long");
    close(client);
    pop3_end();
}

Test(pop3_sasl, ends_an_exchange_at_a_malformed_line)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH PLAIN", "+ ");
    say_octets(client, "cmln\0aHQ=\r\n", 11);
    expect(client, "-ERR line with a NUL or a bare CR\r\n");
    ask(client, "AUTH PLAIN " RIGHT, welcome);
    close(client);
    pop3_end();
}

Test(pop3_sasl, gives_an_exchange_up_when_the_client_goes)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "AUTH STEP", "+ Zmlyc3QgcXVlc3Rpb24=");
    fake.auth_cancelled = false;
    close(client);
    pop3_end();
    cr_assert(fake.auth_cancelled);
}

Test(pop3_sasl, has_apop_only_where_the_greeting_announces_it)
{
    pop3_begin(LOOP_EPOLL);
    int client = pop3_connect();
    ask(client, "APOP demo right", "-ERR APOP is not available here");
    close(client);
    fixture.config.hostname = "mail.example.org";
    fixture.config_listener.policy.apop = true;
    client = fixture_connect();
    char greeting[512] = "", octet;
    for (size_t i = 0; i < sizeof greeting - 1 && hear(client, &octet, 1) == 1 && octet != '\n';
         i++) {
        greeting[i] = octet;
    }
    const char *timestamp = strchr(greeting, '<');
    cr_assert_not_null(timestamp);
    cr_assert_not_null(strstr(timestamp, "@mail.example.org>\r"));
    ask(client, "APOP demo", "-ERR wrong number of arguments");
    ask(client, "APOP demo wrong", wrong);
    cr_assert_eq(strncmp(fake.apop_timestamp, timestamp, strlen(fake.apop_timestamp)), 0);
    ask(client, "APOP demo right", welcome);
    close(client);
    pop3_end();
}

Test(pop3_sasl, greets_nobody_with_the_same_timestamp)
{
    pop3_begin(LOOP_EPOLL);
    fixture.config.hostname = "h";
    fixture.config_listener.policy.apop = true;
    char first[POP3_TIMESTAMP_MAX], second[POP3_TIMESTAMP_MAX];
    int one = fixture_connect();
    pop3_sasl_timestamp(pop3_of(fixture_session()), first);
    int two = fixture_connect();
    pop3_sasl_timestamp(pop3_of(fixture_session()), second);
    cr_assert_str_neq(first, second);
    close(one);
    close(two);
    pop3_end();
}
