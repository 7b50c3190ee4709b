/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole LMTP sessions over a socket pair, against a store and a user database that answer as the
 * test wants: what cannot be asked of the real ones (a full disk, an unknown outcome, a look-up
 * that takes its time). The contracts faked are storage/store.h and auth/auth.h.
 */
#include "server/lmtp.h"
#include "server/pop3.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTENT_MAX      (1u << 20)
#define TURNS_MAX        5000 /* of the loop until an answer has to be there */
#define TURN_MS          10
#define MESSAGE_MAX      1000 /* SIZE here */
#define RECIPIENTS_MAX   4
#define BAD_COMMANDS_MAX 6

/* --- the fake store --- */

struct store_delivery {
    struct store_client *client;
    const struct store_delivery_events *events;
    void *owner;
};

static struct {
    enum status admits, begin, add, commit, answer; /* what it says when asked */
    size_t add_after;                               /* octets after which `add` is said */
    bool busy;                                      /* each add is answered with STATUS_PENDING */
    bool hold_answer;                               /* a commit is not answered yet */
    bool writable_due, answer_due;
    struct store_delivery *delivery;
    unsigned begun, aborted, committed;
    char sender[512], header[4096];
    uint8_t content[CONTENT_MAX];
    size_t content_length;
    struct store_drop drops[RECIPIENTS_MAX];
    char addresses[RECIPIENTS_MAX][64], orcpts[RECIPIENTS_MAX][64];
    unsigned drop_count;
    uint64_t removed; /* a maildrop's number, 0: none */
} fake;

void store_client_init(struct store_client *client, struct store *store, struct loop *loop,
                       struct post_box *box)
{
    *client = (struct store_client){.loop = loop, .box = box};
}

enum status store_delivery_admits(struct store_client *client)
{
    return fake.admits;
}

enum status store_delivery_begin(struct store_client *client,
                                 const struct store_delivery_info *info,
                                 const struct store_delivery_events *events, void *owner,
                                 struct store_delivery **out_delivery)
{
    if (fake.begin != STATUS_OK) {
        return fake.begin;
    }
    cr_assert_null(fake.delivery, "one message at a time");
    fake.delivery = calloc(1, sizeof *fake.delivery);
    cr_assert_not_null(fake.delivery);
    *fake.delivery = (struct store_delivery){client, events, owner};
    fake.begun++;
    fake.content_length = 0;
    (void)snprintf(fake.sender, sizeof fake.sender, "%s", info->sender);
    (void)snprintf(fake.header, sizeof fake.header, "%.*s", (int)info->header_length, info->header);
    *out_delivery = fake.delivery;
    return STATUS_OK;
}

enum status store_delivery_add(struct store_delivery *delivery, const uint8_t *data, size_t length)
{
    cr_assert_eq(delivery, fake.delivery);
    cr_assert_not(fake.writable_due, "nothing is added before on_writable");
    cr_assert_not(fake.answer_due, "nothing is added behind the commit");
    cr_assert_leq(fake.content_length + length, CONTENT_MAX);
    memcpy(fake.content + fake.content_length, data, length);
    fake.content_length += length;
    if (fake.add != STATUS_OK && fake.content_length > fake.add_after) {
        return fake.add;
    }
    fake.writable_due = fake.busy;
    return fake.busy ? STATUS_PENDING : STATUS_OK;
}

uint64_t store_delivery_bare_lfs(const struct store_delivery *delivery)
{
    uint64_t count = 0;
    cr_assert_eq(delivery, fake.delivery);
    for (size_t i = 0; i < fake.content_length; i++) {
        count += fake.content[i] == '\n' && (i == 0 || fake.content[i - 1] != '\r');
    }
    return count;
}

