/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lmtp_address.h"

#include "server/server_limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies into a block of exactly the right size, so that a sanitizer sees every read beyond it. */
static struct command_word exact(const char *text, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, length);
    return (struct command_word){copy, length};
}

static void drop(struct command_word word)
{
    free((void *)(uintptr_t)word.data);
}

static void expect_sender(const char *rest, const char *sender)
{
    struct command_word word = exact(rest, strlen(rest));
    struct lmtp_mail mail;
    enum lmtp_syntax syntax = lmtp_parse_mail(word, &mail);
    cr_assert_eq(syntax, LMTP_SYNTAX_OK, "%s: %d", rest, (int)syntax);
    cr_assert_eq(mail.sender.length, strlen(sender), "%s", rest);
    cr_assert_eq(memcmp(mail.sender.data, sender, mail.sender.length), 0, "%s", rest);
    drop(word);
}

static void expect_mail(const char *rest, enum lmtp_syntax expected)
{
    struct command_word word = exact(rest, strlen(rest));
    struct lmtp_mail mail;
    enum lmtp_syntax syntax = lmtp_parse_mail(word, &mail);
    cr_assert_eq(syntax, expected, "%s: %d", rest, (int)syntax);
    drop(word);
}

static void expect_rcpt(const char *rest, bool utf8, enum lmtp_syntax expected)
{
    struct command_word word = exact(rest, strlen(rest));
    struct lmtp_rcpt rcpt;
    enum lmtp_syntax syntax = lmtp_parse_rcpt(word, utf8, &rcpt);
    cr_assert_eq(syntax, expected, "%s: %d", rest, (int)syntax);
    drop(word);
}

Test(lmtp_address, reads_plain_and_empty_senders)
{
    expect_sender("FROM:<a@client.test>", "a@client.test");
    expect_sender("from:<a.b+c@client.test>", "a.b+c@client.test");
    expect_sender("FROM:<>", "");
    expect_sender("FROM:<root>", "root");
    expect_sender("FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]");
    expect_sender("FROM:<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]");
}

Test(lmtp_address, forgives_spaces_and_dots_that_are_in_use)
{
    expect_sender("FROM: <a@client.test>", "a@client.test");
    expect_sender("FROM:<a@client.test>  ", "a@client.test");
    expect_sender("FROM:<a@client.test>   SIZE=1  SMTPUTF8 ", "a@client.test");
    expect_sender("FROM:<.a..b.@client.test>", ".a..b.@client.test");
    expect_sender("FROM:<a@under_score.test>", "a@under_score.test");
}

Test(lmtp_address, reads_quoted_local_parts)
{
    expect_sender("FROM:<\"odd name\"@client.test>", "\"odd name\"@client.test");
    expect_sender("FROM:<\"a>b\"@client.test>", "\"a>b\"@client.test");
    expect_sender("FROM:<\"a\\\"@b\"@client.test>", "\"a\\\"@b\"@client.test");
    expect_sender("FROM:<\"\"@client.test>", "\"\"@client.test");
    expect_mail("FROM:<\"@client.test>", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\"a\\\">", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\"a\\", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\"a\"b@client.test>", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\"a\x01\"@client.test>", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\"a\\\x7f\"@client.test>", LMTP_SYNTAX_ADDRESS);
}

Test(lmtp_address, drops_source_routes)
{
    expect_sender("FROM:<@relay.test:a@client.test>", "a@client.test");
    expect_sender("FROM:<@relay.test,@other.test:a@client.test>", "a@client.test");
    expect_mail("FROM:<@relay.test>", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<@relay.test,:a@b>", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<@:a@b>", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<@relay.test:>", LMTP_SYNTAX_ADDRESS);
}

Test(lmtp_address, refuses_malformed_paths)
{
    static const char *const malformed[] = {
        "FROM:<",       "FROM:<a",       "FROM:<a@",     "FROM:<a@>",    "FROM:<@>",
        "FROM:<a@b",    "FROM:<a b@c>",  "FROM:<a@b c>", "FROM:<a@b@c>", "FROM:<a@.b>",
        "FROM:<a@b.>",  "FROM:<a@b..c>", "FROM:<a@[]>",  "FROM:<a@[b>",  "FROM:<a@[b[]>",
        "FROM:<<a@b>",  "FROM:< a@b>",   "FROM:<a@b\t>", "FROM:<a\r@b>", "FROM:<a\n@b>",
        "FROM:<(a)@b>", "FROM:<a,b@c>",  "FROM:<a;b@c>"};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        expect_mail(malformed[i], LMTP_SYNTAX_ADDRESS);
    }
}

Test(lmtp_address, refuses_commands_without_a_path)
{
    static const char *const commands[] = {"",         "F",         "FROM",     "FROM:",
                                           "FROM: ",   "FROM:a@b>", "FROM:a@b", "FROM <a@b>",
                                           "TO:<a@b>", "<a@b>"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        expect_mail(commands[i], LMTP_SYNTAX_COMMAND);
    }
    expect_rcpt("someone", false, LMTP_SYNTAX_COMMAND);
    expect_rcpt("TO:", false, LMTP_SYNTAX_COMMAND);
    expect_rcpt("FROM:<a@b>", false, LMTP_SYNTAX_COMMAND);
}

