/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/checksum.h"

#include <assert.h>
#include <stdbool.h>
#define XXH_STATIC_LINKING_ONLY /* the size of the stream's state, to embed it */
#include <xxhash.h>
#ifdef CHECKSUM_DISPATCH
#include <xxh_x86dispatch.h> /* the same functions by the processor's widest instructions */
#endif

static_assert(CHECKSUM_KEY_SIZE >= XXH3_SECRET_SIZE_MIN, "XXH3 wants a longer secret");
static_assert(sizeof(XXH3_state_t) <= sizeof(((struct checksum_stream *)0)->state),
              "the stream's state does not fit");
static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct checksum_stream), "nor is it aligned");

#ifdef CHECKSUM_DISPATCH
#define SHORT_MAX 240 /* octets for which the library needs no wide registers */

static bool has_wide; /* registers; written before there is a second thread */

__attribute__((target("avx"))) static void clear_wide(void)
{
    __builtin_ia32_vzeroupper();
}

/* To be called after the library. Its code for AVX-512 (0.8.1) leaves the upper parts of registers
 * in use, and whatever comes next that knows only their lower parts then takes 400 to 500 cycles
 * longer: more than the checksum of 4 KB itself. */
static void leave_wide(size_t length)
{
    if (has_wide && length > SHORT_MAX) {
        clear_wide();
    }
}

/* The library chooses its instructions in the first call that needs any, by plain stores: before
 * there is a second thread. */
__attribute__((constructor)) static void choose_instructions(void)
{
    static const uint8_t data[1024]; /* short ones need no choice */
    struct checksum_stream stream;
    has_wide = __builtin_cpu_supports("avx") != 0;
    (void)checksum_body(data, sizeof data);
    checksum_stream_init(&stream);
    checksum_stream_add(&stream, data, sizeof data);
}
#else
static void leave_wide(size_t length)
{
    (void)length;
}
#endif

uint64_t checksum_body(const void *data, size_t length)
{
    uint64_t sum = XXH3_64bits(data, length);
    leave_wide(length);
    return sum;
}

uint64_t checksum_keyed(const struct checksum_key *key, const void *data, size_t length)
{
    uint64_t sum = XXH3_64bits_withSecret(data, length, key->octets, sizeof key->octets);
    leave_wide(length);
    return sum;
}

void checksum_stream_init(struct checksum_stream *stream)
{
    XXH3_state_t *state = (XXH3_state_t *)(void *)stream->state;
    XXH3_INITSTATE(state);
    (void)XXH3_64bits_reset(state); /* fails only for NULL */
}

void checksum_stream_add(struct checksum_stream *stream, const void *data, size_t length)
{
    /* Fails only for NULL. */
    (void)XXH3_64bits_update((XXH3_state_t *)(void *)stream->state, data, length);
    leave_wide(SIZE_MAX); /* what was kept from earlier pieces counts, too */
}

uint64_t checksum_stream_result(const struct checksum_stream *stream)
{
    uint64_t sum = XXH3_64bits_digest((const XXH3_state_t *)(const void *)stream->state);
    leave_wide(SIZE_MAX);
    return sum;
}
