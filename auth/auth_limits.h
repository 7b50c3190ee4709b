/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of auth/: unit, value, source. */
#ifndef AUTH_LIMITS_H
#define AUTH_LIMITS_H

#include "storage/storage_limits.h"

#define AUTH_NAME_MAX     STORAGE_DROP_NAME_MAX /* octets of local@domain */
#define AUTH_PASSWORD_MAX 1024 /* octets; what a POP3 line can carry is less */
#define AUTH_REASON_MAX   127  /* octets of why an account is disabled */
#define AUTH_CREDENTIAL_MAX 512  /* octets of one stored credential with its scheme */
#define AUTH_CREDENTIALS_MAX 8   /* credentials of one account */

#endif
