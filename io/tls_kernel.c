/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the kernel can encrypt what is sent on a socket (Documentation/networking/tls.rst). */
#include "io/tls.h"

#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TCP_ULP
#define TCP_ULP 31 /* linux/tcp.h, since 4.13 */
#endif
#ifndef SOL_TLS
#define SOL_TLS 282 /* linux/socket.h */
#endif

static pthread_once_t probe_once = PTHREAD_ONCE_INIT;
static bool available;

/* The module may be there and the cipher be missing: then all would silently be done in user space.
 * The key is all zero; nothing is ever sent with it. */
static bool takes_keys(int client)
{
    struct tls12_crypto_info_aes_gcm_128 keys = {
        .info = {.version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};
    return setsockopt(client, SOL_TLS, TLS_TX, &keys, sizeof keys) == 0;
}

/* Only a connected socket takes an upper-layer protocol. The first one to ask makes the kernel load
 * its modules, if it has them and may. */
static bool probe(int listener, int client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    return listener >= 0 && client >= 0 &&
           bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 1) == 0 &&
           getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
           connect(client, (struct sockaddr *)&address, length) == 0 &&
           setsockopt(client, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0 && takes_keys(client);
}

static void probe_both(void)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    available = probe(listener, client);
    if (listener >= 0) {
        (void)close(listener); /* nobody else has it */
    }
    if (client >= 0) {
        (void)close(client); /* nothing was sent on it */
    }
}

bool tls_kernel_available(void)
{
    (void)pthread_once(&probe_once, probe_both); /* cannot fail */
    return available;
}
