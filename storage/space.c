/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/space.h"

#include "io/log.h"
#include "storage/ballast.h"
#include "storage/volume.h"

static void log_change(enum log_level level, const char *text, const struct volume *volume,
                       uint64_t free_octets)
{
    struct log_line line;
    log_begin(&line, level, "space");
    log_text(&line, "volume", volume->path);
    log_number(&line, "free_octets", (int64_t)free_octets);
    log_number(&line, "reserve_octets", (int64_t)volume->config.space_reserve);
    log_text(&line, "text", text);
    log_end(&line);
}

bool space_check(struct volume *volume)
{
    uint64_t free_octets, reserve = volume->config.space_reserve;
    if (disk_free_octets(volume->disk, volume->path, &free_octets, NULL) != STATUS_OK) {
        return false;
    }
    if (volume->ballast != NULL && free_octets < ballast_step(volume->ballast)) {
        (void)ballast_release(volume->ballast); /* before a write fails; one that does asks again */
        if (disk_free_octets(volume->disk, volume->path, &free_octets, NULL) != STATUS_OK) {
            return true;
        }
    } else if (volume->ballast != NULL) {
        ballast_restore(volume->ballast, free_octets);
    }
    /* Two limits, so that the answer does not flutter around one. Relaxed throughout: space_low is
     * advice to whoever is about to begin a delivery, and orders nothing. */
    bool was_low = atomic_load_explicit(&volume->space_low, memory_order_relaxed);
    bool is_low = free_octets < (was_low ? 2 * reserve : reserve + reserve / 2);
    if (is_low != was_low &&
        atomic_exchange_explicit(&volume->space_low, is_low, memory_order_relaxed) != is_low) {
        log_change(is_low ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
                   is_low ? "deliveries are refused until there is room; expunges are not"
                          : "there is room again: deliveries are accepted",
                   volume, free_octets);
    }
    return free_octets < reserve;
}
