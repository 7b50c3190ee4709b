/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_name.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct auth_name_rules usual = {"localhost", "%", '*'};
static const struct auth_name_rules sdps = {"localhost", "%+", '*'};
static const struct auth_name_rules plain = {"localhost", "", 0};

static struct auth_name read_both(const struct auth_name_rules *rules, const char *authzid,
                                  const char *authcid)
{
    struct auth_name name;
    auth_name_read(rules, authzid, strlen(authzid), authcid, strlen(authcid), &name);
    return name;
}

static void expect(const struct auth_name_rules *rules, const char *authzid, const char *authcid,
                   const char *user, const char *master)
{
    struct auth_name name = read_both(rules, authzid, authcid);
    cr_assert(name.is_nameable, "%s", authcid);
    cr_expect_str_eq(name.user.name, user);
    cr_assert_eq(name.has_master, master != NULL, "%s", authcid);
    if (master != NULL) {
        cr_expect_str_eq(name.master.name, master);
    }
}

static void expect_nobody(const struct auth_name_rules *rules, const char *authzid,
                          const char *authcid)
{
    cr_expect_not(read_both(rules, authzid, authcid).is_nameable, "%s %s", authzid, authcid);
}

Test(auth_name, a_name_gets_the_default_domain_and_lower_case)
{
    expect(&usual, "", "Demo", "demo@localhost", NULL);
    expect(&usual, "", "Demo@Example.ORG", "demo@example.org", NULL);
}

Test(auth_name, a_separator_parts_user_from_domain_where_there_is_no_at)
{
    expect(&usual, "", "demo%example.org", "demo@example.org", NULL);
    expect(&usual, "", "a%b%example.org", "a%b@example.org", NULL);
    expect(&usual, "", "a%b@example.org", "a%b@example.org", NULL);
    expect(&plain, "", "demo%example.org", "demo%example.org@localhost", NULL);
    expect_nobody(&usual, "", "demo%");
    expect_nobody(&usual, "", "%example.org");
}

Test(auth_name, sdps_names_are_read_by_setting_only)
{
    expect(&sdps, "", "john+host", "john@host", NULL);
    expect(&usual, "", "john+host", "john+host@localhost", NULL);
}

Test(auth_name, a_master_stands_behind_a_star_or_in_the_authcid)
{
    expect(&usual, "", "demo*Admin", "demo@localhost", "admin@localhost");
    expect(&usual, "", "demo%example.org*admin", "demo@example.org", "admin@localhost");
    expect(&usual, "demo@example.org", "admin", "demo@example.org", "admin@localhost");
    expect(&usual, "DEMO", "demo@localhost", "demo@localhost", NULL);
    expect(&usual, "demo", "demo*admin", "demo@localhost", "admin@localhost");
    expect(&plain, "", "demo*admin", "demo*admin@localhost", NULL);
}

Test(auth_name, two_accounts_or_half_a_name_are_nobody)
{
    expect_nobody(&usual, "other", "demo*admin");
    expect_nobody(&usual, "", "demo*");
    expect_nobody(&usual, "", "*admin");
    expect_nobody(&usual, "", "");
    expect_nobody(&usual, "de mo", "admin");
    expect_nobody(&usual, "demo", "ad min");
    expect_nobody(&usual, "", "demo@a@b");
}

Test(auth_name, octets_of_any_kind_are_looked_at_and_no_more)
{
    struct auth_name name;
    char long_name[AUTH_NAME_MAX + 2];
    memset(long_name, 'a', sizeof long_name);
    auth_name_read(&usual, NULL, 0, NULL, 0, &name);
    cr_expect_not(name.is_nameable);
    auth_name_read(&usual, NULL, 0, "de\0mo", 5, &name);
    cr_expect_not(name.is_nameable);
    auth_name_read(&usual, NULL, 0, long_name, sizeof long_name, &name);
    cr_expect_not(name.is_nameable);
}
