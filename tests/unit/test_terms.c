/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/terms.h"

#include "auth/account.h"

#include <criterion/criterion.h>
#include <string.h>

static struct address peer_of(const char *text)
{
    struct address address;
    cr_assert_eq(address_parse(text, &address), STATUS_OK);
    return address;
}

static enum status parse(const char *text, struct account *account)
{
    return terms_parse_networks(text, strlen(text), account);
}

static bool admits(const struct terms *terms, const char *peer, bool tls)
{
    char reason[AUTH_REASON_MAX + 1] = "";
    struct address address = peer_of(peer);
    bool admitted = terms_admit(terms, &address, tls, reason);
    cr_expect(admitted || reason[0] != '\0');
    return admitted;
}

Test(terms, an_account_without_any_has_none)
{
    struct account account = {.reason = "left over"};
    struct terms terms;
    cr_expect_not(terms_of(&account, &terms));
}

Test(terms, a_closed_account_says_why)
{
    struct account account = {.disabled = true, .reason = "unpaid"};
    struct terms terms;
    char reason[AUTH_REASON_MAX + 1];
    cr_assert(terms_of(&account, &terms));
    cr_expect_not(terms_admit(&terms, NULL, true, reason));
    cr_expect_str_eq(reason, "unpaid");
}

Test(terms, tls_may_be_required)
{
    struct account account = {.tls_required = true};
    struct terms terms;
    cr_assert(terms_of(&account, &terms));
    cr_expect_not(admits(&terms, "192.0.2.1:1", false));
    cr_expect(admits(&terms, "192.0.2.1:1", true));
}

Test(terms, networks_may_be_given)
{
    struct account account = {0};
    struct terms terms;
    cr_assert_eq(parse("192.0.2.0/24, 2001:db8::/32 local", &account), STATUS_OK);
    cr_expect_eq(account.network_count, 4);
    cr_assert(terms_of(&account, &terms));
    cr_expect(admits(&terms, "192.0.2.200:1", false));
    cr_expect(admits(&terms, "[2001:db8::1]:1", false));
    cr_expect(admits(&terms, "[::ffff:192.0.2.7]:1", false));
    cr_expect(admits(&terms, "127.0.0.5:1", false));
    cr_expect(admits(&terms, "[::1]:1", false));
    cr_expect_not(admits(&terms, "192.0.3.1:1", false));
    cr_expect_not(admits(&terms, "[2001:db9::1]:1", false));
    cr_expect_not(admits(&terms, "unix:/run/x", false));
    char reason[AUTH_REASON_MAX + 1];
    cr_expect_not(terms_admit(&terms, NULL, false, reason));
}

Test(terms, what_is_no_list_of_networks_changes_nothing)
{
    struct account account = {0};
    cr_assert_eq(parse("10.0.0.0/8", &account), STATUS_OK);
    cr_expect_eq(parse("10.0.0.0/8,nonsense", &account), STATUS_INVALID);
    cr_expect_eq(parse("10.0.0.0/33", &account), STATUS_INVALID);
    cr_expect_eq(
        parse("1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9", &account),
        STATUS_LIMIT);
    cr_expect_eq(account.network_count, 1);
    cr_expect_eq(parse("", &account), STATUS_OK);
    cr_expect_eq(account.network_count, 0);
}
