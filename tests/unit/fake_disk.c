/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake_disk *fake_of(struct disk *disk)
{
    return (struct fake_disk *)(void *)disk; /* its first member */
}

static const char *path_of(struct fake_disk *fake, int fd)
{
    const char *path = fd >= 0 && fd < FAKE_DISK_FDS ? fake->paths[fd] : NULL;
    return path != NULL ? path : "";
}

static struct fake_disk_step *add_step(struct fake_disk *fake, enum fake_disk_kind kind,
                                       const char *path, int errno_value)
{
    if (fake->step_count == fake->step_capacity) {
        fake->step_capacity = fake->step_capacity > 0 ? 2 * fake->step_capacity : 64;
        fake->steps = realloc(fake->steps, fake->step_capacity * sizeof *fake->steps);
        if (fake->steps == NULL) {
            abort();
        }
    }
    struct fake_disk_step *step = &fake->steps[fake->step_count++];
    memset(step, 0, sizeof *step);
    step->kind = kind;
    step->errno_value = errno_value;
    (void)snprintf(step->path, sizeof step->path, "%s", path);
    return step;
}

/*
 * Begins a step: waits while its kind is held, counts it, and says how it is to end. Returns with
 * the mutex held; the rule in `out_rule` is all zero when the step may succeed.
 */
static void begin(struct fake_disk *fake, enum fake_disk_kind kind, struct fake_disk_rule *out_rule)
{
    struct fake_disk_rule *rule = &fake->rules[kind];
    (void)pthread_mutex_lock(&fake->mutex);
    fake->waiting[kind]++;
    (void)pthread_cond_broadcast(&fake->changed);
    while (fake->held[kind]) {
        (void)pthread_cond_wait(&fake->changed, &fake->mutex);
    }
    fake->waiting[kind]--;
    fake->counts[kind]++;
    *out_rule = (struct fake_disk_rule){0};
    if (rule->nth == 1) {
        *out_rule = *rule;
        if (!rule->for_ever) {
            *rule = (struct fake_disk_rule){0};
        }
    } else if (rule->nth > 1) {
        rule->nth--;
    }
}

static int end(struct fake_disk *fake, int errno_value, int result)
{
    (void)pthread_mutex_unlock(&fake->mutex);
    errno = errno_value;
    return errno_value != 0 ? -1 : result;
}

static int fake_open(struct disk *disk, const char *path, int flags, mode_t mode)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, FAKE_DISK_OPEN, &rule);
    int fd = rule.errno_value == 0 ? open(path, flags | O_CLOEXEC, mode) : -1;
    int errno_value = rule.errno_value != 0 ? rule.errno_value : fd < 0 ? errno : 0;
    add_step(fake, FAKE_DISK_OPEN, path, errno_value)->flags = flags;
    if (fd >= 0 && fd < FAKE_DISK_FDS) {
        free(fake->paths[fd]);
        fake->paths[fd] = strdup(path);
    }
    return end(fake, errno_value, fd);
}

static void keep_data(struct fake_disk_step *step, const struct iovec *iov, int count)
{
    size_t at = 0;
    step->data = malloc(step->length > 0 ? step->length : 1);
    for (int i = 0; step->data != NULL && i < count && at < step->length; i++) {
        size_t part = step->length - at < iov[i].iov_len ? step->length - at : iov[i].iov_len;
        memcpy(step->data + at, iov[i].iov_base, part);
        at += part;
    }
}

/* Writes the first `octets` of the list. */
static ssize_t write_part(int fd, const struct iovec *iov, int count, off_t offset, size_t octets)
{
    ssize_t total = 0;
    for (int i = 0; i < count && octets > 0; i++) {
        size_t part = iov[i].iov_len < octets ? iov[i].iov_len : octets;
        ssize_t written = pwrite(fd, iov[i].iov_base, part, offset + total);
        if (written < 0) {
            return written;
        }
        total += written;
        octets -= (size_t)written;
    }
    return total;
}

