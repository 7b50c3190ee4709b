/* SPDX-License-Identifier: Apache-2.0 */
#include "server/command.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct command table[] = {{.verb = "NOOP"}, {.verb = "NO"}, {.verb = "RETR"}};

static struct command_word word(const char *text)
{
    return (struct command_word){text, strlen(text)};
}

static bool word_is(struct command_word have, const char *text)
{
    return have.length == strlen(text) && memcmp(have.data, text, have.length) == 0;
}

static struct command_line parse(const char *text)
{
    struct command_line line;
    command_parse(text, strlen(text), &line);
    return line;
}

static const struct command *find(const char *verb)
{
    return command_find(table, sizeof table / sizeof table[0], word(verb));
}

Test(command, is_a_verb_alone)
{
    struct command_line line = parse("STAT");
    cr_assert(word_is(line.verb, "STAT"));
    cr_assert_eq(line.rest.length, 0);
    cr_assert_eq(line.arg_count, 0);
}

Test(command, splits_arguments_at_spaces)
{
    struct command_line line = parse("TOP 1 20");
    cr_assert(word_is(line.verb, "TOP"));
    cr_assert(word_is(line.rest, "1 20"));
    cr_assert_eq(line.arg_count, 2);
    cr_assert(word_is(line.args[0], "1"));
    cr_assert(word_is(line.args[1], "20"));
}

Test(command, forgives_runs_of_spaces_and_trailing_ones)
{
    struct command_line line = parse("TOP   1    20  ");
    cr_assert_eq(line.arg_count, 2);
    cr_assert(word_is(line.args[0], "1"));
    cr_assert(word_is(line.args[1], "20"));
    cr_assert_eq(parse("STAT ").arg_count, 0);
}

Test(command, keeps_the_rest_as_it_came_behind_one_space)
{
    cr_assert(word_is(parse("PASS  two  words ").rest, " two  words "));
    cr_assert(word_is(parse("PASS ").rest, ""));
    cr_assert(word_is(parse("PASS  ").rest, " "));
}

Test(command, counts_arguments_only_as_far_as_it_keeps_them)
{
    cr_assert_eq(parse("X 1 2 3 4").arg_count, COMMAND_ARGS_MAX);
    cr_assert_eq(parse("X 1 2 3 4 5").arg_count, COMMAND_ARGS_MAX + 1);
    cr_assert_eq(parse("X 1 2 3 4 5 6 7 8 9").arg_count, COMMAND_ARGS_MAX + 1);
}

Test(command, of_an_empty_line_has_an_empty_verb)
{
    struct command_line line = parse("");
    cr_assert_eq(line.verb.length, 0);
    cr_assert_eq(line.rest.length, 0);
    cr_assert_null(find(""));
    cr_assert_eq(parse(" NOOP").verb.length, 0);
}

Test(command, is_found_in_any_case)
{
    cr_assert_eq(find("NOOP"), &table[0]);
    cr_assert_eq(find("noop"), &table[0]);
    cr_assert_eq(find("rEtR"), &table[2]);
}

Test(command, is_not_found_by_a_part_of_its_verb_or_by_more)
{
    cr_assert_eq(find("NO"), &table[1]);
    cr_assert_null(find("N"));
    cr_assert_null(find("NOO"));
    cr_assert_null(find("NOOPX"));
    cr_assert_null(find("RETR1"));
    cr_assert_null(find("NOO\xd0")); /* no letter, though it looks like one with a bit less */
}

static bool number(const char *text, uint64_t max, uint64_t *out_number)
{
    return command_number(word(text), max, out_number);
}

Test(number, is_read_when_all_of_it_is_digits)
{
    uint64_t value = 0;
    cr_assert(number("1", 10, &value) && value == 1);
    cr_assert(number("0", 10, &value) && value == 0);
    cr_assert(number("0000000000000000000000000000007", 10, &value) && value == 7);
    cr_assert(number("18446744073709551615", UINT64_MAX, &value) && value == UINT64_MAX);
}

Test(number, is_refused_when_anything_else_is_in_it)
{
    uint64_t value = 99;
    static const char *const wrong[] = {"",    "-1",  "+1",  " 1",   "1 ",  "1x", "x1",
                                        "0x1", "1.0", "1e3", "\xb2", "--1", "1,0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_not(number(wrong[i], UINT64_MAX, &value), "%s", wrong[i]);
    }
    cr_assert_eq(value, 99, "left alone");
}

Test(number, is_refused_above_its_maximum)
{
    uint64_t value;
    cr_assert(number("10", 10, &value));
    cr_assert_not(number("11", 10, &value));
    cr_assert_not(number("4", 3, &value));
    cr_assert_not(number("4294967297", UINT32_MAX, &value));
    cr_assert_not(number("18446744073709551616", UINT64_MAX, &value));
    cr_assert_not(number("18446744073709551617", UINT64_MAX, &value));
    cr_assert_not(number("99999999999999999999999999999999", UINT64_MAX, &value));
}
