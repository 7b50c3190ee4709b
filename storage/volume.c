/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/volume.h"

#include "io/mem.h"
#include "storage/damaged.h"
#include "storage/segment.h"
#include "storage/storage_limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <time.h>

#define DIRECTORY_MODE 0700

const char *volume_refused_file_system(uint64_t type)
{
    static const struct {
        uint32_t type;
        const char *name;
    } refused[] = {{0x00006969u, "NFS"},    {0x0000517bu, "SMB"},    {0xff534d42u, "CIFS"},
                   {0xfe534d42u, "SMB2"},   {0x65735546u, "FUSE"},   {0x01021997u, "9p"},
                   {0x00c36400u, "CephFS"}, {0x5346414fu, "AFS"},    {0x6b414653u, "AFS"},
                   {0x73757245u, "Coda"},   {0x0bd00bd0u, "Lustre"}, {0x564cu, "NCP"},
                   {0x47504653u, "GPFS"},   {0x01161970u, "GFS2"},   {0x7461636fu, "OCFS2"}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        /* statfs(2) gives a signed word: the upper half says nothing. */
        if (refused[i].type == (uint32_t)type) {
            return refused[i].name;
        }
    }
    return NULL;
}

static void set_defaults(struct volume_config *config)
{
    config->disk = config->disk != NULL ? config->disk : disk_real();
    config->segment_size =
        config->segment_size > 0 ? config->segment_size : STORAGE_SEGMENT_SIZE_DEFAULT;
    config->blob_min = config->blob_min > 0 ? config->blob_min : STORAGE_BLOB_MIN_DEFAULT;
    config->map_size = config->map_size > 0 ? config->map_size : STORAGE_MAP_SIZE_DEFAULT;
    config->delta_max = config->delta_max > 0 ? config->delta_max : STORAGE_DELTA_MAX_DEFAULT;
    config->checkpoint_ms =
        config->checkpoint_ms > 0 ? config->checkpoint_ms : STORAGE_CHECKPOINT_MS;
    config->checkpoint_octets =
        config->checkpoint_octets > 0 ? config->checkpoint_octets : STORAGE_CHECKPOINT_OCTETS;
    config->checkpoint_events =
        config->checkpoint_events > 0 ? config->checkpoint_events : STORAGE_CHECKPOINT_EVENTS;
    config->space_reserve =
        config->space_reserve > 0 ? config->space_reserve : 2 * config->segment_size;
    config->compact_ms = config->compact_ms > 0 ? config->compact_ms : STORAGE_COMPACT_MS;
    config->compact_rate = config->compact_rate > 0 ? config->compact_rate : STORAGE_COMPACT_RATE;
    config->compact_live = config->compact_live > 0 ? config->compact_live : STORAGE_COMPACT_LIVE;
}

static enum status set_paths(struct volume *volume, const char *path, struct error *out_error)
{
    if (path[0] == '\0' || strlen(path) + 16 > VOLUME_PATH_MAX) { /* "/lost+found" and a NUL */
        return error_set(out_error, STATUS_TOO_BIG, 0, path,
                         "the volume's path must have 1 to %d octets", VOLUME_PATH_MAX - 16);
    }
    strcpy(volume->path, path);
    volume->config.path = volume->path;
    /* All fit, by the check above. */
    (void)stpcpy(stpcpy(volume->segments_path, path), "/segments");
    (void)stpcpy(stpcpy(volume->blobs_path, path), "/blobs");
    (void)stpcpy(stpcpy(volume->index_path, path), "/index");
    return STATUS_OK;
}

/* The directory that `path` is in: what must be synced for the name `path` to be durable. */
static void parent_of(const char *path, char out_parent[VOLUME_PATH_MAX])
{
    strcpy(out_parent, path);
    size_t length = strlen(out_parent);
    while (length > 1 && out_parent[length - 1] == '/') {
        out_parent[--length] = '\0';
    }
    char *slash = strrchr(out_parent, '/');
    if (slash == NULL) {
        strcpy(out_parent, ".");
    } else {
        slash[slash == out_parent ? 1 : 0] = '\0';
    }
}

