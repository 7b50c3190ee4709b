/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/ballast.h"

#include "io/log.h"
#include "storage/volume.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BALLAST_MIN      65536  /* octets: less helps nobody */
#define BALLAST_STEP_MIN 262144 /* octets: a group and a checkpoint at the same time */

struct ballast {
    struct volume *volume;
    uint64_t size; /* what it should be, octets; 0: none */
    pthread_mutex_t mutex;
    int fd;
    bool cannot; /* this file system allocates nothing: not asked again */
    uint64_t held;
};

static void report(const struct ballast *ballast, const char *text)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARNING, "ballast");
    log_text(&line, "volume", ballast->volume->path);
    log_number(&line, "octets", (int64_t)ballast->held);
    log_text(&line, "text", text);
    log_end(&line);
}

enum status ballast_open(struct volume *volume, struct ballast **out_ballast,
                         struct error *out_error)
{
    char path[VOLUME_PATH_MAX];
    struct ballast *ballast = calloc(1, sizeof *ballast);
    if (ballast == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, volume->path, "opening the volume");
    }
    uint64_t size = volume->config.space_reserve / 2;
    ballast->volume = volume;
    ballast->fd = -1;
    ballast->size = size < BALLAST_MIN ? 0 : size < BALLAST_MAX ? size : BALLAST_MAX;
    (void)pthread_mutex_init(&ballast->mutex, NULL);      /* cannot fail with default attributes */
    (void)stpcpy(stpcpy(path, volume->path), "/ballast"); /* fits, by the volume's own bound */
    enum status status = STATUS_OK;
    if (ballast->size > 0) {
        status = disk_open(volume->disk, path, O_RDWR | O_CREAT, 0600, &ballast->fd, out_error);
    }
    if (status == STATUS_OK && ballast->size > 0) {
        status = disk_file_size(ballast->fd, &ballast->held, out_error);
    }
    if (status == STATUS_NO_SPACE) {
        ballast->size = 0; /* not even room for a name: a store on a full disk must open */
        status = STATUS_OK;
    }
    if (status != STATUS_OK) {
        ballast_close(&ballast);
        return status;
    }
    *out_ballast = ballast;
    return STATUS_OK;
}

void ballast_close(struct ballast **ballast)
{
    if (*ballast != NULL) {
        disk_close((*ballast)->volume->disk, &(*ballast)->fd);
        (void)pthread_mutex_destroy(&(*ballast)->mutex); /* nobody holds it any more */
        free(*ballast);
        *ballast = NULL;
    }
}

uint64_t ballast_step(const struct ballast *ballast)
{
    uint64_t step = ballast->size / BALLAST_STEPS;
    return step > BALLAST_STEP_MIN            ? step
           : ballast->size < BALLAST_STEP_MIN ? ballast->size
                                              : BALLAST_STEP_MIN;
}

bool ballast_release(struct ballast *ballast)
{
    bool done = false;
    if (ballast == NULL) {
        return false;
    }
    (void)pthread_mutex_lock(&ballast->mutex);
    if (ballast->held > 0) {
        uint64_t step = ballast_step(ballast);
        uint64_t left = ballast->held > step ? ballast->held - step : 0;
        bool first = ballast->held >= ballast->size;
        done = disk_resize(ballast->fd, left, NULL) == STATUS_OK;
        ballast->held = done ? left : ballast->held;
        if (first) {
            report(ballast,
                   "the disk is full: what was kept for expunges is being used; make room");
        } else if (left == 0) {
            report(ballast, "what was kept for expunges is used up; make room");
        }
    }
    (void)pthread_mutex_unlock(&ballast->mutex);
    return done;
}

void ballast_restore(struct ballast *ballast, uint64_t free_octets)
{
    (void)pthread_mutex_lock(&ballast->mutex);
    uint64_t wanted = ballast->volume->config.space_reserve + 2 * ballast->size;
    if (!ballast->cannot && ballast->held < ballast->size && free_octets > wanted) {
        enum status status = disk_allocate(ballast->fd, ballast->size, NULL);
        if (status == STATUS_OK) {
            ballast->held = ballast->size;
        } else {
            /* Somebody was faster, and has the room now: tried again when there is some. What was
             * taken before the end came is given back, or else counted. */
            bool is_back = disk_resize(ballast->fd, ballast->held, NULL) == STATUS_OK;
            ballast->held = is_back ? ballast->held : ballast->size;
            ballast->cannot = status == STATUS_UNSUPPORTED || status == STATUS_INVALID;
        }
    }
    (void)pthread_mutex_unlock(&ballast->mutex);
}

uint64_t ballast_held(struct ballast *ballast)
{
    (void)pthread_mutex_lock(&ballast->mutex);
    uint64_t held = ballast->held;
    (void)pthread_mutex_unlock(&ballast->mutex);
    return held;
}
