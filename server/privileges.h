/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up what a server that has bound its sockets no longer needs: another user's identity, the
 * capabilities of root, core dumps. Main thread, before other threads are made: capabilities and
 * the promise not to gain privileges are a thread's own.
 */
#ifndef SERVER_PRIVILEGES_H
#define SERVER_PRIVILEGES_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

/* A user's or group's number: digits, or a name the system knows. False: it knows none. */
bool privileges_find(const char *text, bool group, uint32_t *out_id);

/* Whom the process is to become. */
struct privileges {
    bool changes; /* false: it stays who it is */
    uint32_t user, group;
    char name[64]; /* of the user, for its further groups; "" when it is a number without a name */
};

/* Reads the settings `user` and `group`, "" where they are not given. A user without a group gets
 * the one of its entry. STATUS_NOT_FOUND, STATUS_DENIED when the process may not become it. */
MUST_CHECK enum status privileges_plan(const char *user, const char *group,
                                       struct privileges *out_plan, struct error *out_error);

/* Gives a file or folder that root has just made to the user. Best effort: what follows says so. */
void privileges_give(const struct privileges *plan, const char *path);

/* Becomes the user, with all its groups. STATUS_OK when the plan changes nothing. */
MUST_CHECK enum status privileges_become(const struct privileges *plan, struct error *out_error);

/* Drops every capability, also those of root, promises that no exec gains any, and forbids core
 * dumps and debuggers. From here on locked memory is limited for root too, which is why its limit
 * is raised first where that is possible. */
MUST_CHECK enum status privileges_drop(struct error *out_error);

#endif