enum status store_delivery_commit(struct store_delivery *delivery,
                                  const struct store_recipient *recipients, unsigned count)
{
    cr_assert_eq(delivery, fake.delivery);
    cr_assert_not(fake.writable_due, "no commit before on_writable");
    cr_assert(count > 0 && count <= RECIPIENTS_MAX);
    if (fake.commit != STATUS_PENDING) {
        return fake.commit;
    }
    fake.drop_count = count;
    for (unsigned i = 0; i < count; i++) {
        fake.drops[i] = recipients[i].drop;
        (void)snprintf(fake.addresses[i], sizeof fake.addresses[i], "%s", recipients[i].address);
        (void)snprintf(fake.orcpts[i], sizeof fake.orcpts[i], "%s",
                       recipients[i].orcpt != NULL ? recipients[i].orcpt : "");
    }
    fake.committed++;
    fake.answer_due = true;
    return STATUS_PENDING;
}

void store_delivery_abort(struct store_delivery **delivery)
{
    cr_assert_eq(*delivery, fake.delivery);
    cr_assert_not(fake.answer_due, "a commit is waited for");
    free(*delivery);
    *delivery = fake.delivery = NULL;
    fake.writable_due = false;
    fake.aborted++;
}

bool store_drop_is_removed(struct store_client *client, const struct store_drop *drop)
{
    return fake.removed != 0 && drop->id == fake.removed;
}

/* What the store has to say by itself, outside of any call. */
static void run_fake_store(void)
{
    if (fake.writable_due) {
        fake.writable_due = false;
        fake.delivery->events->on_writable(fake.delivery->owner);
    }
    if (fake.answer_due && !fake.hold_answer) {
        struct store_delivery *delivery = fake.delivery;
        fake.answer_due = false;
        fake.delivery = NULL;
        delivery->events->on_done(delivery->owner, fake.answer, 0x1234);
        free(delivery);
    }
}

/* --- the fake user database --- */

static struct auth_lookup *lookup_due;
static unsigned lookups_cancelled;

void auth_client_init(struct auth_client *client, struct auth *auth, struct loop *loop,
                      struct post_box *box)
{
    *client = (struct auth_client){.loop = loop, .box = box};
}

/* "userN" is there as maildrop N, and so is "laterN", after a while. */
enum status auth_find_recipient(struct auth_lookup *lookup, const char *address, size_t length)
{
    if (length >= 10 && memcmp(address + length - 10, "@elsewhere", 10) == 0) {
        return STATUS_DENIED;
    }
    if (memcmp(address, "broken", length < 6 ? length : 6) == 0) {
        return STATUS_IO;
    }
    (void)snprintf(lookup->identity.name, sizeof lookup->identity.name, "%.*s@localhost",
                   (int)length, address);
    if (length == 5 && memcmp(address, "user", 4) == 0) {
        lookup->identity.drop = (struct store_drop){0, (uint64_t)(address[4] - '0')};
        return STATUS_OK;
    }
    if (length == 6 && memcmp(address, "later", 5) == 0) {
        lookup->identity.drop = (struct store_drop){0, (uint64_t)(address[5] - '0')};
        lookup_due = lookup;
        return STATUS_PENDING;
    }
    return STATUS_NOT_FOUND;
}

void auth_lookup_clear(struct auth_lookup *lookup)
{
    free(lookup->others);
    lookup->others = NULL;
    lookup->other_count = 0;
}

void auth_lookup_cancel(struct auth_lookup *lookup)
{
    cr_assert_eq(lookup, lookup_due);
    lookup_due = NULL;
    lookups_cancelled++;
}

/* The worker's other protocol is not part of this program. */
const struct session_protocol pop3_protocol = {.name = "pop3"};

/* --- a session --- */

static struct config config = {
    .hostname = "mail.example",
    .pop3 = {.stall_timeout_s = 600},
    .lmtp = {.idle_timeout_s = 300,
             .recipients_max = RECIPIENTS_MAX,
             .bad_commands = BAD_COMMANDS_MAX,
             .message_octets_max = MESSAGE_MAX},
};
static struct config_listener listener_config = {.name = "lmtp", .protocol = CONFIG_LMTP};
static struct worker worker;
static struct worker_listener listener;
static int client = -1;
static char replies[65536]; /* not yet looked at */
static size_t replies_length;
static bool peer_closed;

