/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_block_jobs - stream, commit, mirror and backup, beside a writer that does not stop for them
 */
#include <pthread.h>

#include "block/jobs.h"
#include "block_unit.h"

enum { SPOT = 512 };

/* A guest: writes spots at random and knows what should be there. */
typedef struct Guest {
    BlockPort *port;
    uint8_t mem[SIZE];
    pthread_t thread;
    _Atomic bool stop;
    _Atomic unsigned writes;
    unsigned seed;
    unsigned pause_us;
    bool stubborn;         /* writes may fail: again until they do not */
    pthread_mutex_t write; /* held during each */
} Guest;

static unsigned roll(Guest *g)
{
    g->seed = g->seed * 1664525 + 1013904223;
    return g->seed >> 8;
}

static void guest_write(Guest *g)
{
    uint64_t at = roll(g) % (SIZE / SPOT) * SPOT;
    uint64_t size = MIN((roll(g) % 12 + 1) * (uint64_t)SPOT, SIZE - at);

    bool zero = roll(g) % 8 == 0;
    int rc;

    memset(g->mem + at, zero ? 0 : (int)roll(g), size);
    do
        rc = zero ? block_zero(g->port, at, size, BLOCK_MAY_UNMAP)
                  : block_write(g->port, at, g->mem + at, size, 0);
    while (rc && g->stubborn);
    assert(!rc);
    g->writes++;
}

static void *guest_main(void *arg)
{
    Guest *g = arg;

    while (!g->stop) {
        pthread_mutex_lock(&g->write);
        guest_write(g);
        pthread_mutex_unlock(&g->write);
        if (g->pause_us)
            usleep(g->pause_us);
    }
    return NULL;
}

static void expect(BlockNode *n, const uint8_t *mem)
{
    uint8_t *all = xalloc(SIZE);
    unsigned at = 0;

    ck_assert_int_eq(node_read(n, 0, all, SIZE), 0);
    while (at < SIZE && all[at] == mem[at])
        at++;
    ck_assert_msg(at == SIZE, "%s (%s) differs at %u: %u, not %u", n->name, n->drv->name, at,
                  at < SIZE ? all[at] : 0u, at < SIZE ? mem[at] : 0u);
    xfree(all);
}

/* At work on @n, whose contents are @mem (NULL: zeroes). */
static Guest *guest_new(Place *p, BlockNode *n, const uint8_t *mem)
{
    Guest *g = xnew(Guest);

    g->seed = 99;
    g->pause_us = 20;
    pthread_mutex_init(&g->write, NULL);
    if (mem)
        memcpy(g->mem, mem, SIZE);
    g->port = port_of(p, node_ref(n), PERM_READ | PERM_WRITE);
    return g;
}

static void guest_run(Guest *g)
{
    ck_assert_int_eq(pthread_create(&g->thread, NULL, guest_main, g), 0);
}

static void guest_stop(Guest *g)
{
    g->stop = true;
    pthread_join(g->thread, NULL);
}

/* What is on its disk is what it wrote, on whatever node it is by now. */
static void guest_free(Guest *g)
{
    expect(block_port_node(g->port), g->mem);
    block_port_free(g->port);
    xfree(g);
}

/* A chain of three toys, the top last, each with writes of its own; references to all. */
static void chain(Place *p, BlockNode *n[3], uint8_t *mem)
{
    for (unsigned i = 0; i < 3; i++) {
        Guest *g;

        n[i] = toy(p, i, i ? n[i - 1] : NULL);
        g = guest_new(p, n[i], mem);
        g->seed = i + 1;
        for (unsigned k = 0; k < 12; k++)
            guest_write(g);
        memcpy(mem, g->mem, SIZE);
        guest_free(g);
    }
}

static const BlockJobArgs job_args = {.id = "job", .auto_finalize = true};

static void wait_for(Job *j, Error *err)
{
    ck_assert_msg(j != NULL, "%s", err->msg);
    ck_assert_msg(job_wait(j, NULL, NULL, err) == 0, "%s", err->msg);
}

typedef struct Scene {
    Place p;
    Jobs *jobs;
    BlockNode *n[3];
    uint8_t mem[SIZE];
    Guest *g;
} Scene;

