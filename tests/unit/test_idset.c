/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/idset.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

Test(idset, an_empty_one_has_nothing)
{
    struct idset set = {0};
    cr_assert_not(idset_has(&set, 1));
    idset_remove(&set, 1);
    idset_deinit(&set);
}

Test(idset, agrees_with_a_plain_array)
{
    enum { IDS = 500 };
    bool there[IDS + 1];
    struct idset set = {0};
    unsigned seed = (unsigned)time(NULL);
    fprintf(stderr, "seed %u\n", seed);
    srand(seed);
    memset(there, 0, sizeof there);
    for (int i = 0; i < 20000; i++) {
        /* Spread and clustered ids, so that some collide. */
        unsigned number = 1 + (unsigned)rand() % IDS;
        uint64_t id = number % 2 == 0 ? number : (uint64_t)number << 40;
        if (rand() % 2 == 0) {
            cr_assert_eq(idset_add(&set, id), STATUS_OK);
            there[number] = true;
        } else {
            idset_remove(&set, id);
            there[number] = false;
        }
        number = 1 + (unsigned)rand() % IDS;
        id = number % 2 == 0 ? number : (uint64_t)number << 40;
        cr_assert_eq(idset_has(&set, id), there[number]);
    }
    size_t count = 0;
    for (unsigned i = 1; i <= IDS; i++) {
        cr_assert_eq(idset_has(&set, i % 2 == 0 ? i : (uint64_t)i << 40), there[i]);
        count += there[i];
    }
    cr_assert_eq(set.count, count);
    idset_deinit(&set);
}
