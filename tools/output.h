/* SPDX-License-Identifier: GPL-2.0-or-later */
/* output - JSON and text in the layout that scripts know from qemu-img */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include "block/block.h"

enum { JSON_INDENT_STEP = 4 };
void json_show(const json_t *j); /* on stdout, as qemu-img lays it out, with a newline */
void json_show_human(const json_t *j, int indent); /* "key: value" lines */
typedef struct JsonMember {
    const char *key;
    const json_t *value;
} JsonMember;
JsonMember *json_members(const json_t *object,
                         size_t *n);                    /* in the order of output; caller frees */
void size_text(char *out, size_t cap, uint64_t bytes);  /* "1.5 GiB" */
void snapshots_show(const SnapshotInfo *s, unsigned n); /* header and rows */
/* On standard error, if @n is open for writing as raw because nothing else fitted. */
void guess_warning(const BlockNode *n);

#endif