static Scene *scene_new(void)
{
    Scene *s = xnew(Scene);

    place_make(&s->p);
    s->jobs = jobs_new(NULL, NULL);
    chain(&s->p, s->n, s->mem);
    s->g = guest_new(&s->p, s->n[2], s->mem);
    guest_run(s->g);
    return s;
}

static void scene_free(Scene *s)
{
    guest_stop(s->g);
    guest_free(s->g);
    for (unsigned i = 0; i < 3; i++)
        node_unref(s->n[i]);
    jobs_free(s->jobs);
    place_clear(&s->p);
    xfree(s);
}

/* A filter that fails one request in @chance (0: none), and takes its time. */
typedef struct Flaky {
    _Atomic unsigned chance, dice;
    _Atomic bool slow, hold;
    _Atomic int64_t held_at; /* with @hold: a write that waits for a while, -1: none */
} Flaky;

static bool flaky_open(BlockNode *n, const void *options, Error *err)
{
    (void)options, (void)err;
    n->size = n->file->size;
    ((Flaky *)n->state)->held_at = -1;
    return true;
}

static void flaky_submit(BlockNode *n, BlockReq *r)
{
    Flaky *f = n->state;
    unsigned d = f->dice = f->dice * 1664525 + 1013904223;

    int64_t none = -1;

    if (f->hold && r->op == BLOCK_WRITE &&
        atomic_compare_exchange_strong(&f->held_at, &none, (int64_t)r->at)) {
        usleep(20000);
        f->held_at = -1;
    }
    if (f->slow && (d >> 20) % 4 == 0 && !r->ctx)
        usleep(300);
    if (r->op != BLOCK_FLUSH && f->chance && (d >> 8) % f->chance == 0)
        blockreq_complete(r, d >> 31 ? -EIO : -ENOSPC);
    else
        node_forward(n->file, r, 0);
}

static const ChildSlot flaky_children[] = {
    {"file", ROLE_FILTERED | ROLE_PRIMARY, true},
    {NULL, 0, false},
};
static BlockDriver flaky_driver = {
    .name = "flaky",
    .doc = "fails now and then, for tests",
    .kind = DRIVER_FILTER,
    .children = flaky_children,
    .state_size = sizeof(Flaky),
    .open = flaky_open,
    .submit = flaky_submit,
};
BLOCK_DRIVER_REGISTER(flaky_driver)

START_TEST(streaming_frees_the_top_of_its_backing_files)
{
    Scene *s = scene_new();

    wait_for(stream_start(s->jobs, &job_args, s->n[2], NULL, NULL, &s->p.err), &s->p.err);
    ck_assert_ptr_null(s->n[2]->backing);
    scene_free(s);
}
END_TEST

START_TEST(streaming_down_to_a_base_keeps_the_base)
{
    Scene *s = scene_new();

    wait_for(stream_start(s->jobs, &job_args, s->n[2], s->n[0], NULL, &s->p.err), &s->p.err);
    ck_assert_ptr_eq(s->n[2]->backing, s->n[0]);
    ck_assert_str_eq(s->n[2]->backing_file, s->n[0]->filename);
    scene_free(s);
}
END_TEST

START_TEST(an_overlay_in_the_middle_is_committed)
{
    Scene *s = scene_new();

    wait_for(commit_start(s->jobs, &job_args, s->n[2], s->n[1], s->n[0], NULL, &s->p.err),
             &s->p.err);
    ck_assert_ptr_eq(s->n[2]->backing, s->n[0]);
    scene_free(s);
}
END_TEST

START_TEST(the_active_image_is_committed_and_the_guest_goes_on_below)
{
    Scene *s = scene_new();

    wait_for(commit_start(s->jobs, &job_args, s->n[2], s->n[2], s->n[0], NULL, &s->p.err),
             &s->p.err);
    ck_assert_ptr_eq(block_port_node(s->g->port), s->n[0]);
    scene_free(s);
}
END_TEST

