/* SPDX-License-Identifier: Apache-2.0 */
#include "server/daemon.h"

#include "auth/auth.h"
#include "io/listen.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/mem.h"
#include "server/admin.h"
#include "server/certificates.h"
#include "server/demo.h"
#include "server/metrics.h"
#include "server/open_auth.h"
#include "server/privileges.h"
#include "server/sandbox.h"
#include "server/server_limits.h"
#include "server/worker.h"
#include "storage/disk.h"
#include "storage/store.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* One address of a listener and its sockets: one per worker, or one that all share. */
struct bound {
    const struct config_listener *listener;
    struct address address; /* the real one */
    unsigned fd_count;
    int *fds;
};

struct daemon {
    const struct config *config; /* the one it started with: what a reload cannot change */
    struct config *reloaded;     /* the one in force, when there was a reload */
    struct privileges privileges;
    struct certificates certificates;
    struct sandbox sandbox;
    bool is_demo;
    bool owns_log;
    _Atomic int64_t certificates_expire_s; /* read by the metrics */
    int64_t expiry_logged_s;               /* when certificates_log_expiry was called last */
    unsigned worker_count;
    unsigned bound_count;
    struct bound *bounds;
    int admin_fd;
    struct store *store;
    struct auth *auth;
    struct caps *caps;
    unsigned started; /* workers that run */
    struct worker **workers;
    struct metrics *metrics;
    struct admin *admin;
    atomic_bool draining;
};

/* --- what the process may use --- */

/* Every connection is a descriptor; the soft limit is there for programs that call select(2). */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* without it fewer clients fit, no more */
    }
}

static unsigned count_cores(void)
{
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0) {
        return 1;
    }
    unsigned count = (unsigned)CPU_COUNT(&cores);
    return count > SERVER_WORKERS_MAX ? SERVER_WORKERS_MAX : count;
}

/* Says once, and not once per worker, that and why the ring is refused. */
static enum status probe_ring(const struct config *config, struct error *out_error)
{
    struct error error = {.status = STATUS_OK};
    if (config->io_backend == LOOP_EPOLL || loop_probe_uring(&error) == STATUS_OK) {
        return STATUS_OK;
    }
    if (config->io_backend == LOOP_IO_URING) {
        *out_error = error;
        return error.status;
    }
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARNING, "io_uring_refused");
    log_text(&line, "using", "epoll");
    log_error(&line, &error);
    log_end(&line);
    return STATUS_OK;
}

/* --- sockets --- */

static bool is_unix(const struct address *address)
{
    return address->any.sa_family == AF_UNIX;
}

static enum status refuse_address(const struct config_listener *listener,
                                  const struct address *address, const struct error *why,
                                  struct error *out_error)
{
    char text[ADDRESS_TEXT_MAX];
    address_text(address, text);
    if (why->errno_value == EADDRINUSE || why->status == STATUS_EXISTS) {
        return error_set(out_error, STATUS_EXISTS, 0, NULL,
                         "listener %s: %s is in use by another program; stop it, or choose another "
                         "address with -o listener.%s.address=...",
                         listener->name, text, listener->name);
    }
    if (why->errno_value == EACCES) {
        return error_set(out_error, STATUS_DENIED, why->errno_value, NULL,
                         "listener %s: %s needs privileges: start as root, or with "
                         "CAP_NET_BIND_SERVICE, or choose a port from 1024 on",
                         listener->name, text);
    }
    return error_set(out_error, why->status, why->errno_value, NULL, "listener %s: %s: %.120s",
                     listener->name, text, why->text);
}

static enum status bind_one(struct bound *bound, struct listen_config *config,
                            struct error *out_error)
{
    struct error why = {.status = STATUS_OK};
    struct address real;
    int fd;
    if (listen_open(config, &fd, &real, &why) != STATUS_OK) {
        return refuse_address(bound->listener, &config->address, &why, out_error);
    }
    bound->fds[bound->fd_count++] = fd;
    bound->address = real;
    return STATUS_OK;
}

/* The folder of a socket's path, such as /run/restante, is gone after each boot. Where it cannot be
 * made, binding says so. */
