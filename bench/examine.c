/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/examine.h"

#include "bench/dice.h"

enum state { STATE_TRACE, STATE_LETTER, STATE_UNMARKED, STATE_DIFFERS };

void examine_begin(struct examine *examine, uint32_t user, uint64_t announced, bool compares)
{
    examine->octets = 0;
    examine->announced = announced;
    examine->user = user;
    examine->compares = compares;
    examine->state = STATE_TRACE;
}

static void feed_trace(struct examine *examine, const struct corpus *corpus, const char *data,
                       size_t length)
{
    struct letter letter;
    if (length <= 2) {
        examine->state = STATE_UNMARKED; /* the headers are over */
    } else if (letter_parse_mark(data, length, &letter)) {
        if (letter.file >= 0 && corpus == NULL) {
            examine->state = STATE_UNMARKED; /* a file of a corpus that is not here */
            return;
        }
        letter_begin(&examine->cursor, &letter, corpus);
        examine->state = !examine->compares || letter_compare(&examine->cursor, data, length)
                             ? STATE_LETTER
                             : STATE_DIFFERS;
    }
}

void examine_feed(struct examine *examine, const struct corpus *corpus, const char *data,
                  size_t length, bool at_start)
{
    examine->octets += length;
    if (examine->state == STATE_TRACE && at_start) {
        feed_trace(examine, corpus, data, length);
    } else if (examine->state == STATE_LETTER && examine->compares &&
               !letter_compare(&examine->cursor, data, length)) {
        examine->state = STATE_DIFFERS;
    }
}

enum examine_flaw examine_end(struct examine *examine, uint64_t *out_letter)
{
    const struct letter *letter = &examine->cursor.letter;
    if (examine->state == STATE_DIFFERS) {
        return EXAMINE_CONTENT;
    }
    if (examine->announced != UINT64_MAX && examine->octets != examine->announced) {
        return EXAMINE_SIZE;
    }
    if (examine->state != STATE_LETTER) {
        return EXAMINE_UNMARKED;
    }
    if (examine->compares && !letter_at_end(&examine->cursor)) {
        return EXAMINE_SIZE;
    }
    if (letter->user != examine->user) {
        return EXAMINE_MISPLACED;
    }
    struct dice dice = {.state = letter->seed ^ (letter->number << 1)};
    *out_letter = dice_next(&dice) | 1;
    return EXAMINE_GOOD;
}