static enum status make_directories(struct volume *volume, struct error *out_error)
{
    char lost[VOLUME_PATH_MAX], parent[VOLUME_PATH_MAX];
    (void)stpcpy(stpcpy(lost, volume->path), "/lost+found"); /* fits, by set_paths */
    parent_of(volume->path, parent);
    const char *const wanted[] = {volume->path, volume->segments_path, volume->blobs_path,
                                  volume->index_path, lost};
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sizeof wanted / sizeof wanted[0]; i++) {
        status = disk_mkdir(volume->disk, wanted[i], DIRECTORY_MODE, out_error);
    }
    if (status == STATUS_OK) {
        status = disk_sync_directory(volume->disk, volume->path, out_error);
    }
    if (status == STATUS_OK) {
        status = disk_sync_directory(volume->disk, parent, out_error);
    }
    return status;
}

static enum status check_file_system(const struct volume *volume, struct error *out_error)
{
    struct statfs found;
    int code;
    do {
        code = statfs(volume->path, &found);
    } while (code != 0 && errno == EINTR);
    if (code != 0) {
        int errno_value = errno;
        return error_set(out_error, status_from_errno(errno_value), errno_value, volume->path,
                         "cannot ask for the type of the file system");
    }
    const char *name = volume_refused_file_system((uint64_t)found.f_type);
    if (name != NULL) {
        return error_set(out_error, STATUS_UNSUPPORTED, 0, volume->path,
                         "a volume cannot lie on %s, whose locks and syncs do not hold what it "
                         "relies on; use a local disk",
                         name);
    }
    return STATUS_OK;
}

static enum status take_lock(struct volume *volume, struct error *out_error)
{
    char path[VOLUME_PATH_MAX];
    (void)stpcpy(stpcpy(path, volume->path), "/lock"); /* fits, by set_paths */
    int flags = volume->observed ? O_RDONLY : O_RDWR | O_CREAT;
    enum status status = disk_open(volume->disk, path, flags, 0600, &volume->lock_fd, out_error);
    if (status == STATUS_NOT_FOUND && volume->observed) {
        return STATUS_OK; /* nobody can have it open: whoever does makes the file first */
    }
    if (status == STATUS_OK && flock(volume->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        int errno_value = errno;
        status = errno_value == EWOULDBLOCK ? STATUS_BUSY : status_from_errno(errno_value);
        (void)error_set(out_error, status, errno_value, path,
                        "another process has this volume open; stop it, or use its admin socket");
    }
    return status;
}

/* Whether there is a log: then VOLUME must not be made anew, because its key would be another. */
static enum status has_segments(const struct volume *volume, bool *out_found,
                                struct error *out_error)
{
    DIR *directory = opendir(volume->segments_path);
    if (directory == NULL) {
        int errno_value = errno;
        return error_set(out_error, status_from_errno(errno_value), errno_value,
                         volume->segments_path, "cannot list the directory");
    }
    const struct dirent *entry;
    bool found = false;
    while ((entry = readdir(directory)) != NULL) {
        found = found || strstr(entry->d_name, ".seg") != NULL;
    }
    (void)closedir(directory); /* only read */
    *out_found = found;
    return STATUS_OK;
}

/* There is no VOLUME: STATUS_CORRUPT when there should be one, else STATUS_NOT_FOUND. */
static enum status missing_identity(struct volume *volume, struct error *out_error)
{
    bool found = false;
    enum status status = has_segments(volume, &found, out_error);
    if (status == STATUS_OK && found) {
        return error_set(out_error, STATUS_CORRUPT, 0, volume->path,
                         "there are segments, but the file VOLUME with their key is gone; "
                         "restore it from a backup");
    }
    return status == STATUS_OK
               ? error_set(out_error, STATUS_NOT_FOUND, 0, volume->path, "there is no volume here")
               : status;
}

static enum status make_identity(struct volume *volume, struct error *out_error)
{
    enum status status = missing_identity(volume, out_error);
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    struct volume_identity *identity = &volume->identity;
    if (getrandom(identity->id, sizeof identity->id, 0) != sizeof identity->id ||
        getrandom(identity->key.octets, CHECKSUM_KEY_SIZE, 0) != CHECKSUM_KEY_SIZE) {
        return error_set(out_error, STATUS_IO, errno, volume->path, "no random octets");
    }
    /* The time, so that a volume made anew in the same place gives other unique-ids than the old
     * one: a client that has seen those must not take new mail for old. */
    identity->epoch = (uint32_t)time(NULL);
    uint8_t data[VOLUME_FILE_SIZE];
    volume_file_encode(identity, data);
    return disk_replace_file(volume->disk, volume->path, "VOLUME", data, sizeof data, out_error);
}

static enum status read_identity(struct volume *volume, int fd, const char *path,
                                 struct error *out_error)
{
    uint8_t data[VOLUME_FILE_SIZE + 1]; /* one more, to notice a file that is too long */
    size_t length;
    enum status status = disk_read(volume->disk, fd, data, sizeof data, 0, &length, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    status = volume_file_decode(data, length, &volume->identity);
    if (status == STATUS_UNSUPPORTED) {
        return error_set(
            out_error, status, 0, path,
            "the volume has a newer format than this program knows; use the newer one");
    }
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, path, "VOLUME is damaged; restore it from a backup");
    }
    return STATUS_OK;
}

