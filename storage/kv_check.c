/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/kv_check.h"

#include "storage/disk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file's layout: numbers in the machine's own order, as LMDB writes them. */
#define PAGE_HEADER   16 /* octets: page number (8), pad (2), kind (2), lower (2), upper (2) */
#define PAGE_SIZE_MIN 512
#define PAGE_SIZE_MAX 32768
#define KIND_BRANCH   0x01u
#define KIND_LEAF     0x02u
#define KIND_OVERFLOW 0x04u
#define KIND_META     0x08u
#define META_MAGIC    0xbeefc0deu
#define META_VERSION  1u
#define META_OCTETS   152 /* header, 24 octets, two trees, last page, transaction */
#define TREE_OCTETS   48
#define NODE_HEADER   8 /* octets: low half (4), flags (2), octets of the key (2) */
#define NODE_OVERFLOW 0x01u
#define NODE_TREE     0x02u
#define TREE_FREE     0x0008u /* the free list's keys are numbers */
#define TREE_NOSUBDIR 0x4000u /* how the file was made */
#define DEPTH_MAX     16      /* of a tree: LMDB allows 32, which no file can fill */
#define META_TRIES    16
#define NO_PAGE       UINT64_MAX
#define TABLE_NAME    64 /* octets of a table's name, NUL included */

struct tree {
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, entries, root;
};

struct meta {
    uint32_t page_size;
    struct tree free, main;
    uint64_t last_page, transaction;
};

struct check {
    const struct kv_check_request *request;
    struct kv_check_result *result;
    struct error *out_error;
    struct meta meta;
    uint8_t *seen;  /* a bit for each page */
    uint8_t *pages; /* one for each level of the main tree and of one below it */
    uint8_t *value; /* the last value that did not fit in a page */
    uint64_t value_size;
    uint64_t file_size;
    struct tree count; /* of the tree at hand */
    const char *table; /* its name; NULL: the free list */
};

/* A node of a page, within its bounds. */
struct node {
    const uint8_t *at, *key;
    size_t key_length;
    uint16_t flags;
    uint64_t low; /* a branch's page, or octets of a leaf's value */
};

/* What keys may stand below a place: from `low` on, below `high`; no data: no bound. */
struct bounds {
    struct kv_bytes low, high;
};

static uint16_t get16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Something is not what it must be; the walk goes on beside it. */
static void damaged(struct check *check, uint64_t page, const char *text)
{
    if (check->result->damaged++ == 0) {
        check->result->first_page = page;
        strncpy(check->result->text, text, sizeof check->result->text - 1);
    }
}

/* --- reading --- */

static enum status read_octets(struct check *check, uint64_t offset, uint8_t *data, size_t length)
{
    if (check->request->may_read != NULL &&
        !check->request->may_read(check->request->owner, length)) {
        return STATUS_CANCELLED;
    }
    size_t got;
    enum status status =
        disk_read(disk_real(), check->request->fd, data, length, offset, &got, check->out_error);
    if (status == STATUS_OK && got < length) {
        memset(data + got, 0, length - got); /* a file that ends early: no page looks like this */
    }
    return status;
}

/* Marks a page as used. False: it is outside the file, or used already. */
static bool claim(struct check *check, uint64_t page)
{
    if (page < 2 || page > check->meta.last_page) {
        return false;
    }
    uint8_t bit = (uint8_t)(1u << (page & 7));
    if ((check->seen[page >> 3] & bit) != 0) {
        return false;
    }
    check->seen[page >> 3] |= bit;
    return true;
}

static void decode_tree(const uint8_t *at, struct tree *out_tree)
{
    *out_tree = (struct tree){.flags = get16(at + 4),
                              .depth = get16(at + 6),
                              .branches = get64(at + 8),
                              .leaves = get64(at + 16),
                              .overflows = get64(at + 24),
                              .entries = get64(at + 32),
                              .root = get64(at + 40)};
}

