/* SPDX-License-Identifier: Apache-2.0 */
#include "server/privileges.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool read_number(const char *text, uint32_t *out_id)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || number >= UINT32_MAX) {
        return false;
    }
    *out_id = (uint32_t)number;
    return true;
}

bool privileges_find(const char *text, bool group, uint32_t *out_id)
{
    if (read_number(text, out_id)) {
        return true;
    }
    const struct passwd *user = group ? NULL : getpwnam(text);
    const struct group *members = group ? getgrnam(text) : NULL;
    if (user != NULL) {
        *out_id = user->pw_uid;
    } else if (members != NULL) {
        *out_id = members->gr_gid;
    }
    return user != NULL || members != NULL;
}

enum status privileges_plan(const char *user, const char *group, struct privileges *out_plan,
                            struct error *out_error)
{
    struct privileges plan = {.changes = user[0] != '\0', .user = getuid(), .group = getgid()};
    if (!plan.changes) {
        if (group[0] != '\0') {
            return error_set(out_error, STATUS_INVALID, 0, NULL,
                             "group takes user: say whom to become");
        }
        *out_plan = plan;
        return STATUS_OK;
    }
    if (!privileges_find(user, false, &plan.user)) {
        return error_set(out_error, STATUS_NOT_FOUND, 0, NULL,
                         "this system knows no user \"%.60s\": make it, or change user", user);
    }
    const struct passwd *entry = getpwuid(plan.user);
    if (entry != NULL) {
        plan.group = entry->pw_gid;
        (void)snprintf(plan.name, sizeof plan.name, "%s", entry->pw_name);
    }
    if (group[0] != '\0' && !privileges_find(group, true, &plan.group)) {
        return error_set(out_error, STATUS_NOT_FOUND, 0, NULL,
                         "this system knows no group \"%.60s\": make it, or change group", group);
    }
    if (plan.user == geteuid() && plan.group == getegid()) {
        plan.changes = false;
    } else if (geteuid() != 0) {
        return error_set(out_error, STATUS_DENIED, 0, NULL,
                         "only root can become user \"%.60s\": start as root, or as that user",
                         user);
    }
    *out_plan = plan;
    return STATUS_OK;
}

void privileges_give(const struct privileges *plan, const char *path)
{
    if (plan->changes && chown(path, plan->user, plan->group) != 0) {
        return; /* who opens it says what is wrong */
    }
}

/* Root may lock memory without end and rings count as such; who is root no more must have a limit
 * that lets the workers make theirs. */
static void raise_locked_memory(void)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_MEMLOCK, &limit); /* a refused ring says how much it lacks */
    }
}

/* Shrinking it takes a capability, hence before these go. Beyond the last one this kernel knows,
 * and for an ordinary user, the call fails; that is as good. */
static void drop_bounding_set(void)
{
    for (unsigned long capability = 0; capability < 64; capability++) {
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
}

enum status privileges_become(const struct privileges *plan, struct error *out_error)
{
    if (!plan->changes) {
        return STATUS_OK;
    }
    raise_locked_memory();
    drop_bounding_set();
    bool done = (plan->name[0] != '\0' ? initgroups(plan->name, plan->group)
                                       : setgroups(1, &plan->group)) == 0 &&
                setresgid(plan->group, plan->group, plan->group) == 0 &&
                setresuid(plan->user, plan->user, plan->user) == 0;
    /* To be able to go back would be to have dropped nothing. */
    if (done && plan->user != 0 && setuid(0) == 0) {
        return error_set(out_error, STATUS_DENIED, 0, NULL, "root could not be left for good");
    }
    return done ? STATUS_OK
                : error_set(out_error, STATUS_DENIED, errno, NULL, "becoming user %u",
                            (unsigned)plan->user);
}

static enum status drop_capabilities(struct error *out_error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    drop_bounding_set();
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* from kernel 4.3 on */
    if (syscall(SYS_capset, &header, none) != 0) {
        return error_set(out_error, STATUS_DENIED, errno, NULL, "dropping capabilities");
    }
    return STATUS_OK;
}

enum status privileges_drop(struct error *out_error)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    raise_locked_memory();
    enum status status = drop_capabilities(out_error);
    if (status == STATUS_OK && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        status = error_set(out_error, STATUS_DENIED, errno, NULL, "setting no_new_privs");
    }
    /* Memory holds passwords for moments and mail all the time: none of it goes into a core file
     * or to a debugger of the same user. */
    if (status == STATUS_OK &&
        (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)) {
        status = error_set(out_error, STATUS_DENIED, errno, NULL, "forbidding core dumps");
    }
    return status;
}
