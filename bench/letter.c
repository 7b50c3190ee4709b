/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/letter.h"

#include "bench/dice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_OCTETS (64 * 1024) /* stays in the processor's second-level cache */
#define LINE_MIN    40          /* octets without CRLF */
#define LINE_MAX    76          /* RFC 2045 section 6.8; the last of a letter may have one more */

static const char mark_name[] = "X-Restante-Bench: ";

/* Each place has room for a line and its CRLF behind it. */
static char text[TEXT_OCTETS + LINE_MAX + 2];

void letter_text_make(void)
{
    struct dice dice = {.state = 0x7265737461};
    for (size_t at = 0; at < sizeof text; at++) {
        text[at] = (char)('!' + dice_below(&dice, '~' - '!' + 1));
        if (dice_below(&dice, 7) == 0) {
            text[at] = ' ';
        }
    }
}

/* The head: the mark and the headers a client looks for. */
static size_t write_head(const struct letter *letter, char *out, size_t capacity)
{
    int length = snprintf(out, capacity,
                          "%sseed=%016" PRIx64 " number=%016" PRIx64 " user=%010" PRIu32
                          " octets=%010" PRIu64 " file=%08" PRId32 "\r\n",
                          mark_name, letter->seed, letter->number, letter->user, letter->octets,
                          letter->file);
    length +=
        snprintf(out + length, capacity - (size_t)length,
                 "From: Bench <bench@bench.invalid>\r\nTo: <user%" PRIu32
                 "@bench.invalid>\r\nSubject: letter %" PRIu64
                 "\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <%016" PRIx64 ".%" PRIx64
                 "@bench.invalid>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n",
                 letter->user, letter->number, letter->seed, letter->number);
    return (size_t)length;
}

/* The mark alone stands before a file, which has headers of its own. */
static size_t head_length(const struct letter *letter, char *out, size_t capacity)
{
    size_t length = write_head(letter, out, capacity);
    if (letter->file < 0) {
        return length;
    }
    const char *end = memchr(out, '\n', length);
    return (size_t)(end - out) + 1;
}

void letter_fit(struct letter *letter, const struct corpus *corpus)
{
    if (letter->file >= 0) {
        letter->octets =
            LETTER_MARK_LENGTH + corpus->files[(size_t)letter->file % corpus->file_count].length;
    } else if (letter->octets < LETTER_OCTETS_MIN) {
        letter->octets = LETTER_OCTETS_MIN;
    }
}

void letter_begin(struct letter_cursor *cursor, const struct letter *letter,
                  const struct corpus *corpus)
{
    cursor->letter = *letter;
    cursor->corpus = corpus;
    cursor->state = letter->seed ^ (letter->number * 0x9e3779b97f4a7c15ull);
    cursor->piece = cursor->head;
    cursor->piece_left = head_length(letter, cursor->head, sizeof cursor->head);
    if (cursor->piece_left > letter->octets) {
        cursor->piece_left = (size_t)letter->octets; /* a mark that lies about its size */
    }
    cursor->left = letter->octets - cursor->piece_left;
}

/* The next line of the body. The last one ends the letter exactly; none is left too short to
 * end. */
static void next_line(struct letter_cursor *cursor)
{
    struct dice dice = {.state = cursor->state};
    uint64_t drawn = dice_next(&dice);
    cursor->state = dice.state;
    size_t width = LINE_MIN + (size_t)((drawn & 0xffff) * (LINE_MAX - LINE_MIN + 1) >> 16);
    const char *line = text + ((drawn >> 16) & (TEXT_OCTETS - 1));
    if (cursor->left < width + 4) {
        width = cursor->left < 2 ? 0 : (size_t)cursor->left - 2;
    }
    memcpy(cursor->head, line, LINE_MAX + 1);
    if ((drawn >> 48 & 31) == 0 && width > 2) {
        memcpy(cursor->head, "..", 1 + (drawn >> 53 & 1)); /* to be stuffed by who sends it */
    }
    memcpy(cursor->head + width, "\r\n", 2);
    cursor->piece = cursor->head;
    cursor->piece_left = width + 2 < cursor->left ? width + 2 : (size_t)cursor->left;
    cursor->left -= cursor->piece_left;
}

