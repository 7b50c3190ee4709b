/* SPDX-License-Identifier: Apache-2.0 */
/* An old index and a new one, both made here, and no log: what is damaged is only said. */
#include "storage/salvage.h"

#include "storage/kv.h"
#include "storage/volume.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DROP    7u
#define UIDS    20u /* in the old index, in segment 1, at UID * 100 */
#define REACHED 20u /* sequence that the old index has come to */

static char folder[64];
static struct volume volume; /* no more of it than salvage looks at */
static struct salvage salvage;

static int remove_one(const char *name, const struct stat *found, int kind, struct FTW *walk)
{
    return remove(name);
}

static void open_index(const char *name)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)mkdir(path, 0700);
    struct index_config config = {
        .path = path, .map_size = 16 << 20, .volume_id = volume.identity.id};
    cr_assert_eq(index_open(&config, &volume.index, NULL), STATUS_OK);
}

static void apply(struct delta_event event, unsigned flags)
{
    const struct delta_event *events[] = {&event};
    struct log_position position = {1, event.sequence * 100, event.sequence};
    cr_assert_eq(index_apply(volume.index, events, 1, &position, flags), STATUS_OK);
}

static void add(uint64_t drop, uint64_t uid, uint32_t segment, uint64_t blob)
{
    struct message_entry entry = {.uid = uid,
                                  .segment = segment,
                                  .offset = blob == 0 ? uid * 100 : 0,
                                  .blob = blob,
                                  .wire_length = 50,
                                  .octets = 47};
    apply((struct delta_event){.maildrop = drop,
                               .sequence = uid,
                               .kind = DELTA_MESSAGE_ADDED,
                               .uid = uid,
                               .entry = &entry},
          0);
}

static void name_drop(uint64_t drop, const char *name)
{
    char copy[32];
    strcpy(copy, name);
    apply(
        (struct delta_event){
            .maildrop = drop, .sequence = 1, .kind = DELTA_DROP_CREATED, .name = copy},
        0);
}

