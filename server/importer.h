/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages out of files: eml, mbox and Maildir, in their order and with their dates. Reads only;
 * what becomes of a message is its visitor's business. Line ends are handed on as they are.
 *
 * The command line's thread; blocking.
 */
#ifndef SERVER_IMPORTER_H
#define SERVER_IMPORTER_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum importer_format { IMPORTER_EML, IMPORTER_MBOX, IMPORTER_MAILDIR };

struct importer_message {
    const uint8_t *data; /* valid during the visit */
    size_t length;
    int64_t received_ms; /* UNIX time: the From_ line, the Maildir name, else the file's time */
    const char *path;    /* the file it came from, for messages to a person */
    uint64_t octets_done,
        octets_total; /* of all files, for a progress line; this message included */
};

struct importer_visitor {
    /* Anything but STATUS_OK ends the import with that. */
    enum status (*on_message)(void *owner, const struct importer_message *message);
    void *owner;
};

/*
 * Visits every message of `path`:
 *  - eml: a file, or a folder whose files ending in .eml are taken in the order of their names;
 *  - mbox: a file; "From " lines at its start or behind an empty line, with a date, separate
 * messages;
 *    ">From " quoting (mboxrd) is undone; Content-Length is not believed;
 *  - maildir: a folder with cur and new; in the order of delivery time and name.
 * STATUS_NOT_FOUND, STATUS_INVALID (not of that format), STATUS_IO, or what the visitor answered.
 */
MUST_CHECK enum status importer_run(enum importer_format format, const char *path,
                                    const struct importer_visitor *visitor,
                                    struct error *out_error);

/* "eml", "mbox" or "maildir". */
MUST_CHECK enum status importer_format_parse(const char *word, enum importer_format *out_format);

/* The messages of an mbox in memory, each unquoted into a buffer of its own; `fallback_ms` dates a
 * first From_ line without a readable date. Pure but for the visits. */
MUST_CHECK enum status importer_mbox(const uint8_t *data, size_t length, int64_t fallback_ms,
                                     const char *path, const struct importer_visitor *visitor);

/* Reads the date of a From_ line such as "From a@b Thu Jan  1 00:00:00 1970"; with a zone ("+0200",
 * "UTC") before or behind the year if there is one, else in local time. Pure. */
bool importer_from_line(const uint8_t *line, size_t length, int64_t *out_received_ms);

/* The time in a Maildir file name ("1700000000.M1P2.host:2,S"), in milliseconds. Pure. */
bool importer_maildir_time(const char *name, int64_t *out_received_ms);

#endif
