/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups on several threads while the passwd-file is replaced again and again. A user who stands
 * in every state of the file is always found, with the password of one state or the next, never
 * with an older one than was seen before.
 */
#include "auth/auth.h"
#include "auth/passdb_passwd_file.h"
#include "tests/unit/auth_stage.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define THREADS 3
#define STATES  30

static struct passdb *passdb;
static sem_t read_again;
static atomic_bool is_over;
static atomic_int failures, changes;

static void on_notice(void *owner, const struct auth_notice *notice)
{
    (void)owner;
    if (strcmp(notice->event, "passwd_file_read") == 0) {
        (void)sem_post(&read_again);
    } else {
        (void)printf("%s: %s\n", notice->event, notice->text);
        atomic_fetch_add(&failures, 1);
    }
}

static void on_change(void *owner, const char *name)
{
    (void)owner;
    (void)name;
    atomic_fetch_add(&changes, 1);
}

static void write_state(const char *path, unsigned state)
{
    char other[128];
    (void)snprintf(other, sizeof other, "%s.new", path);
    FILE *file = fopen(other, "w");
    assert(file != NULL);
    (void)fprintf(file, "a:{PLAIN}%u\nb:{PLAIN}same\n", state);
    for (unsigned i = 0; i < 200 + state; i++) {
        (void)fprintf(file, "u%u@d%u:{PLAIN}x\n", i, i % 7);
    }
    (void)fclose(file);
    (void)rename(other, path);
}

static void *run(void *argument)
{
    unsigned seen = 0;
    struct passdb_query query = {0};
    (void)argument;
    (void)!identity_from_login("a", 1, "localhost", &query.identity);
    while (!atomic_load(&is_over)) {
        if (passdb->ops->find(passdb, &query) != STATUS_OK) {
            atomic_fetch_add(&failures, 1);
            continue;
        }
        unsigned state = (unsigned)strtoul(query.account.credentials[0].text + 7, NULL, 10);
        if (state < seen) {
            atomic_fetch_add(&failures, 1);
        }
        seen = state;
    }
    return NULL;
}

int main(void)
{
    char folder[64], path[96];
    pthread_t threads[THREADS];
    struct error error = {0};
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/users", folder);
    (void)sem_init(&read_again, 0, 0);
    write_state(path, 0);
    const struct passdb_passwd_file_config config = {
        .path = path, .default_domain = "localhost", .on_notice = on_notice, .check_ms = 2};
    if (passdb_passwd_file_create(&config, &passdb, &error) != STATUS_OK) {
        return 1;
    }
    passdb->ops->watch(passdb, on_change, NULL);
    (void)sem_wait(&read_again);
    for (unsigned i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, run, NULL) != 0) {
            return 1;
        }
    }
    for (unsigned state = 1; state <= STATES; state++) {
        write_state(path, state);
        (void)sem_wait(&read_again);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    passdb->ops->stop(passdb);
    passdb->ops->destroy(passdb);
    stage_remove_folder(folder);
    /* Each state but the first changed one user and added another. */
    bool good = atomic_load(&failures) == 0 && atomic_load(&changes) == 2 * STATES;
    (void)printf("%d changes\n%d passed, %d failed\n", atomic_load(&changes), good, !good);
    return good ? 0 : 1;
}