static void connect_from(const char *peer_text)
{
    struct address peer = {0}, local = {0};
    int pair[2];
    cr_assert_eq(address_parse(peer_text, &peer), STATUS_OK);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    client = pair[0];
    replies_length = 0;
    peer_closed = false;
    session_accept(&listener, pair[1], &peer, &local);
}

static void set_up(void)
{
    struct loop_config loop_config = {.kind = LOOP_EPOLL};
    struct error error;
    memset(&fake, 0, sizeof fake);
    fake.commit = STATUS_PENDING;
    worker = (struct worker){.config = &config};
    list_init(&worker.sessions);
    cr_assert_eq(loop_create(&loop_config, &worker.loop, &error), STATUS_OK);
    conn_host_init(&worker.host, worker.loop);
    listener = (struct worker_listener){
        .config = &listener_config, .protocol = &lmtp_protocol, .worker = &worker};
    connect_from("127.0.0.1:25000");
}

static void turn(void)
{
    loop_turn(worker.loop,
              fake.writable_due || fake.answer_due || lookup_due != NULL ? 0 : TURN_MS);
    run_fake_store();
    if (lookup_due != NULL) {
        struct auth_lookup *lookup = lookup_due;
        lookup_due = NULL;
        lookup->on_done(lookup, STATUS_OK);
    }
    ssize_t got = recv(client, replies + replies_length, sizeof replies - replies_length - 1, 0);
    if (got > 0) {
        replies_length += (size_t)got;
    }
    peer_closed |= got == 0;
    replies[replies_length] = '\0';
}

static void hang_up(void)
{
    (void)close(client); /* nothing is left to be read */
    client = -1;
}

static void tear_down(void)
{
    if (client >= 0) {
        hang_up();
    }
    for (unsigned i = 0; i < TURNS_MAX && worker.session_count > 0; i++) {
        loop_turn(worker.loop, TURN_MS);
        run_fake_store();
    }
    cr_assert_eq(worker.session_count, 0);
    cr_assert_null(fake.delivery);
    for (unsigned i = 0; i < WORKER_POOLS_MAX; i++) {
        if (worker.pools[i].item_size != 0) {
            mem_pool_deinit(&worker.pools[i]);
        }
    }
    conn_host_deinit(&worker.host);
    loop_destroy(&worker.loop);
    config.lmtp.refuse_bare_lf = false;
    listener_config.allow_count = 0;
}

TestSuite(lmtp, .init = set_up, .fini = tear_down, .timeout = 60);

static void send_octets(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(client, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        } else {
            turn();
        }
    }
}

static void say(const char *text)
{
    send_octets(text, strlen(text));
}

/* Demands reply lines that begin with what stands between the bars of `expected`, and no more. */
static void expect(const char *expected)
{
    const char *want = expected;
    while (*want != '\0') {
        size_t length = strcspn(want, "|");
        char *end = NULL;
        for (unsigned i = 0; i < TURNS_MAX && end == NULL; i++) {
            end = memmem(replies, replies_length, "\r\n", 2);
            if (end == NULL) {
                cr_assert_not(peer_closed, "closed before %s", want);
                turn();
            }
        }
        cr_assert_not_null(end, "no answer for %s", want);
        cr_assert(strncmp(replies, want, length) == 0, "%.*s instead of %s", (int)(end - replies),
                  replies, want);
        replies_length -= (size_t)(end + 2 - replies);
        memmove(replies, end + 2, replies_length + 1);
        want += length + (want[length] == '|');
    }
    cr_assert_eq(replies_length, 0, "nothing more than %s: %s", expected, replies);
}

static void expect_closed(void)
{
    for (unsigned i = 0; i < TURNS_MAX && !peer_closed; i++) {
        turn();
    }
    cr_assert(peer_closed);
    cr_assert_eq(replies_length, 0, "%s", replies);
}

