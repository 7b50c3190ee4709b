/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passdb_passwd_file.h"

#include "auth/auth.h"
#include "auth/passwd_table.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME "passwd-file"

/* What tells one state of the file from another. */
struct file_state {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct passwd_file {
    struct passdb passdb;
    struct passdb_passwd_file_config config;
    char path[256];
    char default_domain[AUTH_DOMAIN_MAX + 1];
    /* Held for reading during a look-up, for writing only to exchange the pointer. */
    pthread_rwlock_t table_lock;
    struct passwd_table *table;
    pthread_mutex_t lock; /* the watcher, and the end */
    pthread_cond_t ended;
    bool is_ending, is_started;
    void (*on_change)(void *owner, const char *name);
    void *owner;
    pthread_t thread;
    /* the thread's */
    struct file_state loaded, seen;
    bool is_broken; /* the last look failed, and that has been told */
    uint64_t problems;
};

static struct passwd_file *file_of(struct passdb *passdb)
{
    return (struct passwd_file *)(void *)passdb;
}

/* --- telling -----------------------------------------------------------------------------------
 */

static void notice(const struct passwd_file *file, const char *event, bool is_trouble,
                   const char *text, uint64_t line)
{
    if (file->config.on_notice != NULL) {
        file->config.on_notice(file->config.owner, &(struct auth_notice){.is_trouble = is_trouble,
                                                                         .event = event,
                                                                         .database = file->path,
                                                                         .text = text,
                                                                         .line = line});
    }
}

static void on_problem(void *owner, uint64_t line, const char *problem)
{
    struct passwd_file *file = owner;
    if (file->problems++ < AUTH_NOTICES_MAX) {
        notice(file, "passwd_file_line", true, problem, line);
    }
}

static void tell_loaded(const struct passwd_file *file)
{
    char text[128];
    (void)snprintf(text, sizeof text, "%llu users, %llu lines with a problem",
                   (unsigned long long)passwd_table_count(file->table),
                   (unsigned long long)file->problems); /* fits */
    notice(file, "passwd_file_read", file->problems > AUTH_NOTICES_MAX, text, 0);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static struct file_state state_of(const struct stat *facts)
{
    /* Zeroed with its padding: states are compared octet by octet. */
    struct file_state state;
    memset(&state, 0, sizeof state);
    state.device = facts->st_dev;
    state.inode = facts->st_ino;
    state.size = facts->st_size;
    state.modified = facts->st_mtim;
    state.changed = facts->st_ctim;
    return state;
}

static bool is_same(const struct file_state *left, const struct file_state *right)
{
    return memcmp(left, right, sizeof *left) == 0;
}

/* Reads `length` octets, or fewer when the file has been cut meanwhile. */
static enum status read_all(int fd, char *out, size_t length, size_t *out_length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t got = read(fd, out + done, length - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return status_from_errno(errno);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *out_length = done;
    return STATUS_OK;
}

/* The file's octets, and the state they are of. */
static enum status read_file(const struct passwd_file *file, char **out_text, size_t *out_length,
                             struct file_state *out_state, struct error *out_error)
{
    struct stat facts;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return error_set(out_error, status_from_errno(errno), errno, file->path,
                         "opening the passwd-file; it must exist and be readable for the server");
    }
    enum status status = STATUS_OK;
    char *text = NULL;
    if (fstat(fd, &facts) != 0) {
        status = error_set(out_error, status_from_errno(errno), errno, file->path,
                           "asking for the size of the passwd-file");
    } else if (!S_ISREG(facts.st_mode)) {
        status = error_set(out_error, STATUS_INVALID, 0, file->path, "it is not a plain file");
    } else if ((uint64_t)facts.st_size > AUTH_PASSWD_FILE_MAX) {
        status = error_set(out_error, STATUS_TOO_BIG, 0, file->path,
                           "a passwd-file has at most %llu octets", AUTH_PASSWD_FILE_MAX);
    } else if ((text = malloc((size_t)facts.st_size + 1)) == NULL) {
        status = error_set(out_error, STATUS_NO_MEMORY, 0, file->path, "reading the passwd-file");
    } else {
        status = read_all(fd, text, (size_t)facts.st_size, out_length);
        if (status != STATUS_OK) {
            free(text);
            (void)error_set(out_error, status, errno, file->path, "reading the passwd-file");
        }
    }
    (void)close(fd); /* it was only read */
    if (status == STATUS_OK) {
        *out_text = text;
        *out_state = state_of(&facts);
    }
    return status;
}

static enum status load(struct passwd_file *file, struct passwd_table **out_table,
                        struct error *out_error)
{
    char *text = NULL;
    size_t length = 0;
    struct file_state state;
    enum status status = read_file(file, &text, &length, &state, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    file->problems = 0;
    status = passwd_table_create(text, length, file->default_domain, on_problem, file, out_table);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, file->path, "reading the passwd-file");
    }
    file->loaded = state;
    return STATUS_OK;
}

/* --- watching: the thread ----------------------------------------------------------------------
 */

static void on_changed(void *owner, const char *name)
{
    struct passwd_file *file = owner;
    (void)pthread_mutex_lock(&file->lock); /* a default mutex of ours cannot fail */
    if (file->on_change != NULL) {
        file->on_change(file->owner, name);
    }
    (void)pthread_mutex_unlock(&file->lock); /* see above */
}

static void tell_broken(struct passwd_file *file, const struct error *error)
{
    char text[sizeof error->text + 64];
    if (!file->is_broken) {
        (void)snprintf(text, sizeof text, "%s (%s): the last state goes on", error->text,
                       status_name(error->status)); /* cut to fit */
        notice(file, "passwd_file_unreadable", true, text, 0);
    }
    file->is_broken = true;
}

/* Exchanges the tables, then makes what was remembered of changed users unreachable. */
static void swap(struct passwd_file *file, struct passwd_table *table)
{
    struct passwd_table *before = file->table;      /* only this thread writes it */
    (void)pthread_rwlock_wrlock(&file->table_lock); /* cannot fail: not held by this thread */
    file->table = table;
    (void)pthread_rwlock_unlock(&file->table_lock); /* see above */
    passwd_table_compare(before, table, on_changed, file);
    passwd_table_destroy(&before);
    tell_loaded(file);
}

/* One look. A new state is taken when it is seen for the second time. */
static void look(struct passwd_file *file)
{
    struct stat facts;
    struct error error = {0};
    struct passwd_table *table = NULL;
    if (stat(file->path, &facts) != 0) {
        (void)error_set(&error, status_from_errno(errno), errno, file->path,
                        "the passwd-file is gone");
        tell_broken(file, &error);
        return;
    }
    struct file_state state = state_of(&facts);
    bool is_settled = is_same(&state, &file->seen);
    file->seen = state;
    if (is_same(&state, &file->loaded)) {
        file->is_broken = false;
        return;
    }
    if (!is_settled) {
        return;
    }
    if (load(file, &table, &error) != STATUS_OK) {
        tell_broken(file, &error);
        return;
    }
    file->is_broken = false;
    swap(file, table);
}

/* Sleeps until the next look. False: it is ending. */
static bool wait_for_look(struct passwd_file *file)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
    until.tv_sec += (time_t)(file->config.check_ms / 1000);
    until.tv_nsec += (long)(file->config.check_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&file->lock); /* see on_changed */
    int result = 0;
    while (!file->is_ending && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&file->ended, &file->lock, &until);
    }
    bool goes_on = !file->is_ending;
    (void)pthread_mutex_unlock(&file->lock); /* see on_changed */
    return goes_on;
}

