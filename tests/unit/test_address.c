/* SPDX-License-Identifier: Apache-2.0 */
#include "io/address.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

static struct address parsed(const char *text)
{
    struct address address;
    cr_assert_eq(address_parse(text, &address), STATUS_OK, "%s", text);
    return address;
}

static struct address_network network(const char *text)
{
    struct address_network network;
    cr_assert_eq(address_network_parse(text, strlen(text), &network), STATUS_OK, "%s", text);
    return network;
}

Test(address, text_and_address_say_the_same)
{
    static const struct {
        const char *in, *out, *host;
    } rows[] = {{"127.0.0.1:110", "127.0.0.1:110", "127.0.0.1"},
                {"0.0.0.0:0", "0.0.0.0:0", "0.0.0.0"},
                {"255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255"},
                {"[::]:110", "[::]:110", "::"},
                {"[2001:DB8:0:0::1]:995", "[2001:db8::1]:995", "2001:db8::1"},
                {"[::ffff:192.0.2.7]:25", "192.0.2.7:25", "192.0.2.7"},
                {"*:110", "[::]:110", "::"},
                {"unix:/run/restante/lmtp.sock", "unix:/run/restante/lmtp.sock", "unix"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address address = parsed(rows[i].in);
        char text[ADDRESS_TEXT_MAX];
        address_text(&address, text);
        cr_assert_str_eq(text, rows[i].out);
        address_host_text(&address, text);
        cr_assert_str_eq(text, rows[i].host);
    }
}

Test(address, a_zone_is_kept)
{
    struct address address = parsed("[fe80::1%lo]:110");
    char text[ADDRESS_TEXT_MAX];
    address_text(&address, text);
    cr_assert_str_eq(text, "[fe80::1%lo]:110");
}

Test(address, rejects_what_is_no_address)
{
    static const char *const bad[] = {"",
                                      ":",
                                      "110",
                                      ":110",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:+1",
                                      "127.0.0.1:1x",
                                      "127.0.0.1: 1",
                                      "127.0.0.1:000110",
                                      "127.0.0.256:1",
                                      "127.0.1:1",
                                      "localhost:110",
                                      "::1:110",
                                      "[::1]",
                                      "[::1]110",
                                      "[::1:110",
                                      "[]:110",
                                      "[::g]:110",
                                      "[::1%nowhere0]:110",
                                      "**:110",
                                      "unix:",
                                      "unix:relative",
                                      "UNIX:/x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct address address;
        cr_assert_eq(address_parse(bad[i], &address), STATUS_INVALID, "%s", bad[i]);
    }
}

Test(address, every_cut_of_an_address_is_refused_or_read_but_never_more)
{
    static const char whole[] = "[2001:db8::1%lo]:12345";
    for (size_t cut = 0; cut < sizeof whole; cut++) {
        char text[sizeof whole];
        struct address address;
        memcpy(text, whole, cut);
        text[cut] = '\0';
        enum status status = address_parse(text, &address);
        cr_assert(status == STATUS_OK || status == STATUS_INVALID);
        cr_assert_eq(status == STATUS_OK, cut > strlen("[2001:db8::1%lo]:"), "%s", text);
    }
}

Test(address, a_unix_path_may_be_107_octets_long)
{
    char text[200] = "unix:/";
    struct address address;
    memset(text + 6, 'x', 106);
    cr_assert_eq(address_parse(text, &address), STATUS_OK);
    char back[ADDRESS_TEXT_MAX];
    address_text(&address, back);
    cr_assert_str_eq(back, text);
    strcat(text, "y");
    cr_assert_eq(address_parse(text, &address), STATUS_INVALID);
}

Test(address, an_unknown_or_unnamed_address_has_a_text)
{
    char text[ADDRESS_TEXT_MAX];
    struct address address = {0};
    address_text(&address, text);
    cr_assert_str_eq(text, "unknown");
    address.length = sizeof(sa_family_t);
    address.any.sa_family = AF_UNIX;
    address_text(&address, text);
    cr_assert_str_eq(text, "unix:");
    address_host_text(&address, text);
    cr_assert_str_eq(text, "unix");
}

Test(address, knows_the_loopback)
{
    static const char *const loop[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1",
                                       "[::ffff:127.0.0.1]:1", "unix:/x"};
    static const char *const other[] = {"128.0.0.1:1", "[::2]:1", "[::]:1", "0.0.0.0:1"};
    for (size_t i = 0; i < sizeof loop / sizeof loop[0]; i++) {
        struct address address = parsed(loop[i]);
        cr_assert(address_is_loopback(&address), "%s", loop[i]);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        struct address address = parsed(other[i]);
        cr_assert_not(address_is_loopback(&address), "%s", other[i]);
    }
}

static bool same_prefix(const char *a, const char *b)
{
    struct address first = parsed(a), second = parsed(b);
    struct address_prefix one, two;
    address_prefix(&first, &one);
    address_prefix(&second, &two);
    return memcmp(&one, &two, sizeof one) == 0;
}

Test(address, sources_are_judged_by_prefix)
{
    cr_assert(same_prefix("192.0.2.7:1", "192.0.2.7:2"));
    cr_assert_not(same_prefix("192.0.2.7:1", "192.0.2.8:1"));
    cr_assert(same_prefix("[::ffff:192.0.2.7]:1", "192.0.2.7:1"));
    cr_assert(same_prefix("[2001:db8:1:2::3]:1", "[2001:db8:1:ffff::9]:1"));
    cr_assert_not(same_prefix("[2001:db8:1::]:1", "[2001:db8:2::]:1"));
    cr_assert(same_prefix("unix:/a", "unix:/b"));
    cr_assert_not(same_prefix("unix:/a", "0.0.0.0:0"));
    cr_assert_not(same_prefix("[::]:0", "0.0.0.0:0"));
}

Test(address, networks_hold_what_is_in_them)
{
    static const struct {
        const char *network, *address;
        bool in;
    } rows[] = {{"127.0.0.0/8", "127.1.2.3:1", true},
                {"127.0.0.0/8", "128.0.0.0:1", false},
                {"10.1.0.0/16", "10.1.255.255:1", true},
                {"10.1.0.0/16", "10.2.0.0:1", false},
                {"192.0.2.7", "192.0.2.7:1", true},
                {"192.0.2.7", "192.0.2.6:1", false},
                {"0.0.0.0/0", "1.2.3.4:1", true},
                {"0.0.0.0/0", "[::1]:1", false},
                {"192.0.2.128/25", "192.0.2.127:1", false},
                {"192.0.2.128/25", "192.0.2.255:1", true},
                {"::1", "[::1]:1", true},
                {"::/0", "127.0.0.1:1", false},
                {"2001:db8::/33", "[2001:db8:7fff::]:1", true},
                {"2001:db8::/33", "[2001:db8:8000::]:1", false},
                {"::ffff:10.0.0.0/104", "10.9.9.9:1", true},
                {"10.0.0.0/8", "[::ffff:10.9.9.9]:1", true},
                {"10.0.0.0/8", "unix:/x", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address_network in = network(rows[i].network);
        struct address address = parsed(rows[i].address);
        cr_assert_eq(address_in_network(&address, &in), rows[i].in, "%s %s", rows[i].network,
                     rows[i].address);
    }
}

Test(address, rejects_what_is_no_network)
{
    static const char *const bad[] = {"",         "/8",           "10.0.0.0/",   "10.0.0.0/33",
                                      "::/129",   "10.0.0.0/8/8", "10.0.0.0/-1", "10.0.0.0/ 8",
                                      "10.0.0/8", "example.com",  "::g",         "10.0.0.0/0008"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct address_network result;
        cr_assert_eq(address_network_parse(bad[i], strlen(bad[i]), &result), STATUS_INVALID, "%s",
                     bad[i]);
    }
    struct address_network result;
    cr_assert_eq(address_network_parse("1.2.3.4\0/8", 10, &result), STATUS_INVALID);
    /* Only the given octets are looked at: a list can be parsed where it stands. */
    cr_assert_eq(address_network_parse("10.0.0.0/8,::1", 10, &result), STATUS_OK);
    cr_assert_eq(result.bits, 8);
}

Test(address, a_prefix_has_a_text)
{
    static const char *const texts[][2] = {{"192.0.2.7:1", "192.0.2.7"},
                                           {"[::ffff:192.0.2.7]:1", "192.0.2.7"},
                                           {"[2001:db8:1:2::3]:1", "2001:db8:1::/48"},
                                           {"unix:/run/x", "unix"}};
    struct address address;
    struct address_prefix prefix;
    char text[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_assert_eq(address_parse(texts[i][0], &address), STATUS_OK);
        address_prefix(&address, &prefix);
        address_prefix_text(&prefix, text);
        cr_expect_str_eq(text, texts[i][1]);
    }
    memset(&address, 0, sizeof address);
    address_prefix(&address, &prefix);
    address_prefix_text(&prefix, text);
    cr_expect_str_eq(text, "unknown");
}