/* One of the two meta pages. */
static enum status read_meta(struct check *check, unsigned number, uint32_t page_size,
                             struct meta *out_meta, bool *out_sound)
{
    uint8_t data[META_OCTETS];
    enum status status = read_octets(check, (uint64_t)number * page_size, data, sizeof data);
    if (status != STATUS_OK) {
        return status;
    }
    struct meta meta = {.page_size = get32(data + 40),
                        .last_page = get64(data + 136),
                        .transaction = get64(data + 144)};
    decode_tree(data + 40, &meta.free);
    decode_tree(data + 40 + TREE_OCTETS, &meta.main);
    *out_sound = get16(data + 10) == KIND_META && get32(data + 16) == META_MAGIC &&
                 get32(data + 20) == META_VERSION && get64(data + 24) == 0 &&
                 meta.page_size >= PAGE_SIZE_MIN && meta.page_size <= PAGE_SIZE_MAX &&
                 (meta.page_size & (meta.page_size - 1)) == 0 &&
                 (meta.free.flags & ~TREE_NOSUBDIR) == TREE_FREE && meta.main.flags == 0 &&
                 meta.last_page >= 1 && meta.last_page < check->file_size / meta.page_size;
    *out_meta = meta;
    return STATUS_OK;
}

/* The second one, when the first does not say where that is. */
static enum status find_second(struct check *check, struct meta *out_meta, bool *out_sound)
{
    enum status status = STATUS_OK;
    for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX && status == STATUS_OK; size *= 2) {
        status = read_meta(check, 1, size, out_meta, out_sound);
        *out_sound = status == STATUS_OK && *out_sound && out_meta->page_size == size;
        if (*out_sound) {
            break;
        }
    }
    return status;
}

/* Both, and whether they go together. */
static enum status read_metas(struct check *check, struct meta metas[2], bool sound[2],
                              bool *out_both)
{
    enum status status = read_meta(check, 0, 0, &metas[0], &sound[0]);
    if (status == STATUS_OK && sound[0]) {
        status = read_meta(check, 1, metas[0].page_size, &metas[1], &sound[1]);
    } else if (status == STATUS_OK && check->request->older) {
        status = find_second(check, &metas[1], &sound[1]);
    }
    /* Transactions take turns at the two pages, so that one number follows the other. */
    uint64_t apart = metas[0].transaction - metas[1].transaction;
    bool in_turn = apart + 1 <= 2 && (metas[0].transaction & 1) == 0 &&
                   ((metas[1].transaction & 1) == 1 || apart == 0);
    *out_both = sound[0] && sound[1] && in_turn && metas[0].page_size == metas[1].page_size;
    return status;
}

/* The newer meta page of a file at rest, or that of the snapshot asked for. */
static enum status choose_meta(struct check *check, bool *out_sound)
{
    struct meta metas[2] = {{0}};
    uint64_t wanted = check->request->transaction;
    bool sound[2] = {false, false}, both = false, older = check->request->older;
    enum status status = STATUS_OK;
    /* While others write, the two may be of different moments. */
    for (int i = 0; i < (wanted == KV_CHECK_ALL ? 1 : META_TRIES); i++) {
        status = read_metas(check, metas, sound, &both);
        if (status != STATUS_OK || both) {
            break;
        }
    }
    if (status != STATUS_OK) {
        return status;
    }
    bool second = metas[1].transaction > metas[0].transaction;
    *out_sound = both || (older && (sound[0] || sound[1]));
    if (!both) {
        damaged(check, sound[0], "a page that describes the file is damaged");
    }
    if (older) {
        second = sound[0] && sound[1] ? !second : sound[1];
    }
    check->meta = metas[second];
    if (both && wanted != KV_CHECK_ALL && check->meta.transaction != wanted) {
        check->meta = metas[!second];
        return check->meta.transaction == wanted ? STATUS_OK : STATUS_AGAIN;
    }
    return STATUS_OK;
}