static void *run_thread(void *argument)
{
    struct passwd_file *file = argument;
    while (wait_for_look(file)) {
        look(file);
    }
    return NULL;
}

/* --- the database ------------------------------------------------------------------------------
 */

static enum status find(struct passdb *passdb, struct passdb_query *query)
{
    struct passwd_file *file = file_of(passdb);
    (void)pthread_rwlock_rdlock(&file->table_lock); /* fails only beyond 2^31 readers */
    enum status status = passwd_table_find(file->table, query->identity.name, &query->account);
    (void)pthread_rwlock_unlock(&file->table_lock); /* held */
    return status;
}

static enum status domain_exists(struct passdb *passdb, const char *domain, size_t length,
                                 bool *out_exists)
{
    struct passwd_file *file = file_of(passdb);
    (void)pthread_rwlock_rdlock(&file->table_lock); /* see find */
    *out_exists = passwd_table_has_domain(file->table, domain, length);
    (void)pthread_rwlock_unlock(&file->table_lock); /* held */
    return STATUS_OK;
}

static enum status count(struct passdb *passdb, uint64_t *out_count)
{
    struct passwd_file *file = file_of(passdb);
    (void)pthread_rwlock_rdlock(&file->table_lock); /* see find */
    *out_count = passwd_table_count(file->table);
    (void)pthread_rwlock_unlock(&file->table_lock); /* held */
    return STATUS_OK;
}

