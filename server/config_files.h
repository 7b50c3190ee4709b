/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the server could use the files that its configuration names. Main thread. */
#ifndef SERVER_CONFIG_FILES_H
#define SERVER_CONFIG_FILES_H

#include "server/config.h"

/*
 * Reads certificates, keys, CA files, ticket keys, passwd-files and the issuer's keys as the start
 * does, in its order: those of TLS as whoever runs this, then, as root, the process becomes the
 * configuration's user for good and reads the rest. For a process that ends afterwards: no store is
 * made, no listener bound, no address asked. A failure's text says file:line of the setting.
 */
MUST_CHECK enum status config_files_check(const struct config *config, struct error *out_error);

#endif
