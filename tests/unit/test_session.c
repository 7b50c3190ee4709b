/* SPDX-License-Identifier: Apache-2.0 */
#include "server/session.h"

#include "server/reply.h"
#include "tests/unit/session_fixture.h"

#include <stdio.h>

/* A protocol with one command for each verdict. */
struct probe {
    struct session session;
    struct sendq_reader reader;
    unsigned blocks; /* of the producer, to come */
    size_t raw_left;
};

static struct {
    unsigned ended, finished, idle, drained, refusals, runs;
    enum session_refusal refusal;
    const char *reason;
    bool keep; /* on_ended says that something is still in flight */
    bool stay; /* on_drain does not end the session */
    uint32_t idle_ms, stall_ms;
} seen;

static struct probe *probe_of(struct session *session)
{
    return list_entry(session, struct probe, session);
}

static enum verdict run_done(struct session *session, const struct command_line *line)
{
    seen.runs++;
    reply_line(session, "+done");
    return VERDICT_DONE;
}

static enum verdict run_fail(struct session *session, const struct command_line *line)
{
    reply_line(session, "-failed");
    return VERDICT_DONE;
}

static enum verdict run_wait(struct session *session, const struct command_line *line)
{
    return VERDICT_WAIT;
}

static enum verdict run_close(struct session *session, const struct command_line *line)
{
    reply_line(session, "+bye");
    return VERDICT_CLOSE;
}

static enum status probe_fill(struct sendq_reader *reader, uint8_t *out, size_t capacity,
                              size_t *out_length)
{
    struct probe *probe = list_entry(reader, struct probe, reader);
    memset(out, 'm', 10);
    *out_length = 10;
    return --probe->blocks > 0 ? STATUS_OK : STATUS_EOF;
}

static void probe_stop(struct sendq_reader *reader, enum status status)
{
    if (status == STATUS_OK) {
        session_producer_done(&list_entry(reader, struct probe, reader)->session);
    }
}

static enum verdict run_more(struct session *session, const struct command_line *line)
{
    struct probe *probe = probe_of(session);
    probe->blocks = 3;
    probe->reader = (struct sendq_reader){.fill = probe_fill, .stop = probe_stop};
    return conn_send_reader(&session->conn, &probe->reader) == STATUS_OK ? VERDICT_MORE
                                                                         : VERDICT_DONE;
}

static enum verdict run_raw(struct session *session, const struct command_line *line)
{
    uint64_t length = 0;
    (void)command_number(line->args[0], 1000, &length); /* the tests send numbers */
    probe_of(session)->raw_left = (size_t)length;
    session->raw_input = length > 0;
    return VERDICT_DONE;
}

static enum verdict run_loud(struct session *session, const struct command_line *line)
{
    static char block[4096];
    (void)conn_write(&session->conn, block, sizeof block);
    seen.runs++;
    return VERDICT_DONE;
}

static enum verdict run_never(struct session *session, const struct command_line *line)
{
    cr_assert_fail("a command ran that is not allowed");
    return VERDICT_DONE;
}

static const struct command commands[] = {
    {.verb = "DONE", .states = 1, .counter = 1, .handler = run_done},
    {.verb = "FAIL", .states = 1, .counter = 2, .handler = run_fail},
    {.verb = "WAIT", .states = 1, .counter = 3, .handler = run_wait},
    {.verb = "CLOSE", .states = 1, .counter = 4, .handler = run_close},
    {.verb = "MORE", .states = 1, .counter = 5, .handler = run_more},
    {.verb = "RAW", .states = 1, .args_min = 1, .args_max = 1, .counter = 6, .handler = run_raw},
    {.verb = "LOUD", .states = 1, .counter = 7, .handler = run_loud},
    {.verb = "OTHER", .states = 2, .counter = 8, .handler = run_never},
    {.verb = "TLS", .states = 1, .needs_tls = true, .counter = 9, .handler = run_never},
};