START_TEST(a_mirror_takes_the_place_of_its_source)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    MirrorArgs a = {.sync = SYNC_FULL};

    wait_for(mirror_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err), &s->p.err);
    ck_assert_ptr_eq(block_port_node(s->g->port), t);
    usleep(2000);
    node_unref(t);
    scene_free(s);
}
END_TEST

START_TEST(however_many_users_a_source_has_all_get_the_target)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    MirrorArgs a = {.sync = SYNC_FULL};
    BlockPort *p[100];

    for (unsigned i = 0; i < COUNT_OF(p); i++)
        p[i] = block_port_new(s->p.g, NULL, s->n[2], PERM_READ, PERM_ALL, &s->p.err);
    wait_for(mirror_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err), &s->p.err);
    for (unsigned i = 0; i < COUNT_OF(p); i++) {
        ck_assert_ptr_eq(block_port_node(p[i]), t);
        block_port_free(p[i]);
    }
    node_unref(t);
    scene_free(s);
}
END_TEST

START_TEST(a_mirror_of_the_top_shares_the_backing_file)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    MirrorArgs a = {.sync = SYNC_TOP, .set_backing = true};

    wait_for(mirror_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err), &s->p.err);
    ck_assert_ptr_eq(block_port_node(s->g->port), t);
    ck_assert_ptr_eq(t->backing, s->n[1]);
    node_unref(t);
    scene_free(s);
}
END_TEST

/* How long a mirror of @mode needs to be in step with a guest that writes faster than it copies;
 * -1: never. */
static int steps_until_ready(Scene *s, MirrorCopy mode, Job **out, BlockNode *t)
{
    MirrorArgs a = {.sync = SYNC_FULL, .copy = mode};
    BlockJobArgs slow = job_args;
    int n = 0;

    slow.speed = 2 * SIZE;
    *out = mirror_start(s->jobs, &slow, s->n[2], t, &a, &s->p.err);
    ck_assert_msg(*out != NULL, "%s", s->p.err.msg);
    while (!(*out)->ready && n < (mode == COPY_BACKGROUND ? 20 : 500)) {
        jobs_poll(s->jobs);
        n++;
    }
    return (*out)->ready ? n : -1;
}

START_TEST(a_mirror_that_blocks_writes_keeps_up_with_any_guest)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    unsigned writes;
    Job *j;

    ck_assert_int_lt(steps_until_ready(s, COPY_BACKGROUND, &j, t), 0);
    ck_assert(job_cancel(j, true, &s->p.err));
    ck_assert_int_eq(job_wait(j, NULL, NULL, &s->p.err), -ECANCELED);
    ck_assert_int_ge(steps_until_ready(s, COPY_WRITE_BLOCKING, &j, t), 0);
    ck_assert(job_user_pause(j, true, &s->p.err));
    while (!j->at_rest)
        usleep(1000);
    writes = s->g->writes;
    while (s->g->writes < writes + 200)
        usleep(1000);
    guest_stop(s->g);
    ck_assert_uint_eq(bitmap_count(bitmap_next(s->n[2], NULL)), 0); /* the job was not needed */
    expect(t, s->g->mem);
    s->g->stop = false;
    guest_run(s->g);
    ck_assert(job_user_pause(j, false, &s->p.err));
    ck_assert_int_eq(job_wait(j, NULL, NULL, &s->p.err), 0);
    ck_assert_ptr_eq(block_port_node(s->g->port), t);
    node_unref(t);
    scene_free(s);
}
END_TEST