static void start(void)
{
    strcpy(folder, "/tmp/restante-salvage-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    volume = (struct volume){.disk = disk_real(), .identity = {.id = {1, 2, 3}}};
    (void)snprintf(volume.index_path, sizeof volume.index_path, "%s/index", folder);
    salvage = (struct salvage){0};
    open_index("index");
    name_drop(DROP, "anna@localhost");
    for (uint64_t uid = 1; uid <= UIDS; uid++) {
        add(DROP, uid, 1, 0);
    }
}

static void end(void)
{
    index_close(&volume.index);
    salvage_deinit(&salvage);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(salvage, .init = start, .fini = end);

/* The old index is closed, the new one open from here on. */
static void begin_rebuild(void)
{
    index_close(&volume.index);
    salvage_state(&volume, &salvage.state, &salvage.older);
    open_index("index.new");
}

static uint64_t run(void)
{
    struct log_position position = {1, 9999, 30};
    struct error error = {0};
    uint64_t kept = 0;
    cr_assert_eq(salvage_run(&salvage, &volume, &position, &kept, &error), STATUS_OK, "%s",
                 error.text);
    return kept;
}

/* The uids that the new index has in a maildrop, with commas. */
static const char *listing(uint64_t drop)
{
    static char text[512];
    struct index_reader *reader = NULL;
    struct index_state state;
    struct message_entry entry;
    size_t length = 0;
    text[0] = '\0';
    cr_assert_eq(index_reader_create(volume.index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    enum status status = index_from(reader, drop, 0, &entry);
    while (status == STATUS_OK) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%llu,",
                                   (unsigned long long)entry.uid);
        status = index_next(reader, &entry);
    }
    index_end(reader);
    index_reader_destroy(&reader);
    return text;
}

static struct index_drop drop_of(uint64_t drop, bool *removed)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    struct index_drop found = {0};
    cr_assert_eq(index_reader_create(volume.index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    (void)!index_drop(reader, drop, &found, removed);
    index_end(reader);
    index_reader_destroy(&reader);
    return found;
}

/* Changes an octet of the closed old index. */
static void flip(off_t at)
{
    char path[96];
    uint8_t octet;
    (void)snprintf(path, sizeof path, "%s/index/data.mdb", folder);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && pread(fd, &octet, 1, at) == 1);
    octet ^= 1;
    cr_assert_eq(pwrite(fd, &octet, 1, at), 1);
    close(fd);
}

/* --- how far it had come --- */

Test(salvage, tells_how_far_the_old_index_had_come)
{
    begin_rebuild();
    cr_assert(salvage.state.stored);
    cr_assert_eq(salvage.state.position.sequence, REACHED);
    cr_assert_eq(salvage.state.messages, UIDS);
    cr_assert_not(salvage.older);
}

Test(salvage, knows_nothing_without_an_index_or_of_another_volumes)
{
    index_close(&volume.index);
    volume.identity.id[0] ^= 1;
    salvage_state(&volume, &salvage.state, &salvage.older);
    cr_assert_not(salvage.state.stored);
    volume.identity.id[0] ^= 1;
    cr_assert_eq(nftw(volume.index_path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    salvage_state(&volume, &salvage.state, &salvage.older);
    cr_assert_not(salvage.state.stored);
    open_index("index.new");
    cr_assert_eq(salvage_note(&salvage, 1, 0, 100000), STATUS_OK);
    cr_assert_eq(run(), 0, "and has nothing to take over");
}

Test(salvage, a_damaged_page_that_describes_the_file_leaves_the_commit_before)
{
    index_close(&volume.index);
    unsigned newest = 0, before = 0;
    for (unsigned page = 0; page < 2; page++) {
        flip(page * 4096 + 18); /* its magic */
        salvage_state(&volume, &salvage.state, &salvage.older);
        cr_assert(salvage.older);
        newest += salvage.state.position.sequence == REACHED;
        before += salvage.state.position.sequence == REACHED - 1;
        flip(page * 4096 + 18);
    }
    cr_assert_eq(newest, 1);
    cr_assert_eq(before, 1);
}

/* --- what is taken over --- */

Test(salvage, without_damage_nothing_is_taken_over)
{
    begin_rebuild();
    cr_assert_eq(run(), 0);
    cr_assert_str_eq(listing(DROP), "");
}

Test(salvage, takes_over_what_stands_in_damaged_places_and_nothing_else)
{
    begin_rebuild();
    add(DROP, 6, 3, 0); /* moved by compaction, and read from there */
    cr_assert_eq(salvage_note(&salvage, 1, 500, 701), STATUS_OK);
    cr_assert_eq(salvage_note(&salvage, 1, 1250, 1300), STATUS_OK, "its end is no part of it");
    cr_assert_eq(salvage_note(&salvage, 2, 0, 100000), STATUS_OK, "another segment");
    cr_assert_eq(run(), 2);
    cr_assert_str_eq(listing(DROP), "5,6,7,");
    cr_assert_str_eq(drop_of(DROP, NULL).name, "anna@localhost");
}

Test(salvage, of_a_missing_segment_it_takes_over_all)
{
    begin_rebuild();
    cr_assert_eq(idset_add(&salvage.missing, 1), STATUS_OK);
    cr_assert_eq(run(), UIDS);
    cr_assert_eq(drop_of(DROP, NULL).messages, UIDS);
}

/* Where in its segment the record stood the index does not know. */
Test(salvage, a_blobs_message_is_taken_over_wherever_its_segment_is_damaged)
{
    add(DROP, 21, 1, 4711);
    begin_rebuild();
    cr_assert_eq(salvage_note(&salvage, 1, 90000, 90100), STATUS_OK);
    cr_assert_eq(run(), 1);
    cr_assert_str_eq(listing(DROP), "21,");
}

/* Their expunges are what was lost; 25 came after the old index's last checkpoint. */
Test(salvage, what_a_whole_old_index_no_longer_had_does_not_come_back)
{
    apply(
        (struct delta_event){
            .maildrop = DROP, .sequence = REACHED, .kind = DELTA_MESSAGE_EXPUNGED, .uid = 4},
        0);
    begin_rebuild();
    for (uint64_t uid = 1; uid <= UIDS; uid++) {
        add(DROP, uid, 1, 0);
    }
    add(DROP, 25, 1, 0);
    cr_assert_eq(salvage_note(&salvage, 1, 5000, 5001), STATUS_OK);
    cr_assert_eq(run(), 0);
    cr_assert(salvage.whole);
    cr_assert_str_eq(listing(DROP), "1,2,3,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,25,");
}

Test(salvage, of_the_commit_before_it_is_not_believed_that_something_was_gone)
{
    apply(
        (struct delta_event){
            .maildrop = DROP, .sequence = REACHED, .kind = DELTA_MESSAGE_EXPUNGED, .uid = 4},
        0);
    index_close(&volume.index);
    flip(18);
    salvage_state(&volume, &salvage.state, &salvage.older);
    open_index("index.new");
    add(DROP, 4, 1, 0);
    cr_assert_eq(salvage_note(&salvage, 1, 500, 701), STATUS_OK);
    cr_assert_eq(run(), 3);
    cr_assert_not(salvage.whole);
    cr_assert_str_eq(listing(DROP), "4,5,6,7,");
}

/* --- maildrops --- */

Test(salvage, a_maildrop_gets_its_name_back_and_a_removed_one_stays_removed)
{
    bool removed = false;
    name_drop(8, "otto@localhost");
    name_drop(9, "gone@localhost");
    apply((struct delta_event){.maildrop = 9, .sequence = REACHED, .kind = DELTA_DROP_REMOVED}, 0);
    begin_rebuild();
    name_drop(8, "new@localhost"); /* what the log says is newer */
    add(9, 3, 1, 0);               /* and here the removal was lost */
    cr_assert_eq(salvage_note(&salvage, 1, 5000, 5001), STATUS_OK);
    cr_assert_eq(run(), 0);
    cr_assert_str_eq(drop_of(DROP, NULL).name, "anna@localhost");
    cr_assert_str_eq(drop_of(8, NULL).name, "new@localhost");
    (void)drop_of(9, &removed);
    cr_assert(removed);
    cr_assert_str_eq(listing(9), "");
}
