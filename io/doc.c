/* SPDX-License-Identifier: Apache-2.0 */
#include "io/doc.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void doc_object(struct doc *out_doc)
{
    out_doc->value = json_object();
    out_doc->failed = out_doc->value == NULL;
}

void doc_array(struct doc *out_doc)
{
    out_doc->value = json_array();
    out_doc->failed = out_doc->value == NULL;
}

void doc_free(struct doc *doc)
{
    json_decref(doc->value);
    doc->value = NULL;
}

enum status doc_parse(const char *text, size_t length, struct doc *out_doc, struct error *out_error)
{
    json_error_t why;
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (value == NULL) {
        return error_set(out_error, STATUS_INVALID, 0, NULL, "not JSON: %s (column %d)", why.text,
                         why.column);
    }
    *out_doc = (struct doc){.value = value};
    return STATUS_OK;
}

char *doc_write(const struct doc *doc, bool indented)
{
    return doc->failed ? NULL : json_dumps(doc->value, indented ? JSON_INDENT(2) : JSON_COMPACT);
}

/* Octets of the UTF-8 character at `text`, 0 when it is none. jansson refuses what this lets
 * through by mistake, and then the whole text is replaced, so this may be simple. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] >= 0x80 && (text[0] < 0xc2 || text[0] > 0xf4)) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

static json_t *cleaned_text(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return NULL;
    }
    for (size_t at = 0; copy[at] != '\0';) {
        size_t length = utf8_length((const unsigned char *)copy + at);
        if (length == 0) {
            copy[at] = '?';
            length = 1;
        }
        at += length;
    }
    json_t *value = json_string(copy);
    free(copy);
    return value != NULL ? value : json_string("?");
}

static void put(struct doc *doc, const char *key, json_t *value)
{
    if (value == NULL || json_object_set_new(doc->value, key, value) != 0) {
        doc->failed = true;
    }
}

void doc_put_text(struct doc *doc, const char *key, const char *text)
{
    if (text != NULL) {
        json_t *value = json_string(text);
        put(doc, key, value != NULL ? value : cleaned_text(text));
    }
}

void doc_put_number(struct doc *doc, const char *key, uint64_t number)
{
    put(doc, key, json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number));
}

void doc_put_real(struct doc *doc, const char *key, double number)
{
    put(doc, key, isfinite(number) ? json_real(number) : json_null());
}

void doc_put_bool(struct doc *doc, const char *key, bool value)
{
    put(doc, key, json_boolean(value));
}

void doc_put(struct doc *doc, const char *key, struct doc *child)
{
    doc->failed = doc->failed || child->failed;
    put(doc, key, child->value);
    child->value = NULL;
}

void doc_append(struct doc *array, struct doc *child)
{
    if (child->failed || json_array_append_new(array->value, child->value) != 0) {
        array->failed = true;
    }
    child->value = NULL;
}

void doc_append_text(struct doc *array, const char *text)
{
    json_t *value = json_string(text);
    if (json_array_append_new(array->value, value != NULL ? value : cleaned_text(text)) != 0) {
        array->failed = true;
    }
}

const char *doc_text(const struct doc *doc, const char *key)
{
    return json_string_value(json_object_get(doc->value, key));
}

uint64_t doc_number(const struct doc *doc, const char *key, uint64_t fallback)
{
    const json_t *value = json_object_get(doc->value, key);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        return (uint64_t)json_integer_value(value);
    }
    if (json_is_real(value) && json_real_value(value) >= 0 && json_real_value(value) < 0x1p63) {
        return (uint64_t)json_real_value(value);
    }
    return fallback;
}

double doc_real(const struct doc *doc, const char *key, double fallback)
{
    const json_t *value = json_object_get(doc->value, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

bool doc_bool(const struct doc *doc, const char *key)
{
    return json_is_true(json_object_get(doc->value, key));
}

bool doc_member(const struct doc *doc, const char *key, struct doc *out_member)
{
    json_t *value = json_object_get(doc->value, key);
    if (value != NULL) {
        *out_member = (struct doc){.value = value};
    }
    return value != NULL;
}

bool doc_item(const struct doc *array, size_t index, struct doc *out_item)
{
    json_t *value = json_array_get(array->value, index);
    if (value != NULL) {
        *out_item = (struct doc){.value = value};
    }
    return value != NULL;
}

size_t doc_count(const struct doc *array)
{
    return json_array_size(array->value);
}

const char *doc_own_text(const struct doc *doc)
{
    return json_string_value(doc->value);
}

void doc_each(const struct doc *doc,
              void (*on_pair)(void *owner, const char *key, const char *value), void *owner)
{
    const char *key;
    json_t *value;
    json_object_foreach(doc->value, key, value)
    {
        char number[24];
        if (json_is_string(value)) {
            on_pair(owner, key, json_string_value(value));
        } else if (json_is_integer(value)) {
            (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
                           json_integer_value(value));
            on_pair(owner, key, number);
        } else if (json_is_boolean(value)) {
            on_pair(owner, key, json_is_true(value) ? "true" : "false");
        }
    }
}

void doc_each_number(const struct doc *doc,
                     void (*on_number)(void *owner, const char *key, double value), void *owner)
{
    const char *key;
    json_t *value;
    json_object_foreach(doc->value, key, value)
    {
        if (json_is_number(value)) {
            on_number(owner, key, json_number_value(value));
        }
    }
}