START_TEST(what_is_written_while_it_is_copied_is_not_overwritten_by_the_older)
{
    Scene *s = scene_new();
    MirrorArgs a = {.copy = COPY_WRITE_BLOCKING, .sync = SYNC_FULL, .buf_size = CLUSTER};
    BlockNode *t;
    Flaky *f;
    Job *j;

    guest_stop(s->g);
    ck_assert_int_eq(truncate(s->p.path[4], SIZE), 0);
    t = node_open(s->p.g,
                  json_pack("{ss s{ss s{ssss}}}", "driver", "raw", "file", "driver", "flaky",
                            "file", "driver", "file", "filename", s->p.path[4]),
                  0, &s->p.err);
    ck_assert_msg(t != NULL, "%s", s->p.err.msg);
    f = t->file->state;
    f->hold = true;
    j = mirror_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err);
    ck_assert_msg(j != NULL, "%s", s->p.err.msg);
    for (unsigned i = 0; i < 8; i++) {
        int64_t at;

        while ((at = f->held_at) < 0 && bitmap_count(bitmap_next(s->n[2], NULL)))
            usleep(500);
        if (at < 0) /* all is copied: this thread was away for long */
            break;
        memset(s->g->mem + at, 200 + (int)i, SPOT);
        ck_assert_int_eq(block_write(s->g->port, (uint64_t)at, s->g->mem + at, SPOT, 0), 0);
    }
    f->hold = false;
    wait_for(j, &s->p.err);
    expect(t, s->g->mem);
    node_unref(t);
    s->g->stop = false;
    guest_run(s->g);
    scene_free(s);
}
END_TEST

/* A target whose writes fail as the configuration of blkdebug says. */
static BlockNode *bad_target(Scene *s, json_t *error)
{
    json_t *o =
        json_pack("{ss s{ss s{ssss} s[o]}}", "driver", "raw", "file", "driver", "blkdebug", "image",
                  "driver", "file", "filename", s->p.path[4], "inject-error", error);
    BlockNode *n;

    ck_assert_int_eq(truncate(s->p.path[4], SIZE), 0);
    n = node_open(s->p.g, o, 0, &s->p.err);
    ck_assert_msg(n != NULL, "%s", s->p.err.msg);
    return n;
}

START_TEST(a_copied_write_that_fails_is_the_jobs_affair_and_is_done_again)
{
    for (unsigned policy = 0; policy < 3; policy++) {
        static const JobOnError policies[] = {ON_ERROR_REPORT, ON_ERROR_STOP, ON_ERROR_IGNORE};
        Scene *s = scene_new();
        BlockNode *t =
            bad_target(s, json_pack("{ss si sb}", "event", "write_aio", "errno", EIO, "once", 1));
        MirrorArgs a = {.sync = SYNC_NONE,
                        .copy = COPY_WRITE_BLOCKING}; /* only what the guest writes */
        BlockJobArgs b = job_args;
        Job *j;

        b.on_target_error = policies[policy];
        guest_stop(s->g);
        memset(s->g->mem, 0, SIZE); /* as the target is */
        ck_assert_int_eq(block_zero(s->g->port, 0, SIZE, 0), 0);
        j = mirror_start(s->jobs, &b, s->n[2], t, &a, &s->p.err);
        ck_assert_msg(j != NULL, "%s", s->p.err.msg);
        s->g->stop = false;
        guest_run(s->g);
        if (policy == 0) {
            while (!j->ended)
                jobs_poll(s->jobs);
            ck_assert_int_eq(job_wait(j, NULL, NULL, &s->p.err), -EIO);
            ck_assert_ptr_eq(block_port_node(s->g->port), s->n[2]);
        } else {
            if (policy == 1) {
                while (!j->paused_by_user)
                    jobs_poll(s->jobs);
                ck_assert(j->stopped_by_error);
                ck_assert(job_user_pause(j, false, &s->p.err));
            }
            ck_assert_int_eq(job_wait(j, NULL, NULL, &s->p.err), 0);
            ck_assert_ptr_eq(block_port_node(s->g->port), t);
        }
        node_unref(t);
        scene_free(s);
    }
}
END_TEST

START_TEST(a_job_that_errors_hold_up_can_be_cancelled)
{
    static const JobOnError policies[] = {ON_ERROR_STOP, ON_ERROR_IGNORE};

    for (unsigned i = 0; i < 2; i++) {
        Scene *s = scene_new();
        BlockNode *t = bad_target(s, json_pack("{ss si}", "event", "write_aio", "errno", EIO));
        MirrorArgs a = {.sync = SYNC_FULL};
        BlockJobArgs b = job_args;
        Job *j;

        b.on_target_error = policies[i];
        j = mirror_start(s->jobs, &b, s->n[2], t, &a, &s->p.err);
        ck_assert_msg(j != NULL, "%s", s->p.err.msg);
        if (i == 0)
            while (!j->stopped_by_error)
                jobs_poll(s->jobs);
        ck_assert(job_cancel(j, true, &s->p.err));
        ck_assert_int_eq(job_wait(j, NULL, NULL, &s->p.err), -ECANCELED);
        node_unref(t);
        scene_free(s);
    }
}
END_TEST

