/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lmtp_data.h"

#include "storage/wire.h"

#include <string.h>

static const uint8_t carriage_return[] = {'\r'};

void lmtp_data_init(struct lmtp_data *decoder)
{
    *decoder = (struct lmtp_data){.state = LMTP_DATA_LINE_START};
}

/* Whether the `length` octets at `data` end with CRLF, the CR of which may have come before. */
static bool ends_line(const struct lmtp_data *decoder, const uint8_t *data, size_t length)
{
    bool after_cr = length > 1 ? data[length - 2] == '\r' : decoder->state == LMTP_DATA_CR;
    return after_cr && data[length - 1] == '\n';
}

/*
 * Passes over text up to the end of a line that a dot follows, or to the end of the piece. Returns
 * the octets passed and leaves the state that holds behind them.
 */
static size_t pass_text(struct lmtp_data *decoder, const uint8_t *data, size_t length)
{
    size_t at = 0;
    do {
        at += wire_to_dot_line(data + at, length - at);
    } while (at < length && !ends_line(decoder, data, at));
    if (ends_line(decoder, data, at)) {
        decoder->state = LMTP_DATA_LINE_START;
    } else {
        decoder->state = data[at - 1] == '\r' ? LMTP_DATA_CR : LMTP_DATA_TEXT;
    }
    return at;
}

static size_t take_text(struct lmtp_data *decoder, const uint8_t *data, size_t length,
                        struct lmtp_run *out_run)
{
    size_t taken = pass_text(decoder, data, length);
    *out_run = (struct lmtp_run){data, taken};
    decoder->octets += taken;
    return taken;
}

size_t lmtp_data_take(struct lmtp_data *decoder, const uint8_t *data, size_t length,
                      struct lmtp_run *out_run)
{
    *out_run = (struct lmtp_run){data, 0};
    switch (decoder->state) {
    case LMTP_DATA_LINE_START:
        if (data[0] != '.') {
            return take_text(decoder, data, length, out_run);
        }
        decoder->state = LMTP_DATA_DOT;
        return 1;
    case LMTP_DATA_DOT:
        if (data[0] != '\r') {
            return take_text(decoder, data, length, out_run);
        }
        decoder->state = LMTP_DATA_DOT_CR;
        return 1;
    case LMTP_DATA_DOT_CR:
        if (data[0] == '\n') {
            decoder->state = LMTP_DATA_ENDED;
            return 1;
        }
        /* Not the end after all: the CR behind the dropped dot was content. */
        *out_run = (struct lmtp_run){carriage_return, 1};
        decoder->octets++;
        decoder->state = LMTP_DATA_CR;
        return 0;
    case LMTP_DATA_TEXT:
    case LMTP_DATA_CR:
        return take_text(decoder, data, length, out_run);
    case LMTP_DATA_ENDED:
        break;
    }
    return 0;
}