static void make_folder_of(const struct privileges *privileges, const char *path)
{
    char folder[ADDRESS_TEXT_MAX];
    const char *slash = strrchr(path, '/');
    if (slash != NULL && slash != path) {
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (mkdir(folder, 0755) == 0) {
            privileges_give(privileges, folder);
        }
    }
}

/* Whether another program listens there: with SO_REUSEPORT a second server of the same user could
 * bind as well, and would silently take half of the connections. */
static enum status check_free(struct bound *bound, const struct listen_config *config,
                              struct error *out_error)
{
    struct listen_config alone = *config;
    alone.reuse_port = false;
    enum status status = bind_one(bound, &alone, out_error);
    if (status == STATUS_OK) {
        (void)close(bound->fds[--bound->fd_count]); /* it never served */
    }
    return status;
}

/* Port 0 has become a number, which the other workers' sockets share. */
static void take_port(struct address *address, const struct address *real)
{
    if (address->any.sa_family == AF_INET) {
        ((struct sockaddr_in *)&address->storage)->sin_port =
            ((const struct sockaddr_in *)&real->storage)->sin_port;
    } else if (address->any.sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)&address->storage)->sin6_port =
            ((const struct sockaddr_in6 *)&real->storage)->sin6_port;
    }
}

static enum status bind_address(struct daemon *daemon, const struct config_listener *listener,
                                const struct address *address, struct error *out_error)
{
    struct bound *bound = &daemon->bounds[daemon->bound_count++];
    struct listen_config config = {.address = *address,
                                   /* Who tries the demo has seldom left its ports just now, and
                                    * would wait for each that another program has. */
                                   .once = daemon->is_demo,
                                   .unix_mode = listener->unix_mode,
                                   .unix_owner = listener->unix_owner,
                                   .unix_group = listener->unix_group};
    bool shared = is_unix(address) || listener->protocol == CONFIG_METRICS;
    unsigned wanted = shared ? 1 : daemon->worker_count;
    bound->listener = listener;
    bound->fds = calloc(wanted, sizeof *bound->fds);
    if (bound->fds == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "binding listeners");
    }
    if (is_unix(address)) {
        make_folder_of(&daemon->privileges,
                       ((const struct sockaddr_un *)&address->storage)->sun_path);
    }
    enum status status = STATUS_OK;
    config.reuse_port = wanted > 1;
    if (config.reuse_port) {
        status = check_free(bound, &config, out_error);
    }
    while (status == STATUS_OK && bound->fd_count < wanted) {
        status = bind_one(bound, &config, out_error);
        take_port(&config.address, &bound->address);
    }
    return status;
}

/* Once more is harmless. */
static void close_bound(struct bound *bound)
{
    for (unsigned i = 0; i < bound->fd_count; i++) {
        (void)close(bound->fds[i]); /* nobody accepts on it any more */
    }
    free(bound->fds);
    bound->fds = NULL;
    if (bound->fd_count > 0 && is_unix(&bound->address)) {
        const struct sockaddr_un *path = (const struct sockaddr_un *)&bound->address.storage;
        (void)unlink(path->sun_path); /* a leftover would be removed by the next start */
    }
    bound->fd_count = 0;
}

static enum status bind_all(struct daemon *daemon, struct error *out_error)
{
    const struct config *config = daemon->config;
    unsigned count = 0;
    for (unsigned i = 0; i < config->listener_count; i++) {
        count += config->listeners[i].address_count;
    }
    daemon->bounds = calloc(count, sizeof *daemon->bounds);
    if (daemon->bounds == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "binding listeners");
    }
    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        for (unsigned a = 0; a < listener->address_count; a++) {
            enum status status = bind_address(daemon, listener, &listener->addresses[a], out_error);
            if (status == STATUS_EXISTS && listener->optional) {
                log_message(LOG_LEVEL_WARNING, "listener_left_out", out_error->text);
                close_bound(&daemon->bounds[--daemon->bound_count]);
                *out_error = (struct error){.status = STATUS_OK};
            } else if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* --- store and accounts --- */

/* Its name must be durable before anything in it is promised. */
static enum status sync_parent(const char *path, struct error *out_error)
{
    char parent[512];
    int length = snprintf(parent, sizeof parent, "%s/..", path);
    if (length < 0 || (size_t)length >= sizeof parent) {
        return error_set(out_error, STATUS_TOO_BIG, 0, path, "store.path is too long");
    }
    return disk_sync_directory(disk_real(), parent, out_error);
}

static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    unsigned entries = 0;
    while (folder != NULL && entries <= 2 && readdir(folder) != NULL) {
        entries++; /* "." and ".." are two */
    }
    if (folder != NULL) {
        (void)closedir(folder); /* it was only read */
    }
    return folder != NULL && entries <= 2;
}