START_TEST(a_mirror_cancelled_when_ready_is_a_copy)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    MirrorArgs a = {.sync = SYNC_FULL};
    Job *j = mirror_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err);

    ck_assert_msg(j != NULL, "%s", s->p.err.msg);
    guest_stop(s->g);
    while (!j->ready)
        jobs_poll(s->jobs);
    ck_assert(job_cancel(j, false, &s->p.err));
    ck_assert_int_eq(job_wait(j, NULL, NULL, &s->p.err), 0);
    ck_assert_ptr_eq(block_port_node(s->g->port), s->n[2]);
    expect(t, s->g->mem);
    node_unref(t);
    s->g->stop = false;
    guest_run(s->g);
    scene_free(s);
}
END_TEST

START_TEST(a_backup_is_the_image_of_its_first_moment)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    BackupArgs a = {.sync = SYNC_FULL};
    uint8_t *then = xalloc(SIZE);
    Job *j;

    guest_stop(s->g);
    memcpy(then, s->g->mem, SIZE);
    j = backup_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err);
    s->g->stop = false;
    s->g->pause_us = 0;
    guest_run(s->g);
    wait_for(j, &s->p.err);
    expect(t, then);
    ck_assert_ptr_eq(block_port_node(s->g->port), s->n[2]);
    xfree(then);
    node_unref(t);
    scene_free(s);
}
END_TEST

START_TEST(an_incremental_backup_brings_an_older_one_up_to_date)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    DirtyBitmap *b;
    BackupArgs a = {.sync = SYNC_FULL};
    uint8_t *then = xalloc(SIZE);
    Job *j;

    guest_stop(s->g);
    b = bitmap_new(s->n[2], "changes", 4096, &s->p.err);
    wait_for(backup_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err), &s->p.err);
    for (unsigned i = 0; i < 20; i++)
        guest_write(s->g);
    ck_assert_uint_gt(bitmap_count(b), 0);
    memcpy(then, s->g->mem, SIZE);
    a = (BackupArgs){.sync = SYNC_INCREMENTAL, .bitmap = b};
    j = backup_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err);
    s->g->stop = false;
    guest_run(s->g);
    wait_for(j, &s->p.err);
    expect(t, then);
    guest_stop(s->g);
    guest_write(s->g);
    ck_assert_uint_gt(bitmap_count(b), 0);
    s->g->stop = false;
    guest_run(s->g);
    xfree(then);
    node_unref(t);
    scene_free(s);
}
END_TEST

START_TEST(a_cancelled_job_changes_nothing)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    MirrorArgs a = {.sync = SYNC_FULL};
    BlockJobArgs slow = job_args;
    Job *j;

    slow.speed = 4096;
    j = mirror_start(s->jobs, &slow, s->n[2], t, &a, &s->p.err);
    ck_assert_msg(j != NULL, "%s", s->p.err.msg);
    ck_assert_ptr_null(stream_start(s->jobs, &job_args, s->n[2], NULL, NULL, &s->p.err));
    ck_assert(job_cancel(j, true, &s->p.err));
    ck_assert_int_eq(job_wait(j, NULL, NULL, &s->p.err), -ECANCELED);
    ck_assert_ptr_eq(block_port_node(s->g->port), s->n[2]);
    node_unref(t);
    scene_free(s);
}
END_TEST

