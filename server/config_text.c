/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status config_text_read(const char *path, char **out_text, struct error *out_error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set(out_error, status_from_errno(errno), errno, path,
                         "cannot open the configuration");
    }
    char *text = malloc(CONFIG_TEXT_MAX + 1);
    size_t length = text == NULL ? 0 : fread(text, 1, CONFIG_TEXT_MAX + 1, file);
    bool bad = ferror(file) != 0;
    (void)fclose(file); /* it was only read */
    enum status status = STATUS_OK;
    if (text == NULL) {
        status = error_set(out_error, STATUS_NO_MEMORY, 0, path, "reading the configuration");
    } else if (bad) {
        status = error_set(out_error, STATUS_IO, errno, path, "cannot read the configuration");
    } else if (length > CONFIG_TEXT_MAX) {
        status = error_set(out_error, STATUS_TOO_BIG, 0, path, "a configuration above 1 MiB");
    } else if (memchr(text, '\0', length) != NULL) {
        status = error_set(out_error, STATUS_INVALID, 0, path, "a NUL octet: not a text file");
    }
    if (status != STATUS_OK) {
        free(text);
        return status;
    }
    text[length] = '\0';
    *out_text = text;
    return STATUS_OK;
}

int config_text_blank(char *text)
{
    int depth = 0;
    enum { CODE, DOUBLE, SINGLE, LINE, BLOCK } where = CODE;
    for (char *at = text; *at != '\0'; at++) {
        switch (where) {
        case CODE:
            where = *at == '"' ? DOUBLE : *at == '\'' ? SINGLE : CODE;
            depth += (*at == '{') - (*at == '}');
            if (*at == '#' || (at[0] == '/' && at[1] == '/')) {
                where = LINE;
                *at = ' ';
            } else if (at[0] == '/' && at[1] == '*') {
                where = BLOCK;
                at[0] = at[1] = ' ';
                at++;
            }
            break;
        case DOUBLE:
        case SINGLE:
            if (*at == '\\' && at[1] != '\0') {
                at++;
            } else if (*at == (where == DOUBLE ? '"' : '\'')) {
                where = CODE;
            }
            break;
        case LINE:
            where = *at == '\n' ? CODE : LINE;
            *at = *at == '\n' ? '\n' : ' ';
            break;
        case BLOCK:
            if (at[0] == '*' && at[1] == '/') {
                where = CODE;
                at[0] = at[1] = ' ';
                at++;
            } else if (*at != '\n') {
                *at = ' ';
            }
            break;
        }
    }
    return depth;
}

char *config_text_demo(const char *directory)
{
    static const char format[] = "store { path = '%s' }\n"
                                 "admin_socket = '%s/admin.sock'\n"
                                 "auth { default_domain = localhost exempt_loopback = true }\n"
                                 "tls { certificate = '%s/tls-certificate.pem' "
                                 "key = '%s/tls-key.pem' }\n"
                                 "listener pop3 { address = '127.0.0.1:2110' tls = starttls "
                                 "auth_plaintext = always auth_scram = true }\n"
                                 "listener pop3s { protocol = pop3 address = '127.0.0.1:2995' "
                                 "tls = implicit auth_scram = true optional = true }\n"
                                 "listener lmtp { address = '127.0.0.1:2024' optional = true }\n"
                                 "listener metrics { address = '127.0.0.1:9110' "
                                 "optional = true }\n";
    char *text = NULL;
    return asprintf(&text, format, directory, directory, directory, directory) < 0 ? NULL : text;
}