static enum status make_folder(const struct daemon *daemon, struct error *out_error)
{
    const char *path = daemon->config->store.path;
    if (mkdir(path, 0700) == 0) {
        privileges_give(&daemon->privileges, path);
        return sync_parent(path, out_error);
    }
    if (errno == EEXIST) {
        /* Made empty for us by whoever starts us as root: it becomes the server's own. */
        if (daemon->privileges.changes && is_empty(path)) {
            privileges_give(&daemon->privileges, path);
        }
        return STATUS_OK;
    }
    return error_set(out_error, status_from_errno(errno), errno, path,
                     "the store's folder cannot be made: make it, owned by the server's user, or "
                     "set store.path");
}

static enum status open_store(struct daemon *daemon, struct error *out_error)
{
    const struct config *config = daemon->config;
    struct store_config store;
    config_store(config, &store);
    enum status status = store_open(&store, &daemon->store, out_error);
    if (status == STATUS_BUSY) {
        return error_set(out_error, status, 0, config->store.path,
                         "another process has this store open: stop it, or choose another store");
    }
    return status == STATUS_OK ? open_auth(config, false, &daemon->auth, out_error) : status;
}

/* --- threads --- */

static enum status make_caps(struct daemon *daemon, struct error *out_error)
{
    struct caps_config caps = daemon->config->auth.caps;
    caps.exempt_loopback = !daemon->config->auth.cap_loopback;
    enum status status = caps_create(&caps, &daemon->caps);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(out_error, status, 0, NULL,
                                           "no memory to count sessions: lower auth.sessions_max");
}

static enum status start_worker(struct daemon *daemon, unsigned index, struct error *out_error)
{
    struct worker_socket *sockets = calloc(daemon->bound_count, sizeof *sockets);
    struct worker_config config = {.index = index,
                                   .config = daemon->config,
                                   .store = daemon->store,
                                   .auth = daemon->auth,
                                   .caps = daemon->caps,
                                   .sockets = sockets,
                                   .tls = daemon->certificates.servers};
    if (sockets == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting workers");
    }
    for (unsigned i = 0; i < daemon->bound_count; i++) {
        const struct bound *bound = &daemon->bounds[i];
        if (bound->listener->protocol != CONFIG_METRICS) {
            sockets[config.socket_count++] = (struct worker_socket){
                .config = bound->listener,
                .fd = bound->fds[bound->fd_count == 1 ? 0 : index],
            };
        }
    }
    enum status status = worker_start(&config, &daemon->workers[index], out_error);
    free(sockets);
    daemon->started += status == STATUS_OK;
    return status;
}

