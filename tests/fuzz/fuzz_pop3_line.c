/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what stands between a POP3 client and the handlers: lines out of a stream, words out of a
 * line, numbers out of words. The same octets are fed whole and in pieces, and must give the same
 * lines.
 */
#include "server/command.h"
#include "server/line.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LINE_LENGTH_MAX 64   /* small, so that the fuzzer gets over it */
#define EVENTS_MAX      4096 /* lines of one input */

struct event {
    enum line_result result;
    const char *line;
    size_t length;
};

struct events {
    size_t count;
    struct event list[EVENTS_MAX];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(struct events *events, enum line_result result, const char *line, size_t length)
{
    if (events->count < EVENTS_MAX) {
        events->list[events->count++] =
            (struct event){.result = result, .line = line, .length = length};
    }
}

/* Feeds `size` octets in pieces of `piece`, as a connection's buffer would grow. */
static void feed(const uint8_t *data, size_t size, size_t piece, struct events *out_events)
{
    struct line_reader reader;
    line_reader_init(&reader, LINE_LENGTH_MAX);
    size_t begin = 0;
    size_t end = 0;
    out_events->count = 0;
    while (end < size) {
        end = size - end < piece ? size : end + piece;
        for (;;) {
            const char *line = NULL;
            size_t length = 0;
            size_t taken = 0;
            enum line_result result =
                line_next(&reader, data + begin, end - begin, &line, &length, &taken);
            assert(taken <= end - begin);
            begin += taken;
            if (result == LINE_PARTIAL) {
                assert(end - begin < LINE_LENGTH_MAX);
                break;
            }
            add(out_events, result, result == LINE_WHOLE ? line : NULL,
                result == LINE_WHOLE ? length : 0);
        }
    }
}

static void check_inside(struct command_word word, const char *line, size_t length)
{
    if (word.length > 0) {
        assert(word.data >= line && word.data + word.length <= line + length);
    }
}

/* What a handler would see of a line. */
static void check_line(const char *text, size_t length)
{
    assert(length + 1 <= LINE_LENGTH_MAX);
    assert(memchr(text, '\0', length) == NULL && memchr(text, '\r', length) == NULL);
    struct command_line line;
    command_parse(text, length, &line);
    check_inside(line.verb, text, length);
    check_inside(line.rest, text, length);
    for (unsigned i = 0; i < line.arg_count && i < COMMAND_ARGS_MAX; i++) {
        check_inside(line.args[i], text, length);
        assert(line.args[i].length > 0 &&
               memchr(line.args[i].data, ' ', line.args[i].length) == NULL);
        uint64_t number = 0;
        if (command_number(line.args[i], 1000, &number)) {
            assert(number <= 1000);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct events whole, pieces;
    /* A copy without a neighbour: reading one octet too far is found. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert(copy != NULL);
    memcpy(copy, data, size);
    feed(copy, size, size > 0 ? size : 1, &whole);
    for (size_t piece = 1; piece <= 7; piece += 2) {
        feed(copy, size, piece, &pieces);
        assert(pieces.count == whole.count);
        for (size_t i = 0; i < whole.count; i++) {
            assert(pieces.list[i].result == whole.list[i].result);
            assert(pieces.list[i].line == whole.list[i].line);
            assert(pieces.list[i].length == whole.list[i].length);
        }
    }
    for (size_t i = 0; i < whole.count; i++) {
        if (whole.list[i].result == LINE_WHOLE) {
            check_line(whole.list[i].line, whole.list[i].length);
        }
    }
    free(copy);
    return 0;
}