static void on_start(struct session *session)
{
    if (seen.idle_ms != 0) {
        session->idle_timeout_ms = seen.idle_ms;
    }
    if (seen.stall_ms != 0) {
        session->stall_timeout_ms = seen.stall_ms;
    }
    reply_line(session, "+hello");
}

static unsigned state_bit(const struct session *session)
{
    return 1;
}

static enum verdict on_refused(struct session *session, enum session_refusal refusal,
                               const struct command *row)
{
    seen.refusals++;
    seen.refusal = refusal;
    reply_line(session, "-refused");
    return VERDICT_DONE;
}

static size_t on_raw(struct session *session, const uint8_t *data, size_t length)
{
    struct probe *probe = probe_of(session);
    size_t taken = length < probe->raw_left ? length : probe->raw_left;
    probe->raw_left -= taken;
    if (probe->raw_left == 0) {
        session->raw_input = false;
        reply_line(session, "+raw");
    }
    return taken;
}

static void on_idle(struct session *session)
{
    seen.idle++;
}

static void on_drain(struct session *session)
{
    seen.drained++;
    if (!seen.stay) {
        session_finish(session, "shutdown");
    }
}

static void on_finish(struct session *session)
{
    seen.finished++;
}

static bool on_ended(struct session *session, struct log_line *line)
{
    seen.ended++;
    seen.reason = session->end_reason;
    return !seen.keep;
}

#define UNKNOWN_COUNTER 9

static const struct session_protocol protocol = {
    .name = "test",
    .session_size = sizeof(struct probe),
    .line_length_max = 64,
    .mode = LOOP_RECEIVE_STREAM,
    .commands = commands,
    .command_count = sizeof commands / sizeof commands[0],
    .unknown_counter = UNKNOWN_COUNTER,
    .on_start = on_start,
    .state_bit = state_bit,
    .on_refused = on_refused,
    .on_raw = on_raw,
    .on_idle = on_idle,
    .on_drain = on_drain,
    .on_finish = on_finish,
    .on_ended = on_ended,
};

static int begin(void)
{
    if (fixture.worker.loop == NULL) {
        fixture_open(LOOP_EPOLL, &protocol);
    }
    int client = fixture_connect();
    expect(client, "+hello\r\n");
    return client;
}

static void end(const char *reason)
{
    fixture_close();
    cr_assert_eq(seen.ended, 1);
    cr_assert_str_eq(seen.reason, reason, "ended by %s, not %s", seen.reason, reason);
}

static uint64_t counted_ok(unsigned counter)
{
    return counter_read(&fixture.worker.counters.commands_ok[counter]);
}

static uint64_t counted_failed(unsigned counter)
{
    return counter_read(&fixture.worker.counters.commands_failed[counter]);
}

Test(session, answers_commands_in_order_and_counts_them)
{
    int client = begin();
    say(client, "DONE\r\nfail\r\nNONE\r\nDONE\r\nCLOSE\r\n");
    expect(client, "+done\r\n-failed\r\n-refused\r\n+done\r\n+bye\r\n");
    expect_end(client);
    cr_assert_eq(counted_ok(1), 2);
    cr_assert_eq(counted_failed(2), 1);
    cr_assert_eq(counted_failed(UNKNOWN_COUNTER), 1);
    cr_assert_eq(counted_ok(4), 1);
    end("quit");
    cr_assert_eq(seen.finished, 1);
}

Test(session, answers_a_command_that_comes_byte_by_byte)
{
    int client = begin();
    for (const char *at = "DONE\r\n"; *at != '\0'; at++) {
        expect_silence(client);
        say_octets(client, at, 1);
    }
    expect(client, "+done\r\n");
    close(client);
    end("eof");
}

