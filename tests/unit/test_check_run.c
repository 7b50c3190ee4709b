/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/compact_fixture.h"

#include "storage/check_run.h"
#include "storage/index.h"

#include <criterion/criterion.h>

#define DROPS 6

static struct fixture fixture;
static uint64_t drops[DROPS];
static struct check_run *run;

static void start(void)
{
    small_start(&fixture);
    for (int i = 0; i < DROPS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "u%d@localhost", i);
        drops[i] = fixture_create(&fixture, name);
    }
    run = NULL;
    cr_assert_eq(check_run_create(fixture_volume(&fixture), &run), STATUS_OK);
}

static void end(void)
{
    check_run_destroy(&run);
    fixture_end(&fixture);
}

TestSuite(check_run, .init = start, .fini = end);

static struct check_run_state await_end(void)
{
    struct check_run_state state;
    do {
        check_run_state(run, &state);
        usleep(500);
    } while (state.running);
    return state;
}

static struct message_entry entry_of(uint64_t maildrop, uint64_t uid)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    struct message_entry entry;
    fixture_checkpoint(&fixture);
    cr_assert_eq(index_reader_create(fixture_volume(&fixture)->index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    cr_assert_eq(index_message(reader, maildrop, uid, &entry), STATUS_OK);
    index_end(reader);
    index_reader_destroy(&reader);
    return entry;
}

Test(check_run, before_the_first_one_there_is_nothing_to_tell)
{
    struct check_run_state state;
    struct damage finding;
    check_run_state(run, &state);
    cr_assert_not(state.started);
    cr_assert_not(state.running);
    cr_assert_eq(check_run_findings(run, 0, &finding, 1), 0);
    check_run_cancel(run);
    cr_assert_eq(check_run_start(run, 0), STATUS_OK, "a cancel of nothing ends nothing");
    cr_assert_eq(await_end().status, STATUS_OK);
}

Test(check_run, of_a_sound_volume_it_tells_figures_and_no_findings)
{
    unsigned count = fill_segment(&fixture, drops[0]);
    cr_assert_eq(check_run_start(run, 0), STATUS_OK);
    struct check_run_state state = await_end();
    cr_assert(state.started);
    cr_assert_eq(state.status, STATUS_OK, "%s", state.error.text);
    cr_assert_eq(state.result.messages, count);
    cr_assert_eq(state.result.maildrops, DROPS);
    cr_assert_gt(state.result.octets, count * 400);
    cr_assert_eq(state.result.damages + state.findings, 0);
    cr_assert_str_eq(state.progress.step, "index");
}

Test(check_run, only_one_runs_and_it_can_be_ended)
{
    (void)fill_segment(&fixture, drops[0]);
    cr_assert_eq(check_run_start(run, 100), STATUS_OK); /* a minute, were it left alone */
    cr_assert_eq(check_run_start(run, 0), STATUS_BUSY);
    check_run_cancel(run);
    struct check_run_state state = await_end();
    cr_assert_eq(state.status, STATUS_CANCELLED);
    cr_assert_neq(state.error.text[0], '\0');
    cr_assert_eq(check_run_start(run, 0), STATUS_OK);
    cr_assert_eq(await_end().status, STATUS_OK);
    cr_assert_eq(check_run_start(run, 100), STATUS_OK); /* and destroying ends it, too */
}

Test(check_run, findings_are_kept_up_to_a_bound_and_told_piece_by_piece)
{
    struct damage findings[5];
    uint64_t uid = 0;
    cr_assert_eq(fixture_deliver_all(&fixture, drops, DROPS, "for all", 7, NULL, &uid), STATUS_OK);
    struct message_entry entry = entry_of(drops[0], uid);
    flip_octet(&fixture, entry.segment, entry.offset + 2);
    cr_assert_eq(check_run_start(run, 0), STATUS_OK);
    struct check_run_state state = await_end();
    /* The body, and each who has it. */
    cr_assert_eq(state.result.damages, 1 + DROPS);
    cr_assert_eq(state.findings, 1 + DROPS);
    cr_assert_eq(check_run_findings(run, 0, findings, 5), 5);
    cr_assert_eq(findings[0].kind, DAMAGE_BODY);
    cr_assert_eq(findings[1].kind, DAMAGE_MESSAGE);
    cr_assert_eq(check_run_findings(run, 5, findings, 5), DROPS + 1 - 5);
    cr_assert_eq(check_run_findings(run, DROPS + 1, findings, 5), 0);
    cr_assert_eq(check_run_findings(run, 1000000, findings, 5), 0);
    cr_assert_eq(numbers_of(&fixture).damaged, DROPS, "and they are refused from now on");
    flip_octet(&fixture, entry.segment, entry.offset + 2);
    cr_assert_eq(check_run_start(run, 0), STATUS_OK);
    cr_assert_eq(await_end().findings, 0, "the last one's are forgotten");
}

/* Mail that comes and goes, so that segments are copied, retired and unlinked. */
static void churn(unsigned *round)
{
    uint64_t drop = drops[*round % DROPS];
    char text[700];
    for (unsigned i = 0; i < 12; i++) {
        uint64_t uid = 0;
        memset(text, 'a' + (char)(i + *round) % 26, sizeof text);
        cr_assert_eq(fixture_deliver_all(&fixture, drops + i % DROPS,
                                         i == 5 ? 1 : DROPS - i % DROPS, text, 100 + i * 50, NULL,
                                         &uid),
                     STATUS_OK);
    }
    expunge_from(&fixture, drop, *round % 3);
    compact_ok(&fixture, *round % 2 == 0);
    (*round)++;
}

/* Segments vanish under its eyes, expunges with them, and what they held stands elsewhere. */
Test(check_run, compaction_meanwhile_is_no_damage)
{
    unsigned rounds = 0, checks = 0;
    uint64_t unlinked = 0;
    for (int i = 0; i < 10; i++) {
        churn(&rounds);
    }
    while (unlinked < 60 || checks < 4) {
        struct check_run_state state;
        uint64_t before = numbers_of(&fixture).reclaimed_segments;
        uint64_t rate = checks % 2 == 0 ? 400000 : 0;
        cr_assert_eq(check_run_start(run, rate), STATUS_OK);
        do {
            churn(&rounds);
            check_run_state(run, &state);
        } while (state.running);
        cr_assert_eq(state.status, STATUS_OK, "%s", state.error.text);
        struct damage damage = {0};
        (void)check_run_findings(run, 0, &damage, 1);
        cr_assert_eq(state.result.damages, 0, "%s %s, segment %u offset %llu, check %u",
                     damage_name(damage.kind), damage.detail, damage.segment,
                     (unsigned long long)damage.offset, checks);
        unlinked += numbers_of(&fixture).reclaimed_segments - before;
        checks++;
    }
}
