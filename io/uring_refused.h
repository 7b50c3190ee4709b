/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a ring was refused, in words an operator can act on. Private to io/.
 */
#ifndef IO_URING_REFUSED_H
#define IO_URING_REFUSED_H

#include "io/status.h"

/* Fills `out_error` with the cause that `errno_value` of io_uring_setup(2) or io_uring_register(2)
 * stands for on this machine (seccomp, sysctl, kernel age, locked memory) and the cure; returns its
 * status. */
enum status uring_refused(int errno_value, struct error *out_error);

/* The limit on locked memory in octets; UINT64_MAX when there is none. */
uint64_t uring_memlock_limit(void);

#endif
