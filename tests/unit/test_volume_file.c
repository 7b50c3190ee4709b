/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/volume_file.h"

#include <criterion/criterion.h>
#include <string.h>

static struct volume_identity an_identity(void)
{
    struct volume_identity identity = {.epoch = 0x01020304};
    memset(identity.id, 0xab, sizeof identity.id);
    for (size_t i = 0; i < CHECKSUM_KEY_SIZE; i++) {
        identity.key.octets[i] = (uint8_t)(i + 1);
    }
    return identity;
}

Test(volume_file, comes_back_as_it_was)
{
    struct volume_identity wrote = an_identity(), read;
    uint8_t data[VOLUME_FILE_SIZE];
    volume_file_encode(&wrote, data);
    cr_assert(memcmp(data, "RESTANTV\1\0\0\0\4\3\2\1", 16) == 0);
    cr_assert_eq(volume_file_decode(data, sizeof data, &read), STATUS_OK);
    cr_assert_eq(read.epoch, wrote.epoch);
    cr_assert(memcmp(read.id, wrote.id, sizeof read.id) == 0);
    cr_assert(memcmp(&read.key, &wrote.key, sizeof read.key) == 0);
}

Test(volume_file, cut_or_lengthened_is_corrupt)
{
    struct volume_identity identity = an_identity();
    uint8_t data[VOLUME_FILE_SIZE + 1] = {0};
    volume_file_encode(&identity, data);
    for (size_t length = 0; length <= sizeof data; length++) {
        if (length != VOLUME_FILE_SIZE) {
            cr_assert_eq(volume_file_decode(data, length, &identity), STATUS_CORRUPT);
        }
    }
}

Test(volume_file, flipped_bit_is_corrupt_or_a_version_we_do_not_know)
{
    struct volume_identity identity = an_identity(), read;
    uint8_t data[VOLUME_FILE_SIZE];
    volume_file_encode(&identity, data);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum status status = volume_file_decode(data, sizeof data, &read);
        bool is_version = bit / 8 >= 8 && bit / 8 < 12;
        cr_assert(status == STATUS_CORRUPT || (is_version && status == STATUS_UNSUPPORTED),
                  "bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