Test(lmtp_address, refuses_a_nul_anywhere)
{
    static const char text[] = "FROM:<a@client.test> SIZE=10";
    struct lmtp_mail mail;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        struct command_word word = exact(text, sizeof text - 1);
        ((char *)(uintptr_t)word.data)[i] = '\0';
        cr_assert_neq(lmtp_parse_mail(word, &mail), LMTP_SYNTAX_OK, "at %zu", i);
        drop(word);
    }
}

Test(lmtp_address, accepts_whole_commands_and_none_of_their_beginnings)
{
    static const char text[] = "FROM:<@r.test:\"a b\"@client.test> SIZE=10 RET=FULL";
    struct lmtp_mail mail;
    size_t path = strcspn(text, ">") + 1;
    for (size_t length = 0; length < path; length++) {
        struct command_word word = exact(text, length);
        cr_assert_neq(lmtp_parse_mail(word, &mail), LMTP_SYNTAX_OK, "at %zu", length);
        drop(word);
    }
    expect_mail(text, LMTP_SYNTAX_OK);
}

Test(lmtp_address, holds_addresses_to_their_limits)
{
    char text[1024];
    struct lmtp_mail mail;
    for (unsigned length = LMTP_ADDRESS_LEN_MAX - 1; length <= LMTP_ADDRESS_LEN_MAX + 1; length++) {
        int written =
            snprintf(text, sizeof text, "FROM:<%0*u@%0*u>", (int)length - 101, 1u, 100, 1u);
        struct command_word word = exact(text, (size_t)written);
        enum lmtp_syntax syntax = lmtp_parse_mail(word, &mail);
        cr_assert_eq(syntax == LMTP_SYNTAX_OK, length <= LMTP_ADDRESS_LEN_MAX, "%u", length);
        drop(word);
    }
    (void)snprintf(text, sizeof text, "FROM:<a@%0*u>", LMTP_DOMAIN_LEN_MAX, 1u);
    expect_mail(text, LMTP_SYNTAX_OK);
    (void)snprintf(text, sizeof text, "FROM:<a@%0*u>", LMTP_DOMAIN_LEN_MAX + 1, 1u);
    expect_mail(text, LMTP_SYNTAX_ADDRESS);
}

static uint64_t size_of(const char *value)
{
    char text[128];
    struct lmtp_mail mail = {0};
    int length = snprintf(text, sizeof text, "FROM:<a@b> SIZE=%s", value);
    struct command_word word = exact(text, (size_t)length);
    cr_assert_eq(lmtp_parse_mail(word, &mail), LMTP_SYNTAX_OK, "%s", value);
    drop(word);
    return mail.size;
}

