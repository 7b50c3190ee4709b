/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/population.h"

#include <stdlib.h>
#include <string.h>

enum status population_init(struct population *population, uint32_t first, uint32_t count,
                            unsigned part, unsigned parts)
{
    uint32_t mine = count > part ? (count - part + parts - 1) / parts : 0;
    *population = (struct population){.count = mine};
    population->users = calloc(mine > 0 ? mine : 1, sizeof population->users[0]);
    if (population->users == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t index = 0; index < mine; index++) {
        population->users[index].number = first + part + index * parts;
    }
    return STATUS_OK;
}

void population_deinit(struct population *population)
{
    for (uint32_t index = 0; population->users != NULL && index < population->count; index++) {
        free(population->users[index].known);
        free(population->users[index].keys);
    }
    free(population->users);
    *population = (struct population){0};
}

struct bench_user *population_take(struct population *population, struct dice *dice)
{
    if (dice != NULL && population->count > 0) {
        population->next = (uint32_t)dice_below(dice, population->count);
    }
    for (uint32_t tried = 0; tried < population->count; tried++) {
        struct bench_user *user = &population->users[population->next];
        population->next = population->next + 1 < population->count ? population->next + 1 : 0;
        if (!user->busy) {
            user->busy = true;
            return user;
        }
    }
    return NULL;
}

struct bench_user *population_recipient(struct population *population, struct dice *dice)
{
    if (population->count == 0) {
        return NULL;
    }
    if (dice != NULL) {
        population->next = (uint32_t)dice_below(dice, population->count);
    }
    struct bench_user *user = &population->users[population->next];
    population->next = population->next + 1 < population->count ? population->next + 1 : 0;
    return user;
}

uint64_t population_hash(const char *text, size_t length)
{
    struct dice dice = {.state = length};
    uint64_t hash = 0;
    for (size_t at = 0; at < length; at += sizeof hash) {
        uint64_t piece = 0;
        memcpy(&piece, text + at, length - at < sizeof piece ? length - at : sizeof piece);
        dice.state ^= piece;
        hash = dice_next(&dice);
        dice.state = hash;
    }
    return hash;
}

static struct known_message *known_at(struct bench_user *user, uint32_t index)
{
    return index < user->known_count ? &user->known[index] : NULL;
}

bool bench_user_saw(struct bench_user *user, uint32_t index, uint64_t uidl)
{
    struct known_message *known = known_at(user, index);
    if (known != NULL) {
        return known->uidl == uidl;
    }
    if (index != user->known_count) {
        return false; /* a listing that jumps */
    }
    if (user->known_count > 0 && user->known[user->known_count - 1].uidl == uidl) {
        return false; /* the same one twice */
    }
    if (user->known_count == user->known_capacity) {
        uint32_t capacity = user->known_capacity == 0 ? 8 : user->known_capacity * 2;
        struct known_message *grown = reallocarray(user->known, capacity, sizeof *grown);
        if (grown == NULL) {
            bench_user_forget(user);
            return true;
        }
        user->known = grown;
        user->known_capacity = capacity;
    }
    user->known[user->known_count++] = (struct known_message){.uidl = uidl};
    return true;
}

bool bench_user_counted(struct bench_user *user, uint32_t count)
{
    return count >= user->known_count;
}

bool bench_user_sized(struct bench_user *user, uint32_t index, uint64_t octets)
{
    struct known_message *known = known_at(user, index);
    uint32_t kept = octets < UINT32_MAX ? (uint32_t)octets : UINT32_MAX;
    if (known == NULL) {
        return true;
    }
    if (known->octets == 0) {
        known->octets = kept;
    }
    return known->octets == kept;
}

bool bench_user_fetched(struct bench_user *user, uint32_t index, uint64_t letter)
{
    struct known_message *known = known_at(user, index);
    if (known == NULL) {
        return true;
    }
    known->fetched = true;
    if (known->letter == 0) {
        known->letter = letter;
    }
    return known->letter == letter;
}

bool bench_user_has_fetched(const struct bench_user *user, uint32_t index)
{
    return index < user->known_count && user->known[index].fetched;
}

void bench_user_deleted(struct bench_user *user, uint32_t count)
{
    uint32_t gone = count < user->known_count ? count : user->known_count;
    if (gone > 0) {
        user->known_count -= gone;
        memmove(user->known, user->known + gone, user->known_count * sizeof user->known[0]);
    }
}

void bench_user_forget(struct bench_user *user)
{
    user->known_count = 0;
}
