/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session ticket is the session itself, encrypted for us alone; nothing is kept in memory. Keys
 * are few, used by all workers and changed rarely: a lock that is held for the copy of one key
 * costs nothing beside the handshake around it.
 */
#include "io/io_limits.h"
#include "io/mem.h"
#include "io/tls_private.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_OCTETS 16
#define KEY_OCTETS  80 /* of the key file: 16 name, 32 HMAC, 32 AES; the layout nginx uses */

struct ticket_key {
    uint8_t name[NAME_OCTETS], hmac[32], aes[32];
};

_Static_assert(sizeof(struct ticket_key) == KEY_OCTETS, "a key of the file is a key in memory");

struct tls_tickets {
    atomic_uint references;
    char *file; /* NULL: random keys */
    int64_t rotate_s;
    EVP_CIPHER *cipher; /* fetched once: a fetch takes a lock and a search */
    pthread_mutex_t lock;
    /* under `lock` */
    struct ticket_key keys[TLS_TICKET_KEYS_MAX]; /* the first encrypts */
    unsigned key_count;
    int64_t made_s;         /* when the first was made: monotonic, random keys only */
    struct timespec read_m; /* the file's time of change when it was read */
    ino_t read_inode;
};

static int64_t seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* cannot fail with this clock */
    return now.tv_sec;
}

/* Random keys: a new first one, and the former stays to decrypt. */
static enum status rotate(struct tls_tickets *tickets, int64_t now_s)
{
    struct ticket_key fresh;
    if (RAND_bytes((unsigned char *)&fresh, sizeof fresh) != 1) {
        return STATUS_IO;
    }
    /* After two periods of silence even the former key is too old to be honoured. */
    bool keep = tickets->key_count > 0 && now_s - tickets->made_s < 2 * tickets->rotate_s;
    tickets->keys[1] = tickets->keys[0];
    tickets->keys[0] = fresh;
    tickets->key_count = keep ? 2 : 1;
    tickets->made_s = now_s;
    mem_wipe(&fresh, sizeof fresh);
    return STATUS_OK;
}

/* Reads whole keys into `keys`; how many is the result, 0 for a file that is not made of them. */
static unsigned keys_read(int fd, off_t size, struct ticket_key *keys)
{
    if (size <= 0 || size % KEY_OCTETS != 0 || size > KEY_OCTETS * TLS_TICKET_KEYS_MAX ||
        pread(fd, keys, (size_t)size, 0) != (ssize_t)size) {
        return 0;
    }
    return (unsigned)(size / KEY_OCTETS);
}

static bool is_same_file(const struct tls_tickets *tickets, const struct stat *facts)
{
    return tickets->key_count > 0 && facts->st_ino == tickets->read_inode &&
           facts->st_mtim.tv_sec == tickets->read_m.tv_sec &&
           facts->st_mtim.tv_nsec == tickets->read_m.tv_nsec;
}

static enum status file_load(struct tls_tickets *tickets, struct error *out_error)
{
    struct ticket_key keys[TLS_TICKET_KEYS_MAX];
    struct stat facts;
    enum status status = STATUS_OK;
    int fd = open(tickets->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &facts) != 0) {
        status = error_set(out_error, status_from_errno(errno), errno, tickets->file,
                           "the file of ticket keys cannot be opened");
        goto done;
    }
    (void)pthread_mutex_lock(&tickets->lock); /* fails only when misused */
    if (!is_same_file(tickets, &facts)) {
        unsigned count = keys_read(fd, facts.st_size, keys);
        if (count == 0) {
            status = error_set(out_error, STATUS_INVALID, 0, tickets->file,
                               "the file of ticket keys must hold 1 to %d keys of %d octets",
                               TLS_TICKET_KEYS_MAX, KEY_OCTETS);
        } else {
            memcpy(tickets->keys, keys, count * sizeof keys[0]);
            tickets->key_count = count;
            tickets->read_m = facts.st_mtim;
            tickets->read_inode = facts.st_ino;
        }
    }
    (void)pthread_mutex_unlock(&tickets->lock);
    mem_wipe(keys, sizeof keys);