Test(lmtp_address, reads_sizes_strictly)
{
    cr_assert_eq(size_of("0"), 0);
    cr_assert_eq(size_of("0012"), 12);
    cr_assert_eq(size_of("18446744073709551615"), UINT64_MAX);
    cr_assert_eq(size_of("18446744073709551616"), UINT64_MAX);
    cr_assert_eq(size_of("99999999999999999999999"), UINT64_MAX);
    expect_mail("FROM:<a@b> SIZE=", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> SIZE", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> SIZE=-1", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> SIZE=+1", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> SIZE=1x", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> SIZE=1 SIZE=1", LMTP_SYNTAX_PARAMETER);
}

Test(lmtp_address, knows_the_parameters_of_mail)
{
    struct lmtp_mail mail;
    struct command_word word = {"FROM:<a@b> smtputf8 body=8BitMime", 33};
    cr_assert_eq(lmtp_parse_mail(word, &mail), LMTP_SYNTAX_OK);
    cr_assert(mail.utf8);
    expect_mail("FROM:<a@b> BODY=7BIT RET=HDRS ENVID=QQ314159", LMTP_SYNTAX_OK);
    expect_mail("FROM:<a@b> ENVID=a+2Bb", LMTP_SYNTAX_OK);
    expect_mail("FROM:<a@b> ENVID=a+2", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> ENVID=a+zz", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> RET=SOME", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> SMTPUTF8=1", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> BODY=BINARYMIME", LMTP_SYNTAX_UNKNOWN_PARAMETER);
    expect_mail("FROM:<a@b> COLOUR=red", LMTP_SYNTAX_UNKNOWN_PARAMETER);
    expect_mail("FROM:<a@b> NOTIFY=NEVER", LMTP_SYNTAX_UNKNOWN_PARAMETER);
    expect_mail("FROM:<a@b> =", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b>SIZE=1", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> SIZE=1=2", LMTP_SYNTAX_PARAMETER);
    expect_mail("FROM:<a@b> <c@d>", LMTP_SYNTAX_PARAMETER);
}

Test(lmtp_address, takes_utf8_only_with_smtputf8)
{
    expect_sender("FROM:<\xc3\xbcser@b\xc3\xbc"
                  "cher.test> SMTPUTF8",
                  "\xc3\xbcser@b\xc3\xbc"
                  "cher.test");
    expect_mail("FROM:<\xc3\xbcser@b.test>", LMTP_SYNTAX_NOT_ASCII);
    expect_mail("FROM:<\xfcser@b.test> SMTPUTF8", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\xc3> SMTPUTF8", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\xc0\xbc@b.test> SMTPUTF8", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\xed\xa0\x80@b.test> SMTPUTF8", LMTP_SYNTAX_ADDRESS);
    expect_mail("FROM:<\xc2\x85@b.test> SMTPUTF8", LMTP_SYNTAX_ADDRESS);
    expect_rcpt("TO:<\xc3\xbcser@b.test>", true, LMTP_SYNTAX_OK);
    expect_rcpt("TO:<\xc3\xbcser@b.test>", false, LMTP_SYNTAX_NOT_ASCII);
}

Test(lmtp_address, refuses_the_empty_recipient)
{
    expect_rcpt("TO:<>", false, LMTP_SYNTAX_ADDRESS);
    expect_rcpt("TO:<postmaster>", false, LMTP_SYNTAX_OK);
    expect_rcpt("TO:<a@b>", false, LMTP_SYNTAX_OK);
}

Test(lmtp_address, keeps_orcpt_as_given)
{
    static const char text[] = "TO:<a@b> NOTIFY=success,DELAY ORCPT=rfc822;a+2Bb@c.test";
    struct lmtp_rcpt rcpt;
    cr_assert_eq(lmtp_parse_rcpt((struct command_word){text, strlen(text)}, false, &rcpt),
                 LMTP_SYNTAX_OK);
    cr_assert_eq(rcpt.orcpt.length, strlen("rfc822;a+2Bb@c.test"));
    cr_assert_eq(memcmp(rcpt.orcpt.data, "rfc822;a+2Bb@c.test", rcpt.orcpt.length), 0);
}

Test(lmtp_address, refuses_malformed_parameters_of_rcpt)
{
    static const char *const malformed[] = {"NOTIFY=",
                                            "NOTIFY=NEVER,SUCCESS",
                                            "NOTIFY=SUCCESS,",
                                            "NOTIFY=,",
                                            "ORCPT=",
                                            "ORCPT=rfc822",
                                            "ORCPT=;a@b",
                                            "ORCPT=rfc822;",
                                            "ORCPT=rfc822;a+",
                                            "ORCPT=rfc822;+4",
                                            "ORCPT=rfc822;a\x01",
                                            "ORCPT=rfc822;\xc3\xbc@b",
                                            "ORCPT=a;b ORCPT=a;b"};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "TO:<a@b> %s", malformed[i]);
        expect_rcpt(text, false, LMTP_SYNTAX_PARAMETER);
    }
    expect_rcpt("TO:<a@b> ORCPT=utf-8;\xc3\xbc@b", true, LMTP_SYNTAX_OK);
    expect_rcpt("TO:<a@b> SIZE=1", false, LMTP_SYNTAX_UNKNOWN_PARAMETER);
}

static enum lmtp_syntax bdat(const char *text, struct lmtp_bdat *out_bdat)
{
    struct command_line line;
    command_parse(text, strlen(text), &line);
    return lmtp_parse_bdat(&line, out_bdat);
}

Test(lmtp_address, reads_the_arguments_of_bdat)
{
    struct lmtp_bdat chunk;
    cr_assert_eq(bdat("BDAT 123", &chunk), LMTP_SYNTAX_OK);
    cr_assert(chunk.has_size && chunk.size == 123 && !chunk.last);
    cr_assert_eq(bdat("BDAT 0 last", &chunk), LMTP_SYNTAX_OK);
    cr_assert(chunk.has_size && chunk.size == 0 && chunk.last);
}

Test(lmtp_address, refuses_wrong_arguments_of_bdat_and_says_what_follows)
{
    static const char *const without[] = {"BDAT",    "BDAT x",    "BDAT -1",
                                          "BDAT 1x", "BDAT LAST", "BDAT 99999999999999999999999"};
    static const char *const with[] = {"BDAT 5 FIRST", "BDAT 5 LAST LAST", "BDAT 5 6"};
    struct lmtp_bdat chunk;
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) {
        cr_assert_eq(bdat(without[i], &chunk), LMTP_SYNTAX_PARAMETER, "%s", without[i]);
        cr_assert_not(chunk.has_size, "%s", without[i]);
    }
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
        cr_assert_eq(bdat(with[i], &chunk), LMTP_SYNTAX_PARAMETER, "%s", with[i]);
        cr_assert(chunk.has_size && chunk.size == 5, "%s", with[i]);
    }
}
