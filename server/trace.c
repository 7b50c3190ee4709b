/* SPDX-License-Identifier: Apache-2.0 */
#include "server/trace.h"

#include "io/calendar.h"
#include "io/digits.h"
#include "server/server_limits.h"

#include <assert.h>
#include <string.h>

/* Text being put together; its parts are bounded so that it cannot overflow. */
struct text {
    char *data;
    size_t length;
};

#define WORD_MAX 255 /* octets kept of a name: client, peer, host, session */

/* Return-Path and for: two addresses; four words; the rest is ours. */
static_assert(2 * LMTP_ADDRESS_LEN_MAX + 4 * WORD_MAX + TRACE_DATE_MAX + 128 <= TRACE_LENGTH_MAX,
              "the headers fit however long their parts are");

static void add(struct text *text, const char *words)
{
    size_t length = strlen(words);
    memcpy(text->data + text->length, words, length);
    text->length += length;
}

/* Letters, digits and what host names and address literals hold: nothing that means anything to who
 * reads the header (RFC 5322 section 3.2). */
static bool is_name(char octet)
{
    switch (octet) {
    case '-':
    case '.':
    case '_':
    case ':':
    case '[':
    case ']':
        return true;
    default:
        return (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') ||
               (octet >= 'a' && octet <= 'z');
    }
}

static void add_name(struct text *text, const char *name)
{
    size_t length = strnlen(name, WORD_MAX);
    char *to = text->data + text->length;
    for (size_t i = 0; i < length; i++) {
        to[i] = is_name(name[i]) ? name[i] : '?';
    }
    text->length += length;
    if (length == 0) {
        add(text, "unknown");
    }
}

/* An address has been through the parser; this holds even if it had not. */
static void add_address(struct text *text, const char *address, bool utf8)
{
    size_t length = strnlen(address, LMTP_ADDRESS_LEN_MAX);
    char *to = text->data + text->length;
    for (size_t i = 0; i < length; i++) {
        uint8_t octet = (uint8_t)address[i];
        bool is_clean = octet >= ' ' && octet != 0x7f && (octet < 0x80 || utf8);
        to[i] = is_clean ? address[i] : '?';
    }
    text->length += length;
}

static void add_padded(struct text *text, uint64_t number, size_t width)
{
    text->length += digits_padded(text->data + text->length, number, width);
}

void trace_date(int64_t time_s, char out[TRACE_DATE_MAX])
{
    static const char days[7][6] = {"Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
    static const char months[12][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                       " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    struct text text = {out, 0};
    struct calendar date;
    calendar_utc(time_s, &date);
    add(&text, days[date.weekday]);
    text.length += digits_decimal(out + text.length, date.day);
    add(&text, months[date.month - 1]);
    add_padded(&text, (uint64_t)date.year, 4);
    add(&text, " ");
    add_padded(&text, date.hour, 2);
    add(&text, ":");
    add_padded(&text, date.minute, 2);
    add(&text, ":");
    add_padded(&text, date.second, 2);
    add(&text, " +0000");
    out[text.length] = '\0';
}

size_t trace_render(const struct trace *trace, char out[TRACE_LENGTH_MAX])
{
    struct text text = {out, 0};
    char date[TRACE_DATE_MAX];
    trace_date(trace->time_s, date);
    add(&text, "Return-Path: <");
    add_address(&text, trace->sender, trace->utf8);
    add(&text, ">\r\nReceived: from ");
    add_name(&text, trace->client_name);
    add(&text, " (");
    add_name(&text, trace->peer);
    add(&text, ")\r\n\tby ");
    add_name(&text, trace->host);
    add(&text, trace->utf8 ? " (Restante) with UTF8LMTP" : " (Restante) with LMTP");
    add(&text, trace->tls ? "S id " : " id ");
    add_name(&text, trace->session);
    if (trace->recipient != NULL) {
        add(&text, "\r\n\tfor <");
        add_address(&text, trace->recipient, trace->utf8);
        add(&text, ">");
    }
    add(&text, ";\r\n\t");
    add(&text, date);
    add(&text, "\r\n");
    return text.length;
}
