/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * expr - numbers as human commands take them: + - * / % & | ^ ~ ( ), 0x and 0 prefixes, 'c',
 * $register
 *
 * As in QEMU, & | ^ bind as + - do, * / % tighter; all is 64-bit and wraps.
 */
#include "monitor/expr.h"

#include <stdlib.h>

#include "core/debug.h"
#include "core/machine.h"

enum { DEPTH_MAX = 64 };

typedef struct Expr {
    const char *s;
    Cpu *cpu;
    unsigned depth;
    Error *err;
} Expr;

static bool expr_sum(Expr *e, uint64_t *out);

static void skip_blanks(Expr *e)
{
    while (*e->s == ' ' || *e->s == '\t')
        e->s++;
}

/* --- registers --- */

static bool reg_value(Cpu *c, const char *name, size_t len, uint64_t *out)
{
    const DebugArch *a = c ? c->arch->debug : NULL;
    const DebugFeature *features[DEBUG_FEATURES];
    unsigned n = a ? a->features(c, features) : 0;

    if (c && len == 2 && !memcmp(name, "pc", 2)) {
        *out = c->arch->pc_to_linear(c);
        return true;
    }
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < features[i]->n; k++) {
            const DebugReg *r = &features[i]->regs[k];
            uint8_t value[DEBUG_REG_BYTES] = {0};

            if (strlen(r->name) != len || memcmp(r->name, name, len) || r->bits > 64)
                continue;
            a->get(c, r, value);
            memcpy(out, value, sizeof *out);
            return true;
        }
    return false;
}

static bool expr_register(Expr *e, uint64_t *out)
{
    size_t len = 0;

    e->s++;
    while ((e->s[len] >= 'a' && e->s[len] <= 'z') || (e->s[len] >= '0' && e->s[len] <= '9') ||
           e->s[len] == '_' || e->s[len] == '.')
        len++;
    if (!reg_value(e->cpu, e->s, len, out))
        return error_set(e->err, "unknown register");
    e->s += len;
    return true;
}

/* --- grammar --- */

static bool expr_number(Expr *e, uint64_t *out)
{
    char *end;

    if (!*e->s)
        return error_set(e->err, "unexpected end of expression");
    *out = strtoull(e->s, &end, 0);
    if (end == e->s || *e->s == '-' || *e->s == '+')
        return error_set(e->err, "invalid char '%c' in expression", *e->s);
    e->s = end;
    return true;
}

static bool expr_unary(Expr *e, uint64_t *out)
{
    char c;

    skip_blanks(e);
    c = *e->s;
    if (++e->depth > DEPTH_MAX)
        return error_set(e->err, "expression is nested too deeply");
    if (c == '$')
        return expr_register(e, out);
    if (c == '\'' && e->s[1] && e->s[2] == '\'') {
        *out = (uint8_t)e->s[1];
        e->s += 3;
        return true;
    }
    if (!c || !strchr("+-~(", c))
        return expr_number(e, out);
    e->s++;
    if (c == '(') {
        if (!expr_sum(e, out))
            return false;
        if (*e->s != ')')
            return error_set(e->err, "')' expected");
        e->s++;
        return true;
    }
    if (!expr_unary(e, out))
        return false;
    *out = c == '-' ? -*out : c == '~' ? ~*out : *out;
    return true;
}

/* A file's name behind a number, rather than a division. */
static bool is_path(const char *s)
{
    return *s == '/' && s[1] && !strchr(" \t0123456789($-+~'", s[1]);
}

static bool expr_product(Expr *e, uint64_t *out)
{
    uint64_t v;

    if (!expr_unary(e, out))
        return false;
    for (;;) {
        char op;

        skip_blanks(e);
        op = *e->s;
        if ((op != '*' && op != '/' && op != '%') || is_path(e->s))
            return true;
        e->s++;
        if (!expr_unary(e, &v))
            return false;
        if (op != '*' && !v)
            return error_set(e->err, "division by zero");
        *out = op == '*' ? *out * v : op == '/' ? *out / v : *out % v;
    }
}

static bool expr_sum(Expr *e, uint64_t *out)
{
    uint64_t v;

    if (!expr_product(e, out))
        return false;
    for (;;) {
        char op;

        skip_blanks(e);
        op = *e->s;
        if (!op || !strchr("+-&|^", op))
            return true;
        e->s++;
        if (!expr_product(e, &v))
            return false;
        *out = op == '+'   ? *out + v
               : op == '-' ? *out - v
               : op == '&' ? (*out & v)
               : op == '|' ? (*out | v)
                           : (*out ^ v);
    }
}

bool expr_parse(const char *s, const char **end, Cpu *c, int64_t *out, Error *err)
{
    Expr e = {.s = s, .cpu = c, .err = err};
    uint64_t v = 0;
    bool ok = expr_sum(&e, &v);

    *end = e.s;
    *out = (int64_t)v;
    return ok;
}
