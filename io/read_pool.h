/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cold reads for back ends whose kernel interface cannot read a file without blocking: a few
 * threads that do nothing but pread(2). Private to io/. The pool belongs to one loop; a read
 * operation belongs to the pool between submit and collect.
 */
#ifndef IO_READ_POOL_H
#define IO_READ_POOL_H

#include "io/loop_backend.h"

struct read_pool;

/* Starts the threads. */
MUST_CHECK enum status read_pool_create(struct loop *loop, struct read_pool **out_pool);

/* Ends the threads; nothing may be in flight. NULL is allowed. */
void read_pool_destroy(struct read_pool **pool);

/* Loop's thread: hands a LOOP_OP_READ over; loop_wake_write tells when there is something done. */
void read_pool_submit(struct read_pool *pool, struct loop_op *op);

/* Loop's thread: completes what the threads have finished. NULL is allowed. */
void read_pool_collect(struct read_pool *pool);

#endif
