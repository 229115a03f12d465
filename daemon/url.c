/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The URL of Redis, taken apart from left to right:
 *
 *     redis://  user:password@  host:port  /db
 *     scheme    credentials     place      rest
 *
 * Resolves no name and connects to nothing.
 */

#include "daemon/url.h"

#include "daemon/base/alloc.h"
#include "daemon/secret.h"
#include "daemon/value.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int url_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* A copy with each %XX replaced by its byte; NULL if one is none, or is %00. */
static char *url_decode(const char *text, size_t len)
{
    char *decoded = alloc_copy(text, len);
    char *to = decoded;

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            *to++ = text[i];
            continue;
        }
        int high = i + 2 < len ? url_hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? url_hex_digit(text[i + 2]) : -1;
        if (low < 0 || high * 16 + low == 0) {
            free(decoded);
            return NULL;
        }
        *to++ = (char)(high * 16 + low);
        i += 2;
    }
    *to = '\0';
    return decoded;
}

/* user, user:password or :password; `*text` moves behind the @. No @: there are none. */
static int url_take_credentials(const char **text, struct url *url)
{
    /* The last @ before the place ends: one in a password may have been left as it is. */
    size_t len = strcspn(*text, "/");
    const char *at = memrchr(*text, '@', len);
    if (at == NULL) {
        return 0;
    }
    const char *colon = memchr(*text, ':', (size_t)(at - *text));
    const char *user_end = colon != NULL ? colon : at;

    if (user_end > *text) {
        url->username = url_decode(*text, (size_t)(user_end - *text));
        if (url->username == NULL) {
            return URL_E_BAD;
        }
    }
    if (colon != NULL && at > colon + 1) {
        url->password = url_decode(colon + 1, (size_t)(at - colon - 1));
        if (url->password == NULL) {
            return URL_E_BAD;
        }
    }
    *text = at + 1;
    return 0;
}

static int url_take_db(const char *text, struct url *url)
{
    if (value_parse_count(text, &url->db) != 0 || url->db > URL_DB_MAX) {
        return URL_E_BAD;
    }
    return 0;
}

/* host[:port][/db] */
static int url_take_tcp(const char *text, struct url *url)
{
    const char *host = text;
    size_t host_len;

    if (*text == '[') { /* an IPv6 address, bracketed since it has colons of its own */
        host = text + 1;
        host_len = strspn(host, "0123456789abcdefABCDEF:.");
        text = host + host_len;
        if (*text++ != ']') {
            return URL_E_BAD;
        }
    } else {
        host_len = strcspn(text, ":/");
        text += host_len;
        for (size_t i = 0; i < host_len; i++) {
            if ((unsigned char)host[i] <= ' ' || strchr("[]@?#%\\\"\x7f", host[i]) != NULL) {
                return URL_E_BAD;
            }
        }
    }
    if (host_len == 0) {
        return URL_E_BAD;
    }
    url->host = alloc_copy(host, host_len);
    url->port = URL_PORT;
    if (*text == ':') {
        char digits[6] = "";
        size_t len = strcspn(++text, "/");
        int64_t port;
        if (len >= sizeof(digits)) {
            return URL_E_BAD;
        }
        memcpy(digits, text, len);
        if (value_parse_count(digits, &port) != 0 || port < 1 || port > 65535) {
            return URL_E_BAD;
        }
        url->port = (int)port;
        text += len;
    }
    if (*text == '/' && text[1] != '\0') {
        return url_take_db(text + 1, url);
    }
    return *text == '\0' || *text == '/' ? 0 : URL_E_BAD;
}

/* /path[?db=N] */
static int url_take_unix(const char *text, struct url *url)
{
    size_t path_len = strcspn(text, "?");

    if (text[0] != '/' || path_len < 2) {
        return URL_E_BAD;
    }
    url->unix_path = url_decode(text, path_len);
    if (url->unix_path == NULL || strlen(url->unix_path) > URL_UNIX_PATH_MAX) {
        return URL_E_BAD;
    }
    text += path_len;
    if (*text == '\0') {
        return 0;
    }
    return strncmp(text, "?db=", 4) == 0 ? url_take_db(text + 4, url) : URL_E_BAD;
}

int url_parse(const char *text, struct url *ret)
{
    struct url url = {0};
    bool is_unix = strncmp(text, "unix://", 7) == 0;

    if (!is_unix && strncmp(text, "redis://", 8) != 0) {
        return URL_E_BAD;
    }
    const char *scheme = is_unix ? "unix://" : "redis://";
    const char *place = text + strlen(scheme);
    if (url_take_credentials(&place, &url) != 0 ||
        (is_unix ? url_take_unix(place, &url) : url_take_tcp(place, &url)) != 0) {
        url_deinit(&url);
        return URL_E_BAD;
    }
    size_t room = strlen(scheme) + strlen(place) + 1;
    url.shown = alloc_bytes(room);
    snprintf(url.shown, room, "%s%s", scheme, place);
    *ret = url;
    return 0;
}

void url_deinit(struct url *url)
{
    secret_free(url->password);
    free(url->username);
    free(url->unix_path);
    free(url->host);
    free(url->shown);
    *url = (struct url){0};
}
