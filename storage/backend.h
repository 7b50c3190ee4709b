/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a back end of the store brings: one function for each call of store.h, with the same
 * contract. store.c dispatches. A back end's own objects begin with these.
 */
#ifndef STORAGE_BACKEND_H
#define STORAGE_BACKEND_H

#include "storage/store.h"

struct store_ops {
    void (*close)(struct store *store);
    void (*numbers)(struct store *store, struct store_numbers *out_numbers);
    const struct writer_counters *(*writer_counters)(struct store *store);
    enum status (*checkpoint)(struct store *store, struct error *out_error);
    enum status (*compact)(struct store *store, bool all, struct error *out_error);

    enum status (*check_start)(struct store *store, uint64_t rate);
    void (*check_cancel)(struct store *store);
    void (*check_state)(struct store *store, struct check_run_state *out_state);
    size_t (*check_findings)(struct store *store, size_t first, struct damage *out, size_t count);
    size_t (*damaged)(struct store *store, size_t first, struct store_damaged *out, size_t count);

    enum status (*drop_create)(struct store_drop_change *change);
    enum status (*drop_rename)(struct store_drop_change *change);
    enum status (*drop_remove)(struct store_drop_change *change);
    bool (*drop_is_removed)(struct store_client *client, const struct store_drop *drop);

    enum status (*open_drop)(struct store_open_request *request);
    void (*open_cancel)(struct store_open_request *request);
    void (*view_close)(struct view *view);
    enum status (*view_renew)(struct view *view);
    void (*view_message)(const struct view *view, uint32_t index,
                         struct store_message *out_message);
    uint64_t (*view_size)(const struct view *view, uint32_t index);
    size_t (*view_uidl)(const struct view *view, uint32_t index, char out[STORAGE_UIDL_LENGTH_MAX]);

    enum status (*fetch)(struct store_fetch *fetch);
    void (*fetch_cancel)(struct store_fetch *fetch);

    enum status (*commit)(struct view *view, const uint32_t *indexes, uint32_t count,
                          void (*on_done)(void *owner, enum status status), void *owner,
                          struct store_commit **out_commit);
    void (*commit_detach)(struct store_commit *commit);

    enum status (*delivery_admits)(struct store_client *client);
    enum status (*delivery_begin)(struct store_client *client,
                                  const struct store_delivery_info *info,
                                  const struct store_delivery_events *events, void *owner,
                                  struct store_delivery **out_delivery);
    enum status (*delivery_add)(struct store_delivery *delivery, const uint8_t *data,
                                size_t length);
    uint64_t (*delivery_bare_lfs)(const struct store_delivery *delivery);
    enum status (*delivery_commit)(struct store_delivery *delivery,
                                   const struct store_recipient *recipients, unsigned count);
    void (*delivery_abort)(struct store_delivery *delivery);
};

struct store {
    const struct store_ops *ops;
};

struct view {
    const struct store_ops *ops;
    uint32_t count;
    uint64_t octets;
};

struct store_commit {
    const struct store_ops *ops;
};

struct store_delivery {
    const struct store_ops *ops;
};

#endif
