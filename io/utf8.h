/* SPDX-License-Identifier: Apache-2.0 */
/* Well-formed UTF-8, RFC 3629 section 4. Pure; any thread. */
#ifndef IO_UTF8_H
#define IO_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Octets of the sequence beyond ASCII at `text`, of which `left` (at least 1) octets are there: 2
 * to 4, or 0 when it is malformed, overlong, a surrogate, a control character (U+0080 to U+009F) or
 * cut. */
static inline size_t utf8_sequence(const uint8_t *text, size_t left)
{
    uint8_t first = text[0];
    size_t length = 0;
    if (first >= 0xc2 && first <= 0xdf) {
        length = 2;
    } else if ((first & 0xf0) == 0xe0) {
        length = 3;
    } else if (first >= 0xf0 && first <= 0xf4) {
        length = 4;
    }
    if (length == 0 || length > left) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool bad = (first == 0xc2 && text[1] < 0xa0) || (first == 0xe0 && text[1] < 0xa0) ||
               (first == 0xed && text[1] > 0x9f) || (first == 0xf0 && text[1] < 0x90) ||
               (first == 0xf4 && text[1] > 0x8f);
    return bad ? 0 : length;
}

#endif
