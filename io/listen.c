/* SPDX-License-Identifier: Apache-2.0 */
#include "io/listen.h"

#include "io/io_limits.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Opening */

static const char *unix_path(const struct address *address)
{
    return ((const struct sockaddr_un *)(const void *)&address->storage)->sun_path;
}

/* Whether somebody accepts connections at a UNIX address. */
static bool somebody_listens(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return true; /* cannot tell: the safe answer leaves the socket alone */
    }
    bool refused = connect(fd, &address->any, address->length) != 0 && errno == ECONNREFUSED;
    (void)close(fd); /* nothing was sent */
    return !refused;
}

/* Removes what an earlier run has left at the path, and nothing else. */
static enum status clear_unix_path(const struct address *address, struct error *out_error)
{
    const char *path = unix_path(address);
    struct stat info;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? STATUS_OK
                               : error_set(out_error, status_from_errno(errno), errno, path,
                                           "the socket's folder cannot be searched");
    }
    if (!S_ISSOCK(info.st_mode)) {
        return error_set(out_error, STATUS_EXISTS, 0, path, "not a socket; remove it by hand");
    }
    if (somebody_listens(address)) {
        return error_set(out_error, STATUS_EXISTS, EADDRINUSE, path,
                         "another process listens on this socket");
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return error_set(out_error, status_from_errno(errno), errno, path,
                         "the socket of an earlier run cannot be removed");
    }
    return STATUS_OK;
}

static enum status bind_unix(int fd, const struct listen_config *config, struct error *out_error)
{
    const char *path = unix_path(&config->address);
    enum status status = clear_unix_path(&config->address, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    /* Linux gives the file the descriptor's mode less the umask: never wider than asked for, not
     * even between bind and chmod. */
    if (fchmod(fd, config->unix_mode) != 0 ||
        bind(fd, &config->address.any, config->address.length) != 0) {
        return error_set(out_error, status_from_errno(errno), errno, path,
                         "the socket cannot be made here");
    }
    bool owned = config->unix_owner != (uid_t)-1 || config->unix_group != (gid_t)-1;
    if ((owned && chown(path, config->unix_owner, config->unix_group) != 0) ||
        chmod(path, config->unix_mode) != 0) {
        status = error_set(out_error, status_from_errno(errno), errno, path,
                           "owner or mode of the socket cannot be set");
        (void)unlink(path); /* it is ours and of no use */
    }
    return status;
}

static bool set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

static enum status bind_tcp(int fd, const struct listen_config *config, struct error *out_error)
{
    char text[ADDRESS_TEXT_MAX];
    struct address address = config->address;
    address_text(&address, text);
    bool done = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
                (!config->reuse_port || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    if (done && address.any.sa_family == AF_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address.storage;
        done = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY,
                          v6->sin6_flowinfo == ADDRESS_BOTH_FAMILIES ? 0 : 1);
        v6->sin6_flowinfo = 0;
    }
    if (!done || bind(fd, &address.any, address.length) != 0) {
        return error_set(out_error, status_from_errno(errno), errno, text,
                         errno == EACCES ? "a port below 1024 needs CAP_NET_BIND_SERVICE"
                                         : "the address cannot be bound");
    }
    return STATUS_OK;
}

static void local_address(int fd, struct address *out_address)
{
    memset(out_address, 0, sizeof *out_address);
    socklen_t length = sizeof out_address->storage;
    if (getsockname(fd, &out_address->any, &length) == 0) {
        out_address->length = length;
        address_normalise(out_address);
    }
}

static enum status open_once(const struct listen_config *config, int *out_fd,
                             struct address *out_bound, struct error *out_error)
{
    char text[ADDRESS_TEXT_MAX];
    address_text(&config->address, text);
    int family = config->address.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return error_set(out_error, status_from_errno(errno), errno, text,
                         "no socket of this family");
    }
    enum status status =
        family == AF_UNIX ? bind_unix(fd, config, out_error) : bind_tcp(fd, config, out_error);
    if (status != STATUS_OK) {
        goto fail;
    }
    if (listen(fd, LISTEN_BACKLOG) != 0) {
        status = error_set(out_error, status_from_errno(errno), errno, text, "cannot listen here");
        goto fail;
    }
    if (out_bound != NULL) {
        local_address(fd, out_bound);
    }
    *out_fd = fd;
    return STATUS_OK;
fail:
    (void)close(fd); /* it never served */
    return status;
}

static bool is_taken(enum status status, const struct error *error)
{
    return status != STATUS_OK && error->errno_value == EADDRINUSE;
}

/* The kernel ends the ring of a killed process some time after the process, and until then the ring
 * holds its listening sockets: a restart meets its own predecessor. */