static void greet(void)
{
    expect("220 mail.example");
    say("LHLO client.test\r\n");
    expect("250-mail.example|250-PIPELINING|250-ENHANCEDSTATUSCODES|250-8BITMIME|250-SMTPUTF8|"
           "250-CHUNKING|250 SIZE 1000");
}

static void begin(void)
{
    greet();
    say("MAIL FROM:<a@client.test>\r\nRCPT TO:<user1>\r\n");
    expect("250 2.1.0|250 2.1.5");
}

static void expect_content(const char *content)
{
    cr_assert_eq(fake.content_length, strlen(content), "%.*s", (int)fake.content_length,
                 fake.content);
    cr_assert_eq(memcmp(fake.content, content, fake.content_length), 0);
}

/* --- commands --- */

Test(lmtp, answers_the_small_commands)
{
    greet();
    say("NOOP\r\nnoop x y\r\nVRFY a\r\nHELP\r\nRSET\r\nQUIT\r\n");
    expect("250 2.0.0|250 2.0.0|252 2.5.0|214 2.0.0|250 2.0.0|221 2.0.0");
    expect_closed();
}

Test(lmtp, refuses_the_greetings_of_smtp_and_what_it_does_not_know)
{
    expect("220 ");
    say("HELO client.test\r\nEHLO client.test\r\n\r\nMAILX\r\nLHLO\r\nLHLO a b\r\nRSET x\r\n");
    expect("500 5.5.1|500 5.5.1|500 5.5.1|500 5.5.1|501 5.5.4|501 5.5.4|501 5.5.4");
    send_octets("NOOP\0\r\n", 7);
    expect("500 5.5.2");
}

Test(lmtp, ends_a_session_that_says_nothing_it_knows)
{
    greet();
    for (unsigned i = 1; i < BAD_COMMANDS_MAX; i++) {
        say("nonsense\r\n");
        expect("500 5.5.1");
    }
    say("NOOP\r\n"); /* the count begins again */
    expect("250 2.0.0");
    for (unsigned i = 1; i < BAD_COMMANDS_MAX; i++) {
        say("nonsense\r\n");
        expect("500 5.5.1");
    }
    say("nonsense\r\nNOOP\r\n");
    expect("421 4.7.0");
    expect_closed();
}

Test(lmtp, holds_to_the_order_of_commands)
{
    expect("220 ");
    say("MAIL FROM:<a@b>\r\nRCPT TO:<user1>\r\nDATA\r\nRSET\r\n");
    expect("503 5.5.1|503 5.5.1|503 5.5.1|250 2.0.0");
    say("LHLO client.test\r\n");
    expect("250-|250-|250-|250-|250-|250-|250 SIZE");
    say("RCPT TO:<user1>\r\nDATA\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nDATA\r\n");
    expect("503 5.5.1|503 5.5.1|250 2.1.0|503 5.5.1|503 5.5.1");
    say("RCPT TO:<nobody>\r\nDATA\r\nRSET\r\nRCPT TO:<user1>\r\n");
    expect("550 5.1.1|503 5.5.1|250 2.0.0|503 5.5.1");
}

Test(lmtp, answers_for_each_recipient_what_the_look_up_says)
{
    greet();
    say("MAIL FROM:<>\r\nRCPT TO:<nobody>\r\nRCPT TO:<a@elsewhere>\r\nRCPT TO:<broken>\r\n"
        "RCPT TO:<>\r\nRCPT user1\r\nRCPT TO:<user1> X=1\r\nRCPT TO:<later2>\r\nRCPT TO:<user1>\r\n"
        "RCPT TO:<\xc3\xbc>\r\n");
    expect("250 2.1.0|550 5.1.1|550 5.1.2|451 4.3.0|501 5.1.3|501 5.5.4|555 5.5.4|250 2.1.5|"
           "250 2.1.5|553 5.6.7");
}

