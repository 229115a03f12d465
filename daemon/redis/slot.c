/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The rule and the polynomial (CRC16, XMODEM) are those of the Redis Cluster specification. A tag is found
 * by trial, once for each slot: numbers of up to six digits reach all of them.
 */

#include "daemon/redis/slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint16_t slot_crc_table[256];
static uint32_t slot_tags[SLOT_COUNT];

static void slot_fill_crc_table(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint16_t crc = (uint16_t)(byte << 8);
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0));
        }
        slot_crc_table[byte] = crc;
    }
}

static unsigned slot_hash(const char *bytes, size_t len)
{
    uint16_t crc = 0;
    if (slot_crc_table[1] == 0) {
        slot_fill_crc_table();
    }
    for (size_t i = 0; i < len; i++) {
        crc = (uint16_t)(crc << 8 ^ slot_crc_table[(crc >> 8 ^ (unsigned char)bytes[i]) & 0xff]);
    }
    return crc % SLOT_COUNT;
}

unsigned slot_of(const char *key, size_t len)
{
    const char *open = memchr(key, '{', len);
    if (open == NULL) {
        return slot_hash(key, len);
    }
    const char *tag = open + 1;
    const char *close = memchr(tag, '}', len - (size_t)(tag - key));
    if (close == NULL || close == tag) {
        return slot_hash(key, len);
    }
    return slot_hash(tag, (size_t)(close - tag));
}

static void slot_fill_tags(void)
{
    unsigned n_found = 0;
    for (uint32_t number = 1; n_found < SLOT_COUNT; number++) {
        char digits[16];
        int len = snprintf(digits, sizeof(digits), "%" PRIu32, number);
        unsigned slot = slot_hash(digits, (size_t)len);
        if (slot_tags[slot] == 0) {
            slot_tags[slot] = number;
            n_found++;
        }
    }
}

uint32_t slot_tag(unsigned slot)
{
    if (slot_tags[0] == 0) {
        slot_fill_tags();
    }
    return slot_tags[slot];
}