static ssize_t fake_pwritev(struct disk *disk, int fd, const struct iovec *iov, int count,
                            off_t offset)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, FAKE_DISK_WRITE, &rule);
    ssize_t written;
    int errno_value = 0;
    if (rule.octets > 0) {
        written = write_part(fd, iov, count, offset, rule.octets);
        if (rule.errno_value != 0) { /* what is left of it fails */
            fake->rules[FAKE_DISK_WRITE] =
                (struct fake_disk_rule){.nth = 1, .errno_value = rule.errno_value};
        }
    } else {
        errno_value = rule.errno_value;
        written = errno_value == 0 ? pwritev(fd, iov, count, offset) : -1;
    }
    if (written < 0 && errno_value == 0) {
        errno_value = errno;
    }
    struct fake_disk_step *step = add_step(fake, FAKE_DISK_WRITE, path_of(fake, fd), errno_value);
    step->offset = (uint64_t)offset;
    step->length = written > 0 ? (uint64_t)written : 0;
    if (fake->keep_data) {
        keep_data(step, iov, count);
    }
    (void)pthread_mutex_unlock(&fake->mutex);
    errno = errno_value;
    return errno_value != 0 ? -1 : written;
}

static ssize_t fake_pread(struct disk *disk, int fd, void *data, size_t length, off_t offset)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, FAKE_DISK_READ, &rule);
    ssize_t got = rule.errno_value == 0 ? pread(fd, data, length, offset) : -1;
    int errno_value = rule.errno_value != 0 ? rule.errno_value : got < 0 ? errno : 0;
    struct fake_disk_step *step = add_step(fake, FAKE_DISK_READ, path_of(fake, fd), errno_value);
    step->offset = (uint64_t)offset;
    step->length = length;
    (void)pthread_mutex_unlock(&fake->mutex);
    errno = errno_value;
    return errno_value != 0 ? -1 : got;
}

static int sync_step(struct disk *disk, int fd, enum fake_disk_kind kind)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, kind, &rule);
    int result = rule.errno_value != 0 ? -1 : kind == FAKE_DISK_SYNC ? fsync(fd) : fdatasync(fd);
    int errno_value = rule.errno_value != 0 ? rule.errno_value : result != 0 ? errno : 0;
    (void)add_step(fake, kind, path_of(fake, fd), errno_value);
    return end(fake, errno_value, result);
}

static int fake_fdatasync(struct disk *disk, int fd)
{
    return sync_step(disk, fd, FAKE_DISK_SYNC_DATA);
}

static int fake_fsync(struct disk *disk, int fd)
{
    return sync_step(disk, fd, FAKE_DISK_SYNC);
}

static int fake_rename(struct disk *disk, const char *from, const char *to)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, FAKE_DISK_RENAME, &rule);
    int result = rule.errno_value != 0 ? -1 : rename(from, to);
    int errno_value = rule.errno_value != 0 ? rule.errno_value : result != 0 ? errno : 0;
    struct fake_disk_step *step = add_step(fake, FAKE_DISK_RENAME, from, errno_value);
    (void)snprintf(step->to, sizeof step->to, "%s", to);
    return end(fake, errno_value, result);
}

static int fake_unlink(struct disk *disk, const char *path)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, FAKE_DISK_UNLINK, &rule);
    int result = rule.errno_value != 0 ? -1 : unlink(path);
    int errno_value = rule.errno_value != 0 ? rule.errno_value : result != 0 ? errno : 0;
    (void)add_step(fake, FAKE_DISK_UNLINK, path, errno_value);
    return end(fake, errno_value, result);
}

static int fake_mkdir(struct disk *disk, const char *path, mode_t mode)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, FAKE_DISK_MKDIR, &rule);
    int result = rule.errno_value != 0 ? -1 : mkdir(path, mode);
    int errno_value = rule.errno_value != 0 ? rule.errno_value : result != 0 ? errno : 0;
    (void)add_step(fake, FAKE_DISK_MKDIR, path, errno_value);
    return end(fake, errno_value, result);
}

static int fake_close(struct disk *disk, int fd)
{
    struct fake_disk *fake = fake_of(disk);
    struct fake_disk_rule rule;
    begin(fake, FAKE_DISK_CLOSE, &rule);
    (void)add_step(fake, FAKE_DISK_CLOSE, path_of(fake, fd), 0);
    if (fd >= 0 && fd < FAKE_DISK_FDS) {
        free(fake->paths[fd]);
        fake->paths[fd] = NULL;
    }
    return end(fake, 0, close(fd));
}

static int fake_free_octets(struct disk *disk, const char *path, uint64_t *out_octets)
{
    struct fake_disk *fake = fake_of(disk);
    (void)pthread_mutex_lock(&fake->mutex);
    uint64_t octets = fake->free_octets;
    (void)pthread_mutex_unlock(&fake->mutex);
    if (octets == UINT64_MAX) {
        return disk_real()->ops->free_octets(disk_real(), path, out_octets);
    }
    *out_octets = octets;
    return 0;
}