static enum status load_identity(struct volume *volume, struct error *out_error)
{
    char path[VOLUME_PATH_MAX];
    int fd = -1;
    (void)stpcpy(stpcpy(path, volume->path), "/VOLUME"); /* fits, by set_paths */
    enum status status = disk_open(volume->disk, path, O_RDONLY, 0, &fd, out_error);
    if (status == STATUS_NOT_FOUND && volume->observed) {
        return missing_identity(volume, out_error);
    }
    if (status == STATUS_NOT_FOUND) {
        return make_identity(volume, out_error);
    }
    if (status == STATUS_OK) {
        status = read_identity(volume, fd, path, out_error);
    }
    disk_close(volume->disk, &fd);
    return status;
}

void volume_release(struct volume **volume)
{
    if (*volume == NULL) {
        return;
    }
    segment_table_destroy(&(*volume)->segments);
    damaged_destroy(&(*volume)->damaged);
    pins_deinit(&(*volume)->views);
    pins_deinit(&(*volume)->reading);
    disk_close((*volume)->disk, &(*volume)->lock_fd); /* and with it goes the lock */
    mem_wipe(&(*volume)->identity.key, sizeof(*volume)->identity.key);
    free(*volume);
    *volume = NULL;
}

static enum status open_or_observe(const struct volume_config *config, bool observe,
                                   struct volume **out_volume, struct error *out_error)
{
    struct volume *volume = calloc(1, sizeof *volume);
    if (volume == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, config->path, "no memory for the volume");
    }
    volume->config = *config;
    volume->lock_fd = -1;
    volume->observed = observe;
    pins_init(&volume->views);
    pins_init(&volume->reading);
    set_defaults(&volume->config);
    volume->disk = volume->config.disk;
    atomic_init(&volume->memory_left, STORAGE_BODY_MEMORY_DEFAULT);
    enum status status = set_paths(volume, config->path, out_error);
    if (status == STATUS_OK && !observe) {
        status = make_directories(volume, out_error);
    }
    if (status == STATUS_OK) {
        status = check_file_system(volume, out_error);
    }
    if (status == STATUS_OK) {
        status = take_lock(volume, out_error);
    }
    if (status == STATUS_OK) {
        status = load_identity(volume, out_error);
    }
    if (status == STATUS_OK) {
        status = segment_table_create(volume->disk, volume->segments_path, volume->blobs_path,
                                      &volume->segments, out_error);
    }
    if (status == STATUS_OK && damaged_create(&volume->damaged) != STATUS_OK) {
        status = error_set(out_error, STATUS_NO_MEMORY, 0, config->path, "opening the volume");
    }
    if (status != STATUS_OK) {
        volume_release(&volume);
        return status;
    }
    *out_volume = volume;
    return STATUS_OK;
}

enum status volume_open(const struct volume_config *config, struct volume **out_volume,
                        struct error *out_error)
{
    return open_or_observe(config, false, out_volume, out_error);
}

enum status volume_observe(const struct volume_config *config, struct volume **out_volume,
                           struct error *out_error)
{
    return open_or_observe(config, true, out_volume, out_error);
}
