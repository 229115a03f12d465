/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * JSON text, byte by byte. It does not know what the text is about. Every reply and notice of the
 * daemon passes through here, so plain runs of bytes are copied whole and numbers are made by hand.
 */

#include "proto/print.h"

#include <string.h>

enum { PRINT_FOREIGN_MAX = 64 };

static const char print_hex[] = "0123456789abcdef";
static const char print_pairs[] = "0001020304050607080910111213141516171819202122232425262728293031323334"
                                  "3536373839404142434445464748495051525354555657585960616263646566676869"
                                  "707172737475767778798081828384858687888990919293949596979899";

/* Bytes that cannot stand in a JSON string as they are, or have to be looked at more closely. */
static const bool print_is_special[256] = {
    [0x00 ... 0x1f] = true,
    ['"'] = true,
    ['\\'] = true,
    [0x80 ... 0xff] = true,
};

struct print print_into(char *room, size_t len)
{
    return (struct print){.at = room, .end = room + len};
}

void print_bytes(struct print *print, const char *bytes, size_t len)
{
    if (print->full || len > (size_t)(print->end - print->at)) {
        print->full = true;
        return;
    }
    if (len > 0) {
        memcpy(print->at, bytes, len);
        print->at += len;
    }
}

void print_text(struct print *print, const char *text)
{
    print_bytes(print, text, strlen(text));
}

void print_int(struct print *print, int64_t value)
{
    char digits[20]; /* of -2^63, with its sign */
    char *at = digits + sizeof(digits);
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

    while (rest >= 100) {
        at -= 2;
        memcpy(at, print_pairs + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (rest >= 10) {
        at -= 2;
        memcpy(at, print_pairs + 2 * rest, 2);
    } else {
        *--at = (char)('0' + rest);
    }
    if (value < 0) {
        *--at = '-';
    }
    print_bytes(print, at, (size_t)(digits + sizeof(digits) - at));
}

/*
 * How long the well-formed UTF-8 sequence at `bytes` is, and its code point; 0 if there is none. The
 * second byte alone decides about overlong forms, surrogates and what lies beyond U+10FFFF.
 */
static size_t print_sequence_len(const unsigned char *bytes, size_t len, uint32_t *ret_point)
{
    unsigned char first = bytes[0], low = 0x80, high = 0xbf;
    size_t need;

    if (first < 0x80) {
        *ret_point = first;
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    need = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
    high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    if (len < need || bytes[1] < low || bytes[1] > high) {
        return 0;
    }

    uint32_t point = first & (0x7fu >> need);
    for (size_t i = 1; i < need; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (bytes[i] & 0x3fu);
    }
    *ret_point = point;
    return need;
}

bool print_is_utf8(const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;

    while (at < end) {
        uint32_t point;
        size_t sequence_len = print_sequence_len(at, (size_t)(end - at), &point);

        if (sequence_len == 0) {
            return false;
        }
        at += sequence_len;
    }
    return true;
}

/* \uXXXX, for one UTF-16 unit. */
static void print_unit(struct print *print, uint32_t unit)
{
    print_literal(print, "\\u");
    for (int shift = 12; shift >= 0; shift -= 4) {
        print_bytes(print, print_hex + (unit >> shift & 15), 1);
    }
}

/* An ASCII character that has to be escaped, in the shortest way that JSON knows. */
static void print_escape(struct print *print, unsigned char byte)
{
    static const char letters[0x20] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char letter = byte < sizeof(letters) ? letters[byte] : (char)byte;

    if (letter != '\0') {
        char text[2] = {'\\', letter};

        print_bytes(print, text, sizeof(text));
    } else {
        print_unit(print, byte);
    }
}

void print_string(struct print *print, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;

    print_literal(print, "\"");
    while (at < end) {
        const unsigned char *run = at;
        uint32_t point;

        while (at < end && !print_is_special[*at]) {
            at++;
        }
        print_bytes(print, (const char *)run, (size_t)(at - run));
        if (at == end) {
            break;
        }
        size_t sequence_len = print_sequence_len(at, (size_t)(end - at), &point);
        if (sequence_len == 1) {
            print_escape(print, *at);
        } else if (sequence_len > 1) {
            print_bytes(print, (const char *)at, sequence_len);
        } else {
            print_literal(print, "\xef\xbf\xbd");
        }
        at += sequence_len > 0 ? sequence_len : 1;
    }
    print_literal(print, "\"");
}

/*
 * The cut may fall into a character. Then the whole text tells that it is well-formed, the cut one
 * that it does not fit, and it is left out.
 */
void print_foreign(struct print *print, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;
    const unsigned char *cut = len > PRINT_FOREIGN_MAX ? at + PRINT_FOREIGN_MAX : end;

    while (at < cut) {
        uint32_t point = 0xfffd;
        size_t sequence_len = print_sequence_len(at, (size_t)(end - at), &point);

        if (sequence_len > (size_t)(cut - at)) {
            break;
        }
        if (point == '"' || point == '\\') {
            print_escape(print, (unsigned char)point);
        } else if (point >= 0x20 && point < 0x7f) {
            print_bytes(print, (const char *)at, 1);
        } else if (point < 0x10000) {
            print_unit(print, point);
        } else {
            print_unit(print, 0xd800 + ((point - 0x10000) >> 10));
            print_unit(print, 0xdc00 + ((point - 0x10000) & 0x3ff));
        }
        at += sequence_len > 0 ? sequence_len : 1;
    }
}