static enum status start_workers(struct daemon *daemon, struct error *out_error)
{
    daemon->workers = calloc(daemon->worker_count, sizeof *daemon->workers);
    if (daemon->workers == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting workers");
    }
    for (unsigned i = 0; i < daemon->worker_count; i++) {
        enum status status = start_worker(daemon, i, out_error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status start_metrics(struct daemon *daemon, struct error *out_error)
{
    int sockets[CONFIG_ADDRESSES_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < daemon->bound_count; i++) {
        const struct bound *bound = &daemon->bounds[i];
        if (bound->listener->protocol == CONFIG_METRICS && count < CONFIG_ADDRESSES_MAX) {
            sockets[count++] = bound->fds[0];
        }
    }
    if (count == 0) {
        return STATUS_OK;
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    struct metrics_source source = {.config = daemon->config,
                                    .store = daemon->store,
                                    .auth = daemon->auth,
                                    .workers = daemon->workers,
                                    .worker_count = daemon->worker_count,
                                    .certificates_expire_s = &daemon->certificates_expire_s,
                                    .sandbox = &daemon->sandbox,
                                    .caps = daemon->caps,
                                    .started_ms =
                                        (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000};
    return metrics_start(&source, sockets, count, &daemon->metrics, out_error);
}

static enum status start_admin(struct daemon *daemon, struct error *out_error)
{
    struct admin_config config = {.default_domain = daemon->config->auth.default_domain,
                                  .store = daemon->store,
                                  .auth = daemon->auth,
                                  .socket = daemon->admin_fd,
                                  .draining = &daemon->draining};
    return admin_start(&config, &daemon->admin, out_error);
}

/* --- certificates and privileges --- */

static int64_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    return now.tv_sec;
}

static void look_at_expiry(struct daemon *daemon)
{
    daemon->expiry_logged_s = now_s();
    atomic_store(&daemon->certificates_expire_s, certificates_expire_s(&daemon->certificates));
    certificates_log_expiry(&daemon->certificates, daemon->expiry_logged_s);
}

static enum status load_certificates(struct daemon *daemon, struct error *out_error)
{
    enum status status = certificates_load(daemon->config, daemon->worker_count, NULL,
                                           &daemon->certificates, out_error);
    if (status == STATUS_OK) {
        look_at_expiry(daemon);
    }
    return status;
}

static enum status drop_privileges(struct daemon *daemon, bool demo, struct error *out_error)
{
    const struct config *config = daemon->config;
    if (config->admin_socket[0] != '\0') {
        make_folder_of(&daemon->privileges, config->admin_socket);
    }
    if (!daemon->privileges.changes && geteuid() == 0) {
        log_message(LOG_LEVEL_INFO, "root",
                    "the server goes on as root: set user to an account of its own");
    }
    enum status status = privileges_become(&daemon->privileges, out_error);
    return status == STATUS_OK ? sandbox_enter(config, demo, &daemon->sandbox, out_error) : status;
}

/* The process has one log: the daemon that starts its thread ends it. */
static atomic_flag log_taken = ATOMIC_FLAG_INIT;

static void start_log(struct daemon *daemon)
{
    if (atomic_flag_test_and_set(&log_taken)) {
        return;
    }
    daemon->owns_log = true;
    if (log_start(STDERR_FILENO, daemon->config->log_level) != STATUS_OK) {
        log_message(LOG_LEVEL_WARNING, "log", "no thread for the log: lines are written directly");
    }
}

/* --- the whole --- */

static void log_started(const struct daemon *daemon)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "start");
    log_text(&line, "version", RESTANTE_VERSION);
    log_text(&line, "store", daemon->config->store.path);
    log_number(&line, "workers", daemon->worker_count);
    log_text(&line, "io_backend", loop_backend_name(daemon->workers[0]->loop));
    log_number(&line, "pid", getpid());
    log_end(&line);
}

static enum status start(struct daemon *daemon, bool demo, struct error *out_error)
{
    const struct config *config = daemon->config;
    bool filled = false;
    raise_descriptors();
    enum status status = probe_ring(config, out_error);
    if (status == STATUS_OK) {
        status = privileges_plan(config->user, config->group, &daemon->privileges, out_error);
    }
    if (status == STATUS_OK) {
        status = bind_all(daemon, out_error);
    }
    if (status == STATUS_OK) {
        status = make_folder(daemon, out_error);
    }
    if (status == STATUS_OK && demo) {
        status = certificates_make_demo(config, &daemon->privileges, out_error);
    }
    /* Before privileges are dropped: keys may be for root's eyes only. */
    if (status == STATUS_OK) {
        status = load_certificates(daemon, out_error);
    }
    if (status == STATUS_OK) {
        status = drop_privileges(daemon, demo, out_error);
    }
    /* Everything below works as the server's own user, and every thread is made below. */
    if (status == STATUS_OK) {
        mem_give_back();
        start_log(daemon);
    }
    if (status == STATUS_OK) {
        status = open_store(daemon, out_error);
    }
    /* Behind the store's lock: only now it is sure that the socket is no other server's. */
    if (status == STATUS_OK && config->admin_socket[0] != '\0') {
        status = admin_listen(config->admin_socket, &daemon->admin_fd, out_error);
    }
    if (status == STATUS_OK && demo) {
        status =
            demo_fill(daemon->store, daemon->auth, config->auth.default_domain, &filled, out_error);
    }
    if (status == STATUS_OK) {
        status = make_caps(daemon, out_error);
    }
    if (status == STATUS_OK) {
        status = start_workers(daemon, out_error);
    }
    if (status == STATUS_OK) {
        sandbox_seal(config, &daemon->sandbox);
    }
    if (status == STATUS_OK) {
        status = start_metrics(daemon, out_error);
    }
    if (status == STATUS_OK) {
        status = start_admin(daemon, out_error);
    }
    return status;
}

enum status daemon_start(const struct config *config, bool demo, struct daemon **out_daemon,
                         struct error *out_error)
{
    struct daemon *daemon = calloc(1, sizeof *daemon);
    if (daemon == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting the server");
    }
    daemon->config = config;
    daemon->is_demo = demo;
    daemon->admin_fd = -1;
    daemon->worker_count = config->workers > 0 ? config->workers : count_cores();
    enum status status = start(daemon, demo, out_error);
    if (status != STATUS_OK) {
        daemon_stop(&daemon);
        return status;
    }
    log_started(daemon);
    sandbox_log(&daemon->sandbox,
                strcmp(loop_backend_name(daemon->workers[0]->loop), "io_uring") == 0);
    *out_daemon = daemon;
    return STATUS_OK;
}

void daemon_print_listening(const struct daemon *daemon, FILE *out)
{
    for (unsigned i = 0; i < daemon->bound_count; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_text(&daemon->bounds[i].address, text);
        fprintf(out, "listening %s %s\n", daemon->bounds[i].listener->name, text);
    }
}

void daemon_address(const struct daemon *daemon, enum config_protocol protocol,
                    char out_text[DAEMON_ADDRESS_MAX])
{
    out_text[0] = '\0';
    for (unsigned i = 0; i < daemon->bound_count && out_text[0] == '\0'; i++) {
        if (daemon->bounds[i].listener->protocol == protocol) {
            address_text(&daemon->bounds[i].address, out_text);
        }
    }
}

void daemon_listener_address(const struct daemon *daemon, const char *name,
                             char out_text[DAEMON_ADDRESS_MAX])
{
    out_text[0] = '\0';
    for (unsigned i = 0; i < daemon->bound_count && out_text[0] == '\0'; i++) {
        if (strcmp(daemon->bounds[i].listener->name, name) == 0) {
            address_text(&daemon->bounds[i].address, out_text);
        }
    }
}

/* --- reload --- */

static const struct config_listener *find_listener(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->listener_count; i++) {
        if (strcmp(config->listeners[i].name, name) == 0) {
            return &config->listeners[i];
        }
    }
    return NULL;
}

/* Sockets stay as they are: what listens now must be in the new configuration too. */
static enum status check_same_listeners(const struct config *former, const struct config *config,
                                        struct error *out_error)
{
    for (unsigned i = 0; i < former->listener_count; i++) {
        const struct config_listener *own = &former->listeners[i];
        const struct config_listener *other = find_listener(config, own->name);
        if (other == NULL || other->protocol != own->protocol ||
            other->address_count != own->address_count ||
            memcmp(other->addresses, own->addresses,
                   own->address_count * sizeof own->addresses[0]) != 0) {
            return error_set(out_error, STATUS_INVALID, 0, NULL,
                             "listener %s cannot be removed, moved or changed in its protocol "
                             "while the server runs: restart it",
                             own->name);
        }
    }
    return STATUS_OK;
}

/* What was changed and takes a restart all the same is said, once. */
static void log_unchanged(const struct config *former, const struct config *config)
{
    bool differs =
        strcmp(former->store.path, config->store.path) != 0 || former->workers != config->workers ||
        former->io_backend != config->io_backend || strcmp(former->user, config->user) != 0 ||
        strcmp(former->admin_socket, config->admin_socket) != 0 ||
        former->sandbox != config->sandbox || former->listener_count != config->listener_count ||
        strcmp(former->auth.default_domain, config->auth.default_domain) != 0 ||
        former->log_level != config->log_level;
    if (differs) {
        log_message(LOG_LEVEL_WARNING, "reload",
                    "the sections store and auth, new listeners, workers, io_backend, user, "
                    "sandbox, log_level and admin_socket change at the next start only");
    }
}

enum status daemon_reload(struct daemon *daemon, struct config **config, struct error *out_error)
{
    struct certificates loaded;
    enum status status = check_same_listeners(daemon->config, *config, out_error);
    if (status == STATUS_OK) {
        status = certificates_load(*config, daemon->worker_count, &daemon->certificates, &loaded,
                                   out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    log_unchanged(daemon->config, *config);
    for (unsigned i = 0; i < daemon->started; i++) {
        worker_reconfigure(daemon->workers[i], *config, loaded.servers);
    }
    certificates_unload(&daemon->certificates);
    daemon->certificates = loaded;
    config_free(&daemon->reloaded);
    daemon->reloaded = *config;
    *config = NULL;
    look_at_expiry(daemon);
    return STATUS_OK;
}

#define EXPIRY_LOG_S 86400 /* seconds between two warnings about a certificate */

void daemon_minute(struct daemon *daemon)
{
    certificates_refresh(&daemon->certificates);
    if (now_s() - daemon->expiry_logged_s >= EXPIRY_LOG_S) {
        look_at_expiry(daemon);
    }
}

static uint64_t open_sessions(const struct daemon *daemon)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < daemon->started; i++) {
        const struct worker_counters *counters = &daemon->workers[i]->counters;
        sum += counter_read(&counters->sessions_pop3) + counter_read(&counters->sessions_lmtp);
    }
    return sum;
}

/* Sessions end, or the workers end them when drain_timeout is over. The metrics are served
 * meanwhile. */
static void wait_for_sessions(const struct daemon *daemon)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    uint64_t pauses = (uint64_t)daemon->config->drain_timeout_s * 100;
    for (uint64_t i = 0; i < pauses && open_sessions(daemon) > 0; i++) {
        (void)nanosleep(&pause, NULL); /* a signal only makes it shorter */
    }
}

