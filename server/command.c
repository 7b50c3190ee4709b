/* SPDX-License-Identifier: Apache-2.0 */
#include "server/command.h"

#include <string.h>

/* The octets before the first space, or all of them. */
static struct command_word first_word(const char *data, size_t length)
{
    const char *space = length > 0 ? memchr(data, ' ', length) : NULL;
    return (struct command_word){data, space != NULL ? (size_t)(space - data) : length};
}

/* Splits `rest` at runs of spaces: the RFCs say one space, clients now and then send more. */
static void split_arguments(struct command_line *line)
{
    const char *at = line->rest.data;
    const char *end = at + line->rest.length;
    while (at < end) {
        if (*at == ' ') {
            at++;
            continue;
        }
        struct command_word word = first_word(at, (size_t)(end - at));
        if (line->arg_count == COMMAND_ARGS_MAX) {
            line->arg_count++;
            return;
        }
        line->args[line->arg_count++] = word;
        at += word.length;
    }
}

void command_parse(const char *data, size_t length, struct command_line *out_line)
{
    out_line->verb = first_word(data, length);
    size_t behind = out_line->verb.length < length ? out_line->verb.length + 1 : length;
    out_line->rest = (struct command_word){data + behind, length - behind};
    out_line->arg_count = 0;
    split_arguments(out_line);
}

/* Compares with an upper-case word, without regard to the case of ASCII letters. */
static bool word_is(struct command_word word, const char *upper)
{
    size_t i = 0;
    for (; i < word.length && upper[i] != '\0'; i++) {
        char octet = word.data[i];
        if (octet >= 'a' && octet <= 'z') {
            octet = (char)(octet - 'a' + 'A');
        }
        if (octet != upper[i]) {
            return false;
        }
    }
    return i == word.length && upper[i] == '\0';
}

const struct command *command_find(const struct command *table, size_t count,
                                   struct command_word verb)
{
    for (size_t i = 0; i < count; i++) {
        if (word_is(verb, table[i].verb)) {
            return &table[i];
        }
    }
    return NULL;
}

bool command_number(struct command_word word, uint64_t max, uint64_t *out_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < word.length; i++) {
        if (word.data[i] < '0' || word.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(word.data[i] - '0');
        if (digit > max || number > (max - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (word.length == 0) {
        return false;
    }
    *out_number = number;
    return true;
}