Test(session, refuses_by_the_row_before_the_handler_runs)
{
    int client = begin();
    static const struct {
        const char *line;
        enum session_refusal refusal;
    } cases[] = {
        {"NONE\r\n", SESSION_UNKNOWN_COMMAND},  {"\r\n", SESSION_UNKNOWN_COMMAND},
        {"OTHER\r\n", SESSION_WRONG_STATE},     {"TLS\r\n", SESSION_NEEDS_TLS},
        {"RAW\r\n", SESSION_WRONG_ARGUMENTS},   {"RAW 1 2\r\n", SESSION_WRONG_ARGUMENTS},
        {"DO\rNE\r\n", SESSION_LINE_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        say(client, cases[i].line);
        expect(client, "-refused\r\n");
        cr_assert_eq(seen.refusal, cases[i].refusal, "%s", cases[i].line);
    }
    close(client);
    end("eof");
}

Test(session, tells_an_over_long_line_once_and_goes_on)
{
    int client = begin();
    static char line[20000];
    memset(line, 'x', sizeof line);
    say_octets(client, line, sizeof line);
    say(client, "\r\nDONE\r\n");
    expect(client, "-refused\r\n+done\r\n");
    cr_assert_eq(seen.refusals, 1);
    cr_assert_eq(seen.refusal, SESSION_LINE_TOO_LONG);
    close(client);
    end("eof");
}

Test(session, counts_only_what_is_no_command_as_bad_and_forgives_after_a_good_one)
{
    int client = begin();
    struct session *session = fixture_session();
    say(client, "OTHER\r\nRAW\r\n");
    expect(client, "-refused\r\n-refused\r\n");
    cr_assert_eq(session->bad_commands, 0);
    say(client, "NONE\r\nNONE\r\n");
    expect(client, "-refused\r\n-refused\r\n");
    cr_assert_eq(session->bad_commands, 2);
    say(client, "DONE\r\n");
    expect(client, "+done\r\n");
    cr_assert_eq(session->bad_commands, 0);
    close(client);
    end("eof");
}

Test(session, holds_commands_back_while_one_waits)
{
    int client = begin();
    say(client, "WAIT\r\nDONE\r\n");
    expect_silence(client);
    struct session *session = fixture_session();
    cr_assert(session->waiting);
    cr_assert_str_eq(session->current->verb, "WAIT");
    reply_line(session, "+waited");
    session_continue(session, VERDICT_DONE, true);
    expect(client, "+waited\r\n+done\r\n");
    cr_assert_eq(counted_ok(3), 1);
    close(client);
    end("eof");
}

Test(session, counts_a_wait_by_its_answer)
{
    int client = begin();
    say(client, "WAIT\r\n");
    fixture_settle();
    session_continue(fixture_session(), VERDICT_CLOSE, false);
    expect_end(client);
    cr_assert_eq(counted_ok(3), 0);
    cr_assert_eq(counted_failed(3), 1);
    end("quit");
}

Test(session, holds_commands_back_while_a_producer_runs)
{
    int client = begin();
    say(client, "MORE\r\nDONE\r\nMORE\r\nMORE\r\nDONE\r\n");
    const char *made = "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmm";
    expect(client, made);
    expect(client, "+done\r\n");
    expect(client, made);
    expect(client, made);
    expect(client, "+done\r\n");
    close(client);
    end("eof");
}

Test(session, gives_input_to_the_protocol_while_it_is_no_lines)
{
    int client = begin();
    say(client, "RAW 5\r\n12");
    expect_silence(client);
    say(client, "\r\nxDONE\r\nRAW 2\r\nabDONE\r\n");
    expect(client, "+raw\r\n+done\r\n+raw\r\n+done\r\n");
    close(client);
    end("eof");
}

Test(session, answers_ten_thousand_commands_of_one_write)
{
    int client = begin();
    enum { COUNT = 10000 };
    static char input[COUNT * 6], output[COUNT * 7];
    for (size_t i = 0; i < COUNT; i++) {
        memcpy(input + i * 6, "DONE\r\n", 6);
    }
    size_t said = 0, heard = 0;
    for (unsigned i = 0; heard < sizeof output; i++) {
        cr_assert_lt(i, FIXTURE_TURNS_MAX);
        ssize_t sent = send(client, input + said, sizeof input - said, MSG_NOSIGNAL);
        said += sent > 0 ? (size_t)sent : 0;
        fixture_turn();
        ssize_t got = recv(client, output + heard, sizeof output - heard, 0);
        heard += got > 0 ? (size_t)got : 0;
    }
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(memcmp(output + i * 7, "+done\r\n", 7), 0);
    }
    close(client);
    end("eof");
}

