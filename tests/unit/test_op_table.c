/* SPDX-License-Identifier: Apache-2.0 */
#include "io/op_table.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(op_table, finds_what_was_put_in_and_nothing_else)
{
    enum { COUNT = 2000 };
    struct op_table table = {0};
    struct loop_op *ops = calloc(COUNT, sizeof *ops);
    cr_assert_null(op_table_find(&table, 0));
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert(op_table_put(&table, &ops[i]));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t name = op_table_name(&table, &ops[i]);
        cr_assert_eq(name >> OP_TABLE_NAME_BITS, 0);
        cr_assert_eq(op_table_find(&table, name), &ops[i]);
    }
    cr_assert_null(op_table_find(&table, UINT64_C(0xffffffff)));
    op_table_deinit(&table);
    free(ops);
}

Test(op_table, a_name_is_not_used_again_with_its_slot)
{
    struct op_table table = {0};
    struct loop_op first = {0}, second = {0};
    cr_assert(op_table_put(&table, &first));
    uint64_t old = op_table_name(&table, &first);
    op_table_remove(&table, &first);
    cr_assert_null(op_table_find(&table, old), "a free slot answers nobody");
    cr_assert(op_table_put(&table, &second));
    cr_assert_eq(second.own.slot, first.own.slot);
    cr_assert_null(op_table_find(&table, old), "a late answer does not reach the new owner");
    cr_assert_eq(op_table_find(&table, op_table_name(&table, &second)), &second);
    op_table_deinit(&table);
}
