/* SPDX-License-Identifier: Apache-2.0 */
/* Looking for damage, and saying what is known of it. */
#include "storage/local.h"

#include "storage/check_run.h"
#include "storage/damaged.h"
#include "storage/index.h"
#include "storage/volume.h"

#include <string.h>

enum status local_check_closed(const struct store_config *config,
                               const struct check_options *options, struct check_result *out_result,
                               struct error *out_error)
{
    char path[VOLUME_PATH_MAX];
    struct volume_config volume;
    enum status status = local_volume_config(config, path, &volume, out_error);
    return status == STATUS_OK ? check_closed(&volume, options, out_result, out_error) : status;
}

static struct local *local_store(struct store *store)
{
    return (struct local *)(void *)store; /* base is its first member */
}

enum status local_check_start(struct store *store, uint64_t rate)
{
    return check_run_start(local_store(store)->check, rate);
}

void local_check_cancel(struct store *store)
{
    check_run_cancel(local_store(store)->check);
}

void local_check_state(struct store *store, struct check_run_state *out_state)
{
    check_run_state(local_store(store)->check, out_state);
}

size_t local_check_findings(struct store *store, size_t first, struct damage *out, size_t count)
{
    return check_run_findings(local_store(store)->check, first, out, count);
}

/* What the index says of it: name and unique-id. Where it says nothing they stay empty. */
static void describe(struct index_reader *reader, uint32_t epoch, struct store_damaged *damaged)
{
    struct index_state state;
    struct index_drop drop;
    struct message_entry entry;
    if (index_begin(reader, &state) != STATUS_OK) {
        return;
    }
    if (index_drop(reader, damaged->maildrop, &drop, NULL) == STATUS_OK) {
        memcpy(damaged->name, drop.name, sizeof damaged->name);
    }
    if (index_message(reader, damaged->maildrop, damaged->uid, &entry) == STATUS_OK &&
        entry.uidl_length > 0) {
        memcpy(damaged->uidl, entry.uidl, entry.uidl_length);
        damaged->uidl[entry.uidl_length] = '\0';
    } else {
        maildrop_make_uidl(epoch, damaged->uid, damaged->uidl);
        damaged->uidl[MAILDROP_UIDL_LENGTH] = '\0';
    }
    index_end(reader);
}

size_t local_damaged(struct store *store, size_t first, struct store_damaged *out, size_t count)
{
    struct volume *volume = local_store(store)->volume;
    struct index_reader *reader = NULL;
    struct damaged_message message;
    size_t copied = 0;
    if (index_reader_create(volume->index, &reader) != STATUS_OK) {
        return 0;
    }
    while (copied < count && damaged_list(volume->damaged, first + copied, &message, 1) == 1) {
        out[copied] = (struct store_damaged){.maildrop = message.maildrop,
                                             .uid = message.uid,
                                             .offset = message.offset,
                                             .blob = message.blob,
                                             .segment = message.segment,
                                             .since_ms = message.since_ms};
        describe(reader, volume->identity.epoch, &out[copied]);
        copied++;
    }
    index_reader_destroy(&reader);
    return copied;
}
