/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a check found, as JSON: the same words whether a server or the command line itself looked.
 * Any thread.
 */
#ifndef SERVER_CARE_H
#define SERVER_CARE_H

#include "io/doc.h"
#include "storage/check.h"

/* Makes `out_doc` of one finding; what is not known of it is left out. */
void care_put_damage(struct doc *out_doc, const struct damage *damage);
/* Adds the figures of a check to `doc`. */
void care_put_result(struct doc *doc, const struct check_result *result);

#endif
