/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/checksum.h"

#include <assert.h>
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
/* The library chooses its instructions in the first call that needs any, by plain stores: before
 * there is a second thread. */
__attribute__((constructor)) static void choose_instructions(void)
{
    static const uint8_t data[1024]; /* short ones need no choice */
    struct checksum_stream stream;
    (void)checksum_body(data, sizeof data);
    checksum_stream_init(&stream);
    checksum_stream_add(&stream, data, sizeof data);
}
#endif

uint64_t checksum_body(const void *data, size_t length)
{
    return XXH3_64bits(data, length);
}

uint64_t checksum_keyed(const struct checksum_key *key, const void *data, size_t length)
{
    return XXH3_64bits_withSecret(data, length, key->octets, sizeof key->octets);
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
}

uint64_t checksum_stream_result(const struct checksum_stream *stream)
{
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)stream->state);
}
