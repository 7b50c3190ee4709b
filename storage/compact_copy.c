/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In rounds of a few records: read what stands in the segment, ask the index what of it is needed,
 * read the bodies and verify them, submit, wait. An answer of STATUS_AGAIN means that something
 * happened between question and append: that record is asked about once more.
 */
#include "storage/compact_copy.h"

#include "storage/delta.h"
#include "storage/disk.h"
#include "storage/index.h"
#include "storage/scrub.h"
#include "storage/volume.h"
#include "storage/writer.h"

#include <stdlib.h>
#include <string.h>

#define ROUND_RECORDS 64           /* submitted at once */
#define ROUND_OCTETS  (256u << 10) /* and so many: what a delivery may have to wait for */
#define TRIES_MAX     100          /* of one round; a second one is rare */
#define EXPUNGE_PIECE 65536        /* uids of one record */

enum piece_state {
    PIECE_READ,      /* from the segment; not yet asked about */
    PIECE_READY,     /* to be submitted */
    PIECE_SUBMITTED, /* the writer has it */
    PIECE_DONE       /* appended, or not needed */
};

/* One record on its way. */
struct piece {
    struct writer_item item;
    struct copy *copy;
    enum piece_state state;
    struct record_header header; /* as it stands in the segment */
    uint8_t *old_meta;           /* likewise */
    uint8_t *meta;               /* what is appended; may be `old_meta` */
    uint8_t *body;
    struct iovec body_iov;
};

/* An expunge that goes on. */
struct expunge {
    uint64_t maildrop, uid;
};

struct copy {
    struct compact_look *look;
    const struct compact_plan *plan;
    struct post_box *box;
    struct compact_walk walk;
    struct piece pieces[ROUND_RECORDS];
    unsigned count, unanswered;
    uint64_t octets;     /* of the round */
    enum status failure; /* of an append; STATUS_OK: none */
    struct expunge *expunges;
    size_t expunge_count, expunge_capacity;
    struct compact_copied copied;
    struct error *out_error;
};

/* --- pieces --- */

static void clear_round(struct copy *copy)
{
    for (unsigned i = 0; i < copy->count; i++) {
        struct piece *piece = &copy->pieces[i];
        if (piece->meta != piece->old_meta) {
            free(piece->meta);
        }
        free(piece->old_meta);
        free(piece->body);
    }
    copy->count = 0;
    copy->octets = 0;
}

