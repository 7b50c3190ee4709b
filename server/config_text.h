/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration's text, made fit for libConfuse. Main thread. */
#ifndef SERVER_CONFIG_TEXT_H
#define SERVER_CONFIG_TEXT_H

#include "io/status.h"

#define CONFIG_TEXT_MAX (1024 * 1024) /* octets: a configuration, not a mailbox */

/* Reads the whole file; the caller frees the text. STATUS_NOT_FOUND and other failures of opening
 * it, STATUS_TOO_BIG, STATUS_INVALID for a NUL. */
MUST_CHECK enum status config_text_read(const char *path, char **out_text, struct error *out_error);

/*
 * Turns comments outside of quotes into spaces; line ends stay. libConfuse 3.3 counts the line of a
 * one-line comment more than once, and then every line number behind it is wrong. Returns how many
 * braces are left open, which it does not notice at the end of a text. Pure.
 */
int config_text_blank(char *text);

/* The demo's configuration, its files in `directory`, which holds neither quote nor backslash; the
 * caller frees it. NULL: memory is short. */
char *config_text_demo(const char *directory);

#endif