START_TEST(a_paused_job_rests)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    BackupArgs a = {.sync = SYNC_FULL};
    BlockJobArgs slow = job_args;
    Job *j;
    uint64_t done;

    slow.speed = 65536;
    j = backup_start(s->jobs, &slow, s->n[2], t, &a, &s->p.err);
    ck_assert_msg(j != NULL, "%s", s->p.err.msg);
    ck_assert(job_user_pause(j, true, &s->p.err));
    ck_assert_int_eq(j->status, JOB_PAUSED);
    for (unsigned i = 0; !j->at_rest && i < 500; i++)
        usleep(10000);
    ck_assert(j->at_rest);
    done = j->done;
    usleep(50000);
    ck_assert_uint_eq(j->done, done);
    ck_assert(!job_user_pause(j, true, &s->p.err));
    ck_assert(job_set_speed(j, 0, &s->p.err));
    ck_assert(job_user_pause(j, false, &s->p.err));
    wait_for(j, &s->p.err);
    node_unref(t);
    scene_free(s);
}
END_TEST

/* --- anything, in any order --- */

static BlockNode *flaky_toy(Place *p, unsigned file, BlockNode *backing)
{
    json_t *o = json_pack("{ss s{ss s{ssss}}}", "driver", "toy", "file", "driver", "flaky", "file",
                          "driver", "file", "filename", p->path[file]);
    BlockNode *n;

    if (backing)
        json_object_set_new(o, "backing", json_string(backing->name));
    n = node_open(p->g, o, 0, &p->err);
    ck_assert_msg(n != NULL, "%s", p->err.msg);
    return n;
}

typedef enum Kind { STREAM, COMMIT, ACTIVE_COMMIT, MIRROR, BACKUP, KINDS } Kind;

/* A chain that a guest is at work on, a target, and a job. */
typedef struct Disk {
    BlockNode *n[3], *t;
    Guest *g;
    uint8_t then[SIZE];
    Kind kind;
    bool whole; /* the target is to be a copy */
    Job *job;
} Disk;

typedef struct World {
    Place p;
    Loop *loop;
    Jobs *jobs;
    Disk disk[2];
    unsigned seed;
} World;

static unsigned any(World *w, unsigned n)
{
    w->seed = w->seed * 1664525 + 1013904223;
    return (w->seed >> 8) % n;
}

static void set_chances(World *w, bool on)
{
    for (BlockNode *n = NULL; (n = node_next(w->p.g, n));)
        if (n->drv == &flaky_driver) {
            Flaky *f = n->state;

            f->dice = any(w, 1 << 24);
            f->chance = on && any(w, 3) == 0 ? 4u + any(w, 60) : 0;
            f->slow = any(w, 3) == 0;
        }
}

static void disk_new(World *w, unsigned i)
{
    Disk *d = &w->disk[i];

    for (unsigned k = 0; k < 3; k++)
        d->n[k] = flaky_toy(&w->p, i * 4 + k, k ? d->n[k - 1] : NULL);
    d->t = flaky_toy(&w->p, i * 4 + 3, NULL);
    for (unsigned k = 0; k < 3; k++) {
        Guest *g = guest_new(&w->p, d->n[k], d->then);

        g->seed = any(w, 1 << 24);
        for (unsigned j = 0; j < 12; j++)
            guest_write(g);
        memcpy(d->then, g->mem, SIZE);
        guest_free(g);
    }
    d->g = guest_new(&w->p, d->n[2], d->then);
    d->g->stubborn = true;
    d->g->seed = any(w, 1 << 24);
    d->g->pause_us = any(w, 200);
    guest_run(d->g);
}

static Job *start_mirror(World *w, Disk *d, const BlockJobArgs *a)
{
    static const MirrorSync syncs[] = {SYNC_FULL, SYNC_FULL, SYNC_TOP, SYNC_NONE};
    MirrorArgs m = {.sync = syncs[any(w, COUNT_OF(syncs))],
                    .copy = any(w, 2) ? COPY_WRITE_BLOCKING : COPY_BACKGROUND,
                    .granularity = 512u << any(w, 9),
                    .buf_size = any(w, 2) ? 0 : 8192u << any(w, 5),
                    .unmap = any(w, 2),
                    .set_backing = true};

    d->whole = false;
    return mirror_start(w->jobs, a, d->n[2], d->t, &m, &w->p.err);
}

