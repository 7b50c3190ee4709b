/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lmtp_data.h"

#include "storage/wire.h"

#include <string.h>

static const uint8_t carriage_return[] = {'\r'};

void lmtp_data_init(struct lmtp_data *decoder)
{
    *decoder = (struct lmtp_data){.state = LMTP_DATA_LINE_START};
}

/* Passes over what is plain from `data` on, most of most messages; then up to the next LF there is
 * little left. */
static size_t pass_plain(const struct lmtp_data *decoder, const uint8_t *data, size_t length)
{
    return decoder->state == LMTP_DATA_CR ? 0 : wire_plain_run(data, length, false);
}

/* Whether the message may end at `at`, where a line of it ended: a dot decides, or what comes. */
static bool may_end(const uint8_t *data, size_t length, size_t at)
{
    return at == length || data[at] == '.';
}

/*
 * Passes over text up to the end of a line that a dot follows, or to the end of the piece. Returns
 * the octets passed and leaves the state that holds behind them.
 */
static size_t pass_text(struct lmtp_data *decoder, const uint8_t *data, size_t length, bool stuffed)
{
    size_t at = pass_plain(decoder, data, length);
    if (stuffed && at > 0 && data[at - 1] == '\n' && may_end(data, length, at)) {
        decoder->state = LMTP_DATA_LINE_START;
        return at;
    }
    while (at < length) {
        const uint8_t *feed = memchr(data + at, '\n', length - at);
        if (feed == NULL) {
            break;
        }
        size_t index = (size_t)(feed - data);
        bool after_cr = index > 0 ? feed[-1] == '\r' : decoder->state == LMTP_DATA_CR;
        at = index + 1;
        decoder->bare_lf_count += !after_cr;
        if (stuffed && after_cr && may_end(data, length, at)) {
            decoder->state = LMTP_DATA_LINE_START;
            return at;
        }
    }
    decoder->state = data[length - 1] == '\r' ? LMTP_DATA_CR : LMTP_DATA_TEXT;
    return length;
}

static size_t take_text(struct lmtp_data *decoder, const uint8_t *data, size_t length,
                        struct lmtp_run *out_run)
{
    size_t taken = pass_text(decoder, data, length, true);
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

void lmtp_data_count(struct lmtp_data *decoder, const uint8_t *data, size_t length)
{
    if (length > 0) {
        (void)pass_text(decoder, data, length, false);
        decoder->octets += length;
    }
}
