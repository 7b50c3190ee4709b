/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker's ring may be used for: ring operations pass by seccomp, which sees system calls
 * only, so that whoever takes a process over could open files through its ring. Private to
 * uring.c.
 */
#ifndef IO_URING_RESTRICT_H
#define IO_URING_RESTRICT_H

/* Limits a ring that was made with IORING_SETUP_R_DISABLED to the operations a loop submits, for
 * good, and enables it for the calling thread. 0, or minus errno. */
int uring_restrict(int ring_fd);

#endif