static Job *start_backup(World *w, Disk *d, const BlockJobArgs *a)
{
    static const MirrorSync syncs[] = {SYNC_FULL, SYNC_FULL, SYNC_TOP, SYNC_NONE};
    BackupArgs b = {.sync = syncs[any(w, COUNT_OF(syncs))]};
    BlockJobArgs args = *a;

    d->whole = b.sync == SYNC_FULL;
    args.later = false;
    return backup_start(w->jobs, &args, d->n[2], d->t, &b, &w->p.err);
}

static Job *start_any(World *w, Disk *d, const BlockJobArgs *a)
{
    switch (d->kind) {
    case STREAM:
        return stream_start(w->jobs, a, d->n[2], any(w, 2) ? d->n[any(w, 2)] : NULL, NULL,
                            &w->p.err);
    case COMMIT: return commit_start(w->jobs, a, d->n[2], d->n[1], d->n[0], NULL, &w->p.err);
    case ACTIVE_COMMIT:
        return commit_start(w->jobs, a, d->n[2], d->n[2], d->n[any(w, 2)], NULL, &w->p.err);
    case MIRROR: return start_mirror(w, d, a);
    default: return start_backup(w, d, a);
    }
}

static void disk_start(World *w, unsigned i, JobTxn *txn)
{
    static const JobOnError policies[] = {ON_ERROR_REPORT, ON_ERROR_IGNORE, ON_ERROR_ENOSPC,
                                          ON_ERROR_STOP};
    Disk *d = &w->disk[i];
    BlockJobArgs a = {.id = i ? "b" : "a",
                      .txn = txn,
                      .auto_finalize = any(w, 2),
                      .speed = any(w, 2) ? 0 : 65536u << any(w, 6),
                      .on_error = policies[any(w, COUNT_OF(policies))],
                      .on_target_error = policies[any(w, COUNT_OF(policies))]};

    d->kind = any(w, KINDS);
    pthread_mutex_lock(&d->g->write);
    memcpy(d->then, d->g->mem, SIZE);
    d->job = start_any(w, d, &a);
    pthread_mutex_unlock(&d->g->write);
    ck_assert_msg(d->job || w->p.err.msg[0], "no job and no reason");
}

/* Some of these are refused. */
static void poke(World *w, Job *j)
{
    if (any(w, 100) == 0)
        job_cancel(j, any(w, 2), NULL);
    switch (any(w, 16)) {
    case 0:
    case 1: job_user_pause(j, true, NULL); break;
    case 2:
    case 3:
    case 4: job_user_pause(j, false, NULL); break;
    case 6:
    case 7:
    case 8: job_complete(j, NULL); break;
    case 9:
    case 10: job_finalize(j, NULL); break;
    case 11: job_set_speed(j, any(w, 2) ? 0 : 65536u << any(w, 6), NULL); break;
    default: break;
    }
}

/* Nothing in its way any more. */
static void urge(Job *j)
{
    job_set_speed(j, 0, NULL);
    job_user_pause(j, false, NULL);
    if (j->status == JOB_PENDING)
        job_finalize(j, NULL);
    else if (!job_complete(j, NULL) && !j->cls->can_complete && !strcmp(j->cls->type, "backup"))
        job_cancel(j, true, NULL); /* it may be one that never ends */
}

static void run_jobs(World *w)
{
    for (unsigned step = 0;; step++) {
        bool busy = false;

        for (unsigned i = 0; i < 2; i++) {
            Job *j = w->disk[i].job;

            if (!j || j->status == JOB_CONCLUDED)
                continue;
            busy = true;
            if (step < 40)
                poke(w, j);
            else if (step > 50)
                urge(j);
        }
        if (!busy)
            return;
        if (any(w, 10) == 0 || step == 50)
            set_chances(w, step < 40);
        loop_step(w->loop, (int64_t)any(w, 2000) * 1000);
    }
}

/* Only links and we hold nodes, and no job is on any. */
static void check_nodes(World *w)
{
    for (BlockNode *n = NULL; (n = node_next(w->p.g, n));) {
        int refs = 0;

        for (const BlockChild *c = n->parents; c; c = c->next_parent)
            refs++;
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 0; k < 4; k++)
                refs += n == (k < 3 ? w->disk[i].n[k] : w->disk[i].t);
        ck_assert_msg(n->refs == refs, "%s (%s): %d references, %d holders", n->name, n->drv->name,
                      n->refs, refs);
        ck_assert_ptr_null(n->op_blocker);
        ck_assert_ptr_null(bitmap_next(n, NULL));
    }
}