Test(session, takes_no_commands_while_the_client_does_not_read)
{
    int client = begin();
    enum { COUNT = 1000 }; /* 4 MB of replies */
    static char input[COUNT * 6];
    for (size_t i = 0; i < COUNT; i++) {
        memcpy(input + i * 6, "LOUD\r\n", 6);
    }
    say_octets(client, input, sizeof input);
    fixture_settle();
    struct session *session = fixture_session();
    cr_assert_lt(seen.runs, COUNT);
    cr_assert_leq(conn_output_pending(&session->conn), CONN_OUTPUT_HIGH + 8192);
    static char heard[COUNT * 4096];
    (void)hear(client, heard, sizeof heard);
    cr_assert_eq(seen.runs, COUNT);
    close(client);
    end("eof");
}

Test(session, answers_a_half_closed_client_and_then_ends)
{
    int client = begin();
    say(client, "DONE\r\nMORE\r\nDONE\r\nDON");
    shutdown(client, SHUT_WR);
    expect(client, "+done\r\nmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm+done\r\n");
    expect_end(client);
    end("eof");
}

Test(session, waits_for_an_answer_though_the_client_has_closed_its_side)
{
    int client = begin();
    say(client, "WAIT\r\nDONE\r\n");
    shutdown(client, SHUT_WR);
    expect_silence(client);
    cr_assert_eq(seen.ended, 0);
    struct session *session = fixture_session();
    reply_line(session, "+waited");
    session_continue(session, VERDICT_DONE, true);
    expect(client, "+waited\r\n+done\r\n");
    expect_end(client);
    end("eof");
}

Test(session, ends_at_once_when_the_client_is_gone_while_it_waits)
{
    int client = begin();
    say(client, "DONE\r\nWAIT\r\n");
    fixture_settle();
    seen.keep = true; /* a close with a reply unread is a reset, not only the end of its input */
    struct session *session = fixture_session();
    close(client);
    for (unsigned i = 0; seen.ended == 0 && i < FIXTURE_TURNS_MAX; i++) {
        fixture_turn();
    }
    cr_assert_eq(seen.ended, 1);
    cr_assert(session->ended);
    cr_assert_eq(fixture.worker.session_count, 1, "kept until its operation is answered");
    session_continue(session, VERDICT_DONE, true); /* harmless */
    session_released(session);
    end("reset");
}

Test(session, ignores_commands_behind_the_last_one)
{
    int client = begin();
    say(client, "CLOSE\r\nDONE\r\nDONE\r\n");
    expect(client, "+bye\r\n");
    expect_end(client);
    cr_assert_eq(seen.runs, 0);
    end("quit");
}

Test(session, that_is_aborted_drops_its_output)
{
    int client = begin();
    struct session *session = fixture_session();
    reply_line(session, "+never");
    session_abort(session, "test");
    session_abort(session, "another");
    expect_end(client);
    end("test");
}

Test(session, that_is_finished_sends_its_output)
{
    int client = begin();
    struct session *session = fixture_session();
    reply_line(session, "+last");
    session_finish(session, "test");
    session_finish(session, "another");
    expect(client, "+last\r\n");
    expect_end(client);
    end("test");
    cr_assert_eq(seen.finished, 1);
}

Test(session, that_is_idle_ends)
{
    seen.idle_ms = 20;
    int client = begin();
    expect_end(client);
    cr_assert_eq(seen.idle, 1);
    end("idle");
}