static enum status add_piece(struct copy *copy, const struct record_header *header,
                             const uint8_t *meta)
{
    struct piece *piece = &copy->pieces[copy->count];
    *piece = (struct piece){.copy = copy, .header = *header};
    piece->old_meta = malloc((size_t)header->meta_length + 1);
    if (piece->old_meta == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(piece->old_meta, meta, header->meta_length);
    copy->count++;
    copy->octets += record_length(header);
    return STATUS_OK;
}

static enum status note_expunges(struct copy *copy, const struct record_header *header,
                                 const uint8_t *meta)
{
    uint64_t maildrop;
    uint32_t count;
    enum status status = record_decode_expunged(meta, header->meta_length, &maildrop, &count);
    if (status != STATUS_OK) {
        return status;
    }
    if (copy->expunge_capacity - copy->expunge_count < count) {
        size_t capacity = (copy->expunge_capacity + count) * 2;
        struct expunge *larger = realloc(copy->expunges, capacity * sizeof *larger);
        if (larger == NULL) {
            return STATUS_NO_MEMORY;
        }
        copy->expunges = larger;
        copy->expunge_capacity = capacity;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t uid = record_expunged_uid(meta, i);
        if (uid <= copy->plan->expunge_floor) {
            copy->expunges[copy->expunge_count++] = (struct expunge){maildrop, uid};
        }
    }
    return STATUS_OK;
}

/* Fills a round. STATUS_EOF: the segment ends here; the round may hold something all the same. */
static enum status gather(struct copy *copy)
{
    while (copy->count < ROUND_RECORDS && copy->octets < ROUND_OCTETS) {
        struct record_header header;
        const uint8_t *meta;
        enum status status = compact_walk_next(&copy->walk, &header, &meta, copy->out_error);
        if (status != STATUS_OK) {
            return status;
        }
        if (header.kind == RECORD_EXPUNGED) {
            status = note_expunges(copy, &header, meta);
        } else if (header.kind != RECORD_RETIRED && header.kind != RECORD_RETRIEVED) {
            status = add_piece(copy, &header, meta);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* --- asking the index --- */

static void make_ready(struct piece *piece, uint8_t kind, size_t meta_length)
{
    piece->item = (struct writer_item){.kind = kind,
                                       .flags = piece->header.flags,
                                       .meta = piece->meta,
                                       .meta_length = (uint32_t)meta_length,
                                       .body_checksum = piece->header.body_checksum,
                                       .uses_reserve = true,
                                       .recheck = true,
                                       .checked_to = piece->copy->look->position};
    piece->state = PIECE_READY;
}

static uint8_t *new_meta(struct piece *piece, size_t length)
{
    if (piece->meta != piece->old_meta) {
        free(piece->meta);
    }
    piece->meta = malloc(length);
    return piece->meta;
}

/* Those who have expunged it since the snapshot go; one about whom the delta cannot say stays, for
 * the writer to answer. */
static uint32_t drop_gone(struct compact_look *look, uint64_t uid, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t maildrop = look->recipients[i].maildrop;
        if (delta_since(look->volume->delta, maildrop, uid, look->position) != DELTA_GONE) {
            look->recipients[kept++] = look->recipients[i];
        }
    }
    return kept;
}

static enum status prepare_message(struct piece *piece)
{
    struct compact_look *look = piece->copy->look;
    struct record_delivered message;
    uint32_t count;
    enum status status =
        compact_recipients(look, &piece->header, piece->old_meta, &message, &count);
    if (status != STATUS_OK) {
        return status;
    }
    message.recipient_count = count = drop_gone(look, message.uid, count);
    if (count == 0) {
        piece->state = PIECE_DONE;
        return STATUS_OK;
    }
    uint8_t *meta = new_meta(piece, record_delivered_size(&message, look->recipients));
    if (meta == NULL) {
        return STATUS_NO_MEMORY;
    }
    make_ready(piece, RECORD_MOVED, record_encode_delivered(&message, look->recipients, meta));
    return STATUS_OK;
}

static enum status prepare_name(struct piece *piece)
{
    struct compact_look *look = piece->copy->look;
    uint64_t maildrop;
    struct record_bytes name;
    struct index_drop drop;
    enum status status =
        record_decode_drop(piece->old_meta, piece->header.meta_length, &maildrop, &name);
    if (status != STATUS_OK) {
        return status;
    }
    status = index_drop(look->reader, maildrop, &drop, NULL);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    bool gone = status == STATUS_NOT_FOUND || drop.name[0] == '\0' ||
                delta_since(look->volume->delta, maildrop, 0, look->position) == DELTA_GONE;
    if (gone) {
        piece->state = PIECE_DONE; /* removed, or a newer name stands in a later segment */
        return STATUS_OK;
    }
    name = (struct record_bytes){(const uint8_t *)drop.name, (uint32_t)strlen(drop.name)};
    uint8_t *meta = new_meta(piece, RECORD_DROP_SIZE(name.length));
    if (meta == NULL) {
        return STATUS_NO_MEMORY;
    }
    make_ready(piece, RECORD_DROP_CHANGED, record_encode_drop(maildrop, name, meta));
    return STATUS_OK;
}

static enum status prepare(struct piece *piece)
{
    switch ((enum record_kind)piece->header.kind) {
    case RECORD_DELIVERED:
    case RECORD_MOVED:
        return prepare_message(piece);
    case RECORD_DROP_CREATED:
    case RECORD_DROP_CHANGED:
        return prepare_name(piece);
    case RECORD_DROP_REMOVED:
        piece->meta = piece->old_meta;
        make_ready(piece, RECORD_DROP_REMOVED, piece->header.meta_length);
        return STATUS_OK;
    case RECORD_MANIFEST:
    case RECORD_EXPUNGED:
    case RECORD_RETIRED:
    case RECORD_RETRIEVED:
        break;
    }
    return STATUS_UNSUPPORTED;
}

/* All that are not done, in one snapshot. */
static enum status prepare_all(struct copy *copy)
{
    struct index_state state;
    enum status status = index_begin(copy->look->reader, &state);
    if (status != STATUS_OK) {
        return status;
    }
    copy->look->position = state.position.sequence;
    for (unsigned i = 0; i < copy->count && status == STATUS_OK; i++) {
        if (copy->pieces[i].state != PIECE_DONE) {
            status = prepare(&copy->pieces[i]);
        }
    }
    index_end(copy->look->reader);
    return status;
}

/* --- bodies --- */

/* Nobody may be sent it, and somebody should know: it is remembered for each who still has it. */
static void report_damaged(struct piece *piece)
{
    struct compact_look *look = piece->copy->look;
    struct index_state state;
    struct record_delivered message;
    uint32_t count = 0;
    if (index_begin(look->reader, &state) != STATUS_OK) {
        return; /* the scrubber finds it, too */
    }
    enum status status =
        compact_recipients(look, &piece->header, piece->old_meta, &message, &count);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        struct message_entry entry;
        uint64_t maildrop = look->recipients[i].maildrop;
        status = index_message(look->reader, maildrop, message.uid, &entry);
        if (status == STATUS_OK) {
            scrub_report(look->volume, maildrop, &entry, STATUS_CORRUPT, "compaction");
        }
    }
    index_end(look->reader);
}

static enum status read_body(struct piece *piece)
{
    struct copy *copy = piece->copy;
    const struct record_header *header = &piece->header;
    size_t length = (size_t)header->body_length, read = 0;
    if (length > 0 && piece->body == NULL) {
        piece->body = malloc(length);
        if (piece->body == NULL) {
            return STATUS_NO_MEMORY;
        }
        uint64_t offset = header->offset + RECORD_HEADER_SIZE + header->meta_length;
        enum status status = disk_read(copy->look->volume->disk, copy->walk.scan.fd, piece->body,
                                       length, offset, &read, copy->out_error);
        if (status != STATUS_OK) {
            return status;
        }
        if (read < length || checksum_body(piece->body, length) != header->body_checksum) {
            copy->copied.damaged_offset = offset;
            report_damaged(piece);
            return STATUS_CORRUPT;
        }
    }
    piece->body_iov = (struct iovec){piece->body, length};
    piece->item.body = &piece->body_iov;
    piece->item.body_count = length > 0;
    piece->item.body_length = length;
    return STATUS_OK;
}

/* --- appending --- */

static void on_appended(struct writer_item *item)
{
    struct piece *piece = (struct piece *)(void *)item; /* its first member */
    struct copy *copy = piece->copy;
    copy->unanswered--;
    if (item->status == STATUS_OK) {
        piece->state = PIECE_DONE;
        copy->copied.records++;
        copy->copied.octets += RECORD_HEADER_SIZE + item->meta_length + item->body_length;
    } else if (item->status == STATUS_AGAIN) {
        piece->state = PIECE_READ;
    } else {
        copy->failure = item->status;
    }
}

static void submit(struct piece *piece)
{
    struct copy *copy = piece->copy;
    piece->item.reply_box = copy->box;
    piece->item.on_done = on_appended;
    piece->state = PIECE_SUBMITTED;
    copy->unanswered++;
    writer_submit(copy->look->volume->writer, &piece->item);
}

static enum status await(struct copy *copy)
{
    while (copy->unanswered > 0) {
        (void)post_wait(copy->box, -1); /* without a time limit it ends with something there */
        (void)post_run(copy->box);
    }
    return copy->failure;
}

static bool is_done(const struct copy *copy)
{
    for (unsigned i = 0; i < copy->count; i++) {
        if (copy->pieces[i].state != PIECE_DONE) {
            return false;
        }
    }
    return true;
}

/* Appends what is needed of the round. */
static enum status append_round(struct copy *copy)
{
    for (unsigned try = 0; !is_done(copy); try++) {
        enum status status = try < TRIES_MAX ? prepare_all(copy) : STATUS_AGAIN;
        for (unsigned i = 0; i < copy->count && status == STATUS_OK; i++) {
            if (copy->pieces[i].state == PIECE_READY) {
                status = read_body(&copy->pieces[i]);
            }
        }
        if (status != STATUS_OK) {
            return status;
        }
        for (unsigned i = 0; i < copy->count; i++) {
            if (copy->pieces[i].state == PIECE_READY) {
                submit(&copy->pieces[i]);
            }
        }
        status = await(copy);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* --- expunges --- */

static int by_target(const void *left, const void *right)
{
    const struct expunge *a = left, *b = right;
    if (a->maildrop != b->maildrop) {
        return a->maildrop < b->maildrop ? -1 : 1;
    }
    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

/* One record for each maildrop: sorted, each uid once. */
static void sort_expunges(struct copy *copy)
{
    size_t kept = 0;
    if (copy->expunge_count == 0) {
        return;
    }
    qsort(copy->expunges, copy->expunge_count, sizeof copy->expunges[0], by_target);
    for (size_t i = 0; i < copy->expunge_count; i++) {
        if (kept == 0 || by_target(&copy->expunges[kept - 1], &copy->expunges[i]) != 0) {
            copy->expunges[kept++] = copy->expunges[i];
        }
    }
    copy->expunge_count = kept;
}

/* A maildrop's, from `first` on; returns how many. */
static enum status add_expunge_piece(struct copy *copy, size_t first, size_t *out_count)
{
    uint64_t maildrop = copy->expunges[first].maildrop;
    size_t count = 1;
    while (first + count < copy->expunge_count && count < EXPUNGE_PIECE &&
           copy->expunges[first + count].maildrop == maildrop) {
        count++;
    }
    struct piece *piece = &copy->pieces[copy->count];
    uint64_t *uids = malloc(count * sizeof *uids);
    *piece = (struct piece){.copy = copy, .header = {.body_checksum = checksum_body("", 0)}};
    piece->meta = malloc(RECORD_EXPUNGED_SIZE(count));
    if (uids == NULL || piece->meta == NULL) {
        free(uids);
        free(piece->meta);
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        uids[i] = copy->expunges[first + i].uid;
    }
    size_t length = record_encode_expunged(maildrop, uids, (uint32_t)count, piece->meta);
    free(uids);
    copy->count++;
    copy->octets += RECORD_HEADER_SIZE + length;
    make_ready(piece, RECORD_EXPUNGED, length);
    *out_count = count;
    return STATUS_OK;
}

static enum status append_expunges(struct copy *copy, const struct compact_pacer *pacer)
{
    enum status status = STATUS_OK;
    sort_expunges(copy);
    for (size_t done = 0; done < copy->expunge_count && status == STATUS_OK;) {
        while (done < copy->expunge_count && copy->count < ROUND_RECORDS &&
               copy->octets < ROUND_OCTETS && status == STATUS_OK) {
            size_t count = 0;
            status = add_expunge_piece(copy, done, &count);
            done += count;
        }
        for (unsigned i = 0; i < copy->count && status == STATUS_OK; i++) {
            submit(&copy->pieces[i]);
        }
        enum status answer = await(copy);
        status = status == STATUS_OK ? answer : status;
        uint64_t octets = copy->octets;
        clear_round(copy);
        if (status == STATUS_OK && !pacer->pace(pacer->owner, octets)) {
            status = STATUS_CANCELLED;
        }
    }
    return status;
}

/* --- all of it --- */

static enum status run(struct copy *copy, const struct compact_pacer *pacer)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        status = gather(copy);
        if (status != STATUS_OK && status != STATUS_EOF) {
            break;
        }
        uint64_t octets = copy->octets;
        enum status appended = append_round(copy);
        clear_round(copy);
        if (appended != STATUS_OK) {
            return appended;
        }
        if (!pacer->pace(pacer->owner, octets)) {
            return STATUS_CANCELLED;
        }
    }
    return status == STATUS_EOF ? append_expunges(copy, pacer) : status;
}

enum status compact_copy(struct compact_look *look, const struct compact_plan *plan,
                         struct post_box *box, const struct compact_pacer *pacer,
                         struct compact_copied *out_copied, struct error *out_error)
{
    struct copy *copy = calloc(1, sizeof *copy);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    copy->look = look;
    copy->plan = plan;
    copy->box = box;
    copy->out_error = out_error;
    enum status status = compact_walk_open(look->volume, plan->segment, &copy->walk, out_error);
    if (status == STATUS_OK) {
        status = run(copy, pacer);
        compact_walk_close(&copy->walk);
    }
    clear_round(copy);
    *out_copied = copy->copied;
    free(copy->expunges);
    free(copy);
    return status;
}

/* --- the end of a segment --- */

struct retirement {
    struct writer_item item;
    uint8_t meta[RECORD_RETIRED_SIZE];
    bool answered;
};

static void on_retired(struct writer_item *item)
{
    ((struct retirement *)(void *)item)->answered = true; /* its first member */
}

enum status compact_retire(struct volume *volume, uint32_t segment, struct post_box *box)
{
    struct retirement retirement = {0};
    retirement.item = (struct writer_item){
        .reply_box = box,
        .on_done = on_retired,
        .kind = RECORD_RETIRED,
        .meta = retirement.meta,
        .meta_length = (uint32_t)record_encode_retired(segment, retirement.meta),
        .body_checksum = checksum_body("", 0),
        .uses_reserve = true,
    };
    writer_submit(volume->writer, &retirement.item);
    while (!retirement.answered) {
        (void)post_wait(box, -1); /* without a time limit it ends with something there */
        (void)post_run(box);
    }
    return retirement.item.status;
}