Test(lmtp, refuses_sizes_and_parameters_at_mail)
{
    greet();
    say("MAIL FROM:<a@b> SIZE=1001\r\nMAIL FROM:<a@b> SIZE=x\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\n"
        "MAIL FROM:<a b>\r\nMAIL TO:<a@b>\r\nMAIL FROM:<a@b> SIZE=1000 BODY=8BITMIME SMTPUTF8\r\n");
    expect("552 5.3.4|501 5.5.4|555 5.5.4|501 5.1.7|501 5.5.4|250 2.1.0");
}

Test(lmtp, takes_no_more_recipients_than_it_may)
{
    begin();
    for (unsigned i = 1; i < RECIPIENTS_MAX; i++) {
        say("RCPT TO:<user1>\r\n");
        expect("250 2.1.5");
    }
    say("RCPT TO:<user2>\r\nRCPT TO:<nobody>\r\n");
    expect("452 4.5.3|452 4.5.3");
}

Test(lmtp, refuses_recipients_while_the_store_takes_no_mail)
{
    greet();
    fake.admits = STATUS_NO_SPACE;
    say("MAIL FROM:<a@b>\r\nRCPT TO:<user1>\r\n");
    expect("250 2.1.0|452 4.3.1");
    fake.admits = STATUS_READ_ONLY;
    say("RCPT TO:<user1>\r\nDATA\r\n");
    expect("451 4.3.0|503 5.5.1");
}

/* --- messages --- */

Test(lmtp, delivers_with_trace_headers_and_answers_once_for_each_recipient)
{
    greet();
    say("MAIL FROM:<a@client.test>\r\nRCPT TO:<user2> ORCPT=rfc822;x@y\r\nRCPT TO:<nobody>\r\n"
        "RCPT TO:<user1>\r\nRCPT TO:<user2>\r\nDATA\r\nSubject: "
        "x\r\n\r\n..\r\nend\r\n.\r\nNOOP\r\n");
    expect("250 2.1.0|250 2.1.5|550 5.1.1|250 2.1.5|250 2.1.5|354|250 2.0.0|250 2.0.0|250 2.0.0|"
           "250 2.0.0");
    expect_content("Subject: x\r\n\r\n.\r\nend\r\n");
    cr_assert_str_eq(fake.sender, "a@client.test");
    cr_assert_eq(
        strncmp(fake.header, "Return-Path: <a@client.test>\r\nReceived: from client.test ", 56), 0,
        "%s", fake.header);
    cr_assert_null(strstr(fake.header, "for <"));
    cr_assert_eq(fake.drop_count, 2);
    cr_assert(fake.drops[0].id == 2 && fake.drops[1].id == 1);
    cr_assert_str_eq(fake.orcpts[0], "rfc822;x@y");
    cr_assert_str_eq(fake.orcpts[1], "");
    say("DATA\r\n");
    expect("503 5.5.1");
    cr_assert_eq(counter_read(&worker.counters.deliveries), 1);
    cr_assert_eq(counter_read(&worker.counters.delivery_recipients), 3);
}

Test(lmtp, gets_the_same_one_octet_at_a_time_from_a_busy_store)
{
    static const char text[] = "LHLO client.test\r\nMAIL FROM:<a@b>\r\nRCPT TO:<later1>\r\nDATA\r\n"
                               ".\r.\r\n..\r\n.a\n.\n\r\n.\r\nNOOP\r\n";
    expect("220 ");
    fake.busy = true;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        send_octets(text + i, 1);
        turn();
    }
    expect("250-|250-|250-|250-|250-|250-|250 SIZE|250 2.1.0|250 2.1.5|354|250 2.0.0|250 2.0.0");
    expect_content("\r.\r\n.\r\na\n.\n\r\n");
    cr_assert_eq(counter_read(&worker.counters.bare_lf_messages), 1);
}

