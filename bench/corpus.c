/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/corpus.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Copies `length` octets as CRLF lines; `out` has room for twice as many and two more. */
static size_t with_crlf(const char *data, size_t length, char *out)
{
    size_t made = 0;
    for (size_t at = 0; at < length; at++) {
        if (data[at] == '\n' && (made == 0 || out[made - 1] != '\r')) {
            out[made++] = '\r';
        }
        out[made++] = data[at];
    }
    if (made == 0 || out[made - 1] != '\n') {
        out[made++] = '\r';
        out[made++] = '\n';
    }
    return made;
}

static enum status read_all(int fd, char *data, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t got = read(fd, data + done, length - done);
        if (got <= 0) {
            return got == 0 ? STATUS_EOF : status_from_errno(errno);
        }
        done += (size_t)got;
    }
    return STATUS_OK;
}

static enum status file_load(int fd, size_t length, struct corpus_file *out_file)
{
    char *raw = malloc(length + 1), *made = malloc(2 * length + 2);
    enum status status = raw == NULL || made == NULL ? STATUS_NO_MEMORY : read_all(fd, raw, length);
    if (status == STATUS_OK) {
        out_file->length = with_crlf(raw, length, made);
        out_file->data = realloc(made, out_file->length);
        made = NULL;
        status = out_file->data == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    }
    free(raw);
    free(made);
    return status;
}

static enum status add_file(struct corpus *corpus, int folder_fd, const char *name,
                            uint64_t *octets)
{
    struct stat about;
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        if (fd >= 0) {
            close(fd);
        }
        return STATUS_OK; /* not a message */
    }
    *octets += (uint64_t)about.st_size;
    enum status status = STATUS_TOO_BIG;
    struct corpus_file *grown = NULL;
    if (*octets <= CORPUS_OCTETS_MAX && corpus->file_count < CORPUS_FILES_MAX) {
        grown = reallocarray(corpus->files, corpus->file_count + 1, sizeof *grown);
        status = STATUS_NO_MEMORY;
    }
    if (grown != NULL) {
        corpus->files = grown;
        grown[corpus->file_count] = (struct corpus_file){0};
        status = file_load(fd, (size_t)about.st_size, &grown[corpus->file_count]);
        corpus->file_count += status == STATUS_OK;
    }
    close(fd);
    return status;
}

enum status corpus_open(const char *path, struct corpus **out_corpus, struct error *out_error)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        return error_set(out_error, status_from_errno(errno), errno, path,
                         "cannot read the corpus folder");
    }
    struct corpus *corpus = calloc(1, sizeof *corpus);
    int folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t octets = 0;
    enum status status = corpus == NULL || folder_fd < 0 ? STATUS_NO_MEMORY : STATUS_OK;
    for (int index = 0; index < count; index++) {
        if (status == STATUS_OK && names[index]->d_name[0] != '.') {
            status = add_file(corpus, folder_fd, names[index]->d_name, &octets);
        }
        free(names[index]);
    }
    free(names);
    if (folder_fd >= 0) {
        close(folder_fd);
    }
    if (status == STATUS_OK && corpus->file_count == 0) {
        status = STATUS_NOT_FOUND;
    }
    if (status != STATUS_OK) {
        corpus_close(&corpus);
        return error_set(out_error, status, 0, path, "the corpus cannot be used");
    }
    *out_corpus = corpus;
    return STATUS_OK;
}

void corpus_close(struct corpus **corpus)
{
    if (*corpus == NULL) {
        return;
    }
    for (size_t index = 0; index < (*corpus)->file_count; index++) {
        free((*corpus)->files[index].data);
    }
    free((*corpus)->files);
    free(*corpus);
    *corpus = NULL;
}