enum status listen_open(const struct listen_config *config, int *out_fd, struct address *out_bound,
                        struct error *out_error)
{
    const struct timespec pause = {.tv_nsec = LISTEN_TAKEN_RETRY_MS * 1000000};
    struct error error = {.status = STATUS_OK};
    enum status status = open_once(config, out_fd, out_bound, &error);
    int patience_ms = config->once ? 0 : LISTEN_PATIENCE_MS;
    for (int waited_ms = 0; is_taken(status, &error) && waited_ms < patience_ms;
         waited_ms += LISTEN_TAKEN_RETRY_MS) {
        (void)nanosleep(&pause, NULL); /* at start-up only; a signal just makes it shorter */
        status = open_once(config, out_fd, out_bound, &error);
    }
    if (status != STATUS_OK && out_error != NULL) {
        *out_error = error;
    }
    return status;
}

/* Accepting */

/* Linux copies all of these from the listening socket to what it accepts: six system calls a
 * listener instead of six a connection. Each is an improvement, none a condition, so failures are
 * passed over (a UNIX socket knows none of them). */
static void set_inherited_options(int fd)
{
    (void)set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, LISTEN_KEEPALIVE_IDLE_S);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, LISTEN_KEEPALIVE_STEP_S);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, LISTEN_KEEPALIVE_COUNT);
    (void)set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, LISTEN_USER_TIMEOUT_MS);
}

/* Who connects to a loopback address is on this machine. Congestion control that paces (BBR) would
 * put a timer between the segments of every reply above 64 KB, for a network that is not there. */
static void do_not_pace(int fd)
{
    static const char plain[] = "reno"; /* the one that every kernel has and everybody may use */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, plain, sizeof plain - 1); /* only for speed */
}

static bool is_wildcard(const struct address *address)
{
    if (address->any.sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)&address->storage;
        return v4->sin_addr.s_addr == htonl(INADDR_ANY);
    }
    const struct sockaddr_in6 *v6 = (const void *)&address->storage;
    return address->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static struct listener *listener_of_op(struct loop_op *op)
{
    return list_entry(op, struct listener, op);
}

static void on_accept(struct loop_op *op, int fd)
{
    struct listener *listener = listener_of_op(op);
    struct address peer, local = listener->local;
    memset(&peer, 0, sizeof peer);
    if (listener->stopping) {
        (void)close(fd); /* came while the cancel was on its way; the peer sees a closed server */
        return;
    }
    if (listener->is_unix) {
        peer.any.sa_family = AF_UNIX;
        peer.length = sizeof(sa_family_t);
    } else {
        socklen_t length = sizeof peer.storage;
        /* A multishot accept has no place for each peer's address. */
        if (getpeername(fd, &peer.any, &length) != 0) {
            (void)close(fd); /* gone already */
            return;
        }
        peer.length = length;
        address_normalise(&peer);
        if (local.length == 0) {
            local_address(fd, &local);
        }
    }
    listener->on_connection(listener, fd, &peer, &local);
}

static void on_accept_done(struct loop_op *op, enum status status, size_t octets)
{
    struct listener *listener = listener_of_op(op);
    if (listener->stopping) {
        listener->on_stopped(listener); /* may free the listener */
        return;
    }
    /* Out of descriptors or memory, or something stranger: a pause, since trying again at once
     * would fail again at once. */
    deadline_arm(loop_wheel(listener->loop), &listener->retry,
                 loop_now_ms(listener->loop) + LISTEN_RETRY_MS);
}

static void on_retry(struct deadline *deadline)
{
    listener_start(list_entry(deadline, struct listener, retry));
}

static void on_stopped_task(struct loop_task *task)
{
    struct listener *listener = list_entry(task, struct listener, stopped);
    listener->on_stopped(listener); /* may free the listener */
}

void listener_init(struct listener *listener, struct loop *loop, int fd, void *owner)
{
    memset(listener, 0, sizeof *listener);
    listener->loop = loop;
    listener->fd = fd;
    listener->owner = owner;
    listener->op.on_accept = on_accept;
    listener->op.on_done = on_accept_done;
    deadline_init(&listener->retry, on_retry);
    loop_task_init(&listener->stopped, on_stopped_task);
    local_address(fd, &listener->local);
    listener->is_unix = listener->local.length > 0 && listener->local.any.sa_family == AF_UNIX;
    if (!listener->is_unix) {
        set_inherited_options(fd);
    }
    if (!listener->is_unix && address_is_loopback(&listener->local)) {
        do_not_pace(fd);
    }
    if (is_wildcard(&listener->local)) {
        listener->local.length = 0;
    }
}

void listener_start(struct listener *listener)
{
    assert(!listener->stopping);
    loop_accept(listener->loop, &listener->op, listener->fd);
}

void listener_stop(struct listener *listener)
{
    if (listener->stopping) {
        return;
    }
    listener->stopping = true;
    deadline_disarm(loop_wheel(listener->loop), &listener->retry);
    if (loop_op_busy(&listener->op)) {
        loop_cancel(listener->loop, &listener->op);
    } else {
        loop_defer(listener->loop, &listener->stopped);
    }
}