/* --- nodes --- */

static size_t node_octets(const struct node *node, bool is_branch)
{
    size_t value = is_branch                            ? 0
                   : (node->flags & NODE_OVERFLOW) != 0 ? sizeof(uint64_t)
                                                        : (size_t)node->low;
    return (NODE_HEADER + node->key_length + value + 1) & ~(size_t)1;
}

static bool get_node(const struct check *check, const uint8_t *page, unsigned index, bool is_branch,
                     struct node *out_node)
{
    size_t size = check->meta.page_size, offset = get16(page + PAGE_HEADER + 2 * index);
    if ((offset & 1) != 0 || offset < get16(page + 14) || offset > size - NODE_HEADER) {
        return false;
    }
    const uint8_t *at = page + offset;
    struct node node = {.at = at,
                        .key = at + NODE_HEADER,
                        .key_length = get16(at + 6),
                        .flags = is_branch ? 0 : get16(at + 4),
                        .low = get32(at)};
    if (is_branch) {
        node.low |= (uint64_t)get16(at + 4) << 32;
    }
    if (node.key_length > KV_KEY_MAX || node.low > SIZE_MAX / 2 ||
        node_octets(&node, is_branch) > size - offset) {
        return false;
    }
    *out_node = node;
    return true;
}

static int compare(const struct check *check, struct kv_bytes left, struct kv_bytes right)
{
    if (check->table == NULL && left.length == 8 && right.length == 8) {
        uint64_t a = get64(left.data), b = get64(right.data);
        return a < b ? -1 : a > b;
    }
    size_t shorter = left.length < right.length ? left.length : right.length;
    int order = memcmp(left.data, right.data, shorter);
    return order != 0 ? order : (left.length > right.length) - (left.length < right.length);
}

/* Numbers and kinds, every node inside and none over another, keys ascending and within bounds. */
static bool page_is_sound(struct check *check, const uint8_t *page, uint64_t number, bool is_branch,
                          const struct bounds *bounds)
{
    size_t size = check->meta.page_size, lower = get16(page + 12), upper = get16(page + 14);
    size_t count = lower < PAGE_HEADER ? 0 : (lower - PAGE_HEADER) / 2, used = 0;
    struct kv_bytes last = bounds->low;
    if (get64(page) != number || get16(page + 10) != (is_branch ? KIND_BRANCH : KIND_LEAF) ||
        (lower & 1) != 0 || lower > upper || upper > size || count < (is_branch ? 2 : 1)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        struct node node;
        if (!get_node(check, page, i, is_branch, &node)) {
            return false;
        }
        struct kv_bytes key = {node.key, node.key_length};
        used += node_octets(&node, is_branch);
        if (is_branch && i == 0) {
            continue; /* its key means nothing: everything below the next one is there */
        }
        bool first = is_branch ? i == 1 : i == 0;
        int order = last.data == NULL ? 1 : compare(check, key, last);
        if (order < 0 || (order == 0 && !first) || key.length == 0 ||
            (bounds->high.data != NULL && compare(check, key, bounds->high) >= 0)) {
            return false;
        }
        last = key;
    }
    return used == size - upper;
}

/* --- values --- */

/* A value with pages of its own. */
static enum status read_overflow(struct check *check, const struct node *node, uint64_t number,
                                 bool *out_sound)
{
    uint64_t size = check->meta.page_size;
    uint64_t pages = (PAGE_HEADER + node->low + size - 1) / size;
    *out_sound = number <= check->meta.last_page && pages <= check->meta.last_page;
    for (uint64_t i = 0; i < pages && *out_sound; i++) {
        *out_sound = claim(check, number + i);
    }
    if (!*out_sound) {
        return STATUS_OK;
    }
    if (check->value_size < pages * size) {
        uint8_t *larger = realloc(check->value, pages * size);
        if (larger == NULL) {
            return STATUS_NO_MEMORY;
        }
        check->value = larger;
        check->value_size = pages * size;
    }
    enum status status = read_octets(check, number * size, check->value, pages * size);
    if (status == STATUS_OK) {
        *out_sound = get64(check->value) == number && get16(check->value + 10) == KIND_OVERFLOW &&
                     get32(check->value + 12) == pages;
        check->count.overflows += pages;
        check->result->pages += pages;
    }
    return status;
}

