/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether octets of a file can be had without waiting for a disk. Answers are believed, not known:
 * pages may go a moment later, and then somebody waits for them; correctness never hangs on it.
 *
 * cachestat(2) (Linux 6.5) counts the pages of a whole range in one call that is cheaper than two
 * reads of one octet. Where it is missing, refused or counts none (overlayfs: the pages are another
 * file's), single octets are looked at. No call here blocks; any thread.
 */
#ifndef IO_WARM_H
#define IO_WARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether all `length` octets from `offset` on seem to be in the page cache. False for a file that
 * ends before, and on a file system that cannot tell. */
bool warm_range(int fd, uint64_t offset, uint64_t length);

/* How many of them, from the first on, are worth a sendfile(2). A file system that cannot tell has
 * no disk to wait for, and the end of the file is for sendfile to report: both count as warm. */
size_t warm_length(int fd, uint64_t offset, size_t length);

#endif
