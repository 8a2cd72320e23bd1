/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opts - option text: "first,key=value,key,nokey,key=a,,b" */
#ifndef BASE_OPTS_H
#define BASE_OPTS_H

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

typedef struct Opt {
    char *key, *value;
    bool used;
} Opt; /* a bare `key` has value "on"; `nokey` as given */
enum { OPTS_ASKED_MAX = 24 };
typedef struct Opts {
    Opt *o;
    unsigned n;
    const char *asked[OPTS_ASKED_MAX]; /* keys of opts_get(), which live longer: to suggest one */
    unsigned n_asked;
} Opts;

/* @first: the key of a leading item without '='; NULL: none.  `,,` is a comma.  JSON text
 * ({...}) is taken too. */
bool opts_parse(Opts *out, const char *text, const char *first, Error *err);
const char *opts_get(Opts *o, const char *key); /* last one wins; marks it used; NULL if absent */
/* Else the message names the first unknown key, and one that was asked for and is near. */
bool opts_all_used(const Opts *o, Error *err);
void opts_free(Opts *o);
bool name_is(const char *a, const char *b); /* equal, where '-' and '_' are the same */

/* JSON whose strings may also stand in single quotes, as people write it in a shell; as
 * json_loads(). */
json_t *json_loads_lax(const char *text, size_t flags, json_error_t *error);

bool parse_u64(const char *s, uint64_t *out); /* whole string; 0x, 0 prefixes */
bool parse_size(
    const char *s, char unit,
    uint64_t *out); /* "4G", "219136k"; unit for a bare number ('B','M'); fractions as 1.5G */
bool parse_bool(const char *s, bool *out); /* on off yes no true false y n */
const char *nearest_name(const char *s, const char *const *names,
                         unsigned n); /* for "did you mean"; NULL if none is near */

#endif
