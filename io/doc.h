/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON documents: what the administrator's socket speaks, `restante --json` prints and OAuth's
 * tokens and keys are made of. A thin cover over jansson, of which doc.c is the one owner.
 *
 * A struct doc is a value inside its owner. Putting never fails for the caller: when memory is
 * short the document remembers it and doc_write answers NULL. One thread at a time.
 */
#ifndef IO_DOC_H
#define IO_DOC_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct doc {
    void *value; /* jansson's */
    bool failed; /* memory was short: something is missing */
};

/* A new document is its maker's, to be freed; when memory is short it is empty and says so. */
void doc_object(struct doc *out_doc); /* an empty {} */
void doc_array(struct doc *out_doc);  /* an empty [] */
void doc_free(struct doc *doc);       /* harmless twice and on zeroed ones */

/* Reads one JSON object or array; STATUS_INVALID says where it is broken. */
MUST_CHECK enum status doc_parse(const char *text, size_t length, struct doc *out_doc,
                                 struct error *out_error);

/* The text without a line end, on one line or indented; the caller frees it. NULL: out of memory.
 */
char *doc_write(const struct doc *doc, bool indented);

/* Text that is not UTF-8 is made so: each wrong octet becomes a question mark. NULL leaves it out.
 */
void doc_put_text(struct doc *doc, const char *key, const char *text);
void doc_put_number(struct doc *doc, const char *key, uint64_t number); /* cut at INT64_MAX */
/* With its fraction; what is no finite number becomes null. */
void doc_put_real(struct doc *doc, const char *key, double number);
void doc_put_bool(struct doc *doc, const char *key, bool value);
/* Takes `child` over and leaves it empty. */
void doc_put(struct doc *doc, const char *key, struct doc *child);
void doc_append(struct doc *array, struct doc *child);
void doc_append_text(struct doc *array, const char *text);

/* The text at `key`, the document's, or NULL when there is none or it is no text. */
const char *doc_text(const struct doc *doc, const char *key);
/* The number at `key` without its fraction, or `fallback` when there is none, or a negative one.
 */
uint64_t doc_number(const struct doc *doc, const char *key, uint64_t fallback);
/* The same with its fraction and sign. */
double doc_real(const struct doc *doc, const char *key, double fallback);
bool doc_bool(const struct doc *doc, const char *key);

/* The member at `key`, or the item at `index`, of which `doc` stays the owner; false when there is
 * none. */
bool doc_member(const struct doc *doc, const char *key, struct doc *out_member);
bool doc_item(const struct doc *array, size_t index, struct doc *out_item);

/* How many items an array has; 0 for anything else. */
size_t doc_count(const struct doc *array);

/* The text that `doc` itself is, as an item of an array may be; NULL when it is none. */
const char *doc_own_text(const struct doc *doc);

/* Calls `on_pair` for each member that is a text, number or truth value, as text, in order. */
void doc_each(const struct doc *doc,
              void (*on_pair)(void *owner, const char *key, const char *value), void *owner);

/* Calls `on_number` for each member that is a number, in order. */
void doc_each_number(const struct doc *doc,
                     void (*on_number)(void *owner, const char *key, double value), void *owner);

#endif
