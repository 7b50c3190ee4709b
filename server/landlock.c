/* SPDX-License-Identifier: Apache-2.0 */
#include "server/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* from ABI 3 on, kernel 6.2 */
#endif

#define READ_ACCESS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_ACCESS                                                                              \
    (READ_ACCESS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE)
/* What is asked about at all; the rest stays as it is. */
#define HANDLED                                                                 \
    (WRITE_ACCESS | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
/* What makes sense for something that is no folder. */
#define FILE_ACCESS \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)

/* What a kernel of that ABI knows. */
static uint64_t known_access(int abi)
{
    uint64_t known = HANDLED;
    if (abi < 2) {
        known &= ~LANDLOCK_ACCESS_FS_REFER;
    }
    if (abi < 3) {
        known &= ~LANDLOCK_ACCESS_FS_TRUNCATE;
    }
    return known;
}

enum status landlock_begin(struct landlock *landlock, struct error *out_error)
{
    landlock->fd = -1;
    landlock->abi =
        (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (landlock->abi < 1) {
        return error_set(out_error, STATUS_UNSUPPORTED, errno, NULL, "this kernel has no Landlock");
    }
    struct landlock_ruleset_attr attributes = {.handled_access_fs = known_access(landlock->abi)};
    long fd =
        syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0);
    if (fd < 0) {
        return error_set(out_error, STATUS_UNSUPPORTED, errno, NULL, "making a Landlock ruleset");
    }
    landlock->fd = (int)fd;
    return STATUS_OK;
}

enum status landlock_allow(struct landlock *landlock, const char *path, enum landlock_access access,
                           struct error *out_error)
{
    static const uint64_t accesses[LANDLOCK_ACCESSES] = {
        [LANDLOCK_READ] = READ_ACCESS,
        [LANDLOCK_WRITE] = WRITE_ACCESS,
        [LANDLOCK_SOCKET] = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE,
        [LANDLOCK_REMOVE] = LANDLOCK_ACCESS_FS_REMOVE_DIR,
    };
    struct stat facts;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return STATUS_OK;
    }
    struct landlock_path_beneath_attr rule = {
        .allowed_access = accesses[access] & known_access(landlock->abi), .parent_fd = fd};
    bool known = fstat(fd, &facts) == 0;
    if (known && !S_ISDIR(facts.st_mode)) {
        rule.allowed_access &= FILE_ACCESS;
    }
    enum status status = STATUS_OK;
    if (!known ||
        syscall(SYS_landlock_add_rule, landlock->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
        status = error_set(out_error, status_from_errno(errno), errno, path, "a Landlock rule");
    }
    (void)close(fd); /* it was only named */
    return status;
}

enum status landlock_enforce(struct landlock *landlock, struct error *out_error)
{
    if (syscall(SYS_landlock_restrict_self, landlock->fd, 0) != 0) {
        return error_set(out_error, status_from_errno(errno), errno, NULL, "enforcing Landlock");
    }
    return STATUS_OK;
}

void landlock_end(struct landlock *landlock)
{
    if (landlock->fd >= 0) {
        (void)close(landlock->fd); /* its rules stay in force */
        landlock->fd = -1;
    }
}
