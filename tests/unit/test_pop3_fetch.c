/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/pop3_fixture.h"

#define TOP_HEAD "+OK top of message follows\r\n"

static int begin_with(const char *text, size_t length)
{
    pop3_begin(LOOP_EPOLL);
    fake_add_octets(text, length);
    return pop3_login_client();
}

/* A message with `lines` body lines, some of which begin with dots. */
static char *make_message(unsigned lines, size_t *out_length)
{
    size_t room = (size_t)lines * 80 + 100;
    char *text = malloc(room);
    size_t length = (size_t)snprintf(text, room, "Subject: x\n\n");
    for (unsigned i = 0; i < lines; i++) {
        length +=
            (size_t)snprintf(text + length, room - length, "%s%u%.*s\n", i % 7 == 0 ? "." : "", i,
                             (int)(i % 50), "01234567890123456789012345678901234567890123456789");
    }
    *out_length = length;
    return text;
}

static int begin_with_lines(unsigned lines)
{
    size_t length;
    char *text = make_message(lines, &length);
    int client = begin_with(text, length);
    free(text);
    return client;
}

static void expect_octets(int client, const uint8_t *octets, size_t length)
{
    char *heard = malloc(length + 1);
    cr_assert_eq(hear(client, heard, length), length);
    cr_assert_eq(memcmp(heard, octets, length), 0);
    free(heard);
}

static void expect_retr(int client)
{
    char head[64];
    (void)snprintf(head, sizeof head, "+OK %llu octets\r\n",
                   (unsigned long long)fake.messages[0].octets);
    expect(client, head);
    expect_octets(client, fake.messages[0].wire, fake.messages[0].wire_length);
}

/* Wire octets of the first `lines` lines of the body, and the header. */
static size_t top_length(uint64_t lines)
{
    const struct fake_message *message = &fake.messages[0];
    size_t at = message->header_length;
    while (lines > 0 && at < message->wire_length - 3) {
        const uint8_t *end = memchr(message->wire + at, '\n', message->wire_length - at);
        at = (size_t)(end - message->wire) + 1;
        lines--;
    }
    return at;
}

static void expect_top(int client, uint64_t lines)
{
    expect(client, TOP_HEAD);
    expect_octets(client, fake.messages[0].wire, top_length(lines));
    expect(client, ".\r\n");
}

static void ask_top(int client, uint64_t lines)
{
    char line[64];
    (void)snprintf(line, sizeof line, "TOP 1 %llu\r\nNOOP\r\n", (unsigned long long)lines);
    say(client, line);
    expect_top(client, lines);
    expect(client, "+OK\r\n");
}

static void end(int client)
{
    close(client);
    pop3_end();
}

Test(pop3_fetch, retr_sends_a_small_message_from_one_buffer)
{
    int client = begin_with_lines(10);
    say(client, "RETR 1\r\n");
    expect_retr(client);
    cr_assert_eq(fake.fetches, 1);
    struct worker_counters *counters = &fixture.worker.counters;
    cr_assert_eq(counter_read(&counters->messages_retrieved), 1);
    cr_assert_eq(counter_read(&counters->octets_retrieved), fake.messages[0].octets);
    end(client);
}

Test(pop3_fetch, retr_sends_the_empty_message)
{
    int client = begin_with("", 0);
    ask(client, "RETR 1", "+OK 0 octets\r\n.");
    ask(client, "TOP 1 0", "+OK top of message follows\r\n.");
    end(client);
}

static void retr_large(bool from_file)
{
    fake.fetch_from_file = from_file;
    int client = begin_with_lines(20000);
    say(client, "RETR 1\r\nNOOP\r\nRETR 1\r\n");
    expect_retr(client);
    expect(client, "+OK\r\n");
    expect_retr(client);
    end(client);
}

Test(pop3_fetch, retr_sends_a_large_message_from_its_file)
{
    retr_large(true);
}

Test(pop3_fetch, retr_sends_a_large_message_from_memory)
{
    retr_large(false);
}

Test(pop3_fetch, retr_waits_for_a_cold_message)
{
    int client = begin_with_lines(10);
    fake.fetch_later = true;
    say(client, "RETR 1\r\nNOOP\r\n");
    expect_silence(client);
    fake_answer_fetch(STATUS_OK);
    expect_retr(client);
    expect(client, "+OK\r\n");
    end(client);
}

Test(pop3_fetch, says_which_failures_concern_this_message_alone)
{
    int client = begin_with_lines(10);
    fake.fetch_status = STATUS_CORRUPT;
    ask(client, "RETR 1", "-ERR [SYS/PERM] this message is damaged, others are not");
    ask(client, "TOP 1 1", "-ERR [SYS/PERM] this message is damaged, others are not");
    fake.fetch_status = STATUS_IO;
    ask(client, "RETR 1", "-ERR [SYS/TEMP] message cannot be read now, wait and try again later");
    fake.fetch_later = true;
    say(client, "RETR 1\r\n");
    fixture_settle();
    fake_answer_fetch(STATUS_CORRUPT);
    expect(client, "-ERR [SYS/PERM] this message is damaged, others are not\r\n");
    cr_assert_eq(pop3_of(fixture_session())->retr_count, 0);
    end(client);
}

static void vanish_while_fetching(const char *command, enum status answer)
{
    int client = begin_with_lines(3000);
    fake.fetch_later = true;
    ask(client, "NOOP", "+OK");
    say(client, "NOOP\r\n"); /* its reply stays unread: the close is a reset */
    say(client, command);
    fixture_settle();
    close(client);
    for (unsigned i = 0; !fake.fetch_cancelled && i < FIXTURE_TURNS_MAX; i++) {
        fixture_turn();
    }
    cr_assert(fake.fetch_cancelled);
    cr_assert_eq(fake.views, 0, "the maildrop is released at once");
    fake_answer_fetch(answer);
    pop3_end();
}

