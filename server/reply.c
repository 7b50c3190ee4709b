/* SPDX-License-Identifier: Apache-2.0 */
#include "server/reply.h"

#include "server/server_limits.h"
#include "server/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REPLY_TEXT_MAX (POP3_REPLY_LEN_MAX - 2) /* octets without CRLF */

void reply_octets(struct session *session, const char *data, size_t length)
{
    if (length > 0 && (data[0] == '-' || data[0] == '4' || data[0] == '5')) {
        session->failed = true;
    }
    if (conn_write(&session->conn, data, length) == STATUS_NO_MEMORY) {
        session_abort(session, "no_memory");
    }
}

void reply_line(struct session *session, const char *text)
{
    char line[POP3_REPLY_LEN_MAX];
    size_t length = strnlen(text, REPLY_TEXT_MAX);
    memcpy(line, text, length);
    memcpy(line + length, "\r\n", 2);
    reply_octets(session, line, length + 2);
}

void reply_format(struct session *session, const char *format, ...)
{
    char line[POP3_REPLY_LEN_MAX];
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t length = written < 0 ? 0 : (size_t)written;
    if (length > REPLY_TEXT_MAX) {
        length = REPLY_TEXT_MAX;
    }
    memcpy(line + length, "\r\n", 2);
    reply_octets(session, line, length + 2);
}

size_t reply_text(char *out, const char *text)
{
    size_t length = strlen(text);
    memcpy(out, text, length);
    return length;
}
