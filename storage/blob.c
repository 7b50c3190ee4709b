/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/blob.h"

#include "io/list.h"
#include "io/log.h"
#include "storage/segment.h"
#include "storage/space.h"
#include "storage/volume.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BLOB_DIRECTORIES 256 /* by the id's last two digits */
#define BLOB_SPACE_STRIDE \
    (16u * 1024 * 1024)      /* octets written between two looks at the free space */
#define BLOB_OPEN_TRIES 1024 /* ids stepped over before giving up: files nobody told us of */

struct blob_thread {
    struct volume *volume; /* its atomics and immutable parts */
    struct post_box box;
    pthread_t thread;
    struct post_message stop;
    /* The thread's own: */
    bool stopping;
    bool below_reserve;
    uint64_t unchecked;                   /* octets written since space was looked at */
    bool has_directory[BLOB_DIRECTORIES]; /* made, and durable by name */
};

/* --- on the thread --- */

/* A sync that failed: what the disk holds is unknown, and asking again would not tell. */
static void go_read_only(struct blob_thread *thread, const struct error *error)
{
    struct log_line line;
    if (atomic_exchange_explicit(&thread->volume->read_only, true, memory_order_acq_rel)) {
        return; /* whoever was first has said so */
    }
    log_begin(&line, LOG_LEVEL_ERROR, "volume_read_only");
    log_text(&line, "volume", thread->volume->path);
    log_error(&line, error);
    log_end(&line);
}

static enum status check_volume(struct blob_thread *thread, size_t length)
{
    /* Acquire: partner of go_read_only, here and in the writer. */
    if (atomic_load_explicit(&thread->volume->read_only, memory_order_acquire)) {
        return STATUS_READ_ONLY;
    }
    if (thread->unchecked >= BLOB_SPACE_STRIDE || thread->below_reserve) {
        thread->below_reserve = space_check(thread->volume);
        thread->unchecked = 0;
    }
    thread->unchecked += length;
    return thread->below_reserve ? STATUS_NO_SPACE : STATUS_OK;
}

/* A sync whose failure is for want of space costs this blob only: it is dropped whole. */
static enum status synced(struct blob_thread *thread, enum status status, const struct error *error)
{
    if (status != STATUS_OK && status != STATUS_NO_SPACE) {
        go_read_only(thread, error);
    }
    return status;
}

static void directory_of(const struct blob_thread *thread, uint64_t id,
                         char out_path[SEGMENT_PATH_MAX])
{
    segment_blob_path(thread->volume->blobs_path, id, out_path);
    char *slash = out_path;
    for (char *at = out_path; *at != '\0'; at++) {
        slash = *at == '/' ? at : slash;
    }
    *slash = '\0';
}

/* The subdirectory, made when it is first needed; its name is durable before a blob stands in it.
 */
static enum status ensure_directory(struct blob_thread *thread, uint64_t id, struct error *error)
{
    bool *has = &thread->has_directory[id % BLOB_DIRECTORIES];
    struct disk *disk = thread->volume->disk;
    char path[SEGMENT_PATH_MAX];
    if (*has) {
        return STATUS_OK;
    }
    directory_of(thread, id, path);
    enum status status = disk_mkdir(disk, path, 0700, error);
    if (status == STATUS_OK) {
        status = disk_sync_directory(disk, thread->volume->blobs_path, error);
        status = synced(thread, status, error);
    }
    *has = status == STATUS_OK;
    return status;
}

static enum status open_blob(struct blob *blob)
{
    struct blob_thread *thread = blob->thread;
    struct error error = {0};
    enum status status = STATUS_EXISTS;
    for (int i = 0; status == STATUS_EXISTS && i < BLOB_OPEN_TRIES; i++) {
        char path[SEGMENT_PATH_MAX];
        /* Relaxed: only that no number comes twice matters. */
        blob->footer.blob =
            atomic_fetch_add_explicit(&thread->volume->next_blob, 1, memory_order_relaxed);
        status = ensure_directory(thread, blob->footer.blob, &error);
        if (status == STATUS_OK) {
            segment_blob_path(thread->volume->blobs_path, blob->footer.blob, path);
            status = disk_open(thread->volume->disk, path, O_WRONLY | O_CREAT | O_EXCL, 0600,
                               &blob->own.fd, &error);
        }
    }
    return status;
}

static enum status write_octets(struct blob *blob, const uint8_t *data, size_t length)
{
    struct error error = {0};
    /* The cast drops a const that pwritev does not need dropped: iovec has no const twin. */
    struct iovec iov = {(void *)(uintptr_t)data, length};
    return disk_write(blob->thread->volume->disk, blob->own.fd, &iov, 1, blob->footer.wire_length,
                      &error);
}

static void on_piece_written(struct post_message *message)
{
    struct blob_piece *piece = list_entry(message, struct blob_piece, message);
    piece->blob->on_written(piece);
}

