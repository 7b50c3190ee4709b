/* SPDX-License-Identifier: Apache-2.0 */
#include "server/importer.h"

#include "server/server_limits.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum status importer_format_parse(const char *word, enum importer_format *out_format)
{
    static const char *const words[] = {"eml", "mbox", "maildir"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            *out_format = (enum importer_format)i;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

/* --- dates --- */

/* A numeric zone such as +0200, in seconds east of Greenwich; or a name that means UTC. */
static bool read_zone(const char *word, long *out_seconds)
{
    if (strcmp(word, "UTC") == 0 || strcmp(word, "GMT") == 0) {
        *out_seconds = 0;
        return true;
    }
    if ((word[0] != '+' && word[0] != '-') || strlen(word) != 5 ||
        strspn(word + 1, "0123456789") != 4) {
        return false;
    }
    long number = strtol(word + 1, NULL, 10);
    long seconds = (number / 100 * 60 + number % 100) * 60;
    *out_seconds = word[0] == '-' ? -seconds : seconds;
    return true;
}

/* Up to `max` words at the end of a line are enough for a date; returns how many there are. */
static unsigned split_words(char *text, char *words[], unsigned max)
{
    unsigned count = 0;
    char *rest = text;
    for (char *word = strsep(&rest, " \t"); word != NULL; word = strsep(&rest, " \t")) {
        if (*word == '\0') {
            continue;
        }
        if (count == max) {
            memmove(words, words + 1, (max - 1) * sizeof *words);
            count--;
        }
        words[count++] = word;
    }
    return count;
}

/* Words from `words[0]`: month, day, hh:mm[:ss], then year and zone in either order. */
static bool read_date(char *const *words, unsigned count, int64_t *out_ms)
{
    if (count < 4 || count > 6) {
        return false;
    }
    struct tm time = {.tm_isdst = -1};
    char text[64];
    (void)snprintf(text, sizeof text, "%.8s %.4s %.12s", words[0], words[1], words[2]);
    const char *end = strptime(text, "%b %d %H:%M:%S", &time);
    if (end == NULL) {
        end = strptime(text, "%b %d %H:%M", &time);
    }
    long zone = 0;
    bool has_zone = false, has_year = false;
    for (unsigned i = 3; i < count; i++) {
        if (strlen(words[i]) == 4 && strspn(words[i], "0123456789") == 4 && !has_year) {
            time.tm_year = (int)strtol(words[i], NULL, 10) - 1900;
            has_year = true;
        } else if (read_zone(words[i], &zone)) {
            has_zone = true;
        } else if (!isalpha((unsigned char)words[i][0])) {
            return false; /* a zone's name, such as CEST, is passed over: local time */
        }
    }
    if (end == NULL || *end != '\0' || !has_year) {
        return false;
    }
    time_t seconds = has_zone ? timegm(&time) - zone : mktime(&time);
    *out_ms = (int64_t)seconds * 1000;
    return true;
}

#define FROM_LINE_MAX 1024 /* octets of a From_ line that are looked at: an address and a date */

bool importer_from_line(const uint8_t *line, size_t length, int64_t *out_received_ms)
{
    static const char *const weekdays[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    char text[FROM_LINE_MAX];
    if (length < 5 || length >= sizeof text || memcmp(line, "From ", 5) != 0 ||
        memchr(line, '\0', length) != NULL) {
        return false;
    }
    memcpy(text, line, length);
    text[length] = '\0';
    while (length > 0 && isspace((unsigned char)text[length - 1])) {
        text[--length] = '\0';
    }
    char *words[8];
    unsigned count = split_words(text + 5, words, 8);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned day = 0; day < 7; day++) {
            if (strcmp(words[i], weekdays[day]) == 0) {
                return read_date(words + i + 1, count - i - 1, out_received_ms);
            }
        }
    }
    return false;
}

bool importer_maildir_time(const char *name, int64_t *out_received_ms)
{
    int64_t seconds = 0;
    unsigned digits = 0;
    while (isdigit((unsigned char)name[digits]) && digits < 12) {
        seconds = seconds * 10 + (name[digits++] - '0');
    }
    if (digits == 0 || name[digits] != '.') {
        return false;
    }
    *out_received_ms = seconds * 1000;
    return true;
}

/* --- one file --- */

struct mapped {
    const uint8_t *data;
    size_t length;
    int64_t modified_ms;
};

static enum status map_file(const char *path, struct mapped *out_file, struct error *out_error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set(out_error, status_from_errno(errno), errno, path, "cannot open it");
    }
    struct stat facts;
    struct mapped file = {.data = (const uint8_t *)"", .length = 0};
    enum status status = STATUS_OK;
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        status = error_set(out_error, STATUS_INVALID, 0, path, "not a file");
        goto done;
    }
    file.length = (size_t)facts.st_size;
    file.modified_ms = (int64_t)facts.st_mtim.tv_sec * 1000 + facts.st_mtim.tv_nsec / 1000000;
    if (file.length > 0) {
        void *data = mmap(NULL, file.length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = error_set(out_error, status_from_errno(errno), errno, path, "cannot read it");
            goto done;
        }
        file.data = data;
    }
    *out_file = file;
