/* SPDX-License-Identifier: Apache-2.0 */
#include "server/care.h"

#include <stddef.h>

static void put_if(struct doc *doc, const char *key, uint64_t number)
{
    if (number != 0) {
        doc_put_number(doc, key, number);
    }
}

void care_put_damage(struct doc *out_doc, const struct damage *damage)
{
    doc_object(out_doc);
    doc_put_text(out_doc, "kind", damage_name(damage->kind));
    doc_put_text(out_doc, "text", damage_text(damage->kind));
    doc_put_text(out_doc, "detail", damage->detail[0] != '\0' ? damage->detail : NULL);
    put_if(out_doc, "segment", damage->segment);
    if (damage->segment != 0) {
        doc_put_number(out_doc, "offset", damage->offset);
    }
    put_if(out_doc, "octets", damage->octets);
    put_if(out_doc, "blob", damage->blob);
    put_if(out_doc, "maildrop", damage->maildrop);
    doc_put_text(out_doc, "name", damage->name[0] != '\0' ? damage->name : NULL);
    put_if(out_doc, "uid", damage->uid);
    doc_put_text(out_doc, "unique_id", damage->uidl[0] != '\0' ? damage->uidl : NULL);
    doc_put_text(out_doc, "cure", damage_cure(damage->kind));
}

void care_put_result(struct doc *doc, const struct check_result *result)
{
    doc_put_number(doc, "damages", result->damages);
    doc_put_number(doc, "segments", result->segments);
    doc_put_number(doc, "groups", result->groups);
    doc_put_number(doc, "records", result->records);
    doc_put_number(doc, "bodies", result->bodies);
    doc_put_number(doc, "blobs", result->blobs);
    doc_put_number(doc, "octets", result->octets);
    doc_put_number(doc, "torn_octets", result->torn_octets);
    doc_put_number(doc, "index_pages", result->index_pages);
    doc_put_number(doc, "maildrops", result->maildrops);
    doc_put_number(doc, "messages", result->messages);
}
