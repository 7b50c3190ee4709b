/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the store: unit, value, source. */
#ifndef STORAGE_LIMITS_H
#define STORAGE_LIMITS_H

#define STORAGE_UIDL_LENGTH_MAX        70   /* octets, RFC 1939 section 7 */
#define STORAGE_DROP_NAME_MAX          320  /* octets: 64 + "@" + 255, RFC 5321 4.5.3.1 */
#define STORAGE_RECIPIENTS_MAX         1000 /* of one message; ten times RFC 5321 4.5.3.1.8 */
#define STORAGE_MESSAGE_OCTETS_MAX     0xf0000000u /* octets of a wire form; entries hold 32 bits */
#define STORAGE_EXPUNGE_MAX            1000000 /* uids of one record; one session's whole list */
#define STORAGE_SEGMENT_SIZE_DEFAULT   (256u << 20) /* octets; may end up longer by a group */
#define STORAGE_BLOB_MIN_DEFAULT       (1u << 20)   /* octets of wire form; above: a blob */
#define STORAGE_GROUP_RECORDS_MAX      4096         /* records that share one sync */
#define STORAGE_GROUP_OCTETS_MAX       (16u << 20)  /* octets that share one sync */
#define STORAGE_META_MAX               (9u << 20)   /* octets: STORAGE_EXPUNGE_MAX uids */
#define STORAGE_CHECKPOINT_EVENTS      32768 /* events of one index transaction, design section 5 */
#define STORAGE_CHECKPOINT_EVENTS_FULL 1024  /* the same on a full disk */
#define STORAGE_SEQUENCE_STEP          (1u << 20) /* skipped at each open: none comes twice */
#define STORAGE_SEGMENTS_MAX           65536      /* of one volume: 16 TiB at the default size */
#define STORAGE_OPEN_FILES_MAX         4096 /* segments and blobs kept open for the next reader */
#define STORAGE_MAP_SIZE_DEFAULT       (256ull << 30) /* octets of address space for the index */
#define STORAGE_DELTA_MAX_DEFAULT      (256ull << 20) /* octets of memory */
#define STORAGE_BODY_MEMORY_DEFAULT    (256ll << 20)  /* octets of bodies in memory */
#define STORAGE_CHECKPOINT_MS          5000           /* design section 5: every 5 s */
#define STORAGE_CHECKPOINT_OCTETS      (64ull << 20)  /* octets of log a restart reads */
#define STORAGE_COMPACT_MS             10000          /* between two looks for space to give back */
#define STORAGE_COMPACT_RATE           (32ull << 20)  /* octets/s: a fifth of a disk */
#define STORAGE_COMPACT_LIVE           70             /* per cent: the log stays in 1/0.7 of that */
#define STORAGE_COMPACT_LIVE_MAX       90 /* per cent: above, ten octets are copied to free one */

#endif