Test(session, is_not_idle_while_it_waits)
{
    seen.idle_ms = 20;
    int client = begin();
    say(client, "WAIT\r\n");
    int64_t until_ms = loop_now_ms(fixture.worker.loop) + 100;
    while (loop_now_ms(fixture.worker.loop) < until_ms) {
        fixture_turn();
    }
    cr_assert_eq(seen.idle, 0);
    session_continue(fixture_session(), VERDICT_DONE, true);
    expect_end(client);
    cr_assert_eq(seen.idle, 1);
    end("idle");
}

Test(session, is_not_idle_while_the_kernel_holds_output_that_is_taken_between_two_looks)
{
    enum { COUNT = 32 }; /* 128 KiB: the kernel takes all of it at once */
    static char heard[COUNT * 4096];
    seen.idle_ms = 200;
    int client = begin();
    int64_t begin_ms = loop_now_ms(fixture.worker.loop);
    for (unsigned i = 0; i < COUNT; i++) {
        say(client, "LOUD\r\n");
    }
    (void)hear(client, heard, sizeof heard);
    expect_end(client);
    cr_assert_geq(loop_now_ms(fixture.worker.loop) - begin_ms, 2 * seen.idle_ms - 20);
    end("idle");
}

Test(session, whose_client_takes_nothing_is_ended_as_stalled_not_idle)
{
    seen.idle_ms = 10;
    seen.stall_ms = 60;
    int client = begin();
    for (unsigned i = 0; i < 200; i++) {
        say(client, "LOUD\r\n");
    }
    for (unsigned i = 0; seen.ended == 0 && i < FIXTURE_TURNS_MAX; i++) {
        fixture_turn();
    }
    cr_assert_eq(seen.idle, 0);
    end("stalled");
    close(client);
}

Test(session, that_does_not_log_in_in_time_ends)
{
    int client = begin();
    struct session *session = fixture_session();
    deadline_arm(loop_wheel(fixture.worker.loop), &session->login, session->started_ms + 10);
    expect_end(client);
    end("login_timeout");
}

Test(session, drains_when_nothing_is_pending)
{
    int client = begin();
    say(client, "WAIT\r\n");
    fixture_settle();
    fixture.worker.draining = true;
    struct session *session = fixture_session();
    session_drain(session);
    cr_assert_eq(seen.drained, 0);
    reply_line(session, "+waited");
    session_continue(session, VERDICT_DONE, true);
    expect(client, "+waited\r\n");
    expect_end(client);
    end("shutdown");
}

Test(session, is_asked_again_after_each_command_while_draining)
{
    int client = begin();
    seen.stay = true;
    fixture.worker.draining = true;
    session_drain(fixture_session());
    cr_assert_eq(seen.drained, 1);
    seen.stay = false;
    say(client, "DONE\r\n");
    expect(client, "+done\r\n");
    expect_end(client);
    end("shutdown");
}

static void refused_connection(void)
{
    int client = fixture_connect();
    expect_end(client);
    cr_assert_eq(counter_read(&fixture.worker.counters.connections_refused), 1);
    fixture_close();
}

Test(session, is_refused_while_draining)
{
    fixture_open(LOOP_EPOLL, &protocol);
    fixture.worker.draining = true;
    refused_connection();
}

Test(session, id_names_protocol_worker_and_number)
{
    int client = begin();
    struct session *session = fixture_session();
    char text[SESSION_ID_MAX];
    session_id_text(session, text);
    cr_assert_str_eq(text, "t0-0");
    fixture.worker.index = 12;
    session->id = 0x1a2b;
    session_id_text(session, text);
    cr_assert_str_eq(text, "t12-1a2b");
    session->id = UINT64_MAX;
    session_id_text(session, text);
    cr_assert_str_eq(text, "t12-ffffffffffffffff");
    close(client);
    end("eof");
}