Test(lmtp, holds_input_back_while_the_store_is_busy)
{
    begin();
    fake.busy = true;
    say("DATA\r\n.a\r\n.b\r\n.c\r\n.d\r\n.\r\nRSET\r\nBDAT 2 LAST\r\nxxNOOP\r\n");
    expect("354|250 2.0.0|250 2.0.0|503 5.5.1|250 2.0.0");
    expect_content("a\r\nb\r\nc\r\nd\r\n");
}

/* What the store says, at each step, and what the client is told. */
Test(lmtp, tells_each_recipient_what_went_wrong)
{
    static const struct {
        enum status status;
        const char *reply;
    } cases[] = {{STATUS_NO_SPACE, "452 4.3.1"},  {STATUS_READ_ONLY, "451 4.3.0"},
                 {STATUS_UNKNOWN, "451 4.3.0"},   {STATUS_NO_MEMORY, "451 4.3.0"},
                 {STATUS_NOT_FOUND, "550 5.1.1"}, {STATUS_TOO_BIG, "552 5.3.4"},
                 {STATUS_IO, "451 4.3.0"}};
    greet();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned step = 0; step < 3; step++) {
            fake.add = step == 0 ? cases[i].status : STATUS_OK;
            fake.commit = step == 1 ? cases[i].status : STATUS_PENDING;
            fake.answer = step == 2 ? cases[i].status : STATUS_OK;
            say("MAIL FROM:<a@b>\r\nRCPT TO:<user1>\r\nRCPT "
                "TO:<user2>\r\nDATA\r\na\r\n.b\r\n.\r\n");
            char replies_expected[64];
            (void)snprintf(replies_expected, sizeof replies_expected,
                           "250 2.1.0|250 2.1.5|250 2.1.5|354|%s|%s", cases[i].reply,
                           cases[i].reply);
            expect(replies_expected);
        }
    }
    cr_assert_eq(counter_read(&worker.counters.deliveries), 0);
}

Test(lmtp, tells_a_recipient_whose_maildrop_is_gone_and_the_others_the_truth)
{
    begin();
    say("RCPT TO:<user2>\r\nRCPT TO:<user3>\r\nDATA\r\nhi\r\n");
    expect("250 2.1.5|250 2.1.5|354 ");
    fake.removed = 2;
    say(".\r\nQUIT\r\n");
    expect("250 2.0.0|550 5.1.1|250 2.0.0|221 2.0.0");
    expect_closed();
    cr_assert_eq(counter_read(&worker.counters.delivery_recipients), 2);
}

Test(lmtp, refuses_data_when_the_store_takes_no_message)
{
    begin();
    fake.begin = STATUS_NO_SPACE;
    say("DATA\r\nNOOP\r\n");
    expect("452 4.3.1|250 2.0.0");
    fake.begin = STATUS_READ_ONLY;
    say("DATA\r\n");
    expect("451 4.3.0");
    fake.begin = STATUS_OK;
    say("DATA\r\n.\r\n");
    expect("354|250 2.0.0");
    expect_content("");
}

Test(lmtp, reads_a_message_over_the_limit_to_its_end)
{
    begin();
    say("RCPT TO:<user2>\r\nDATA\r\n");
    expect("250 2.1.5|354");
    for (unsigned i = 0; i < 5000; i++) {
        say("QUIT\r\n");
    }
    say(".\r\nNOOP\r\n");
    expect("552 5.3.4|552 5.3.4|250 2.0.0");
    cr_assert_eq(fake.aborted, 1);
}

/* RFC 1870 section 3: dots put in for the transport and the end do not count. */
Test(lmtp, counts_the_octets_of_the_message_itself)
{
    greet();
    for (unsigned more = 0; more < 2; more++) {
        say("MAIL FROM:<a@b>\r\nRCPT TO:<user1>\r\nDATA\r\n");
        expect("250 2.1.0|250 2.1.5|354");
        for (unsigned i = 0; i < MESSAGE_MAX / 10; i++) {
            say("..2345678\r\n");
        }
        say(more > 0 ? "\r\n.\r\n" : ".\r\n");
        expect(more > 0 ? "552 5.3.4" : "250 2.0.0");
    }
}