/* Closes what workers accepted on: a newcomer is refused and can go elsewhere; on an open socket he
 * would wait in vain until the last session has ended. */
static void stop_listening(struct daemon *daemon)
{
    for (unsigned i = 0; i < daemon->started; i++) {
        worker_wait_deaf(daemon->workers[i]);
    }
    for (unsigned i = 0; i < daemon->bound_count; i++) {
        if (daemon->bounds[i].listener->protocol != CONFIG_METRICS) {
            close_bound(&daemon->bounds[i]);
        }
    }
}

static void stop_threads(struct daemon *daemon)
{
    atomic_store(&daemon->draining, true);
    admin_stop(&daemon->admin);
    if (daemon->metrics != NULL) {
        metrics_drain(daemon->metrics);
    }
    for (unsigned i = 0; i < daemon->started; i++) {
        worker_drain(daemon->workers[i]);
    }
    stop_listening(daemon);
    wait_for_sessions(daemon);
    metrics_stop(&daemon->metrics);
    for (unsigned i = 0; i < daemon->started; i++) {
        worker_join(&daemon->workers[i]);
    }
}

void daemon_stop(struct daemon **daemon)
{
    struct daemon *own = *daemon;
    if (own == NULL) {
        return;
    }
    stop_threads(own);
    if (own->caps != NULL) {
        caps_destroy(&own->caps);
    }
    if (own->auth != NULL) {
        auth_close(&own->auth);
    }
    if (own->store != NULL) {
        store_close(&own->store);
    }
    if (own->admin_fd >= 0) {
        (void)close(own->admin_fd);              /* nobody accepts on it any more */
        (void)unlink(own->config->admin_socket); /* a leftover would be removed by the next start */
    }
    for (unsigned i = 0; i < own->bound_count; i++) {
        close_bound(&own->bounds[i]);
    }
    certificates_unload(&own->certificates);
    config_free(&own->reloaded);
    if (own->owns_log) {
        log_stop();
        atomic_flag_clear(&log_taken);
    }
    free(own->bounds);
    free(own->workers);
    free(own);
    *daemon = NULL;
}
