/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/site.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum status site_open(struct fixture *site, const char *path, const struct store_config *config,
                      struct error *out_error)
{
    memset(site, 0, sizeof *site);
    site->config = *config;
    site->config.path = path;
    enum status status = post_box_init_thread(&site->box);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, path, "no box for the client");
    }
    status = store_open(&site->config, &site->store, out_error);
    if (status != STATUS_OK) {
        post_box_deinit(&site->box);
        return status;
    }
    store_client_init(&site->client, site->store, NULL, &site->box);
    return STATUS_OK;
}

void site_close(struct fixture *site)
{
    while (site->client.inflight > 0) { /* what was given up is not done with at once */
        (void)post_wait(&site->box, -1);
        (void)post_run(&site->box);
    }
    fixture_close(site);
    post_box_deinit(&site->box);
}

static enum status read_extent(const struct sendq_extent *extent, char *wire, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t got = pread(extent->fd, wire + done, length - done, (off_t)(extent->offset + done));
        if (got <= 0 && errno != EINTR) {
            return got == 0 ? STATUS_CORRUPT : STATUS_IO;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return STATUS_OK;
}

enum status site_read(struct fixture *site, struct view *view, uint32_t index, char **out_wire,
                      size_t *out_length)
{
    struct store_message message;
    store_view_message(view, index, &message);
    size_t length = message.wire_length;
    char *wire = malloc(length + 1);
    if (wire == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct store_fetch fetch = {.client = &site->client,
                                .view = view,
                                .index = index,
                                .length = length,
                                .buffer = (uint8_t *)wire};
    enum status status = store_fetch(&fetch);
    assert(status != STATUS_PENDING); /* there is no loop: everything must be warm */
    if (status == STATUS_OK && fetch.range.kind == STORE_RANGE_EXTENT) {
        status = read_extent(&fetch.range.extent, wire, length);
        fetch.range.extent.hold.release(fetch.range.extent.hold.owner);
    }
    if (status != STATUS_OK) {
        free(wire);
        return status;
    }
    *out_wire = wire;
    *out_length = length;
    return STATUS_OK;
}

/* --- directories --- */

void site_make_folder(char out_path[64])
{
    const char *temporary = getenv("TMPDIR");
    strcpy(out_path, "/dev/shm/restante-proof-XXXXXX");
    if (access("/dev/shm", W_OK) == 0 && mkdtemp(out_path) != NULL) {
        return;
    }
    int length = snprintf(out_path, 64, "%s/restante-proof-XXXXXX",
                          temporary != NULL && strlen(temporary) < 40 ? temporary : "/tmp");
    assert(length > 0 && length < 64 && mkdtemp(out_path) != NULL);
}

void site_remove(const char *path)
{
    (void)nftw(path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    ssize_t got;
    int source = open(from, O_RDONLY | O_CLOEXEC);
    int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert(source >= 0 && target >= 0);
    while ((got = read(source, block, sizeof block)) > 0) {
        ssize_t written = write(target, block, (size_t)got);
        assert(written == got);
    }
    (void)close(source);
    (void)close(target);
}

void site_copy(const char *from, const char *to)
{
    DIR *directory = opendir(from);
    const struct dirent *entry;
    assert(directory != NULL);
    int code = mkdir(to, 0700);
    assert(code == 0);
    while ((entry = readdir(directory)) != NULL) {
        char source[512], target[512];
        struct stat found;
        bool own = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (own || strcmp(entry->d_name, "lock.mdb") == 0) {
            continue;
        }
        int length = snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        assert(length > 0 && (size_t)length < sizeof source);
        length = snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        assert(length > 0 && (size_t)length < sizeof target);
        if (stat(source, &found) == 0 && S_ISDIR(found.st_mode)) {
            site_copy(source, target);
        } else {
            copy_file(source, target);
        }
    }
    (void)closedir(directory);
}