done:
    (void)close(fd); /* it was only read */
    return status;
}

static void unmap_file(struct mapped *file)
{
    if (file->length > 0) {
        union {
            const uint8_t *constant;
            void *changeable;
        } address = {.constant = file->data};
        (void)munmap(address.changeable, file->length); /* fails only for a wrong address */
    }
}

/* One file, one message. `received_ms` below 0: the file's own time. */
static enum status visit_file(const char *path, int64_t received_ms, uint64_t done, uint64_t total,
                              const struct importer_visitor *visitor, struct error *out_error)
{
    struct mapped file;
    enum status status = map_file(path, &file, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    struct importer_message message = {
        .data = file.data,
        .length = file.length,
        .received_ms = received_ms >= 0 ? received_ms : file.modified_ms,
        .path = path,
        .octets_done = done + file.length,
        .octets_total = total > 0 ? total : file.length,
    };
    status = visitor->on_message(visitor->owner, &message);
    unmap_file(&file);
    return status;
}

/* --- mbox --- */

/* Octets of the line at `data`, its LF included. */
static size_t line_length(const uint8_t *data, size_t length)
{
    const uint8_t *end = memchr(data, '\n', length);
    return end == NULL ? length : (size_t)(end - data) + 1;
}

static bool is_empty_line(const uint8_t *line, size_t length)
{
    return (length == 1 && line[0] == '\n') || (length == 2 && line[0] == '\r' && line[1] == '\n');
}

/* ">From ", ">>From ", ...: a line of the message that was quoted on the way in. */
static bool is_quoted_from(const uint8_t *line, size_t length)
{
    size_t marks = 0;
    while (marks < length && line[marks] == '>') {
        marks++;
    }
    return marks > 0 && length - marks >= 5 && memcmp(line + marks, "From ", 5) == 0;
}

/* Where the message at `data` (behind its From_ line) ends. `*out_body` leaves out the empty line
 * that belongs to the separator. */
static size_t mbox_message_end(const uint8_t *data, size_t length, size_t *out_body)
{
    size_t at = 0, empty = 0;
    bool after_empty = false;
    while (at < length) {
        size_t line = line_length(data + at, length - at);
        int64_t unused;
        if (after_empty && importer_from_line(data + at, line, &unused)) {
            break;
        }
        after_empty = is_empty_line(data + at, line);
        empty = after_empty ? line : 0;
        at += line;
    }
    *out_body = at - empty;
    return at;
}

/* Copies a message without its quoting; returns its octets. */
static size_t mbox_unquote(const uint8_t *data, size_t length, uint8_t *out)
{
    size_t at = 0, written = 0;
    while (at < length) {
        size_t line = line_length(data + at, length - at);
        size_t skip = is_quoted_from(data + at, line) ? 1 : 0;
        memcpy(out + written, data + at + skip, line - skip);
        written += line - skip;
        at += line;
    }
    return written;
}

static enum status visit_mbox_message(const uint8_t *data, size_t length,
                                      struct importer_message *message,
                                      const struct importer_visitor *visitor)
{
    uint8_t *copy = malloc(length + 1);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    message->data = copy;
    message->length = mbox_unquote(data, length, copy);
    enum status status = visitor->on_message(visitor->owner, message);
    free(copy);
    return status;
}

enum status importer_mbox(const uint8_t *data, size_t length, int64_t fallback_ms, const char *path,
                          const struct importer_visitor *visitor)
{
    struct importer_message message = {.path = path, .octets_total = length};
    size_t at = 0;
    while (at < length && is_empty_line(data + at, line_length(data + at, length - at))) {
        at += line_length(data + at, length - at);
    }
    while (at < length) {
        size_t line = line_length(data + at, length - at);
        if (line < 5 || memcmp(data + at, "From ", 5) != 0) {
            return STATUS_INVALID;
        }
        if (!importer_from_line(data + at, line, &message.received_ms)) {
            message.received_ms = fallback_ms;
        }
        at += line;
        size_t body;
        size_t end = mbox_message_end(data + at, length - at, &body);
        message.octets_done = at + end;
        enum status status = visit_mbox_message(data + at, body, &message, visitor);
        if (status != STATUS_OK) {
            return status;
        }
        at += end;
    }
    return STATUS_OK;
}

static enum status run_mbox(const char *path, const struct importer_visitor *visitor,
                            struct error *out_error)
{
    struct mapped file;
    enum status status = map_file(path, &file, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    status = importer_mbox(file.data, file.length, file.modified_ms, path, visitor);
    if (status == STATUS_INVALID) {
        status = error_set(out_error, status, 0, path,
                           "not an mbox: it does not begin with a \"From \" line");
    }
    unmap_file(&file);
    return status;
}

/* --- folders --- */

struct entry {
    char *path;
    int64_t received_ms;
    uint64_t octets;
    const char *name; /* the last part of `path` */
};

struct entries {
    struct entry *items;
    size_t count, capacity;
    uint64_t octets;
};

static void entries_clear(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->items[i].path);
    }
    free(entries->items);
}