Test(pop3_fetch, gives_a_pending_fetch_up_when_the_client_goes)
{
    vanish_while_fetching("RETR 1\r\n", STATUS_CANCELLED);
}

Test(pop3_fetch, releases_what_was_fetched_for_a_client_that_is_gone)
{
    vanish_while_fetching("TOP 1 50\r\n", STATUS_OK);
}

Test(pop3_fetch, top_sends_the_lines_asked_for)
{
    int client = begin_with_lines(20);
    for (uint64_t lines = 0; lines <= 22; lines++) {
        ask_top(client, lines);
    }
    end(client);
}

Test(pop3_fetch, top_sends_the_whole_message_for_any_larger_number)
{
    int client = begin_with_lines(20);
    static const uint64_t numbers[] = {100, 99999999, 4294967295, 4294967296, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        ask_top(client, numbers[i]);
    }
    end(client);
}

Test(pop3_fetch, top_wants_a_number_of_lines)
{
    int client = begin_with_lines(1);
    static const char *const wrong[] = {"x", "-1", "+1", "1x", "18446744073709551616"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "TOP 1 %s", wrong[i]);
        ask(client, line, "-ERR number of lines expected");
    }
    ask(client, "TOP 2 1", "-ERR no such message");
    end(client);
}

Test(pop3_fetch, top_of_a_message_without_a_body_is_the_message)
{
    static const char text[] = "Subject: only a header\n";
    int client = begin_with(text, sizeof text - 1);
    for (uint64_t lines = 0; lines <= 2; lines++) {
        ask(client, lines == 0 ? "TOP 1 0" : "TOP 1 7", TOP_HEAD "Subject: only a header\r\n.");
    }
    end(client);
}

Test(pop3_fetch, top_counts_empty_and_dotted_lines_once)
{
    static const char text[] = "A: b\n\n.\n\n..\nlast\n";
    int client = begin_with(text, sizeof text - 1);
    ask(client, "TOP 1 0", TOP_HEAD "A: b\r\n\r\n.");
    ask(client, "TOP 1 1", TOP_HEAD "A: b\r\n\r\n..\r\n.");
    ask(client, "TOP 1 2", TOP_HEAD "A: b\r\n\r\n..\r\n\r\n.");
    ask(client, "TOP 1 3", TOP_HEAD "A: b\r\n\r\n..\r\n\r\n...\r\n.");
    end(client);
}

static void top_large(void)
{
    static const uint64_t numbers[] = {0, 1, 500, 501, 502, 503, 504, 19998, 19999, 20000, 30000};
    int client = begin_with_lines(20000);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        ask_top(client, numbers[i]);
    }
    cr_assert_eq(pop3_of(fixture_session())->top_count, sizeof numbers / sizeof numbers[0]);
    cr_assert_eq(pop3_of(fixture_session())->retr_count, 0);
    end(client);
}

Test(pop3_fetch, top_of_a_large_message_is_exact)
{
    top_large();
}

Test(pop3_fetch, top_of_a_large_message_with_a_large_header_is_exact)
{
    size_t length;
    char *body = make_message(3000, &length);
    size_t room = 40000 + length;
    char *text = malloc(room);
    size_t header = 0;
    while (header < 39000) {
        header += (size_t)snprintf(text + header, room - header, "X-Header: %060zu\n", header);
    }
    memcpy(text + header, body, length);
    int client = begin_with(text, header + length);
    free(body);
    free(text);
    for (uint64_t lines = 0; lines < 2900; lines += 97) {
        ask_top(client, lines);
    }
    end(client);
}

Test(pop3_fetch, top_asks_for_no_more_than_a_piece_at_a_time)
{
    int client = begin_with_lines(20000);
    ask_top(client, 10000);
    cr_assert_leq(fake.fetch_length_max, STORE_INLINE_MAX);
    end(client);
}

Test(pop3_fetch, top_waits_for_each_cold_piece)
{
    int client = begin_with_lines(20000);
    fake.fetch_later = true;
    say(client, "TOP 1 2000\r\nNOOP\r\n");
    size_t length = top_length(2000);
    for (size_t piece = 0; piece * STORE_INLINE_MAX < length; piece++) {
        fixture_settle();
        fake_answer_fetch(STATUS_OK);
    }
    expect_top(client, 2000);
    expect(client, "+OK\r\n");
    end(client);
}

Test(pop3_fetch, top_ends_the_connection_when_a_later_piece_cannot_be_read)
{
    int client = begin_with_lines(20000);
    fake.fetch_later = true;
    say(client, "TOP 1 2000\r\n");
    fixture_settle();
    fake_answer_fetch(STATUS_OK);
    fixture_settle();
    fake_answer_fetch(STATUS_CORRUPT);
    expect(client, TOP_HEAD);
    static char heard[STORE_INLINE_MAX + 1];
    cr_assert_eq(hear(client, heard, sizeof heard), STORE_INLINE_MAX, "no false end");
    end(client);
}

Test(pop3_fetch, top_piece_of_a_client_that_is_gone_is_released)
{
    int client = begin_with_lines(20000);
    say(client, "TOP 1 15000\r\n");
    fixture_settle();
    cr_assert(fixture_session()->producing, "the client does not read");
    end(client);
}
