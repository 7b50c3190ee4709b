/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passwd_line.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define HASH                                                  \
    "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/" \
    "jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"

/* Reads from a block of exactly that size. */
static enum passwd_line_kind read_octets(const char *line, size_t length, struct account *account,
                                         const char **problem)
{
    char *copy = malloc(length > 0 ? length : 1);
    cr_assert_not_null(copy);
    memcpy(copy, line, length);
    *problem = NULL;
    enum passwd_line_kind kind = passwd_line_read(copy, length, "localhost", account, problem);
    cr_expect_eq(*problem != NULL, kind == PASSWD_LINE_BAD || kind == PASSWD_LINE_LOCKED, "%s",
                 line);
    free(copy);
    return kind;
}

static enum passwd_line_kind read_line(const char *line, struct account *account)
{
    const char *problem;
    return read_octets(line, strlen(line), account, &problem);
}

Test(passwd_line, reads_a_user_with_all_its_fields)
{
    struct account account;
    cr_assert_eq(read_line("Demo:{PLAIN}secret:1000:1000:a gecos:/home/demo:/bin/sh:"
                           "userdb_quota_rule=*:storage=1G allow_nets=10.0.0.0/8,::1 tls_required",
                           &account),
                 PASSWD_LINE_USER);
    cr_expect_str_eq(account.name, "demo@localhost");
    cr_expect_eq(account.credential_count, 1);
    cr_expect_str_eq(account.credentials[0].text, "{PLAIN}secret");
    cr_expect_eq(account.network_count, 2);
    cr_expect(account.tls_required);
    cr_expect_not(account.disabled);
    cr_expect_eq(account.drop.volume, AUTH_VOLUME_NONE);
}

Test(passwd_line, fields_may_be_missing_from_the_right)
{
    struct account account;
    cr_expect_eq(read_line("demo@example.org:" HASH, &account), PASSWD_LINE_USER);
    cr_expect_str_eq(account.credentials[0].text, "{CRYPT}" HASH);
    cr_expect_eq(read_line("demo:{PLAIN}a:::::\r", &account), PASSWD_LINE_USER);
    cr_expect_eq(read_line("demo:{PLAIN}a\r", &account), PASSWD_LINE_USER);
    cr_expect_str_eq(account.credentials[0].text, "{PLAIN}a");
}

Test(passwd_line, a_locked_or_missing_password_is_no_problem_and_admits_nobody)
{
    static const char *const lines[] = {"demo",    "demo:",        "demo:!",
                                        "demo:!!", "demo:*:1:1::", "demo:!" HASH};
    struct account account;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_expect_eq(read_line(lines[i], &account), PASSWD_LINE_USER, "%s", lines[i]);
        cr_expect_eq(account.credential_count, 0, "%s", lines[i]);
    }
}

Test(passwd_line, a_password_nobody_can_use_is_told)
{
    static const char *const lines[] = {"demo:secret", "demo:{NOPE}x", "demo:{SSHA}x",
                                        "demo:{PLAIN", "demo:$y$"};
    struct account account;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_expect_eq(read_line(lines[i], &account), PASSWD_LINE_LOCKED, "%s", lines[i]);
        cr_expect_eq(account.credential_count, 0);
        cr_expect_str_eq(account.name, "demo@localhost");
    }
}

Test(passwd_line, nologin_closes_with_a_reason)
{
    struct account account;
    cr_assert_eq(read_line("a:{PLAIN}x::::::nologin reason=moved_away", &account),
                 PASSWD_LINE_USER);
    cr_expect(account.disabled);
    cr_expect_str_eq(account.reason, "moved away");
    cr_assert_eq(read_line("a:{PLAIN}x::::::nologin=y", &account), PASSWD_LINE_USER);
    cr_expect(account.disabled);
    cr_assert_eq(read_line("a:{PLAIN}x::::::nologin=no nologins", &account), PASSWD_LINE_USER);
    cr_expect_not(account.disabled);
    cr_assert_eq(read_line("a:{PLAIN}x::::::\tuserdb_nologin  =", &account), PASSWD_LINE_USER);
    cr_expect_not(account.disabled);
}

Test(passwd_line, refuses_what_cannot_be_honoured)
{
    static const char *const lines[] = {
        "de mo:{PLAIN}x",
        ":{PLAIN}x",
        "a@b@c:{PLAIN}x",
        "a:{PLAIN}x::::::nopassword",
        "a::::::: nopassword=y",
        "a:{PLAIN}x::::::proxy host=10.0.0.1",
        "a:{PLAIN}x::::::allow_nets=nowhere",
    };
    struct account account;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_expect_eq(read_line(lines[i], &account), PASSWD_LINE_BAD, "%s", lines[i]);
    }
    const char *problem;
    cr_expect_eq(read_octets("a:{PLAIN}x\0y", 12, &account, &problem), PASSWD_LINE_BAD);
    char long_line[AUTH_PASSWD_LINE_MAX + 1];
    memset(long_line, 'a', sizeof long_line);
    memcpy(long_line, "a:", 2);
    cr_expect_eq(read_octets(long_line, sizeof long_line, &account, &problem), PASSWD_LINE_BAD);
    cr_expect_eq(read_octets(long_line, sizeof long_line - 1, &account, &problem),
                 PASSWD_LINE_LOCKED);
}

Test(passwd_line, comments_and_empty_lines_say_nothing)
{
    struct account account;
    cr_expect_eq(read_line("", &account), PASSWD_LINE_EMPTY);
    cr_expect_eq(read_line("\r", &account), PASSWD_LINE_EMPTY);
    cr_expect_eq(read_line("# a:b", &account), PASSWD_LINE_EMPTY);
}

Test(passwd_line, may_be_cut_anywhere)
{
    static const char line[] =
        "demo:{PLAIN}secret:1:2:g:/h:/s:nologin reason=x allow_nets=10.0.0.0/8";
    struct account account;
    const char *problem;
    for (size_t cut = 0; cut < sizeof line; cut++) {
        (void)read_octets(line, cut, &account, &problem);
    }
}
