/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes base64: whatever is taken is exactly what encoding it writes, in place or not, and octets
 * survive the way there and back.
 */
#include "auth/base64.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const char *text, size_t size)
{
    char *out = malloc(BASE64_DECODED_MAX(size) + 1), *again = malloc(BASE64_ENCODED(size) + 1);
    char *place = malloc(size + 1);
    size_t length = 0, place_length = 0;
    assert(out != NULL && again != NULL && place != NULL);
    memcpy(place, text, size);
    enum status status = base64_decode(text, size, out, &length);
    assert(base64_decode(place, size, place, &place_length) == status);
    if (status == STATUS_OK) {
        assert(length <= BASE64_DECODED_MAX(size) && length == place_length);
        assert(memcmp(out, place, length) == 0);
        assert(base64_encode(out, length, again) == size && memcmp(again, text, size) == 0);
    }
    free(place);
    free(again);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(BASE64_ENCODED(size) + 1);
    char *out = malloc(size + 3);
    size_t length = 0;
    assert(text != NULL && out != NULL);
    size_t written = base64_encode(data, size, text);
    assert(written == BASE64_ENCODED(size));
    enum status status = base64_decode(text, written, out, &length);
    assert(status == STATUS_OK && length == size && memcmp(out, data, size) == 0);
    free(out);
    free(text);
    decode((const char *)data, size);
    return 0;
}
