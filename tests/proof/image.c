/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/image.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void *grow(void *data, size_t size)
{
    void *grown = realloc(data, size);
    assert(grown != NULL);
    return grown;
}

/* --- the log --- */

void step_log_deinit(struct step_log *log)
{
    for (size_t i = log->borrowed; i < log->count; i++) {
        free(log->steps[i].data);
    }
    free(log->steps);
    *log = (struct step_log){0};
}

void step_log_borrow(struct step_log *log, const struct step_log *from, size_t count)
{
    *log = (struct step_log){
        .count = count, .capacity = count + 256, .borrowed = count, .node_count = from->node_count};
    log->steps = grow(NULL, log->capacity * sizeof *log->steps);
    memcpy(log->steps, from->steps, count * sizeof *log->steps);
}

struct step *step_log_add(struct step_log *log, enum step_kind kind, uint32_t node)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity * 2 + 256;
        log->steps = grow(log->steps, log->capacity * sizeof *log->steps);
    }
    struct step *step = &log->steps[log->count++];
    *step = (struct step){.kind = kind, .node = node};
    return step;
}

/* --- the image --- */

static struct image_node *node_of(struct image *image, uint32_t node)
{
    if (node >= image->node_count) {
        image->nodes = grow(image->nodes, (node + 1) * sizeof *image->nodes);
        memset(image->nodes + image->node_count, 0,
               (node + 1 - image->node_count) * sizeof *image->nodes);
        image->node_count = node + 1;
    }
    return &image->nodes[node];
}

void image_init(struct image *image)
{
    *image = (struct image){0};
    node_of(image, 0)->directory = true;
}

void image_deinit(struct image *image)
{
    for (uint32_t i = 0; i < image->node_count; i++) {
        free(image->nodes[i].data);
        free(image->nodes[i].entries);
    }
    free(image->nodes);
    *image = (struct image){0};
}

void image_copy(struct image *image, const struct image *from)
{
    *image = (struct image){0};
    (void)node_of(image, from->node_count - 1);
    for (uint32_t i = 0; i < from->node_count; i++) {
        struct image_node *node = &image->nodes[i];
        *node = from->nodes[i];
        node->capacity = node->size;
        node->entry_capacity = node->entry_count;
        if (node->data != NULL) {
            node->data = memcpy(grow(NULL, node->size + 1), node->data, node->size);
        }
        if (node->entries != NULL) {
            size_t size = node->entry_count * sizeof *node->entries;
            node->entries = memcpy(grow(NULL, size + 1), node->entries, size);
        }
    }
}

static struct image_entry *entry_of(const struct image_node *directory, const char *name)
{
    for (uint32_t i = 0; i < directory->entry_count; i++) {
        if (strcmp(directory->entries[i].name, name) == 0) {
            return &directory->entries[i];
        }
    }
    return NULL;
}

uint32_t image_lookup(const struct image *image, uint32_t directory, const char *name)
{
    const struct image_entry *entry = entry_of(&image->nodes[directory], name);
    return entry != NULL ? entry->child : UINT32_MAX;
}

static void set_entry(struct image *image, uint32_t directory, const char *name, uint32_t child)
{
    struct image_node *node = node_of(image, directory);
    struct image_entry *entry = entry_of(node, name);
    if (entry == NULL) {
        if (node->entry_count == node->entry_capacity) {
            node->entry_capacity = node->entry_capacity * 2 + 16;
            node->entries = grow(node->entries, node->entry_capacity * sizeof *node->entries);
        }
        entry = &node->entries[node->entry_count++];
        strcpy(entry->name, name);
    }
    entry->child = child;
}

/* A name that is not there any more costs nothing: the step that made it may not have happened. */
static bool remove_entry(struct image *image, uint32_t directory, const char *name)
{
    struct image_node *node = node_of(image, directory);
    struct image_entry *entry = entry_of(node, name);
    if (entry == NULL) {
        return false;
    }
    *entry = node->entries[--node->entry_count];
    return true;
}

/* --- writes --- */

static void ensure_size(struct image_node *node, uint64_t size)
{
    if (size > node->capacity) {
        node->capacity = size + size / 2 + 4096;
        node->data = grow(node->data, node->capacity);
    }
    if (size > node->size) {
        memset(node->data + node->size, 0, size - node->size);
        node->size = size;
    }
}

