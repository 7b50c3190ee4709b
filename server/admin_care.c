/* SPDX-License-Identifier: Apache-2.0 */
/* Looking for damage while the server runs, and what is known of it. */
#include "server/admin_request.h"
#include "server/care.h"

#include <stdlib.h>

#define PAGE 100 /* findings or messages of one answer: about 70 KiB */

void admin_check(struct admin_request *request)
{
    uint64_t rate = doc_number(&request->question, "rate", 0);
    enum status status = store_check_start(request->host->store, rate);
    if (status == STATUS_BUSY) {
        admin_refuse(request, status, "a check is running already; wait for it to end");
    } else if (status != STATUS_OK) {
        admin_refuse(request, status, "no memory to begin a check");
    } else {
        admin_answer(request);
    }
}

void admin_check_state(struct admin_request *request)
{
    struct check_run_state state;
    struct doc *answer = &request->answer, findings;
    store_check_state(request->host->store, &state);
    struct damage *damages = calloc(PAGE, sizeof *damages);
    if (damages == NULL) {
        admin_refuse(request, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    doc_put_bool(answer, "running", state.running);
    doc_put_text(answer, "step", state.progress.step);
    doc_put_number(answer, "octets_done", state.progress.octets_done);
    doc_put_number(answer, "octets_total", state.progress.octets_total);
    if (state.started && !state.running) {
        doc_put_text(answer, "outcome", status_name(state.status));
        doc_put_text(answer, "problem",
                     state.status != STATUS_OK && state.error.text[0] != '\0' ? state.error.text
                                                                              : NULL);
        care_put_result(answer, &state.result);
    }
    size_t first = (size_t)doc_number(&request->question, "after", 0);
    size_t count = store_check_findings(request->host->store, first, damages, PAGE);
    doc_array(&findings);
    for (size_t i = 0; i < count; i++) {
        struct doc finding;
        care_put_damage(&finding, &damages[i]);
        doc_append(&findings, &finding);
    }
    doc_put(answer, "findings", &findings);
    free(damages);
    admin_answer(request);
}

void admin_check_cancel(struct admin_request *request)
{
    store_check_cancel(request->host->store);
    admin_answer(request);
}

void admin_damaged(struct admin_request *request)
{
    struct doc list;
    size_t first = (size_t)doc_number(&request->question, "after", 0);
    struct store_damaged *damaged = calloc(PAGE, sizeof *damaged);
    size_t count = damaged != NULL ? store_damaged(request->host->store, first, damaged, PAGE) : 0;
    doc_array(&list);
    for (size_t i = 0; i < count; i++) {
        struct doc item;
        doc_object(&item);
        doc_put_number(&item, "maildrop", damaged[i].maildrop);
        doc_put_text(&item, "name", damaged[i].name[0] != '\0' ? damaged[i].name : NULL);
        doc_put_text(&item, "unique_id", damaged[i].uidl);
        if (damaged[i].blob != 0) {
            doc_put_number(&item, "blob", damaged[i].blob);
        } else {
            doc_put_number(&item, "segment", damaged[i].segment);
            doc_put_number(&item, "offset", damaged[i].offset);
        }
        doc_put_number(&item, "since_ms", (uint64_t)damaged[i].since_ms);
        doc_append(&list, &item);
    }
    doc_put(&request->answer, "damaged", &list);
    free(damaged);
    admin_answer(request);
}
