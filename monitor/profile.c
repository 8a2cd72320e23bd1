/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * profile - x-profile-start, x-profile-stop: where the guest's processors are, so many times a
 * second
 *
 * Each sample stops the processors for a moment and notes the program counters.  The result is
 * text for flamegraph.pl
 * ("vcpu0;symbol count") and a flame graph of our own as SVG.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "core/command.h"
#include "core/machine.h"
#include "monitor/hmp_priv.h"
#include "monitor/symbols.h"

enum { HZ = 100, HZ_MAX = 1000, SAMPLES_MAX = 4 << 20, TOP = 20 };
enum { SVG_WIDTH = 1200, SVG_ROW = 18, SVG_LETTER = 7 };

typedef struct Sample {
    uint32_t cpu;
    bool halted;
    Gva pc;
} Sample;

/* Samples of one processor in one place. */
typedef struct Place {
    uint32_t cpu;
    uint64_t count;
    char *name;
} Place;

typedef struct Profile {
    Machine *machine;
    bool on;
    Timer timer;
    int64_t period;
    Symbols *symbols;
    Sample *samples;
    size_t n, cap;
} Profile;

static const char profile_key;
static const Type sample_size = {.name = "sample", .meta = META_STRUCT, .size = sizeof(Place)};

/* --- sampling --- */

static void profile_note(Profile *p)
{
    Machine *m = p->machine;

    if (m->state != RUN_RUNNING || p->n + m->n_cpus > SAMPLES_MAX)
        return;
    if (p->n + m->n_cpus > p->cap) {
        p->cap = MAX(p->cap * 2, (size_t)4096);
        p->samples = xrealloc(p->samples, p->cap * sizeof *p->samples);
    }
    hmp_hold(m);
    for (unsigned i = 0; i < m->n_cpus; i++)
        p->samples[p->n++] = (Sample){i, m->cpus[i]->halted, m->arch->pc_to_linear(m->cpus[i])};
    hmp_go(m);
}

static void profile_tick(void *arg)
{
    Profile *p = arg;

    profile_note(p);
    timer_at(&p->timer, clock_now(p->timer.clock) + p->period);
}

static void profile_end(void *state)
{
    Profile *p = state;

    if (p->on)
        timer_stop(&p->timer);
    symbols_free(p->symbols);
    xfree(p->samples);
    *p = (Profile){0};
}

/* --- places --- */

static int by_name(const void *a, const void *b)
{
    const Place *x = a, *y = b;

    return x->cpu != y->cpu ? (x->cpu < y->cpu ? -1 : 1) : strcmp(x->name, y->name);
}

static int by_count(const void *a, const void *b)
{
    const Place *x = a, *y = b;

    return x->count != y->count ? (x->count > y->count ? -1 : 1) : by_name(a, b);
}

static char *place_name(const Profile *p, const Sample *s)
{
    const char *name = symbols_find(p->symbols, s->pc);

    if (s->halted)
        return xstrdup("(halted)");
    return name ? xstrdup(name) : xasprintf("0x%" PRIx64, s->pc);
}

/* One for each processor and name. */
static List places_collect(const Profile *p)
{
    List l = {0};
    Place *at;
    unsigned n = 0;

    for (size_t i = 0; i < p->n; i++)
        *(Place *)list_add(&l, &sample_size) =
            (Place){p->samples[i].cpu, 1, place_name(p, &p->samples[i])};
    at = l.p;
    if (l.n)
        qsort(at, l.n, sizeof *at, by_name);
    for (unsigned i = 1; i < l.n; i++) {
        if (by_name(&at[n], &at[i])) {
            at[++n] = at[i];
        } else {
            at[n].count++;
            xfree(at[i].name);
        }
    }
    l.n = l.n ? n + 1 : 0;
    return l;
}

static void places_free(List *l)
{
    for (unsigned i = 0; i < l->n; i++)
        xfree(LIST_AT(Place, l, i)->name);
    xfree(l->p);
}

/* --- files --- */

static void folded_write(const List *l, FILE *f)
{
    for (unsigned i = 0; i < l->n; i++) {
        const Place *p = LIST_AT(Place, l, i);

        fprintf(f, "vcpu%u;%s %" PRIu64 "\n", p->cpu, p->name, p->count);
    }
}

static void svg_text(FILE *f, const char *s, size_t n)
{
    for (size_t i = 0; s[i] && i < n; i++) {
        if (strchr("<>&\"'", s[i]))
            fprintf(f, "&#%d;", s[i]);
        else
            fputc(s[i], f);
    }
}

static void svg_box(FILE *f, double x, unsigned row, double width, const char *name, uint64_t count)
{
    size_t letters = width > 2 * SVG_LETTER ? (size_t)(width / SVG_LETTER) : 0;
    unsigned hue = 0;

    for (const char *s = name; *s; s++)
        hue = hue * 31 + (uint8_t)*s;
    fprintf(f, "<g><title>");
    svg_text(f, name, SIZE_MAX);
    fprintf(f, " (%" PRIu64 ")</title><rect x=\"%.1f\" y=\"%u\" width=\"%.1f\" height=\"%d\" ",
            count, x, row * SVG_ROW, MAX(width - 0.5, 0.1), SVG_ROW - 1);
    fprintf(f, "fill=\"hsl(%u,80%%,65%%)\"/><text x=\"%.1f\" y=\"%u\">", hue % 60, x + 3,
            row * SVG_ROW + 13);
    svg_text(f, name, letters);
    fprintf(f, "</text></g>\n");
}

