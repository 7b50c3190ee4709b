/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/pop3_fixture.h"

/* Three messages of 10, 11 and 12 octets as the store tells. */
static int begin(void)
{
    pop3_begin(LOOP_EPOLL);
    for (unsigned i = 0; i < 3; i++) {
        fake_add("A: b\n\nbody\n")->octets = 10 + i;
    }
    return pop3_login_client();
}

Test(pop3_trans, stat_counts_what_is_not_marked)
{
    int client = begin();
    ask(client, "STAT", "+OK 3 33");
    ask(client, "DELE 2", "+OK marked to be deleted");
    ask(client, "STAT", "+OK 2 22");
    ask(client, "RSET", "+OK 3 messages (33 octets)");
    ask(client, "STAT", "+OK 3 33");
    close(client);
    pop3_end();
}

Test(pop3_trans, stat_counts_beyond_32_bits)
{
    pop3_begin(LOOP_EPOLL);
    for (unsigned i = 0; i < 3; i++) {
        fake_add("A: b\n\nbody\n")->octets = 4000000000;
    }
    int client = pop3_login_client();
    ask(client, "STAT", "+OK 3 12000000000");
    close(client);
    pop3_end();
}

Test(pop3_trans, listings_leave_marked_messages_out_and_keep_the_numbers)
{
    int client = begin();
    ask(client, "LIST", "+OK 3 messages (33 octets)\r\n1 10\r\n2 11\r\n3 12\r\n.");
    ask(client, "DELE 2", "+OK marked to be deleted");
    ask(client, "LIST", "+OK 2 messages (22 octets)\r\n1 10\r\n3 12\r\n.");
    ask(client, "UIDL",
        "+OK 2 messages (22 octets)\r\n1 00000001.0000000000000101\r\n"
        "3 00000001.0000000000000103\r\n.");
    ask(client, "LIST 3", "+OK 3 12");
    ask(client, "UIDL 3", "+OK 3 00000001.0000000000000103");
    close(client);
    pop3_end();
}

Test(pop3_trans, listings_of_nothing_are_empty)
{
    int client = begin();
    say(client, "DELE 1\r\nDELE 2\r\nDELE 3\r\nLIST\r\nUIDL\r\nSTAT\r\n");
    for (unsigned i = 0; i < 3; i++) {
        expect(client, "+OK marked to be deleted\r\n");
    }
    expect(client,
           "+OK 0 messages (0 octets)\r\n.\r\n+OK 0 messages (0 octets)\r\n.\r\n+OK 0 0\r\n");
    close(client);
    pop3_end();
}

Test(pop3_trans, a_marked_message_is_refused_everywhere)
{
    int client = begin();
    ask(client, "DELE 2", "+OK marked to be deleted");
    static const char *const commands[] = {"DELE 2", "RETR 2", "TOP 2 0", "LIST 2", "UIDL 2"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        ask(client, commands[i], "-ERR message is marked as deleted");
    }
    ask(client, "STAT", "+OK 2 22");
    close(client);
    pop3_end();
}

Test(pop3_trans, numbers_are_read_strictly)
{
    int client = begin();
    static const char *const wrong[] = {
        "0", "4", "-1", "+1", "1x", "x", "0x1", "4294967297", "18446744073709551617", "1.0"};
    static const char *const verbs[] = {"LIST", "UIDL", "RETR", "DELE"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        for (size_t j = 0; j < sizeof verbs / sizeof verbs[0]; j++) {
            char line[64];
            (void)snprintf(line, sizeof line, "%s %s", verbs[j], wrong[i]);
            ask(client, line, "-ERR no such message");
        }
    }
    ask(client, "LIST 0002", "+OK 2 11");
    ask(client, "list   3  ", "+OK 3 12");
    close(client);
    pop3_end();
}

Test(pop3_trans, noop_is_ok)
{
    int client = begin();
    ask(client, "NOOP", "+OK");
    close(client);
    pop3_end();
}

/* Lists `count` messages, every third marked, and compares with what it should be. */
static void list_many(enum loop_kind kind, uint32_t count, const char *command)
{
    pop3_begin(kind);
    for (uint32_t i = 0; i < count; i++) {
        fake_add("A: b\n\nbody\n")->octets = 7 * (uint64_t)i;
    }
    int client = pop3_login_client();
    size_t room = (size_t)count * 100 + 1000, length = 0;
    char *expected = malloc(room), line[64];
    uint64_t octets = 0;
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i % 3 == 1) {
            (void)snprintf(line, sizeof line, "DELE %u", i + 1);
            ask(client, line, "+OK marked to be deleted");
        } else {
            left++;
            octets += 7 * (uint64_t)i;
        }
    }
    length += (size_t)snprintf(expected, room, "+OK %u messages (%llu octets)\r\n", left,
                               (unsigned long long)octets);
    for (uint32_t i = 0; i < count; i++) {
        if (i % 3 != 1) {
            length +=
                (size_t)(*command == 'L'
                             ? snprintf(expected + length, room - length, "%u %u\r\n", i + 1, 7 * i)
                             : snprintf(expected + length, room - length, "%u %s\r\n", i + 1,
                                        fake.messages[i].uidl));
        }
    }
    (void)snprintf(expected + length, room - length, ".\r\n+OK\r\n");
    say(client, command);
    say(client, "\r\nNOOP\r\n");
    expect(client, expected);
    free(expected);
    close(client);
    pop3_end();
}

Test(pop3_trans, lists_around_every_limit_whole)
{
    static const uint32_t counts[] = {1, 97, 98, 99, 100, 246, 247, 248, 249};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        memset(&fake, 0, sizeof fake);
        list_many(LOOP_EPOLL, counts[i], "LIST");
        memset(&fake, 0, sizeof fake);
        list_many(LOOP_EPOLL, counts[i], "UIDL");
    }
}

/* Each fake message is a file: not more of them than a process may have open. */
Test(pop3_trans, lists_more_than_fits_into_one_block)
{
    list_many(LOOP_EPOLL, 900, "UIDL");
}

Test(pop3_trans, lists_more_than_fits_into_one_block_on_io_uring)
{
    if (loop_probe_uring(NULL) != STATUS_OK) {
        cr_skip_test("no io_uring here");
    }
    list_many(LOOP_IO_URING, 900, "UIDL");
}

Test(pop3_trans, ends_while_a_listing_is_on_its_way)
{
    pop3_begin(LOOP_EPOLL);
    for (unsigned i = 0; i < 900; i++) {
        fake_add("A: b\n\nbody\n");
    }
    int client = pop3_login_client();
    for (unsigned i = 0; i < 50; i++) {
        say(client, "UIDL\r\n");
    }
    fixture_settle();
    cr_assert(fixture_session()->producing || fixture_session()->input_paused);
    close(client);
    pop3_end();
}