static const struct disk_ops fake_ops = {.open = fake_open,
                                         .pwritev = fake_pwritev,
                                         .pread = fake_pread,
                                         .fdatasync = fake_fdatasync,
                                         .fsync = fake_fsync,
                                         .rename = fake_rename,
                                         .unlink = fake_unlink,
                                         .mkdir = fake_mkdir,
                                         .close = fake_close,
                                         .free_octets = fake_free_octets};

void fake_disk_init(struct fake_disk *fake)
{
    memset(fake, 0, sizeof *fake);
    fake->disk.ops = &fake_ops;
    fake->free_octets = UINT64_MAX;
    (void)pthread_mutex_init(&fake->mutex, NULL);
    (void)pthread_cond_init(&fake->changed, NULL);
}

void fake_disk_deinit(struct fake_disk *fake)
{
    for (size_t i = 0; i < fake->step_count; i++) {
        free(fake->steps[i].data);
    }
    free(fake->steps);
    for (int fd = 0; fd < FAKE_DISK_FDS; fd++) {
        free(fake->paths[fd]);
    }
    (void)pthread_cond_destroy(&fake->changed);
    (void)pthread_mutex_destroy(&fake->mutex);
}

static void set_rule(struct fake_disk *fake, enum fake_disk_kind kind, struct fake_disk_rule rule)
{
    (void)pthread_mutex_lock(&fake->mutex);
    fake->rules[kind] = rule;
    (void)pthread_mutex_unlock(&fake->mutex);
}

void fake_disk_fail(struct fake_disk *fake, enum fake_disk_kind kind, uint32_t nth, int errno_value,
                    bool for_ever)
{
    set_rule(fake, kind,
             (struct fake_disk_rule){.nth = nth, .errno_value = errno_value, .for_ever = for_ever});
}

void fake_disk_cut(struct fake_disk *fake, uint32_t nth, size_t octets, int errno_value)
{
    set_rule(fake, FAKE_DISK_WRITE,
             (struct fake_disk_rule){.nth = nth, .octets = octets, .errno_value = errno_value});
}

void fake_disk_heal(struct fake_disk *fake)
{
    for (int kind = 0; kind < FAKE_DISK_KINDS; kind++) {
        set_rule(fake, (enum fake_disk_kind)kind, (struct fake_disk_rule){0});
    }
}

static void set_held(struct fake_disk *fake, enum fake_disk_kind kind, bool held)
{
    (void)pthread_mutex_lock(&fake->mutex);
    fake->held[kind] = held;
    (void)pthread_cond_broadcast(&fake->changed);
    (void)pthread_mutex_unlock(&fake->mutex);
}

void fake_disk_hold(struct fake_disk *fake, enum fake_disk_kind kind)
{
    set_held(fake, kind, true);
}

void fake_disk_let_go(struct fake_disk *fake, enum fake_disk_kind kind)
{
    set_held(fake, kind, false);
}

void fake_disk_await(struct fake_disk *fake, enum fake_disk_kind kind)
{
    (void)pthread_mutex_lock(&fake->mutex);
    while (fake->waiting[kind] == 0) {
        (void)pthread_cond_wait(&fake->changed, &fake->mutex);
    }
    (void)pthread_mutex_unlock(&fake->mutex);
}

void fake_disk_set_free(struct fake_disk *fake, uint64_t octets)
{
    (void)pthread_mutex_lock(&fake->mutex);
    fake->free_octets = octets;
    (void)pthread_mutex_unlock(&fake->mutex);
}

uint32_t fake_disk_count(struct fake_disk *fake, enum fake_disk_kind kind)
{
    (void)pthread_mutex_lock(&fake->mutex);
    uint32_t count = fake->counts[kind];
    (void)pthread_mutex_unlock(&fake->mutex);
    return count;
}

long fake_disk_find(struct fake_disk *fake, size_t from, enum fake_disk_kind kind,
                    const char *suffix)
{
    long found = -1;
    (void)pthread_mutex_lock(&fake->mutex);
    for (size_t i = from; found < 0 && i < fake->step_count; i++) {
        size_t length = strlen(fake->steps[i].path), wanted = strlen(suffix);
        if (fake->steps[i].kind == kind && length >= wanted &&
            strcmp(fake->steps[i].path + length - wanted, suffix) == 0) {
            found = (long)i;
        }
    }
    (void)pthread_mutex_unlock(&fake->mutex);
    return found;
}

char *fake_disk_temp_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/restante-test-XXXXXX", base != NULL ? base : "/tmp") < 0 ||
        mkdtemp(path) == NULL) {
        abort();
    }
    return path;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

void fake_disk_remove_dir(char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}
