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

    memset(g->mem + at, (int)roll(g), size);
    ck_assert_int_eq(block_write(g->port, at, g->mem + at, size, 0), 0);
    g->writes++;
}

static void *guest_main(void *arg)
{
    Guest *g = arg;

    while (!g->stop) {
        guest_write(g);
        if (g->pause_us)
            usleep(g->pause_us);
    }
    return NULL;
}

static void expect(BlockNode *n, const uint8_t *mem)
{
    uint8_t *all = xalloc(SIZE);

    ck_assert_int_eq(node_read(n, 0, all, SIZE), 0);
    ck_assert_mem_eq(all, mem, SIZE);
    xfree(all);
}

/* At work on @n, whose contents are @mem (NULL: zeroes). */
static Guest *guest_new(Place *p, BlockNode *n, const uint8_t *mem)
{
    Guest *g = xnew(Guest);

    g->seed = 99;
    g->pause_us = 20;
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

START_TEST(a_mirror_of_the_top_shares_the_backing_file)
{
    Scene *s = scene_new();
    BlockNode *t = toy(&s->p, 4, NULL);
    MirrorArgs a = {.sync = SYNC_TOP};

    wait_for(mirror_start(s->jobs, &job_args, s->n[2], t, &a, &s->p.err), &s->p.err);
    ck_assert_ptr_eq(block_port_node(s->g->port), t);
    ck_assert_ptr_eq(t->backing, s->n[1]);
    node_unref(t);
    scene_free(s);
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

UNIT_MAIN("block_jobs", streaming_frees_the_top_of_its_backing_files,
          streaming_down_to_a_base_keeps_the_base, an_overlay_in_the_middle_is_committed,
          the_active_image_is_committed_and_the_guest_goes_on_below,
          a_mirror_takes_the_place_of_its_source, a_mirror_of_the_top_shares_the_backing_file,
          a_mirror_cancelled_when_ready_is_a_copy, a_backup_is_the_image_of_its_first_moment,
          an_incremental_backup_brings_an_older_one_up_to_date, a_cancelled_job_changes_nothing,
          a_paused_job_rests)
