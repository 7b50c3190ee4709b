/* SPDX-License-Identifier: Apache-2.0 */
/* The store's figures and health. */
#include "server/admin_request.h"

void admin_stat(struct admin_request *request)
{
    struct store_numbers store;
    struct auth_numbers auth;
    store_numbers(request->host->store, &store);
    auth_numbers(request->host->auth, &auth);
    struct doc *answer = &request->answer;
    doc_put_number(answer, "accounts", auth.accounts);
    doc_put_number(answer, "maildrops", store.maildrops);
    doc_put_number(answer, "messages", store.messages);
    doc_put_number(answer, "octets", store.octets);
    doc_put_number(answer, "segments", store.segments);
    doc_put_number(answer, "log_octets", store.log_octets);
    doc_put_number(answer, "log_needed_octets", store.needed_octets);
    doc_put_number(answer, "compacted_octets", store.copied_octets);
    doc_put_number(answer, "reclaimed_octets", store.reclaimed_octets);
    doc_put_number(answer, "reclaimed_segments", store.reclaimed_segments);
    doc_put_number(answer, "reclaimed_blobs", store.reclaimed_blobs);
    doc_put_number(answer, "blobs_waiting", store.waiting_blobs);
    doc_put_number(answer, "segments_left", store.left_segments);
    doc_put_number(answer, "delta_events", store.delta_events);
    doc_put_number(answer, "delta_octets", store.delta_octets);
    doc_put_number(answer, "checkpoints", store.checkpoints);
    doc_put_number(answer, "checkpoint_lag_events", store.checkpoint_lag_events);
    doc_put_number(answer, "checkpoint_lag_ms", store.checkpoint_lag_ms);
    doc_put_number(answer, "map_octets", store.map_octets);
    doc_put_number(answer, "map_used_octets", store.map_used_octets);
    doc_put_number(answer, "map_free_octets", store.map_free_octets);
    doc_put_number(answer, "quarantined", store.quarantined);
    doc_put_number(answer, "scrub_octets", store.scrub_octets);
    doc_put_number(answer, "scrub_messages", store.scrub_messages);
    doc_put_number(answer, "scrub_passes", store.scrub_passes);
    doc_put_number(answer, "damaged", store.damaged);
    doc_put_bool(answer, "index_damaged", store.index_damaged);
    doc_put_bool(answer, "read_only", store.read_only);
    doc_put_bool(answer, "space_low", store.space_low);
    admin_answer(request);
}

void admin_health(struct admin_request *request)
{
    struct store_numbers store;
    store_numbers(request->host->store, &store);
    const char *problem = NULL;
    if (store.read_only) {
        problem =
            "the volume is read-only after a failed write: see the server's log, then restart";
    } else if (store.space_low) {
        problem = "the volume is nearly full: new mail is refused; make room";
    } else if (store.index_damaged) {
        problem = "the index is damaged: restart the server, which rebuilds it from the log";
    } else if (store.damaged > 0) {
        problem = "messages are damaged: `restante damaged` lists them, all others are served";
    } else if (store.quarantined > 0) {
        problem = "part of the log is damaged: `restante check` says which messages that concerns";
    } else if (request->host->draining != NULL && atomic_load(request->host->draining)) {
        problem = "the server is about to end";
    }
    doc_put_bool(&request->answer, "healthy", problem == NULL);
    doc_put_text(&request->answer, "problem", problem);
    doc_put_number(&request->answer, "quarantined", store.quarantined);
    doc_put_number(&request->answer, "damaged", store.damaged);
    admin_answer(request);
}

void admin_compact(struct admin_request *request)
{
    bool all = doc_bool(&request->question, "all");
    enum status status = store_compact(request->host->store, all, &request->error);
    if (status != STATUS_OK) {
        admin_refuse(request, status, "space cannot be given back now: %s", request->error.text);
        return;
    }
    struct store_numbers store;
    store_numbers(request->host->store, &store);
    doc_put_number(&request->answer, "segments", store.segments);
    doc_put_number(&request->answer, "log_octets", store.log_octets);
    doc_put_number(&request->answer, "reclaimed_octets", store.reclaimed_octets);
    admin_answer(request);
}

void admin_checkpoint(struct admin_request *request)
{
    enum status status = store_checkpoint(request->host->store, &request->error);
    if (status != STATUS_OK) {
        admin_refuse(request, status, "the checkpoint failed: %s", request->error.text);
        return;
    }
    admin_answer(request);
}
