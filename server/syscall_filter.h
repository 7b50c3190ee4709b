/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls the process may make from here on (seccomp(2)). It refuses what a mail server
 * that has started never does and what whoever takes it over would do first: starting programs,
 * making rings that are not restricted, looking into other processes, changing identities, mounts,
 * modules and clocks. A refused call answers EPERM.
 */
#ifndef SERVER_SYSCALL_FILTER_H
#define SERVER_SYSCALL_FILTER_H

#include "io/status.h"

#include <stdbool.h>

/* For all threads, also those made later, for good. `resolves`: somebody here looks names up, for
 * which the C library takes a netlink socket. STATUS_UNSUPPORTED: built without libseccomp, or a
 * kernel without filters. */
MUST_CHECK enum status syscall_filter_apply(bool resolves, struct error *out_error);

#endif