static void next_file(struct letter_cursor *cursor)
{
    const struct corpus *corpus = cursor->corpus;
    if (corpus == NULL) {
        cursor->left = 0; /* cannot be made here; nothing will compare equal */
        return;
    }
    const struct corpus_file *file =
        &corpus->files[(size_t)cursor->letter.file % corpus->file_count];
    cursor->piece = file->data;
    cursor->piece_left = cursor->left < file->length ? (size_t)cursor->left : file->length;
    cursor->left = 0;
}

/* False at the end. */
static bool next_piece(struct letter_cursor *cursor)
{
    if (cursor->piece_left == 0 && cursor->left > 0) {
        if (cursor->letter.file >= 0) {
            next_file(cursor);
        } else {
            next_line(cursor);
        }
    }
    return cursor->piece_left > 0;
}

static void go_past(struct letter_cursor *cursor, size_t length)
{
    cursor->piece += length;
    cursor->piece_left -= length;
}

size_t letter_read(struct letter_cursor *cursor, char *out_data, size_t capacity)
{
    size_t done = 0;
    while (done < capacity && next_piece(cursor)) {
        size_t length = capacity - done;
        length = length < cursor->piece_left ? length : cursor->piece_left;
        memcpy(out_data + done, cursor->piece, length);
        go_past(cursor, length);
        done += length;
    }
    return done;
}

bool letter_compare(struct letter_cursor *cursor, const char *data, size_t length)
{
    while (length > 0) {
        if (!next_piece(cursor)) {
            return false;
        }
        size_t here = length < cursor->piece_left ? length : cursor->piece_left;
        if (memcmp(cursor->piece, data, here) != 0) {
            return false;
        }
        go_past(cursor, here);
        data += here;
        length -= here;
    }
    return true;
}

bool letter_at_end(const struct letter_cursor *cursor)
{
    return cursor->piece_left == 0 && cursor->left == 0;
}

bool letter_parse_mark(const char *line, size_t length, struct letter *out_letter)
{
    char copy[LETTER_MARK_LENGTH + 1];
    if (length < sizeof mark_name || memcmp(line, mark_name, sizeof mark_name - 1) != 0) {
        return false;
    }
    size_t kept = length < LETTER_MARK_LENGTH ? length : LETTER_MARK_LENGTH;
    memcpy(copy, line, kept);
    copy[kept] = '\0';
    struct letter letter;
    int fields = sscanf(copy + sizeof mark_name - 1,
                        "seed=%16" SCNx64 " number=%16" SCNx64 " user=%10" SCNu32
                        " octets=%10" SCNu64 " file=%8" SCNd32,
                        &letter.seed, &letter.number, &letter.user, &letter.octets, &letter.file);
    if (fields == 5) {
        *out_letter = letter;
    }
    return fields == 5;
}

/* Copies lines and doubles dots at their beginnings. */
static size_t stuff(const char *from, size_t length, char *to)
{
    size_t made = 0;
    bool at_start = true;
    for (size_t at = 0; at < length; at++) {
        if (at_start && from[at] == '.') {
            to[made++] = '.';
        }
        to[made++] = from[at];
        at_start = from[at] == '\n';
    }
    return made;
}

/* Every piece begins a line; only a file has lines inside. */
static size_t stuff_piece(const struct letter_cursor *cursor, char *to)
{
    if (cursor->piece != cursor->head) {
        return stuff(cursor->piece, cursor->piece_left, to);
    }
    size_t dots = cursor->piece[0] == '.';
    to[0] = '.';
    memcpy(to + dots, cursor->piece, cursor->piece_left);
    return dots + cursor->piece_left;
}

char *letter_wire(const struct letter *letter, const struct corpus *corpus, size_t *out_length)
{
    struct letter_cursor cursor;
    size_t capacity = (size_t)letter->octets * (letter->file >= 0 ? 2 : 1);
    /* Lines made here are at least LINE_MIN long but for the last, and one dot each is added. */
    char *wire = malloc(capacity + (size_t)letter->octets / LINE_MIN + LETTER_OCTETS_MIN);
    if (wire == NULL) {
        return NULL;
    }
    size_t made = 0;
    letter_begin(&cursor, letter, corpus);
    while (next_piece(&cursor)) {
        made += stuff_piece(&cursor, wire + made);
        go_past(&cursor, cursor.piece_left);
    }
    memcpy(wire + made, ".\r\n", 4);
    *out_length = made + 3;
    return wire;
}
