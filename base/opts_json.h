/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opts_json - "k=v,a.b=c,list.0=x" or JSON text to a JSON object (QEMU's keyval rules)
 *
 * In text every scalar is a string; `,,` is a comma in a value; the first item may lack its key if
 * one is implied; an object whose keys are 0, 1, ... is a list.
 */
#ifndef BASE_OPTS_JSON_H
#define BASE_OPTS_JSON_H

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"
#include "base/reflect.h"

enum { KEYVAL_FLAGS = 1 /* a bare "key" is key=on, "nokey" key=off (chardev, netdev, drive) */ };

/* A new object.  @implied: the key of a leading item without '='; NULL: none.  @help, if not NULL,
 * is set where "help" or "?" stands instead of a key=value; without @help they are errors. */
json_t *opts_json_parse(const char *text, const char *implied, unsigned flags, bool *help,
                        Error *err);
/* Nested to flat: {"a": {"b": 1}} to {"a.b": 1}; lists by number.  A new object. */
json_t *json_flatten(const json_t *j);
/* Flat (or partly flat) to nested; fails if a key is both a value and an object. */
json_t *json_crumple(const json_t *flat, Error *err);

/* As reflect_from_json, and strings may stand for any scalar (keyval text does not know types). */
bool opts_json_apply(const Type *t, void *obj, const json_t *j, uint8_t use, Error *err);

/* Take a member out of @j; NULL: absent.  The typed ones accept text: false with a message if the
 * value is of another kind, true and *out unchanged if it is absent. */
char *json_take_str(json_t *j, const char *key); /* caller frees; scalars as text */
bool json_take_bool(json_t *j, const char *key, bool *out, Error *err);
bool json_take_u64(json_t *j, const char *key, uint64_t *out, Error *err);
bool json_take_size(json_t *j, const char *key, uint64_t *out, Error *err);
json_t *json_take(json_t *j, const char *key); /* a new reference */
/* True if nothing is left; else the message names the first unknown key. */
bool json_all_taken(const json_t *j, Error *err);

#endif