static void watch(struct passdb *passdb, void (*on_change)(void *owner, const char *name),
                  void *owner)
{
    struct passwd_file *file = file_of(passdb);
    (void)pthread_mutex_lock(&file->lock); /* see on_changed */
    file->on_change = on_change;
    file->owner = owner;
    (void)pthread_mutex_unlock(&file->lock); /* see on_changed */
}

static void stop(struct passdb *passdb)
{
    struct passwd_file *file = file_of(passdb);
    if (!file->is_started) {
        return;
    }
    (void)pthread_mutex_lock(&file->lock); /* see on_changed */
    file->is_ending = true;
    (void)pthread_cond_signal(&file->ended); /* cannot fail */
    (void)pthread_mutex_unlock(&file->lock); /* see on_changed */
    (void)pthread_join(file->thread, NULL);  /* a thread of ours, joined once */
    file->is_started = false;
}

static void destroy(struct passdb *passdb)
{
    struct passwd_file *file = file_of(passdb);
    passwd_table_destroy(&file->table);
    (void)pthread_cond_destroy(&file->ended); /* nobody is left to hold any of them */
    (void)pthread_mutex_destroy(&file->lock);
    (void)pthread_rwlock_destroy(&file->table_lock);
    free(file);
}

static const struct passdb_ops passwd_file_ops = {
    .name = NAME,
    .may_block = false,
    .find = find,
    .domain_exists = domain_exists,
    .count = count,
    .watch = watch,
    .stop = stop,
    .destroy = destroy,
};

/* A new table goes before those who look names up, whom a busy server never runs out of. */
static int init_table_lock(struct passwd_file *file)
{
    pthread_rwlockattr_t writer_first;
    (void)pthread_rwlockattr_init(&writer_first); /* takes no resources on Linux */
    (void)pthread_rwlockattr_setkind_np(&writer_first,
                                        PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int result = pthread_rwlock_init(&file->table_lock, &writer_first);
    (void)pthread_rwlockattr_destroy(&writer_first);
    return result;
}

static void init_locks(struct passwd_file *file)
{
    pthread_condattr_t monotonic;
    int result = init_table_lock(file);
    assert(result == 0); /* none of them takes resources on Linux */
    result = pthread_mutex_init(&file->lock, NULL);
    assert(result == 0);
    (void)pthread_condattr_init(&monotonic); /* nor this */
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    result = pthread_cond_init(&file->ended, &monotonic);
    assert(result == 0);
    (void)result;
    (void)pthread_condattr_destroy(&monotonic);
}

static enum status start_thread(struct passwd_file *file, struct error *out_error)
{
    sigset_t all, before;
    (void)sigfillset(&all); /* fails only for a bad pointer */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&file->thread, NULL, run_thread, file);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* as above */
    file->is_started = result == 0;
    return result == 0 ? STATUS_OK
                       : error_set(out_error, STATUS_NO_MEMORY, result, file->path,
                                   "starting the thread that watches the passwd-file");
}

enum status passdb_passwd_file_create(const struct passdb_passwd_file_config *config,
                                      struct passdb **out_passdb, struct error *out_error)
{
    if (config->path == NULL || strlen(config->path) >= sizeof((struct passwd_file *)0)->path ||
        strlen(config->default_domain) > AUTH_DOMAIN_MAX) {
        return error_set(out_error, STATUS_INVALID, 0, config->path,
                         "a passwd-file needs a path of at most 255 octets");
    }
    if (secret_start() != STATUS_OK) {
        return error_set(out_error, STATUS_UNSUPPORTED, 0, NULL, "no source of random numbers");
    }
    struct passwd_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, config->path, "reading the passwd-file");
    }
    file->passdb.ops = &passwd_file_ops;
    file->config = *config;
    if (file->config.check_ms == 0) {
        file->config.check_ms = AUTH_PASSWD_FILE_CHECK_S * 1000;
    }
    memcpy(file->path, config->path, strlen(config->path));
    memcpy(file->default_domain, config->default_domain, strlen(config->default_domain));
    init_locks(file);
    enum status status = load(file, &file->table, out_error);
    if (status == STATUS_OK) {
        tell_loaded(file);
        status = start_thread(file, out_error);
    }
    if (status != STATUS_OK) {
        destroy(&file->passdb);
        return status;
    }
    *out_passdb = &file->passdb;
    return STATUS_OK;
}
