/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char script_workloads[] = "login noop retr deliver idle";

static enum status step_add(struct script_step *steps, unsigned *count, enum script_reply reply,
                            const char *format, ...)
{
    struct script_step *step = &steps[*count];
    *step = (struct script_step){.reply = reply};
    if (format != NULL) {
        va_list arguments;
        va_start(arguments, format);
        int length = vasprintf(&step->text, format, arguments);
        va_end(arguments);
        if (length < 0) {
            return STATUS_NO_MEMORY;
        }
        step->length = (size_t)length;
    }
    (*count)++;
    return STATUS_OK;
}

static enum status add_login(const struct script_config *config, struct script_step *steps,
                             unsigned *count)
{
    enum status status = step_add(steps, count, SCRIPT_REPLY_LINE, NULL);
    if (status == STATUS_OK) {
        status = step_add(steps, count, SCRIPT_REPLY_LINE, "USER %s\r\n", config->user);
    }
    if (status == STATUS_OK) {
        status = step_add(steps, count, SCRIPT_REPLY_LINE, "PASS %s\r\n", config->password);
    }
    return status;
}

static enum status make_login(const struct script_config *config, struct script *script)
{
    script->reconnect = true;
    enum status status = add_login(config, script->cycle, &script->cycle_count);
    if (status == STATUS_OK) {
        status = step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_LINE, "STAT\r\n");
    }
    if (status == STATUS_OK) {
        status = step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_LINE, "QUIT\r\n");
    }
    return status;
}

static enum status make_session(const struct script_config *config, struct script *script)
{
    enum status status = add_login(config, script->preamble, &script->preamble_count);
    if (status != STATUS_OK) {
        return status;
    }
    if (strcmp(config->workload, "idle") == 0) {
        script->hold = true;
        return STATUS_OK;
    }
    if (strcmp(config->workload, "noop") == 0) {
        return step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_LINE, "NOOP\r\n");
    }
    return step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_MULTI, "RETR %u\r\n",
                    config->message_number);
}

/* A message of exactly `octets` octets, or a few more when that is too little for a header. */
static char *message_text(size_t octets)
{
    static const char header[] =
        "From: <bench@localhost>\r\nSubject: a message of the bench\r\n\r\n";
    static const char filler[] =
        "All work and no play makes a line of seventy-two octets to be sent.....\r\n";
    size_t capacity = octets + sizeof header + sizeof filler;
    char *text = malloc(capacity);
    if (text == NULL) {
        return NULL;
    }
    size_t length = sizeof header - 1;
    memcpy(text, header, length);
    while (length + 2 < octets) {
        size_t piece = octets - length < sizeof filler - 1 ? octets - length : sizeof filler - 1;
        memcpy(text + length, filler, piece);
        length += piece;
    }
    memcpy(text + length - 2, "\r\n", 3);
    return text;
}

static enum status make_deliver(const struct script_config *config, struct script *script)
{
    enum status status =
        step_add(script->preamble, &script->preamble_count, SCRIPT_REPLY_LMTP, NULL);
    if (status == STATUS_OK) {
        status = step_add(script->preamble, &script->preamble_count, SCRIPT_REPLY_LMTP,
                          "LHLO bench.localhost\r\n");
    }
    static const char sender[] = "MAIL FROM:<bench@localhost>\r\n";
    if (status == STATUS_OK) {
        status = step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_LMTP, "%s", sender);
    }
    if (status == STATUS_OK) {
        status = step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_LMTP,
                          "RCPT TO:<%s>\r\n", config->user);
    }
    if (status == STATUS_OK) {
        status = step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_LMTP, "DATA\r\n");
    }
    char *message = status == STATUS_OK ? message_text(config->message_octets) : NULL;
    if (message != NULL) {
        status =
            step_add(script->cycle, &script->cycle_count, SCRIPT_REPLY_LMTP, "%s.\r\n", message);
        free(message);
    }
    return status;
}

enum status script_make(const struct script_config *config, struct script *out_script)
{
    static const char *const sessions[] = {"noop", "retr", "idle"};
    struct script script = {.name = config->workload};
    enum status status = STATUS_NOT_FOUND;
    if (strcmp(config->workload, "login") == 0) {
        status = make_login(config, &script);
    } else if (strcmp(config->workload, "deliver") == 0) {
        status = make_deliver(config, &script);
    }
    for (size_t index = 0; index < sizeof sessions / sizeof sessions[0]; index++) {
        if (strcmp(config->workload, sessions[index]) == 0) {
            status = make_session(config, &script);
        }
    }
    if (status != STATUS_OK) {
        script_free(&script);
        return status;
    }
    *out_script = script;
    return STATUS_OK;
}

void script_free(struct script *script)
{
    for (unsigned index = 0; index < SCRIPT_STEPS_MAX; index++) {
        free(script->preamble[index].text);
        free(script->cycle[index].text);
    }
    *script = (struct script){0};
}

/* The last line of an LMTP reply has a space behind its code (RFC 5321 section 4.2). */
static bool lmtp_feed(struct script_reply_state *state, const char *data, size_t length)
{
    bool whole = false;
    for (size_t index = 0; index < length; index++) {
        if (data[index] == '\n') {
            whole = state->separator == ' ';
            state->column = 0;
            continue;
        }
        state->column++;
        if (state->column == 4) {
            state->separator = data[index];
        }
    }
    return whole;
}

static void keep_tail(struct script_reply_state *state, const char *data, size_t length)
{
    const size_t size = sizeof state->tail;
    if (length >= size) {
        memcpy(state->tail, data + length - size, size);
        return;
    }
    memmove(state->tail, state->tail + length, size - length);
    memcpy(state->tail + size - length, data, length);
}

bool script_reply_feed(struct script_reply_state *state, enum script_reply reply, const char *data,
                       size_t length, bool *out_good)
{
    if (length == 0) {
        return false;
    }
    if (state->length == 0) {
        state->first = data[0];
    }
    state->length += length;
    keep_tail(state, data, length);
    *out_good = state->first == '+' || state->first == '2' || state->first == '3';
    if (reply == SCRIPT_REPLY_LMTP) {
        return lmtp_feed(state, data, length);
    }
    if (reply == SCRIPT_REPLY_LINE || state->first == '-') {
        return state->tail[4] == '\n';
    }
    return memcmp(state->tail, "\r\n.\r\n", sizeof state->tail) == 0;
}
