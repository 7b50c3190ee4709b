/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/identity.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The octets in a block of exactly their size, so that a sanitizer sees every read beyond it. */
static char *exact(const char *text, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, length);
    return copy;
}

static enum status login(const char *text, size_t length, const char *domain, struct identity *out)
{
    char *copy = exact(text, length);
    enum status status = identity_from_login(copy, length, domain, out);
    free(copy);
    return status;
}

static enum status address(const char *text, size_t length, struct identity *out)
{
    char *copy = exact(text, length);
    enum status status = identity_from_address(copy, length, "localhost", out);
    free(copy);
    return status;
}

static void expect_login(const char *text, const char *name)
{
    struct identity identity;
    enum status status = login(text, strlen(text), "localhost", &identity);
    if (name == NULL) {
        cr_expect_neq(status, STATUS_OK, "%s gave %s", text, identity.name);
        return;
    }
    cr_assert_eq(status, STATUS_OK, "%s: %s", text, status_name(status));
    cr_expect_str_eq(identity.name, name);
    cr_expect_eq(identity.length, strlen(name));
    cr_expect_eq(identity.name[identity.local_length], '@');
    cr_expect(identity.nameable);
}

/* `name` NULL: not an address; `nameable`: an account could have it. */
static void expect_address(const char *text, const char *name, bool nameable)
{
    struct identity identity;
    enum status status = address(text, strlen(text), &identity);
    if (name == NULL) {
        cr_expect_neq(status, STATUS_OK, "%s gave %s", text, identity.name);
        return;
    }
    cr_assert_eq(status, STATUS_OK, "%s: %s", text, status_name(status));
    cr_expect_str_eq(identity.name, name, "%s gave %s", text, identity.name);
    cr_expect_eq(identity.nameable, nameable, "%s", text);
}

Test(identity, lowers_ascii_letters_and_appends_the_default_domain)
{
    expect_login("demo1", "demo1@localhost");
    expect_login("Demo1@LocalHost", "demo1@localhost");
    expect_login("a.b-c_d@x.example", "a.b-c_d@x.example");
    expect_login("o'brien@example.org", "o'brien@example.org");
    expect_login("user+detail@x", "user+detail@x");
}

Test(identity, keeps_well_formed_utf8_as_it_is)
{
    expect_login("J\xc3\x96RG@b\xc3\xbc"
                 "cher.example",
                 "j\xc3\x96rg@b\xc3\xbc"
                 "cher.example");
    expect_login("\xf0\x9f\x90\x9f@x", "\xf0\x9f\x90\x9f@x");
}

Test(identity, refuses_malformed_utf8_and_c1_controls)
{
    static const char *const bad[] = {
        "\x80@x",
        "\xc3@x",
        "\xc0\xaf@x",
        "\xe0\x80\xaf@x",
        "\xed\xa0\x80@x",
        "\xf0\x80\x80\xaf@x",
        "\xf4\x90\x80\x80@x",
        "\xf5\x80\x80\x80@x",
        "\xc2\x85@x",
        "a\xff@x",
        "a@\xc3",
        "\xe2\x82@x",
        "\xff\xfe",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_login(bad[i], NULL);
        expect_address(bad[i], NULL, false);
    }
}

Test(identity, refuses_what_a_database_could_misread)
{
    static const char *const bad[] = {
        "",       "@",     "@x",    "a@",      "a@b@c", "a b",     "a\tb",    "a\\b",  "a\"b",
        "a(b)",   "a<b>",  "a,b",   "a;b",     "a:b",   "[a]",     "a@b c",   "a@.b",  "a@b.",
        "a@b..c", "a@b/c", "a@[1]", "a@b\r\n", "a\x01", "a\x7f@x", "\"a\"@x", "a@b%c", "a@'b'",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_login(bad[i], NULL);
    }
}

Test(identity, refuses_nul_anywhere)
{
    struct identity identity;
    cr_expect_eq(login("a\0b@x", 5, "d", &identity), STATUS_INVALID);
    cr_expect_eq(login("a@x\0", 4, "d", &identity), STATUS_INVALID);
    cr_expect_eq(login("\0", 1, "d", &identity), STATUS_INVALID);
    cr_expect_eq(address("a\0@x", 4, &identity), STATUS_INVALID);
    cr_expect_eq(address("\"a\0\"@x", 6, &identity), STATUS_INVALID);
}

Test(identity, needs_a_domain_when_there_is_no_default)
{
    struct identity identity;
    cr_expect_eq(login("demo", 4, NULL, &identity), STATUS_INVALID);
    cr_expect_eq(login("demo", 4, "", &identity), STATUS_INVALID);
    cr_expect_eq(login("demo@x", 6, NULL, &identity), STATUS_OK);
    cr_expect_eq(identity_from_login(NULL, 0, "x", &identity), STATUS_INVALID);
}