Test(lmtp, refuses_bare_line_feeds_where_it_is_set_to)
{
    config.lmtp.refuse_bare_lf = true;
    begin();
    say("DATA\r\na\nb\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<user1>\r\nBDAT 3 LAST\r\na\nb");
    expect("354|550 5.6.0|250 2.1.0|250 2.1.5|550 5.6.0");
    cr_assert_eq(fake.committed, 0);
}

/* --- chunks --- */

Test(lmtp, takes_chunks_as_they_are)
{
    begin();
    say("BDAT 4\r\n.\r\n.BDAT 0\r\nBDAT 7\r\n\r\n.\r\nxxDATA\r\nBDAT 0 LAST\r\n");
    expect("250 2.0.0|250 2.0.0|250 2.0.0|503 5.5.1|250 2.0.0");
    expect_content(".\r\n.\r\n.\r\nxx");
    cr_assert_eq(counter_read(&worker.counters.bare_lf_messages), 0);
}

Test(lmtp, takes_chunks_one_octet_at_a_time_from_a_busy_store)
{
    static const char text[] = "BDAT 3\r\na\r\nBDAT 3\r\nb\r\nBDAT 2 LAST\r\ncdNOOP\r\n";
    begin();
    fake.busy = true;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        send_octets(text + i, 1);
        turn();
    }
    expect("250 2.0.0|250 2.0.0|250 2.0.0|250 2.0.0");
    expect_content("a\r\nb\r\ncd");
}

Test(lmtp, reads_over_refused_chunks_and_those_behind_them)
{
    expect("220 ");
    say("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nBDAT 5 FIRST\r\nQUIT\nBDAT "
        "x\r\nBDAT\r\nNOOP\r\n");
    expect("503 5.5.1|503 5.5.1|501 5.5.4|501 5.5.4|501 5.5.4|250 2.0.0");
}

Test(lmtp, refuses_chunks_over_the_limit_and_those_behind_them)
{
    char chunk[1002];
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "QUIT\r\nQUIT\r\n", 12);
    begin();
    say("RCPT TO:<user2>\r\nBDAT 999\r\n");
    send_octets(chunk, 999);
    say("BDAT 2\r\n\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\nBDAT 1001 LAST\r\n");
    send_octets(chunk, 1001);
    say("BDAT 18446744073709551615 LAST\r\nQUIT\r\nQUIT\r\n");
    expect("250 2.1.5|250 2.0.0|552 5.3.4|552 5.3.4|552 5.3.4|552 5.3.4|250 2.0.0|503 5.5.1|"
           "503 5.5.1");
}

Test(lmtp, answers_a_chunk_that_fails_half_way_at_its_end)
{
    begin();
    fake.add = STATUS_NO_SPACE;
    say("BDAT 12\r\nQUIT\r\n");
    turn();
    say("QUIT\r\nBDAT 6\r\nQUIT\r\nRSET\r\nMAIL FROM:<a@b>\r\n");
    expect("452 4.3.1|452 4.3.1|250 2.0.0|250 2.1.0");
    cr_assert_eq(fake.aborted, 1);
}

Test(lmtp, forgets_chunks_at_rset)
{
    begin();
    say("BDAT 2\r\nxxRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<user1>\r\nBDAT 2 LAST\r\nyy");
    expect("250 2.0.0|250 2.0.0|250 2.1.0|250 2.1.5|250 2.0.0");
    expect_content("yy");
    cr_assert(fake.begun == 2 && fake.aborted == 1 && fake.committed == 1);
}

/* --- the end --- */

static void wait_for_end(void)
{
    for (unsigned i = 0; i < TURNS_MAX && worker.session_count > 0; i++) {
        loop_turn(worker.loop, TURN_MS);
        run_fake_store();
    }
    cr_assert_eq(worker.session_count, 0);
}

