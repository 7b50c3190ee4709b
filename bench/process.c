/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t thread_cpu_ns(pid_t pid, const char *thread)
{
    char path[300];
    unsigned long long run_ns = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%llu", &run_ns) != 1) {
            run_ns = 0;
        }
        fclose(file);
    }
    return run_ns;
}

static enum status read_cpu(pid_t pid, uint64_t *out_cpu_ns)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (threads == NULL) {
        return STATUS_NOT_FOUND;
    }
    uint64_t cpu_ns = 0;
    for (struct dirent *entry = readdir(threads); entry != NULL; entry = readdir(threads)) {
        if (entry->d_name[0] != '.') {
            cpu_ns += thread_cpu_ns(pid, entry->d_name);
        }
    }
    closedir(threads);
    *out_cpu_ns = cpu_ns;
    return STATUS_OK;
}

static enum status read_private(pid_t pid, uint64_t *out_octets)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return STATUS_NOT_FOUND;
    }
    uint64_t kib = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long value = 0;
        if (sscanf(line, "Private_Clean: %lu", &value) == 1 ||
            sscanf(line, "Private_Dirty: %lu", &value) == 1) {
            kib += value;
        }
    }
    fclose(file);
    *out_octets = kib * 1024;
    return STATUS_OK;
}

enum status process_usage_read(pid_t pid, struct process_usage *out_usage)
{
    struct process_usage usage;
    enum status status = read_cpu(pid, &usage.cpu_ns);
    if (status == STATUS_OK) {
        status = read_private(pid, &usage.private_bytes);
    }
    if (status == STATUS_OK) {
        *out_usage = usage;
    }
    return status;
}