/* The list of pages that a transaction freed: how many, then they, descending. None is in use. */
static bool claim_free(struct check *check, const uint8_t *list, uint64_t octets)
{
    uint64_t count = octets < 8 ? NO_PAGE : get64(list), last = NO_PAGE;
    if (count > octets / 8 - 1) {
        return false;
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t page = get64(list + 8 * i);
        if (page >= last || !claim(check, page)) {
            return false;
        }
        last = page;
    }
    return true;
}

static enum status check_leaf_node(struct check *check, uint64_t page, const struct node *node,
                                   bool is_main)
{
    const uint8_t *value = node->key + node->key_length;
    bool sound = (node->flags & ~(is_main ? NODE_TREE : NODE_OVERFLOW)) == 0;
    check->count.entries++;
    if (sound && (node->flags & NODE_OVERFLOW) != 0) {
        enum status status = read_overflow(check, node, get64(value), &sound);
        if (status != STATUS_OK) {
            return status;
        }
        value = check->value + PAGE_HEADER;
    }
    if (sound && is_main) {
        sound =
            node->flags == NODE_TREE && node->low == TREE_OCTETS && node->key_length < TABLE_NAME;
    } else if (sound && check->table == NULL) {
        sound = node->key_length == 8 && claim_free(check, value, node->low);
    } else if (sound && check->request->is_sound != NULL) {
        check->result->pairs++;
        sound = check->request->is_sound(check->request->owner, check->table,
                                         (struct kv_bytes){node->key, node->key_length},
                                         (struct kv_bytes){value, (size_t)node->low});
    }
    if (!sound) {
        damaged(check, page, "a value is not what was written");
    }
    return STATUS_OK;
}

/* --- trees --- */

static enum status check_tree(struct check *check, const struct tree *tree, uint64_t parent,
                              bool is_main, uint8_t *pages);

static bool is_known(const struct kv_check_request *request, const char *name)
{
    bool known = request->tables == NULL;
    for (size_t i = 0; !known && request->tables[i] != NULL; i++) {
        known = strcmp(request->tables[i], name) == 0;
    }
    return known;
}

/* A table, by its row in the main tree. */
static enum status check_table(struct check *check, uint64_t page, const struct node *node)
{
    char name[TABLE_NAME];
    struct tree tree, outer = check->count;
    if (node->flags != NODE_TREE || node->low != TREE_OCTETS || node->key_length >= TABLE_NAME) {
        return STATUS_OK; /* reported already */
    }
    memcpy(name, node->key, node->key_length);
    name[node->key_length] = '\0';
    decode_tree(node->key + node->key_length, &tree);
    if (!is_known(check->request, name)) {
        damaged(check, page, "a table has a name it cannot have");
        return STATUS_OK;
    }
    if (check->request->table != NULL && strcmp(name, check->request->table) != 0) {
        return STATUS_OK;
    }
    if (tree.flags != 0) {
        damaged(check, page, "a table's row is damaged");
        return STATUS_OK;
    }
    check->table = name;
    enum status status = check_tree(check, &tree, page, false,
                                    check->pages + (size_t)DEPTH_MAX * check->meta.page_size);
    check->table = "";
    check->count = outer;
    return status;
}