static void svg_write(const List *l, FILE *f)
{
    const Place *at = l->p;
    uint64_t all = 0;
    double x = 0, scale;

    for (unsigned i = 0; i < l->n; i++)
        all += at[i].count;
    scale = all ? (double)SVG_WIDTH / (double)all : 0;
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"monospace\" font-size=\"11\">\n",
            SVG_WIDTH, 3 * SVG_ROW);
    svg_box(f, 0, 2, SVG_WIDTH, "all", all);
    for (unsigned i = 0; i < l->n;) {
        uint64_t sum = 0;
        double start = x;
        char name[24];

        snprintf(name, sizeof name, "vcpu%u", at[i].cpu);
        for (uint32_t cpu = at[i].cpu; i < l->n && at[i].cpu == cpu; i++) {
            double width = (double)at[i].count * scale;

            svg_box(f, x, 0, width, at[i].name, at[i].count);
            x += width;
            sum += at[i].count;
        }
        svg_box(f, start, 1, x - start, name, sum);
    }
    fprintf(f, "</svg>\n");
}

static bool file_write(const List *l, const char *path, void (*fn)(const List *l, FILE *f),
                       Error *err)
{
    FILE *f = fopen(path, "we");
    bool bad;

    if (!f)
        return error_set_errno(err, errno, "could not open '%s'", path);
    fn(l, f);
    bad = ferror(f) != 0;
    bad |= fclose(f) != 0;
    return !bad || error_set_errno(err, errno, "could not write '%s'", path);
}

/* --- commands --- */

typedef struct StartArgs {
    char *symbols;
    bool has_hz;
    uint32_t hz;
} StartArgs;
static const Field start_fields[] = {
    ARG_OPT(StartArgs, hz, "frequency", "samples a second: 1 to 1000, 100"),
    ARG_STR_OPT(StartArgs, symbols, "symbols", "a System.map, or an ELF file with symbols"),
};
static STRUCT_TYPE(start_type, StartArgs, start_fields);

COMMAND_FN(profile_start)
{
    const StartArgs *a = args;
    Profile *p = control_state(m, &profile_key, sizeof *p, profile_end);
    uint32_t hz = a->has_hz ? a->hz : HZ;
    Symbols *symbols = NULL;

    if (p->on)
        return error_set(err, "a profile is being made already");
    if (!hz || hz > HZ_MAX)
        return error_set(err, "Parameter 'frequency' expects a number from 1 to %d", HZ_MAX);
    if (a->symbols && !(symbols = symbols_load(a->symbols, err)))
        return false;
    *p = (Profile){.machine = m, .on = true, .symbols = symbols, .period = 1000000000 / hz};
    timer_init(&p->timer, m->rt_clock, NULL, profile_tick, p);
    timer_at(&p->timer, clock_now(m->rt_clock) + p->period);
    return true;
}
COMMAND(profile_start, .name = "x-profile-start", .args = &start_type, .run = profile_start,
        .doc = "Begin to note where the processors are.")

typedef struct StopArgs {
    char *folded, *svg;
} StopArgs;
static const Field stop_fields[] = {
    ARG_STR_OPT(StopArgs, folded, "folded", "file for lines \"vcpu0;symbol count\""),
    ARG_STR_OPT(StopArgs, svg, "svg", "file for a flame graph"),
};
static STRUCT_TYPE(stop_type, StopArgs, stop_fields);
typedef struct TopPlace {
    char *name;
    int64_t cpu, count;
} TopPlace;
static const Field top_fields[] = {
    ARG(TopPlace, name, "name", "symbol, or address"),
    ARG(TopPlace, cpu, "cpu-index", "which processor"),
    ARG(TopPlace, count, "count", "samples there"),
};
static STRUCT_TYPE(top_type, TopPlace, top_fields);
static LIST_TYPE(tops_type, &top_type);
typedef struct Result {
    int64_t samples;
    List top;
} Result;
static const Field result_fields[] = {
    ARG(Result, samples, "samples", "in all"),
    ARG_TYPE(Result, top, "top", &tops_type, "the places with most of them"),
};
static STRUCT_TYPE(result_type, Result, result_fields);

COMMAND_FN(profile_stop)
{
    const StopArgs *a = args;
    Profile *p = control_state(m, &profile_key, sizeof *p, profile_end);
    Result *r = ret;
    List places;
    bool ok = true;

    if (!p->on)
        return error_set(err, "no profile is being made");
    places = places_collect(p);
    r->samples = (int64_t)p->n;
    if (a->folded)
        ok = file_write(&places, a->folded, folded_write, err);
    if (ok && a->svg)
        ok = file_write(&places, a->svg, svg_write, err);
    if (places.n)
        qsort(places.p, places.n, sizeof(Place), by_count);
    for (unsigned i = 0; i < MIN(places.n, (unsigned)TOP); i++) {
        const Place *at = LIST_AT(Place, &places, i);

        *(TopPlace *)list_add(&r->top, &top_type) =
            (TopPlace){xstrdup(at->name), at->cpu, (int64_t)at->count};
    }
    places_free(&places);
    profile_end(p);
    return ok;
}
COMMAND(profile_stop, .name = "x-profile-stop", .args = &stop_type, .ret = &result_type,
        .run = profile_stop, .doc = "End it: the places where most of the time went.")
