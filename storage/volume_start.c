/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending what runs on a volume. The order of the threads is that of the mail: who is
 * asked by others is started before them and ended after them. */
#include "storage/ballast.h"
#include "storage/blob.h"
#include "storage/checkpoint.h"
#include "storage/compact.h"
#include "storage/delta.h"
#include "storage/index.h"
#include "storage/recover.h"
#include "storage/scrub.h"
#include "storage/space.h"
#include "storage/volume.h"
#include "storage/writer.h"

static enum status start_threads(struct volume *volume, const struct recovery *recovery,
                                 struct error *out_error)
{
    struct writer_config config = {
        .volume = volume,
        .tail = recovery->tail,
        .predecessor = recovery->predecessor,
        .unretired = recovery->unretired,
        .unretired_count = recovery->unretired_count,
        .next_segment = recovery->next_segment,
        .next_sequence = recovery->next_sequence,
        .next_group = recovery->next_group,
    };
    enum status status = delta_create(volume->config.delta_max, &volume->delta);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, volume->path, "starting the volume");
    }
    status = ballast_open(volume, &volume->ballast, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    (void)space_check(volume); /* takes the ballast when there is room */
    status = checkpoint_start(volume, &volume->checkpoint, out_error);
    if (status == STATUS_OK) {
        status = blob_thread_start(volume, &volume->blobs, out_error);
    }
    if (status == STATUS_OK) {
        status = writer_start(&config, &volume->writer, out_error);
    }
    if (status == STATUS_OK) {
        status = compact_start(volume, &volume->compact, out_error);
    }
    if (status == STATUS_OK) {
        status = scrub_start(volume, volume->config.scrub_rate, &volume->scrub, out_error);
    }
    return status;
}

enum status volume_start(struct volume *volume, struct error *out_error)
{
    struct recover_options options = {0};
    struct recovery recovery;
    enum status status = recover_run(volume, &options, &recovery, out_error);
    if (status == STATUS_OK) {
        atomic_store(&volume->next_blob, recovery.next_sequence);
        atomic_store(&volume->next_drop, recovery.next_sequence);
        volume->quarantined = recovery.quarantined;
        status = start_threads(volume, &recovery, out_error);
    }
    recover_free(&recovery);
    return status;
}

void volume_close(struct volume **volume)
{
    if (*volume == NULL) {
        return;
    }
    scrub_stop(&(*volume)->scrub);
    compact_stop(&(*volume)->compact);
    blob_thread_stop(&(*volume)->blobs);
    if ((*volume)->writer != NULL) {
        writer_stop(&(*volume)->writer);
    }
    checkpoint_stop(&(*volume)->checkpoint);
    delta_destroy(&(*volume)->delta);
    index_close(&(*volume)->index);
    ballast_close(&(*volume)->ballast);
    volume_release(volume);
}