static uint64_t mixed(uint64_t value)
{
    value = (value ^ (value >> 31)) * 0x9e3779b97f4a7c15ull;
    value = (value ^ (value >> 29)) * 0xbf58476d1ce4e5b9ull;
    return value ^ (value >> 32);
}

uint64_t image_sectors(const struct step *step)
{
    uint64_t end = step->offset + step->length;
    return step->length == 0 ? 0 : (end - 1) / IMAGE_SECTOR - step->offset / IMAGE_SECTOR + 1;
}

static bool is_kept(const struct tear *tear, uint64_t sector)
{
    switch (tear->kind) {
    case TEAR_CUT:
        return sector < tear->value;
    case TEAR_SECTORS:
        return (mixed(tear->value + sector * 977) & 1) != 0;
    default:
        return false;
    }
}

static void write_torn(struct image_node *node, const struct step *step, const struct tear *tear)
{
    uint64_t end = step->offset + step->length, first = step->offset / IMAGE_SECTOR;
    size_t old_size = node->size;
    if (tear->kind == TEAR_ZEROS || tear->kind == TEAR_GARBAGE) {
        ensure_size(node, end);
        for (uint64_t at = old_size; tear->kind == TEAR_GARBAGE && at < end; at++) {
            node->data[at] = (uint8_t)mixed(tear->value + at);
        }
        return;
    }
    for (uint64_t i = 0; i < image_sectors(step); i++) {
        uint64_t from = (first + i) * IMAGE_SECTOR, to = from + IMAGE_SECTOR;
        from = from > step->offset ? from : step->offset;
        to = to < end ? to : end;
        if (is_kept(tear, i)) {
            ensure_size(node, to);
            memcpy(node->data + from, step->data + (from - step->offset), to - from);
        }
    }
}

static void write_whole(struct image_node *node, const struct step *step)
{
    ensure_size(node, step->offset + step->length);
    memcpy(node->data + step->offset, step->data, step->length);
}

void image_apply(struct image *image, const struct step *step, const struct tear *tear)
{
    struct image_node *node = node_of(image, step->node);
    if (tear != NULL && tear->kind == TEAR_ABSENT) {
        return;
    }
    switch (step->kind) {
    case STEP_LINK:
        node_of(image, step->child)->directory = step->directory;
        set_entry(image, step->node, step->name, step->child);
        break;
    case STEP_UNLINK:
        (void)remove_entry(image, step->node, step->name);
        break;
    case STEP_RENAME:
        if (remove_entry(image, step->node, step->name)) {
            set_entry(image, step->to, step->to_name, step->child);
        }
        break;
    case STEP_WRITE:
        if (tear != NULL && tear->kind != TEAR_NONE) {
            write_torn(node, step, tear);
        } else if (step->length > 0) {
            write_whole(node, step);
        }
        break;
    case STEP_TRUNCATE:
        node->size = 0;
        break;
    case STEP_SYNC:
    case STEP_SYNC_STEP:
        break;
    }
}

uint32_t image_find(const struct image *image, const char *path)
{
    uint32_t node = 0;
    char name[IMAGE_NAME_MAX];
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length >= sizeof name || !image->nodes[node].directory) {
            return UINT32_MAX;
        }
        memcpy(name, path, length);
        name[length] = '\0';
        path += length + (path[length] == '/');
        if (length > 0) {
            node = image_lookup(image, node, name);
        }
        if (node == UINT32_MAX) {
            return UINT32_MAX;
        }
    }
    return node;
}

/* --- writing it out --- */

static void write_file(const struct image_node *node, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert(fd >= 0);
    for (size_t done = 0; done < node->size;) {
        ssize_t written = write(fd, node->data + done, node->size - done);
        assert(written > 0);
        done += (size_t)written;
    }
    (void)close(fd); /* read back by the same kernel */
}

static void write_node(const struct image *image, uint32_t number, const char *path)
{
    const struct image_node *node = &image->nodes[number];
    char child[512];
    if (!node->directory) {
        write_file(node, path);
        return;
    }
    int code = mkdir(path, 0700);
    assert(code == 0);
    for (uint32_t i = 0; i < node->entry_count; i++) {
        int length = snprintf(child, sizeof child, "%s/%s", path, node->entries[i].name);
        assert(length > 0 && (size_t)length < sizeof child);
        write_node(image, node->entries[i].child, child);
    }
}

void image_write_out(const struct image *image, const char *path)
{
    write_node(image, 0, path);
}