Test(identity, holds_the_length_bounds_to_the_octet)
{
    char text[AUTH_NAME_MAX + 20];
    struct identity identity;
    memset(text, 'a', sizeof text);
    text[AUTH_NAME_MAX - 2] = '@';
    cr_expect_eq(login(text, AUTH_NAME_MAX, NULL, &identity), STATUS_OK);
    cr_expect_eq(identity.length, AUTH_NAME_MAX);
    cr_expect_eq(login(text, AUTH_NAME_MAX + 1, NULL, &identity), STATUS_TOO_BIG);
    cr_expect_eq(address(text, AUTH_NAME_MAX + 1, &identity), STATUS_TOO_BIG);
    /* The default domain counts. */
    memset(text, 'a', sizeof text);
    cr_expect_eq(login(text, AUTH_NAME_MAX - 2, "x", &identity), STATUS_OK);
    cr_expect_eq(login(text, AUTH_NAME_MAX - 1, "x", &identity), STATUS_TOO_BIG);
    text[1] = '@';
    cr_expect_eq(login(text, 2 + AUTH_DOMAIN_MAX, NULL, &identity), STATUS_OK);
    cr_expect_eq(login(text, 3 + AUTH_DOMAIN_MAX, NULL, &identity), STATUS_INVALID);
}

Test(identity, reads_addresses_as_rcpt_has_them)
{
    expect_address("demo1@localhost", "demo1@localhost", true);
    expect_address("Postmaster", "postmaster@localhost", true);
    expect_address("a+b@X.example", "a+b@x.example", true);
    expect_address("a..b.@x", "a..b.@x", true);
    expect_address("@relay.example,@other:demo1@x", "demo1@x", true);
}

Test(identity, takes_a_quoted_local_part_for_its_contents)
{
    expect_address("\"demo1\"@localhost", "demo1@localhost", true);
    expect_address("\"de\\mo1\"@localhost", "demo1@localhost", true);
    expect_address("\"Demo1\"", "demo1@localhost", true);
    expect_address("\"john doe\"@x", "john doe@x", false);
    expect_address("\"a@b\"@x", "a@b@x", false);
    expect_address("\"a\\\"b\"@x", "a\"b@x", false);
    expect_address("\"\"@x", "@x", false);
    expect_address("demo@[127.0.0.1]", "demo@[127.0.0.1]", false);
    expect_address("demo@[IPv6:::1]", "demo@[ipv6:::1]", false);
}

Test(identity, refuses_what_is_no_address)
{
    static const char *const bad[] = {
        "",           "@",        "@x",          "a@",    "a b@x",        "\"a",   "\"a\\",
        "\"a\\\"@x",  "\"a\"b@x", "\"a\x01\"@x", "a@b@c", "a@[",          "a@[]",  "a@[a]b",
        "@x:",        "@x,@y",    "a@-.",        "<a@b>", "\"a\"\"b\"@x", "a@b c", "a@[a b]",
        "\"\xc3\"@x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_address(bad[i], NULL, false);
    }
}

Test(identity, survives_every_cut_and_every_octet)
{
    static const char good[] = "@a.example,@b:\"de\\mo \xc3\xb6\"@x\xc3\xb6.example";
    struct identity identity;
    for (size_t length = 0; length < sizeof good; length++) {
        (void)address(good, length, &identity);
        (void)login(good, length, "x", &identity);
        for (unsigned octet = 0; octet < 256; octet++) {
            char changed[sizeof good];
            memcpy(changed, good, sizeof good);
            changed[length] = (char)octet;
            if (address(changed, sizeof good - 1, &identity) == STATUS_OK) {
                cr_assert_eq(strlen(identity.name), identity.length);
                cr_assert_lt(identity.local_length, identity.length);
            }
        }
    }
}

Test(identity, strips_a_detail_at_the_first_delimiter)
{
    struct identity identity, stripped;
    cr_assert_eq(address("a+b+c@x.y", 9, &identity), STATUS_OK);
    cr_expect(identity_strip_detail(&identity, '+', &stripped));
    cr_expect_str_eq(stripped.name, "a@x.y");
    cr_expect_str_eq(identity_domain(&stripped), "x.y");
    cr_expect_eq(stripped.length, 5);
    cr_expect(stripped.nameable);
    cr_expect_not(identity_strip_detail(&identity, '-', &stripped));
    cr_expect_not(identity_strip_detail(&identity, '\0', &stripped));
}

Test(identity, never_strips_a_name_to_nothing)
{
    struct identity identity, stripped;
    cr_assert_eq(address("+b@x", 4, &identity), STATUS_OK);
    cr_expect_not(identity_strip_detail(&identity, '+', &stripped));
    cr_assert_eq(address("++b@x", 5, &identity), STATUS_OK);
    cr_expect(identity_strip_detail(&identity, '+', &stripped));
    cr_expect_str_eq(stripped.name, "+@x");
    /* A delimiter in the domain is none. */
    cr_assert_eq(address("ab@x-y", 6, &identity), STATUS_OK);
    cr_expect_not(identity_strip_detail(&identity, '-', &stripped));
}
