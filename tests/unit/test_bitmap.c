/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_bitmap - dirty bitmaps in memory: block/bitmap.h */
#include "block/bitmap.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "tests/unit/unit.h"

enum { G = 4096, SIZE = 1000 * G + 100 };

static BlockNode node;

static void setup(void)
{
    node = (BlockNode){.name = (char *)(uintptr_t) "n"};
    node.size = SIZE;
}

START_TEST(every_granule_touched_is_dirty_and_counted)
{
    DirtyBitmap *b;
    uint64_t at, size;

    setup();
    b = bitmap_new(&node, "b", G, NULL);
    bitmaps_mark(&node, G - 1, 2);
    ck_assert_uint_eq(bitmap_count(b), 2 * G);
    ck_assert(bitmap_get(b, 0) && bitmap_get(b, 2 * G - 1) && !bitmap_get(b, 2 * G));
    bitmaps_mark(&node, SIZE - 1, 1);
    ck_assert(bitmap_next_area(b, 2 * G, UINT64_MAX, UINT64_MAX, &at, &size));
    ck_assert_uint_eq(at, 1000 * G);
    ck_assert_uint_eq(size, 100);
    ck_assert(bitmap_next_area(b, 10, UINT64_MAX, G, &at, &size));
    ck_assert(at == 10 && size == G);
    bitmap_reset(b, 0, G);
    ck_assert_uint_eq(bitmap_count(b), 2 * G);
    ck_assert(bitmap_take_area(b, 0, UINT64_MAX, UINT64_MAX, &at, &size) && at == G && size == G);
    ck_assert(!bitmap_get(b, G));
    bitmaps_free(&node);
}
END_TEST

START_TEST(agrees_with_an_array_of_bools)
{
    static bool model[1001];
    DirtyBitmap *b;

    setup();
    memset(model, 0, sizeof model);
    b = bitmap_new(&node, "b", G, NULL);
    for (int n = 0; n < 3000; n++) {
        uint64_t at = (uint64_t)rand() % 1000 * G, size = (1 + (uint64_t)rand() % 200) * G, found;
        uint64_t dirty = 0, first = (uint64_t)rand() % 1001, i;
        bool on = rand() % 2;

        if (on)
            bitmap_set(b, at, size);
        else
            bitmap_reset(b, at, size);
        for (i = at / G; i < MIN((at + size) / G, 1001u); i++)
            model[i] = on;
        for (i = 0; i < 1001; i++)
            dirty += model[i];
        ck_assert_uint_eq(bitmap_count(b), dirty * G);
        for (i = first; i < 1001 && !model[i]; i++)
            continue;
        ck_assert_int_eq(bitmap_next_dirty(b, first * G, UINT64_MAX, &found), i < 1001);
        ck_assert(i == 1001 || found == i * G);
        for (i = first; i < 1001 && model[i]; i++)
            continue;
        ck_assert_int_eq(bitmap_next_clean(b, first * G, UINT64_MAX, &found), i < 1001);
        ck_assert(i == 1001 || found == i * G);
    }
    bitmaps_free(&node);
}
END_TEST

START_TEST(disabled_bitmaps_record_nothing)
{
    DirtyBitmap *b;

    setup();
    b = bitmap_new(&node, "b", G, NULL);
    bitmap_enable(b, false);
    bitmaps_mark(&node, 0, G);
    ck_assert_uint_eq(bitmap_count(b), 0);
    bitmap_enable(b, true);
    bitmaps_mark(&node, 0, G);
    ck_assert_uint_eq(bitmap_count(b), G);
    bitmaps_free(&node);
}
END_TEST

START_TEST(names_are_unique_and_granularities_checked)
{
    Error err = {0};

    setup();
    ck_assert(bitmap_new(&node, "b", 0, NULL));
    ck_assert(!bitmap_new(&node, "b", 0, &err) && strstr(err.msg, "already exists"));
    ck_assert(!bitmap_new(&node, "c", 1000, &err) && strstr(err.msg, "power of 2"));
    ck_assert(!bitmap_new(&node, "c", 256, &err));
    ck_assert(bitmap_new(&node, NULL, 512, NULL) && bitmap_new(&node, NULL, 512, NULL));
    ck_assert_ptr_eq(bitmap_find(&node, "c"), NULL);
    bitmap_free(bitmap_find(&node, "b"));
    ck_assert_ptr_eq(bitmap_find(&node, "b"), NULL);
    bitmaps_free(&node);
}
END_TEST

