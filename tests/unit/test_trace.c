/* SPDX-License-Identifier: Apache-2.0 */
#include "server/trace.h"

#include <criterion/criterion.h>
#include <string.h>

#define TIME_S INT64_C(1795332078) /* Sun, 22 Nov 2026 07:21:18 */

static const struct trace plain = {
    .sender = "a@client.test",
    .client_name = "mx.client.test",
    .peer = "192.0.2.7",
    .host = "mail.example",
    .session = "l0-1a",
    .recipient = "demo1@localhost",
    .time_s = TIME_S,
};

/* Renders and returns a NUL-terminated text; checks what holds for any headers. */
static const char *render(const struct trace *trace)
{
    static char text[TRACE_LENGTH_MAX + 1];
    size_t length = trace_render(trace, text);
    cr_assert_leq(length, TRACE_LENGTH_MAX);
    text[length] = '\0';
    cr_assert_eq(strlen(text), length, "no NUL");
    unsigned headers = 0;
    for (const char *line = text; *line != '\0';) {
        size_t span = strcspn(line, "\r\n");
        cr_assert_leq(span, 998);
        cr_assert(line[span] == '\r' && line[span + 1] == '\n');
        for (size_t i = 0; i < span; i++) {
            cr_assert((unsigned char)line[i] >= ' ' || (i == 0 && line[i] == '\t'));
            cr_assert_neq(line[i], 0x7f);
        }
        headers += line[0] != '\t';
        line += span + 2;
    }
    cr_assert_eq(headers, 2, "nothing begins a header of its own");
    return text;
}

Test(trace, writes_return_path_and_received)
{
    cr_assert_str_eq(render(&plain), "Return-Path: <a@client.test>\r\n"
                                     "Received: from mx.client.test (192.0.2.7)\r\n"
                                     "\tby mail.example (Restante) with LMTP id l0-1a\r\n"
                                     "\tfor <demo1@localhost>;\r\n"
                                     "\tSun, 22 Nov 2026 07:21:18 +0000\r\n");
}

Test(trace, leaves_the_recipient_out_when_there_are_several)
{
    struct trace trace = plain;
    trace.recipient = NULL;
    trace.sender = "";
    const char *text = render(&trace);
    cr_assert_eq(strncmp(text, "Return-Path: <>\r\n", 17), 0);
    cr_assert_null(strstr(text, "for <"));
    cr_assert_not_null(strstr(text, "id l0-1a;\r\n\tSun,"));
}

Test(trace, names_the_protocol_of_internationalised_mail)
{
    struct trace trace = plain;
    trace.utf8 = true;
    trace.sender = "\xc3\xbc@client.test";
    const char *text = render(&trace);
    cr_assert_not_null(strstr(text, " with UTF8LMTP id "));
    cr_assert_not_null(strstr(text, "<\xc3\xbc@client.test>"));
    trace.utf8 = false;
    cr_assert_not_null(strstr(render(&trace), "<?"
                                              "?@client.test>"));
}

Test(trace, lets_no_client_start_a_header_or_close_a_comment)
{
    char hostile[256];
    for (int octet = 1; octet < 256; octet++) {
        hostile[octet - 1] = (char)octet;
    }
    hostile[255] = '\0';
    struct trace trace = plain;
    trace.sender = trace.recipient = trace.client_name = trace.peer = hostile;
    for (int utf8 = 0; utf8 < 2; utf8++) {
        trace.utf8 = utf8 != 0;
        (void)render(&trace);
    }
    trace = plain;
    trace.client_name = "evil) x (\r\nX-Evil: 1;\"\\";
    cr_assert_not_null(strstr(render(&trace), "from evil??x????X-Evil:?1??? ("));
    trace.client_name = "";
    cr_assert_not_null(strstr(render(&trace), "from unknown ("));
}

Test(trace, cuts_what_is_too_long)
{
    static char huge[5000];
    memset(huge, 'x', sizeof huge - 1);
    struct trace trace = {huge, huge, huge, huge, huge, huge, true, true, TIME_S};
    (void)render(&trace);
}

static void expect_date(int64_t time_s, const char *expected)
{
    char date[TRACE_DATE_MAX];
    trace_date(time_s, date);
    cr_assert_str_eq(date, expected);
}

Test(trace, writes_dates_of_rfc_5322)
{
    expect_date(0, "Thu, 1 Jan 1970 00:00:00 +0000");
    expect_date(951782399, "Mon, 28 Feb 2000 23:59:59 +0000");
    expect_date(951782400, "Tue, 29 Feb 2000 00:00:00 +0000");
    expect_date(4102444800, "Fri, 1 Jan 2100 00:00:00 +0000");
    char date[TRACE_DATE_MAX];
    trace_date(INT64_MAX, date);
    trace_date(INT64_MIN, date);
}
