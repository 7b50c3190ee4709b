/* SPDX-License-Identifier: Apache-2.0 */
#include "server/privileges.h"
#include "tests/unit/in_child.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

Test(privileges, finds_users_and_groups_by_name_and_number)
{
    uint32_t id = 4711;
    cr_assert(privileges_find("root", false, &id));
    cr_assert_eq(id, 0);
    cr_assert(privileges_find("12345", false, &id));
    cr_assert_eq(id, 12345);
    cr_assert(privileges_find("root", true, &id));
    cr_assert_eq(id, 0);
    static const char *const wrong[] = {"", "no-such-user-here", "-1", "4294967295", "12x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect_not(privileges_find(wrong[i], false, &id), "%s", wrong[i]);
        cr_expect_not(privileges_find(wrong[i], true, &id), "%s", wrong[i]);
    }
}

Test(privileges, plans_nothing_without_a_user)
{
    struct privileges plan;
    struct error error = {.status = STATUS_OK};
    cr_assert_eq(privileges_plan("", "", &plan, &error), STATUS_OK);
    cr_assert_not(plan.changes);
    cr_assert_eq(privileges_become(&plan, &error), STATUS_OK);
    cr_assert_eq(privileges_plan("", "nogroup", &plan, &error), STATUS_INVALID);
    cr_assert_eq(privileges_plan("no-such-user-here", "", &plan, &error), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "no-such-user-here"));
}

static void become_nobody(void)
{
    struct privileges plan;
    struct error error = {.status = STATUS_OK};
    if (geteuid() != 0) {
        CHILD_EXPECT(privileges_plan("nobody", "", &plan, &error) == STATUS_DENIED);
        _exit(CHILD_SKIPS);
    }
    char folder[] = "/tmp/restante-test-privileges-XXXXXX";
    struct stat facts;
    CHILD_EXPECT(mkdtemp(folder) != NULL);
    CHILD_EXPECT(privileges_plan("nobody", "", &plan, &error) == STATUS_OK && plan.changes);
    privileges_give(&plan, folder);
    CHILD_EXPECT(stat(folder, &facts) == 0 && facts.st_uid == plan.user);
    CHILD_EXPECT(rmdir(folder) == 0);
    CHILD_EXPECT(privileges_become(&plan, &error) == STATUS_OK);
    CHILD_EXPECT(getuid() == plan.user && geteuid() == plan.user && getegid() == plan.group);
    CHILD_EXPECT(setuid(0) != 0);
    CHILD_EXPECT(chown("/tmp", 0, 0) != 0);
}

Test(privileges, becomes_another_user_for_good)
{
    (void)in_child(become_nobody); /* only root can */
}

static unsigned long capabilities(const char *label)
{
    char line[256];
    unsigned long set = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, label, strlen(label)) == 0) {
            set = strtoul(line + strlen(label), NULL, 16);
        }
    }
    if (status != NULL) {
        (void)fclose(status); /* it was only read */
    }
    return set;
}

static void drop(void)
{
    struct error error = {.status = STATUS_OK};
    struct rlimit core = {.rlim_cur = 1, .rlim_max = 1};
    CHILD_EXPECT(privileges_drop(&error) == STATUS_OK);
    CHILD_EXPECT(capabilities("CapEff:") == 0 && capabilities("CapPrm:") == 0);
    CHILD_EXPECT(geteuid() != 0 || capabilities("CapBnd:") == 0);
    CHILD_EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHILD_EXPECT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    CHILD_EXPECT(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
    CHILD_EXPECT(chroot("/tmp") != 0);
}

Test(privileges, drops_what_is_left)
{
    cr_assert(in_child(drop));
}
