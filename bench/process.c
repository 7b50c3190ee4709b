/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROCESSES_MAX 4096 /* members of a tree: a server of processes has hundreds */

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

static enum status read_threads(pid_t pid, uint64_t *out_cpu_ns)
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

struct process_line {
    int pid, parent;
    uint64_t ticks; /* its own, and of children it has waited for */
    uint64_t rss_pages;
};

/* /proc/PID/stat; the name in it may hold anything, so what follows its last parenthesis is
 * read. */
static bool read_line(const char *pid, struct process_line *out_line)
{
    char path[300], line[1024];
    (void)snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = '\0';
    const char *rest = strrchr(line, ')');
    unsigned long user, system, rss;
    long child_user, child_system;
    if (rest == NULL ||
        sscanf(rest,
               ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d %*d %*u "
               "%*u %lu",
               &out_line->parent, &user, &system, &child_user, &child_system, &rss) != 6) {
        return false;
    }
    out_line->pid = atoi(pid);
    out_line->ticks = user + system + (uint64_t)child_user + (uint64_t)child_system;
    out_line->rss_pages = rss;
    return true;
}

static size_t read_lines(struct process_line *lines)
{
    size_t count = 0;
    DIR *all = opendir("/proc");
    if (all == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(all); entry != NULL && count < PROCESSES_MAX;
         entry = readdir(all)) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') {
            count += read_line(entry->d_name, &lines[count]);
        }
    }
    closedir(all);
    return count;
}

/* Brings the tree of `pid` to the front; returns how many it has. */
static size_t gather(struct process_line *lines, size_t count, pid_t pid)
{
    size_t members = 0;
    for (size_t grown = 1; grown > 0;) {
        grown = 0;
        for (size_t index = members; index < count; index++) {
            bool member = lines[index].pid == pid;
            for (size_t known = 0; known < members && !member; known++) {
                member = lines[index].parent == lines[known].pid;
            }
            if (member) {
                struct process_line moved = lines[index];
                lines[index] = lines[members];
                lines[members++] = moved;
                grown++;
            }
        }
    }
    return members;
}

static enum status read_tree(pid_t pid, struct process_line **out_lines, size_t *out_count)
{
    struct process_line *lines = calloc(PROCESSES_MAX, sizeof *lines);
    if (lines == NULL) {
        return STATUS_NO_MEMORY;
    }
    *out_count = gather(lines, read_lines(lines), pid);
    if (*out_count == 0) {
        free(lines);
        return STATUS_NOT_FOUND;
    }
    *out_lines = lines;
    return STATUS_OK;
}

static enum status tree_usage(pid_t pid, struct process_usage *out_usage)
{
    struct process_line *lines;
    size_t count;
    enum status status = read_tree(pid, &lines, &count);
    if (status != STATUS_OK) {
        return status;
    }
    const uint64_t tick_ns = 1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK);
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *out_usage = (struct process_usage){0};
    for (size_t index = 0; index < count; index++) {
        out_usage->cpu_ns += lines[index].ticks * tick_ns;
        out_usage->rss_octets += lines[index].rss_pages * page;
    }
    free(lines);
    return STATUS_OK;
}

enum status process_usage_read(pid_t pid, bool tree, struct process_usage *out_usage)
{
    char text[16];
    struct process_line line;
    if (tree) {
        return tree_usage(pid, out_usage);
    }
    (void)snprintf(text, sizeof text, "%d", (int)pid);
    struct process_usage usage;
    enum status status = read_threads(pid, &usage.cpu_ns);
    if (status == STATUS_OK && !read_line(text, &line)) {
        status = STATUS_NOT_FOUND;
    }
    if (status == STATUS_OK) {
        usage.rss_octets = line.rss_pages * (uint64_t)sysconf(_SC_PAGESIZE);
        *out_usage = usage;
    }
    return status;
}

static enum status read_private(pid_t pid, uint64_t *octets)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return STATUS_NOT_FOUND;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long kib = 0;
        if (sscanf(line, "Private_Clean: %lu", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %lu", &kib) == 1) {
            *octets += kib * 1024;
        }
    }
    fclose(file);
    return STATUS_OK;
}

enum status process_private_read(pid_t pid, bool tree, uint64_t *out_octets)
{
    uint64_t octets = 0;
    struct process_line *lines;
    size_t count;
    enum status status = tree ? read_tree(pid, &lines, &count) : read_private(pid, &octets);
    if (tree && status == STATUS_OK) {
        for (size_t index = 0; index < count; index++) {
            (void)read_private(lines[index].pid, &octets); /* one that has ended has none */
        }
        free(lines);
    }
    if (status == STATUS_OK) {
        *out_octets = octets;
    }
    return status;
}