Test(lmtp, delivers_nothing_when_the_peer_goes_inside_the_message)
{
    begin();
    say("DATA\r\nhalf\r\n.\r");
    expect("354");
    hang_up();
    wait_for_end();
    cr_assert(fake.begun == 1 && fake.aborted == 1 && fake.committed == 0);
}

Test(lmtp, delivers_nothing_when_the_peer_stops_sending_inside_the_message)
{
    begin();
    say("DATA\r\nhalf\r\n");
    expect("354");
    cr_assert_eq(shutdown(client, SHUT_WR), 0);
    expect_closed();
    cr_assert(fake.aborted == 1 && fake.committed == 0);
}

Test(lmtp, lets_the_delivery_go_on_when_the_peer_goes_behind_the_end)
{
    begin();
    fake.hold_answer = true;
    say("DATA\r\nwhole\r\n.\r\n");
    expect("354");
    for (unsigned i = 0; i < TURNS_MAX && fake.committed == 0; i++) {
        turn();
    }
    hang_up();
    for (unsigned i = 0; i < TURNS_MAX && !list_empty(&worker.sessions); i++) {
        loop_turn(worker.loop, TURN_MS);
    }
    cr_assert_eq(worker.session_count, 1, "waiting to log the answer");
    fake.hold_answer = false;
    wait_for_end();
    cr_assert(fake.committed == 1 && fake.aborted == 0);
    cr_assert_eq(counter_read(&worker.counters.deliveries), 1);
}

Test(lmtp, finishes_the_message_under_way_when_the_server_drains)
{
    begin();
    say("DATA\r\n");
    expect("354");
    worker.draining = true;
    session_drain(list_entry(worker.sessions.next, struct session, link));
    turn();
    say("whole\r\n.\r\nMAIL FROM:<a@b>\r\n");
    expect("250 2.0.0|421 4.3.2");
    expect_closed();
}

Test(lmtp, goes_at_once_when_the_server_drains_between_messages)
{
    greet();
    worker.draining = true;
    session_drain(list_entry(worker.sessions.next, struct session, link));
    expect("421 4.3.2");
    expect_closed();
}

Test(lmtp, says_why_before_it_closes_an_idle_session)
{
    begin();
    struct session *session = list_entry(worker.sessions.next, struct session, link);
    session->active_ms -= session->idle_timeout_ms;
    deadline_arm(loop_wheel(worker.loop), &session->idle, loop_now_ms(worker.loop));
    expect("421 4.4.2");
    expect_closed();
}

Test(lmtp, tells_in_the_header_where_a_message_came_from)
{
    static const struct {
        const char *peer, *told;
    } peers[] = {{"127.0.0.1:25000", " ([127.0.0.1])\r\n"},
                 {"[::1]:25000", " ([IPv6:::1])\r\n"},
                 {"unix:/run/lmtp.sock", " (unix)\r\n"}};
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        hang_up();
        connect_from(peers[i].peer);
        begin();
        say("DATA\r\n.\r\n");
        expect("354|250 2.0.0 Delivered, uid 0000000000001234");
        cr_assert_not_null(strstr(fake.header, peers[i].told), "%s", fake.header);
    }
}

Test(lmtp, turns_peers_away_that_are_not_named)
{
    hang_up();
    connect_from("192.0.2.7:25000");
    expect("554 5.7.1");
    expect_closed();
    hang_up();
    cr_assert_eq(address_network_parse("192.0.2.0/24", 12, &listener_config.allow[0]), STATUS_OK);
    listener_config.allow_count = 1;
    connect_from("192.0.2.7:25000");
    expect("220 ");
    hang_up();
    connect_from("127.0.0.1:25000");
    expect("554 5.7.1");
    hang_up();
    connect_from("unix:/run/lmtp.sock");
    expect("220 ");
}
