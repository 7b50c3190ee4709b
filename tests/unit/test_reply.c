/* SPDX-License-Identifier: Apache-2.0 */
#include "server/reply.h"

#include "server/server_limits.h"
#include "tests/unit/session_fixture.h"

static void on_start(struct session *session)
{
}

static void on_drain(struct session *session)
{
}

static bool on_ended(struct session *session, struct log_line *line)
{
    return true;
}

static const struct session_protocol protocol = {
    .name = "test",
    .session_size = sizeof(struct session),
    .line_length_max = 64,
    .on_start = on_start,
    .on_drain = on_drain,
    .on_ended = on_ended,
};

static struct session *begin(int *out_client)
{
    fixture_open(LOOP_EPOLL, &protocol);
    *out_client = fixture_connect();
    return fixture_session();
}

static void end(int client)
{
    close(client);
    fixture_close();
}

Test(reply, line_gets_its_end)
{
    int client;
    struct session *session = begin(&client);
    reply_line(session, "+OK fine");
    reply_format(session, "+OK %d of %s", 7, "nine");
    reply_octets(session, "+OK raw\r\n", 9);
    expect(client, "+OK fine\r\n+OK 7 of nine\r\n+OK raw\r\n");
    end(client);
}

Test(reply, line_is_cut_at_the_limit)
{
    int client;
    struct session *session = begin(&client);
    char text[1000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    reply_line(session, text);
    reply_format(session, "%s", text);
    char heard[2 * POP3_REPLY_LEN_MAX];
    cr_assert_eq(hear(client, heard, sizeof heard), sizeof heard);
    cr_assert_eq(memcmp(heard + POP3_REPLY_LEN_MAX - 3, "x\r\nx", 4), 0);
    cr_assert_eq(memcmp(heard + sizeof heard - 3, "x\r\n", 3), 0);
    expect_silence(client);
    end(client);
}

Test(reply, that_is_an_error_marks_the_command_as_failed)
{
    static const struct {
        const char *text;
        bool failed;
    } cases[] = {
        {"+OK", false},         {"-ERR", true},         {"250 2.0.0 ok", false}, {"354 go", false},
        {"451 4.3.0 no", true}, {"550 5.1.1 no", true}, {"220 hi", false},       {"", false}};
    int client;
    struct session *session = begin(&client);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        session->failed = false;
        reply_line(session, cases[i].text);
        cr_assert_eq(session->failed, cases[i].failed, "%s", cases[i].text);
    }
    end(client);
}