static void disk_end(World *w, Disk *d)
{
    Job *j = d->job;
    bool ok = j && !j->result, pivot = ok && j->complete_asked && !j->cancelled;
    BlockNode *now = block_port_node(d->g->port);

    if (ok && d->kind == BACKUP && d->whole)
        expect(d->t, d->then);
    if (j && d->kind == MIRROR)
        ck_assert_ptr_eq(now, pivot ? d->t : d->n[2]);
    if (getenv("RHEA_TEST_VERBOSE"))
        fprintf(stderr, "kind %d: %s\n", d->kind,
                j ? j->result ? strerror(-j->result)
                    : pivot   ? "pivot"
                              : "ok"
                  : w->p.err.msg);
    if (j)
        ck_assert(job_dismiss(j, &w->p.err));
    d->job = NULL;
}

static void one_world(unsigned seed)
{
    World *w = xnew(World);
    JobTxn *txn;

    w->seed = seed;
    place_make(&w->p);
    w->loop = loop_new(NULL);
    w->jobs = jobs_new(NULL, w->loop);
    for (unsigned i = 0; i < 2; i++)
        disk_new(w, i);
    txn = any(w, 3) == 0 ? job_txn_new() : NULL;
    for (unsigned i = 0; i < 2; i++)
        disk_start(w, i, txn);
    job_txn_unref(txn);
    set_chances(w, any(w, 3));
    if (any(w, 8))
        run_jobs(w);
    else
        for (unsigned i = 0; i < 2; i++)
            w->disk[i].job = NULL; /* the end of the program comes first */
    set_chances(w, false);
    for (unsigned i = 0; i < 2; i++) {
        guest_stop(w->disk[i].g);
        disk_end(w, &w->disk[i]);
    }
    jobs_free(w->jobs);
    check_nodes(w);
    for (unsigned i = 0; i < 2; i++) {
        Disk *d = &w->disk[i];

        guest_free(d->g);
        for (unsigned k = 0; k < 3; k++)
            node_unref(d->n[k]);
        node_unref(d->t);
    }
    ck_assert_ptr_null(node_next(w->p.g, NULL));
    place_clear(&w->p);
    loop_free(w->loop);
    xfree(w);
}

/* SEED, CASES: as for check-cpu. */
START_TEST(jobs_that_are_paused_cancelled_completed_and_failed_in_any_order_leave_nothing_behind)
{
    const char *seed = getenv("SEED"), *cases = getenv("CASES");
    unsigned from = seed ? (unsigned)atoi(seed) : 1, n = cases ? (unsigned)atoi(cases) : 30;

    for (unsigned i = from; i < from + n; i++) {
        mark_point();
        if (getenv("RHEA_TEST_VERBOSE"))
            fprintf(stderr, "SEED=%u\n", i);
        one_world(i);
    }
}
END_TEST

UNIT_MAIN("block_jobs", streaming_frees_the_top_of_its_backing_files,
          streaming_down_to_a_base_keeps_the_base, an_overlay_in_the_middle_is_committed,
          the_active_image_is_committed_and_the_guest_goes_on_below,
          a_mirror_takes_the_place_of_its_source,
          however_many_users_a_source_has_all_get_the_target,
          a_mirror_of_the_top_shares_the_backing_file,
          a_mirror_that_blocks_writes_keeps_up_with_any_guest,
          a_job_that_errors_hold_up_can_be_cancelled,
          what_is_written_while_it_is_copied_is_not_overwritten_by_the_older,
          a_copied_write_that_fails_is_the_jobs_affair_and_is_done_again,
          a_mirror_cancelled_when_ready_is_a_copy, a_backup_is_the_image_of_its_first_moment,
          an_incremental_backup_brings_an_older_one_up_to_date, a_cancelled_job_changes_nothing,
          a_paused_job_rests,
          jobs_that_are_paused_cancelled_completed_and_failed_in_any_order_leave_nothing_behind)