/* Everything below a page. `level`: 1 at a leaf. */
static enum status walk(struct check *check, uint64_t number, unsigned level,
                        const struct bounds *bounds, bool is_main, uint8_t *pages)
{
    uint8_t *page = pages + (size_t)(level - 1) * check->meta.page_size;
    bool is_branch = level > 1;
    if (!claim(check, number)) {
        damaged(check, number, "a page is used twice, or does not exist");
        return STATUS_OK;
    }
    check->count.branches += is_branch;
    check->count.leaves += !is_branch;
    if (!is_branch && check->request->branches_only && !is_main) {
        return STATUS_OK;
    }
    enum status status =
        read_octets(check, number * check->meta.page_size, page, check->meta.page_size);
    if (status != STATUS_OK) {
        return status;
    }
    check->result->pages++;
    if (!page_is_sound(check, page, number, is_branch, bounds)) {
        damaged(check, number, "a page of a table is damaged");
        return STATUS_OK;
    }
    unsigned count = (get16(page + 12) - PAGE_HEADER) / 2u;
    for (unsigned i = 0; i < count && status == STATUS_OK; i++) {
        struct node node, next;
        (void)get_node(check, page, i, is_branch, &node); /* sound, see above */
        struct bounds below = *bounds;
        if (is_branch && i > 0) {
            below.low = (struct kv_bytes){node.key, node.key_length};
        }
        if (is_branch && i + 1 < count && get_node(check, page, i + 1, is_branch, &next)) {
            below.high = (struct kv_bytes){next.key, next.key_length};
        }
        status = is_branch ? walk(check, node.low, level - 1, &below, is_main, pages)
                           : check_leaf_node(check, number, &node, is_main);
        if (status == STATUS_OK && is_main && !is_branch) {
            status = check_table(check, number, &node);
        }
    }
    return status;
}

static enum status check_tree(struct check *check, const struct tree *tree, uint64_t parent,
                              bool is_main, uint8_t *pages)
{
    struct bounds all = {0};
    enum status status = STATUS_OK;
    check->count = (struct tree){0};
    if (tree->depth > DEPTH_MAX || (tree->depth == 0) != (tree->root == NO_PAGE)) {
        damaged(check, parent, "the description of a table is damaged");
        return STATUS_OK;
    }
    if (tree->depth > 0) {
        status = walk(check, tree->root, tree->depth, &all, is_main, pages);
    }
    const struct tree *count = &check->count;
    bool counted = !check->request->branches_only || is_main;
    if (status == STATUS_OK &&
        (count->branches != tree->branches || count->leaves != tree->leaves ||
         (counted && (count->overflows != tree->overflows || count->entries != tree->entries)))) {
        damaged(check, parent, "a table does not have as many pages or keys as it says");
    }
    return status;
}

enum status kv_check(const struct kv_check_request *request, struct kv_check_result *out_result,
                     struct error *out_error)
{
    struct kv_check_result result = {0};
    struct check check = {.request = request, .result = &result, .out_error = out_error};
    bool sound = false;
    enum status status = disk_file_size(request->fd, &check.file_size, out_error);
    if (status == STATUS_OK) {
        status = choose_meta(&check, &sound);
    }
    if (status == STATUS_OK && request->on_snapshot != NULL) {
        status = request->on_snapshot(request->owner, request->txn);
    }
    if (status == STATUS_OK && sound) {
        check.seen = calloc(check.meta.last_page / 8 + 1, 1);
        check.pages = malloc(2 * (size_t)DEPTH_MAX * check.meta.page_size);
        if (check.seen == NULL || check.pages == NULL) {
            status = error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "looking at a database");
        }
        if (status == STATUS_OK) {
            check.table = "";
            status = check_tree(&check, &check.meta.main, 0, true, check.pages);
        }
        if (status == STATUS_OK && !request->branches_only && request->table == NULL) {
            check.table = NULL;
            status = check_tree(&check, &check.meta.free, 0, false, check.pages);
        }
    }
    free(check.seen);
    free(check.pages);
    free(check.value);
    if (status == STATUS_OK) {
        *out_result = result;
    }
    return status;
}
