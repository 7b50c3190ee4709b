/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/ahead.h"

#include "io/list.h"
#include "storage/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define AHEAD_TRIES 1024 /* ids stepped over before giving up: segments nobody told us of */

struct ahead {
    struct disk *disk;
    const char *segments_path;
    struct post_box *reply_box;
    struct post_box box;
    pthread_t thread;
    struct post_message stop;
    bool stopping; /* the thread's */
};

/* An empty file under this id: a new one, or one that an earlier run made ahead and never used. */
static enum status open_empty(struct ahead *ahead, struct ahead_request *request, const char *path)
{
    uint64_t size = 0;
    enum status status =
        disk_open(ahead->disk, path, O_WRONLY | O_CREAT, 0600, &request->fd, &request->error);
    if (status == STATUS_OK) {
        status = disk_file_size(request->fd, &size, &request->error);
    }
    return status == STATUS_OK && size > 0 ? STATUS_EXISTS : status;
}

static enum status make_file(struct ahead *ahead, struct ahead_request *request)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(ahead->segments_path, request->segment, path);
    enum status status = open_empty(ahead, request, path);
    if (status == STATUS_OK) {
        status = disk_sync_data(ahead->disk, request->fd, path, &request->error);
    }
    if (status == STATUS_OK) {
        status = disk_sync_directory(ahead->disk, ahead->segments_path, &request->error);
    }
    if (status != STATUS_OK) {
        disk_close(ahead->disk, &request->fd);
    }
    return status;
}

static void on_ask(struct post_message *message)
{
    struct ahead_request *request = list_entry(message, struct ahead_request, own);
    struct ahead *ahead = request->ahead;
    request->fd = -1;
    request->status = make_file(ahead, request);
    /* Something is there that recovery did not count: it is left alone, whatever it is. */
    for (int i = 0; request->status == STATUS_EXISTS && i < AHEAD_TRIES; i++) {
        request->segment++;
        request->status = make_file(ahead, request);
    }
    post_send(ahead->reply_box, &request->message);
}

static void on_stop(struct post_message *message)
{
    list_entry(message, struct ahead, stop)->stopping = true;
}

static void *run(void *owner)
{
    struct ahead *ahead = owner;
    while (!ahead->stopping) {
        (void)post_wait(&ahead->box,
                        -1); /* without a time limit it only ends with something there */
        (void)post_run(&ahead->box);
    }
    return NULL;
}

enum status ahead_create(struct disk *disk, const char *segments_path, struct post_box *reply_box,
                         struct ahead **out_ahead)
{
    struct ahead *ahead = calloc(1, sizeof *ahead);
    if (ahead == NULL) {
        return STATUS_NO_MEMORY;
    }
    ahead->disk = disk;
    ahead->segments_path = segments_path;
    ahead->reply_box = reply_box;
    ahead->stop.on_receive = on_stop;
    enum status status = post_box_init_thread(&ahead->box);
    if (status != STATUS_OK) {
        free(ahead);
        return status;
    }
    if (pthread_create(&ahead->thread, NULL, run, ahead) != 0) {
        post_box_deinit(&ahead->box);
        free(ahead);
        return STATUS_LIMIT;
    }
    *out_ahead = ahead;
    return STATUS_OK;
}

void ahead_ask(struct ahead *ahead, struct ahead_request *request)
{
    request->ahead = ahead;
    request->own.on_receive = on_ask;
    post_send(&ahead->box, &request->own);
}

void ahead_destroy(struct ahead **ahead)
{
    if (*ahead == NULL) {
        return;
    }
    post_send(&(*ahead)->box, &(*ahead)->stop);
    (void)pthread_join((*ahead)->thread, NULL); /* our own thread, joined once */
    post_box_deinit(&(*ahead)->box);
    free(*ahead);
    *ahead = NULL;
}