static enum status entries_add(struct entries *entries, const char *folder, const char *name,
                               bool dated_name)
{
    struct entry entry = {.path = NULL};
    if (asprintf(&entry.path, "%s/%s", folder, name) < 0) {
        return STATUS_NO_MEMORY;
    }
    struct stat facts;
    if (stat(entry.path, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        free(entry.path);
        return STATUS_OK; /* gone meanwhile, or a folder */
    }
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity == 0 ? 256 : entries->capacity * 2;
        struct entry *items = reallocarray(entries->items, capacity, sizeof *items);
        if (items == NULL) {
            free(entry.path);
            return STATUS_NO_MEMORY;
        }
        entries->items = items;
        entries->capacity = capacity;
    }
    entry.name = entry.path + strlen(folder) + 1;
    entry.octets = (uint64_t)facts.st_size;
    entry.received_ms = (int64_t)facts.st_mtim.tv_sec * 1000;
    if (dated_name) {
        (void)importer_maildir_time(name, &entry.received_ms); /* else the file's time stays */
    }
    entries->items[entries->count++] = entry;
    entries->octets += entry.octets;
    return STATUS_OK;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), suffix_length = strlen(suffix);
    return length >= suffix_length && strcasecmp(name + length - suffix_length, suffix) == 0;
}

/* Adds a folder's files: those of a Maildir with their time, or those ending in .eml. */
static enum status entries_read(struct entries *entries, const char *folder, bool maildir,
                                struct error *out_error)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return error_set(out_error, status_from_errno(errno), errno, folder, "cannot open it");
    }
    enum status status = STATUS_OK;
    for (const struct dirent *item = readdir(directory); item != NULL && status == STATUS_OK;
         item = readdir(directory)) {
        if (item->d_name[0] != '.' && (maildir || has_suffix(item->d_name, ".eml"))) {
            status = entries_add(entries, folder, item->d_name, maildir);
        }
    }
    (void)closedir(directory); /* it was only read */
    return status;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static int by_time(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->received_ms != right->received_ms) {
        return left->received_ms < right->received_ms ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

static enum status visit_entries(const struct entries *entries,
                                 const struct importer_visitor *visitor, struct error *out_error)
{
    uint64_t done = 0;
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->items[i];
        enum status status =
            visit_file(entry->path, entry->received_ms, done, entries->octets, visitor, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        done += entry->octets;
    }
    return STATUS_OK;
}

static enum status run_maildir(const char *path, const struct importer_visitor *visitor,
                               struct error *out_error)
{
    static const char *const folders[] = {"new", "cur"};
    struct entries entries = {0};
    enum status status = STATUS_OK;
    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        char *folder = NULL;
        if (asprintf(&folder, "%s/%s", path, folders[i]) < 0) {
            status = STATUS_NO_MEMORY;
            break;
        }
        status = entries_read(&entries, folder, true, out_error);
        if (status == STATUS_NOT_FOUND) {
            status = error_set(out_error, STATUS_INVALID, 0, path,
                               "not a Maildir: it has no folders cur and new");
        }
        free(folder);
    }
    if (status == STATUS_OK && entries.count > 0) {
        qsort(entries.items, entries.count, sizeof *entries.items, by_time);
        status = visit_entries(&entries, visitor, out_error);
    }
    entries_clear(&entries);
    return status;
}

static enum status run_eml(const char *path, const struct importer_visitor *visitor,
                           struct error *out_error)
{
    struct stat facts;
    if (stat(path, &facts) != 0) {
        return error_set(out_error, status_from_errno(errno), errno, path, "cannot open it");
    }
    if (!S_ISDIR(facts.st_mode)) {
        return visit_file(path, -1, 0, 0, visitor, out_error);
    }
    struct entries entries = {0};
    enum status status = entries_read(&entries, path, false, out_error);
    if (status == STATUS_OK && entries.count > 0) {
        qsort(entries.items, entries.count, sizeof *entries.items, by_name);
        status = visit_entries(&entries, visitor, out_error);
    }
    entries_clear(&entries);
    return status;
}

enum status importer_run(enum importer_format format, const char *path,
                         const struct importer_visitor *visitor, struct error *out_error)
{
    switch (format) {
    case IMPORTER_MBOX:
        return run_mbox(path, visitor, out_error);
    case IMPORTER_MAILDIR:
        return run_maildir(path, visitor, out_error);
    default:
        return run_eml(path, visitor, out_error);
    }
}