done:
    if (fd >= 0) {
        (void)close(fd); /* read only */
    }
    return status;
}

enum status tls_tickets_create(const char *file, int64_t rotate_s, struct tls_tickets **out_tickets,
                               struct error *out_error)
{
    struct tls_tickets *tickets = calloc(1, sizeof *tickets);
    if (tickets == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for ticket keys");
    }
    atomic_init(&tickets->references, 1);
    (void)pthread_mutex_init(&tickets->lock, NULL); /* cannot fail on Linux */
    tickets->rotate_s = rotate_s;
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    tickets->file = file == NULL ? NULL : strdup(file);
    enum status status = STATUS_OK;
    if (tickets->cipher == NULL || (file != NULL && tickets->file == NULL)) {
        status = error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for ticket keys");
    } else if (file != NULL) {
        status = file_load(tickets, out_error);
    } else if (rotate(tickets, seconds_now()) != STATUS_OK) {
        status = error_set(out_error, STATUS_IO, 0, NULL, "no random octets for ticket keys");
    }
    if (status != STATUS_OK) {
        tls_tickets_unref(&tickets);
        return status;
    }
    *out_tickets = tickets;
    return STATUS_OK;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets)
{
    /* Relaxed: whoever gives a reference away has one. */
    atomic_fetch_add_explicit(&tickets->references, 1, memory_order_relaxed);
    return tickets;
}

void tls_tickets_unref(struct tls_tickets **tickets)
{
    struct tls_tickets *gone = *tickets;
    *tickets = NULL;
    /* Acquire-release: the last one sees all that the others did. */
    if (gone == NULL ||
        atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    (void)pthread_mutex_destroy(&gone->lock); /* nobody holds it */
    EVP_CIPHER_free(gone->cipher);
    free(gone->file);
    mem_wipe(gone, sizeof *gone);
    free(gone);
}

bool tls_tickets_random(const struct tls_tickets *tickets, int64_t rotate_s)
{
    return tickets->file == NULL && tickets->rotate_s == rotate_s;
}

enum status tls_tickets_refresh(struct tls_tickets *tickets, struct error *out_error)
{
    return tickets->file == NULL ? STATUS_OK : file_load(tickets, out_error);
}

/* Copies the key to be used; what the callback is to return. */
static int choose(struct tls_tickets *tickets, const unsigned char *name, bool encrypt,
                  struct ticket_key *out_key)
{
    int result = 0;
    (void)pthread_mutex_lock(&tickets->lock); /* fails only when misused */
    int64_t now_s = tickets->file == NULL ? seconds_now() : 0;
    if (tickets->file == NULL && now_s - tickets->made_s >= tickets->rotate_s) {
        (void)rotate(tickets, now_s); /* without random octets the old key does for now */
    }
    for (unsigned i = 0; i < tickets->key_count && result == 0; i++) {
        if (encrypt || memcmp(tickets->keys[i].name, name, NAME_OCTETS) == 0) {
            *out_key = tickets->keys[i];
            result = i == 0 ? 1 : 2;
        }
    }
    (void)pthread_mutex_unlock(&tickets->lock);
    return result;
}

static bool key_set(struct tls_tickets *tickets, struct ticket_key *key, unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool encrypt)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->hmac, sizeof key->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, parameters) == 1 &&
           EVP_CipherInit_ex2(cipher, tickets->cipher, key->aes, iv, encrypt ? 1 : 0, NULL) == 1;
}

int tls_tickets_use(struct tls_tickets *tickets, unsigned char *name, unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool encrypt)
{
    struct ticket_key key;
    int result = choose(tickets, name, encrypt, &key);
    if (result == 0) {
        return 0;
    }
    if (encrypt) {
        memcpy(name, key.name, NAME_OCTETS);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->cipher)) != 1) {
            result = -1;
        }
    }
    if (result > 0 && !key_set(tickets, &key, iv, cipher, mac, encrypt)) {
        result = -1;
    }
    mem_wipe(&key, sizeof key);
    return result;
}