START_TEST(a_successor_records_while_its_parent_is_frozen)
{
    DirtyBitmap *b;
    Error err = {0};

    for (int keep = 0; keep < 2; keep++) {
        setup();
        b = bitmap_new(&node, "b", G, NULL);
        bitmaps_mark(&node, 0, G);
        ck_assert(bitmap_create_successor(b, NULL));
        ck_assert(!bitmap_check(b, BITMAP_DEFAULT, &err) && strstr(err.msg, "in use"));
        ck_assert(!bitmap_create_successor(b, NULL));
        bitmaps_mark(&node, 8 * G, G);
        ck_assert_uint_eq(bitmap_count(b), G);
        ck_assert(bitmap_is_enabled(b));
        if (keep)
            bitmap_reclaim(b);
        else
            bitmap_abdicate(b);
        ck_assert_int_eq(bitmap_get(b, 0), keep);
        ck_assert(bitmap_get(b, 8 * G) && bitmap_check(b, BITMAP_DEFAULT, NULL));
        bitmaps_mark(&node, 9 * G, G);
        ck_assert(bitmap_get(b, 9 * G));
        bitmaps_free(&node);
    }
}
END_TEST

START_TEST(merge_works_across_granularities_and_can_be_undone)
{
    DirtyBitmap *a, *b;
    BitmapBackup *old = NULL;

    setup();
    a = bitmap_new(&node, "a", 65536, NULL);
    b = bitmap_new(&node, "b", 512, NULL);
    bitmap_set(b, 70000, 1);
    bitmap_set(a, 0, 1);
    ck_assert(bitmap_merge(a, b, &old, NULL));
    ck_assert_uint_eq(bitmap_count(a), 2 * 65536);
    bitmap_restore(a, old);
    ck_assert_uint_eq(bitmap_count(a), 65536);
    ck_assert(bitmap_merge(b, a, NULL, NULL));
    ck_assert_uint_eq(bitmap_count(b), 65536 + 512);
    bitmap_clear(b, &old);
    ck_assert_uint_eq(bitmap_count(b), 0);
    bitmap_restore(b, old);
    ck_assert_uint_eq(bitmap_count(b), 65536 + 512);
    bitmap_set_inconsistent(a);
    ck_assert(!bitmap_merge(b, a, NULL, NULL));
    bitmaps_free(&node);
}
END_TEST

START_TEST(stored_bytes_load_as_they_were_saved)
{
    DirtyBitmap *a, *b;
    uint8_t buf[128] = {0};

    setup();
    a = bitmap_new(&node, "a", G, NULL);
    b = bitmap_new(&node, "b", G, NULL);
    for (int i = 0; i < 50; i++)
        bitmap_set(a, (uint64_t)rand() % SIZE, 1);
    ck_assert_uint_eq(bitmap_bytes(a), 126);
    bitmap_save(a, 0, buf, sizeof buf);
    ck_assert_uint_eq(buf[0] & 1, bitmap_get(a, 0));
    memset(buf + 126, 0xff, 2); /* beyond the end */
    bitmap_load(b, 0, buf, 64);
    bitmap_load(b, 64, buf + 64, 64);
    ck_assert_uint_eq(bitmap_count(a), bitmap_count(b));
    for (uint64_t i = 0; i < 1001; i++)
        ck_assert_int_eq(bitmap_get(a, i * G), bitmap_get(b, i * G));
    bitmaps_free(&node);
}
END_TEST

START_TEST(resizing_keeps_what_stays_and_adds_clean_parts)
{
    DirtyBitmap *b;

    setup();
    b = bitmap_new(&node, "b", G, NULL);
    bitmap_set(b, 0, SIZE);
    bitmaps_resize(&node, 10 * G);
    ck_assert_uint_eq(bitmap_count(b), 10 * G);
    bitmaps_resize(&node, 200 * G);
    ck_assert_uint_eq(bitmap_count(b), 10 * G);
    ck_assert(!bitmap_get(b, 10 * G));
    bitmaps_free(&node);
}
END_TEST

UNIT_MAIN("bitmap", every_granule_touched_is_dirty_and_counted, agrees_with_an_array_of_bools,
          disabled_bitmaps_record_nothing, names_are_unique_and_granularities_checked,
          a_successor_records_while_its_parent_is_frozen,
          merge_works_across_granularities_and_can_be_undone, stored_bytes_load_as_they_were_saved,
          resizing_keeps_what_stays_and_adds_clean_parts)