static void on_piece(struct post_message *message)
{
    struct blob_piece *piece = list_entry(message, struct blob_piece, message);
    struct blob *blob = piece->blob;
    if (blob->own.status == STATUS_OK) {
        blob->own.status = check_volume(blob->thread, piece->length);
    }
    if (blob->own.status == STATUS_OK && blob->own.fd < 0) {
        blob->own.status = open_blob(blob);
    }
    if (blob->own.status == STATUS_OK) {
        blob->own.status = write_octets(blob, piece->data, piece->length);
    }
    if (blob->own.status == STATUS_OK) {
        checksum_stream_add(&blob->own.checksum, piece->data, piece->length);
        blob->footer.wire_length += piece->length;
    }
    piece->status = blob->own.status;
    piece->message.on_receive = on_piece_written;
    post_send(blob->owner_box, &piece->message);
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Footer, file, directory: then the blob may be named. */
static enum status make_durable(struct blob *blob)
{
    struct blob_thread *thread = blob->thread;
    struct disk *disk = thread->volume->disk;
    struct error error = {0};
    char path[SEGMENT_PATH_MAX];
    uint8_t footer[RECORD_BLOB_FOOTER_SIZE];
    blob->footer.body_checksum = checksum_stream_result(&blob->own.checksum);
    blob->footer.created_ms = now_ms();
    record_encode_blob_footer(&thread->volume->identity.key, &blob->footer, footer);
    enum status status = write_octets(blob, footer, sizeof footer);
    if (status != STATUS_OK) {
        return status;
    }
    segment_blob_path(thread->volume->blobs_path, blob->footer.blob, path);
    status = synced(thread, disk_sync_data(disk, blob->own.fd, path, &error), &error);
    if (status == STATUS_OK) {
        directory_of(thread, blob->footer.blob, path);
        status = synced(thread, disk_sync_directory(disk, path, &error), &error);
    }
    return status;
}

static void on_closed(struct post_message *message)
{
    struct blob *blob = list_entry(message, struct blob, own.message);
    blob->on_closed(blob, blob->own.status);
}

static void on_finish(struct post_message *message)
{
    struct blob *blob = list_entry(message, struct blob, own.message);
    if (blob->own.status == STATUS_OK) {
        blob->own.status = check_volume(blob->thread, 0);
    }
    if (blob->own.status == STATUS_OK) {
        blob->own.status = make_durable(blob);
    }
    disk_close(blob->thread->volume->disk, &blob->own.fd);
    message->on_receive = on_closed;
    post_send(blob->owner_box, message);
}

static void on_abort(struct post_message *message)
{
    struct blob *blob = list_entry(message, struct blob, own.message);
    struct disk *disk = blob->thread->volume->disk;
    disk_close(disk, &blob->own.fd);
    if (blob->footer.blob != 0) {
        char path[SEGMENT_PATH_MAX];
        segment_blob_path(blob->thread->volume->blobs_path, blob->footer.blob, path);
        (void)!disk_unlink(disk, path, NULL); /* what stays is an orphan: recovery removes it */
    }
    blob->own.status = STATUS_OK;
    message->on_receive = on_closed;
    post_send(blob->owner_box, message);
}

static void on_stop(struct post_message *message)
{
    list_entry(message, struct blob_thread, stop)->stopping = true;
}

static void *run(void *owner)
{
    struct blob_thread *thread = owner;
    while (!thread->stopping) {
        (void)post_wait(&thread->box, -1); /* without a time limit it ends with something there */
        (void)post_run(&thread->box);
    }
    return NULL;
}

/* --- the thread's life, and the owner's side --- */

enum status blob_thread_start(struct volume *volume, struct blob_thread **out_thread,
                              struct error *out_error)
{
    struct blob_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for the blob thread");
    }
    thread->volume = volume;
    thread->unchecked = BLOB_SPACE_STRIDE; /* look at the first piece */
    thread->stop.on_receive = on_stop;
    enum status status = post_box_init_thread(&thread->box);
    if (status == STATUS_OK && pthread_create(&thread->thread, NULL, run, thread) != 0) {
        post_box_deinit(&thread->box);
        status = STATUS_LIMIT;
    }
    if (status != STATUS_OK) {
        free(thread);
        return error_set(out_error, status, 0, NULL, "cannot start the blob thread");
    }
    *out_thread = thread;
    return STATUS_OK;
}

void blob_thread_stop(struct blob_thread **thread)
{
    if (*thread == NULL) {
        return;
    }
    post_send(&(*thread)->box, &(*thread)->stop);
    (void)pthread_join((*thread)->thread, NULL); /* our own thread, joined once */
    post_box_deinit(&(*thread)->box);
    free(*thread);
    *thread = NULL;
}

void blob_init(struct blob *blob, struct blob_thread *thread, struct post_box *owner_box)
{
    blob->thread = thread;
    blob->owner_box = owner_box;
    blob->footer = (struct record_blob_footer){0};
    blob->own.status = STATUS_OK;
    blob->own.fd = -1;
    checksum_stream_init(&blob->own.checksum);
}

void blob_write(struct blob *blob, struct blob_piece *piece)
{
    piece->blob = blob;
    piece->message.on_receive = on_piece;
    post_send(&blob->thread->box, &piece->message);
}

void blob_finish(struct blob *blob)
{
    blob->own.message.on_receive = on_finish;
    post_send(&blob->thread->box, &blob->own.message);
}

void blob_abort(struct blob *blob)
{
    blob->own.message.on_receive = on_abort;
    post_send(&blob->thread->box, &blob->own.message);
}
