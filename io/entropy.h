/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * entropy - random bytes from an rng-random or rng-builtin object
 *
 * Implemented by core/object_rng.c.
 */
#ifndef IO_ENTROPY_H
#define IO_ENTROPY_H

#include "base/base.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/loop.h"

struct Objects;
typedef struct Entropy Entropy;
/* Called on the loop with the lock that was given to entropy_request; @n is 1 to what was asked. */
typedef void EntropyFn(void *arg, const uint8_t *p, size_t n);

/* The object @id; NULL id: a built-in source, one for each call.  Release with entropy_close. */
Entropy *entropy_open(struct Objects *set, const char *id, Loop *loop, Error *err);
void entropy_close(Entropy *e); /* drops what is pending; loop thread; NULL is fine */
/* Ask for @n bytes (at most 64 KiB at a time are given).  fn is called later, never inline.  Any
 * thread.  One request at a time: false while one is pending. */
bool entropy_request(Entropy *e, size_t n, Lock *lock, EntropyFn *fn, void *arg);
void entropy_cancel(Entropy *e); /* with the request's lock held: fn will not be called */

#endif
