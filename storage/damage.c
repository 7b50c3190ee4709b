/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/damage.h"

#include <assert.h>
#include <stddef.h>

static const struct {
    const char *name, *text, *cure;
} kinds[DAMAGE_KINDS] = {
    [DAMAGE_LOG] = {"log", "a place of the log does not match its checksums",
                    "replace the disk if it did this; keep index/ as it is, for it may still know "
                    "the messages that stood there: `restante rebuild` takes them over"},
    [DAMAGE_BODY] = {"body", "a message's octets do not match their checksum",
                     "restore the segment from a backup; until then its messages are refused one "
                     "by one and all others are served"},
    [DAMAGE_SEGMENT_MISSING] = {"segment_missing", "a segment of the log is not there",
                                "stop the server and put the file back from a backup; without one "
                                "run `restante rebuild`, and its messages are gone"},
    [DAMAGE_BLOB] = {"blob", "a large message's file does not match its checksum",
                     "restore the file from a backup; until then its messages are refused"},
    [DAMAGE_BLOB_MISSING] = {"blob_missing", "a large message's file is not there",
                             "look for it in lost+found/, or restore it from a backup"},
    [DAMAGE_MESSAGE] = {"message", "this message cannot be read back as it was delivered",
                        "restore the volume's segment or blob from a backup, or let its owner "
                        "delete it"},
    [DAMAGE_RECORD] = {"record", "the index knows this message, the log's record of it is damaged",
                       "keep the index: `restante rebuild` takes the message over from it"},
    [DAMAGE_INDEX_FILE] = {"index_file", "the index is damaged",
                           "stop the server and run `restante rebuild`"},
    [DAMAGE_INDEX_BEHIND] = {"index_behind", "the log has something that the index has not",
                             "stop the server and run `restante rebuild`"},
    [DAMAGE_INDEX_AHEAD] = {"index_ahead", "the index has something that the log has not",
                            "stop the server and run `restante rebuild`"},
    [DAMAGE_INDEX_ROW] = {"index_row", "index and log say different things",
                          "stop the server and run `restante rebuild`"},
    [DAMAGE_COUNTER] = {"counter", "a count in the index is wrong",
                        "stop the server and run `restante rebuild`"},
};

const char *damage_name(enum damage_kind kind)
{
    assert((size_t)kind < DAMAGE_KINDS);
    return kinds[kind].name;
}

const char *damage_text(enum damage_kind kind)
{
    assert((size_t)kind < DAMAGE_KINDS);
    return kinds[kind].text;
}

const char *damage_cure(enum damage_kind kind)
{
    assert((size_t)kind < DAMAGE_KINDS);
    return kinds[kind].cure;
}
