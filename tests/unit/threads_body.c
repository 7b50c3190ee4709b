/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several owners fill bodies at once, with too little memory for all: they share one blob thread
 * and one budget. Every body comes to its end, holds what was put in, and the budget is whole
 * afterwards. Some are destroyed at any point. Run under ThreadSanitizer.
 */
#include "storage/blob.h"
#include "storage/body.h"
#include "storage/segment.h"
#include "storage/volume.h"
#include "tests/unit/fake_disk.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OWNERS     4
#define BODIES     40 /* an owner, one after the other */
#define MEMORY     (6 * 65536)
#define LENGTH_MAX 600000

struct owner {
    pthread_t thread;
    struct post_box box;
    struct blob_thread *blobs;
    uint32_t inflight;
    unsigned seed, wrong, blob_count, writable, finished;
    enum status status;
    uint8_t message[LENGTH_MAX];
};

static struct volume volume;
static unsigned passed, failed;

static void expect(bool is_true, const char *what)
{
    if (is_true) {
        passed++;
    } else {
        failed++;
        (void)fprintf(stderr, "failed: %s\n", what);
    }
}

static void on_writable(void *owner)
{
    ((struct owner *)owner)->writable++;
}

static void on_finished(void *owner, enum status status)
{
    ((struct owner *)owner)->finished++;
    ((struct owner *)owner)->status = status;
}

static void run_once(struct owner *owner)
{
    if (!post_wait(&owner->box, 60000)) {
        (void)fprintf(stderr, "nothing came\n");
        abort();
    }
    (void)post_run(&owner->box);
}

/* False when it was given up half way. */
static bool fill(struct owner *owner, struct body *body, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t piece = length - at < 30000 ? length - at : 30000;
        unsigned before = owner->writable;
        enum status status = body_add(body, owner->message + at, piece);
        owner->wrong += status != STATUS_OK && status != STATUS_PENDING;
        if (rand_r(&owner->seed) % 200 == 0) {
            return false;
        }
        while (status == STATUS_PENDING && owner->writable == before) {
            run_once(owner);
        }
        at += piece;
    }
    return true;
}

/* The file has the checksum that the body says. */
static bool blob_is_right(const struct body *body)
{
    char path[SEGMENT_PATH_MAX];
    struct stat found;
    size_t length = (size_t)body_wire(body)->wire_length;
    segment_blob_path(volume.blobs_path, body_blob(body), path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *data = malloc(length);
    bool is_right = fd >= 0 && data != NULL && fstat(fd, &found) == 0 &&
                    (size_t)found.st_size == length + RECORD_BLOB_FOOTER_SIZE &&
                    pread(fd, data, length, 0) == (ssize_t)length &&
                    checksum_body(data, length) == body_checksum(body);
    (void)close(fd);
    free(data);
    return is_right;
}

static void one_body(struct owner *owner)
{
    struct body_config config = {.blobs = owner->blobs,
                                 .owner_box = &owner->box,
                                 .blob_min = 400000,
                                 .memory_left = &volume.memory_left,
                                 .inflight = &owner->inflight};
    struct body *body;
    if (body_create(&config, &body) != STATUS_OK) {
        owner->wrong++;
        return;
    }
    body_set_callbacks(body, on_writable, on_finished, owner);
    if (fill(owner, body, 1 + (size_t)rand_r(&owner->seed) % (LENGTH_MAX - 1))) {
        unsigned before = owner->finished;
        enum status status = body_finish(body);
        while (status == STATUS_PENDING && owner->finished == before) {
            run_once(owner);
        }
        status = status == STATUS_PENDING ? owner->status : status;
        owner->wrong += status != STATUS_OK;
        if (status == STATUS_OK && body_blob(body) != 0) {
            owner->wrong += !blob_is_right(body);
            owner->blob_count++;
        }
    }
    body_destroy(&body);
}

static void *run(void *argument)
{
    struct owner *owner = argument;
    for (int i = 0; i < BODIES; i++) {
        one_body(owner);
    }
    while (owner->inflight > 0) {
        run_once(owner);
    }
    return NULL;
}

int main(void)
{
    static struct owner owners[OWNERS];
    struct blob_thread *blobs = NULL;
    char *directory = fake_disk_temp_dir();
    unsigned seed = (unsigned)time(NULL), blob_count = 0;
    (void)printf("seed %u\n", seed);
    volume.disk = disk_real();
    volume.config.space_reserve = 1;
    (void)snprintf(volume.path, sizeof volume.path, "%s", directory);
    (void)snprintf(volume.blobs_path, sizeof volume.blobs_path, "%s", directory);
    atomic_init(&volume.next_blob, 1);
    atomic_init(&volume.memory_left, MEMORY);
    expect(blob_thread_start(&volume, &blobs, NULL) == STATUS_OK, "the blob thread starts");
    for (unsigned i = 0; i < OWNERS; i++) {
        owners[i].blobs = blobs;
        owners[i].seed = seed + i;
        memset(owners[i].message, 'a' + (int)i, LENGTH_MAX);
        expect(post_box_init_thread(&owners[i].box) == STATUS_OK, "a box is made");
        expect(pthread_create(&owners[i].thread, NULL, run, &owners[i]) == 0, "a thread starts");
    }
    for (unsigned i = 0; i < OWNERS; i++) {
        (void)pthread_join(owners[i].thread, NULL);
        expect(owners[i].wrong == 0, "every body is right");
        post_box_deinit(&owners[i].box);
        blob_count += owners[i].blob_count;
    }
    blob_thread_stop(&blobs);
    expect(atomic_load(&volume.memory_left) == MEMORY, "the budget is whole again");
    expect(blob_count > 0, "some became blobs");
    fake_disk_remove_dir(directory);
    (void)printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
