/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot - recognizing kernels, and what all loaders share: files, pieces, places in memory
 *
 * Invariant: every piece lies in RAM below 4 GiB (boot_add refuses anything else), so that placing
 * an image cannot fail and cannot reach devices, whatever a file says.
 */
#include "hw/firmware/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"

static bool read_all(int fd, uint8_t *p, size_t size, size_t *got)
{
    for (*got = 0; *got < size;) {
        ssize_t n = read(fd, p + *got, size - *got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return true;
}

bool boot_read_file(const char *path, BootFile *out, Error *err)
{
    struct stat st;
    size_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok = false;

    *out = (BootFile){0};
    if (fd < 0)
        return error_set_errno(err, errno, "could not open '%s'", path);
    if (fstat(fd, &st) < 0) {
        error_set_errno(err, errno, "could not read '%s'", path);
    } else if (!S_ISREG(st.st_mode)) {
        error_set(err, "'%s' is not a regular file", path);
    } else if ((uint64_t)st.st_size > 4 * GIB) {
        error_set(err, "'%s' is larger than 4 GiB", path);
    } else if (!(out->p = try_alloc((size_t)st.st_size + 1))) {
        error_set(err, "no memory for the %" PRIu64 " bytes of '%s'", (uint64_t)st.st_size, path);
    } else if (!read_all(fd, out->p, (size_t)st.st_size, &got)) {
        error_set_errno(err, errno, "could not read '%s'", path);
    } else {
        out->size = got;
        ok = true;
    }
    close(fd);
    if (!ok) {
        xfree(out->p);
        *out = (BootFile){0};
    }
    return ok;
}

void boot_own(BootImage *img, void *p)
{
    img->owned = xrealloc(img->owned, (img->n_owned + 1) * sizeof *img->owned);
    img->owned[img->n_owned++] = p;
}

bool boot_is_ram(const BootInput *in, Gpa at, uint64_t size)
{
    for (unsigned i = 0; i < in->n_map; i++) {
        const BootRange *r = &in->map[i];

        if (r->type == BOOT_RAM && at >= r->at && size <= r->size && at - r->at <= r->size - size)
            return true;
    }
    return false;
}

bool boot_add(BootImage *img, const BootInput *in, Gpa at, uint8_t *p, uint64_t size, uint64_t zero,
              Error *err)
{
    uint64_t whole = size + zero;

    if (whole < size || at >= 4 * GIB || whole > 4 * GIB || !boot_is_ram(in, at, whole))
        return error_set(err, "%" PRIu64 " bytes at 0x%" PRIx64 " are not in the guest's RAM",
                         whole, at);
    img->piece = xrealloc(img->piece, (img->n_pieces + 1) * sizeof *img->piece);
    img->piece[img->n_pieces++] = (BootPiece){.at = at, .p = p, .size = size, .zero = zero};
    return true;
}

bool boot_add_copy(BootImage *img, const BootInput *in, Gpa at, const void *p, size_t size,
                   Error *err)
{
    uint8_t *copy = xalloc(size);

    memcpy(copy, p, size);
    boot_own(img, copy);
    return boot_add(img, in, at, copy, size, 0, err);
}

Gpa boot_find_top(const BootInput *in, uint64_t size, Gpa floor, Gpa top)
{
    Gpa best = 0;

    for (unsigned i = 0; i < in->n_map; i++) {
        const BootRange *r = &in->map[i];
        Gpa end = MIN(r->at + r->size, top);
        Gpa start = MAX(r->at, floor);

        if (r->type == BOOT_RAM && end > start && end - start >= size) {
            Gpa at = ALIGN_DOWN(end - size, (Gpa)4096);

            if (at >= start && at > best)
                best = at;
        }
    }
    return best;
}

bool boot_add_text(BootImage *img, const BootInput *in, Gpa *text_at, const char *text, Error *err)
{
    size_t size = strlen(text) + 1;

    if (size > BOOT_TEXT_END - *text_at)
        return error_set(err, "the command line is too long");
    if (!boot_add_copy(img, in, *text_at, text, size, err))
        return false;
    *text_at += size;
    return true;
}

/* Cut the next item of "a b,c,,d" into @item; false at the end. */
static bool next_module(const char **text, char *item)
{
    const char *s = *text;
    size_t n = 0;

    if (!s)
        return false;
    for (; *s; s++) {
        if (*s == ',' && *++s != ',')
            break;
        item[n++] = *s;
    }
    item[n] = 0;
    *text = *s ? s : NULL;
    return true;
}

static bool add_module(BootImage *img, const BootInput *in, Gpa floor, const char *item,
                       BootModule *out, Error *err)
{
    size_t name_size = strcspn(item, " ");
    AUTO_FREE char *path = xasprintf("%.*s", (int)name_size, item);
    BootFile f;

    if (!in->read(path, &f, err))
        return error_prefix(err, "-initrd: ");
    boot_own(img, f.p);
    out->size = f.size;
    out->at = boot_find_top(in, f.size, floor, in->low_ram);
    if (!out->at)
        return error_set(err, "-initrd %s: no room in RAM for its %zu bytes", path, f.size);
    return boot_add(img, in, out->at, f.p, f.size, 0, err);
}

int boot_add_modules(BootImage *img, const BootInput *in, Gpa floor, Gpa *text_at, BootModule *mods,
                     Error *err)
{
    const char *rest = in->initrd;
    AUTO_FREE char *item = rest ? xalloc(strlen(rest) + 1) : NULL;
    BootInput below = *in; /* each module goes below the one before it */
    int n = 0;

    while (item && next_module(&rest, item)) {
        if (n == BOOT_MODULES_MAX) {
            error_set(err, "-initrd: more than %d modules", BOOT_MODULES_MAX);
            return -1;
        }
        mods[n].text_at = *text_at;
        if (!add_module(img, &below, floor, item, &mods[n], err) ||
            !boot_add_text(img, in, text_at, item, err))
            return -1;
        below.low_ram = mods[n++].at;
    }
    return n;
}

int boot_place(const BootImage *img, AddressSpace *as)
{
    static const uint8_t zeros[65536];
    int worst = MEM_OK;

    for (unsigned i = 0; i < img->n_pieces; i++) {
        const BootPiece *p = &img->piece[i];
        int result = as_load(as, p->at, p->p, p->size);

        worst = MAX(worst, result);
        for (uint64_t done = 0; done < p->zero; done += sizeof zeros) {
            result = as_load(as, p->at + p->size + done, zeros, MIN(p->zero - done, sizeof zeros));
            worst = MAX(worst, result);
        }
    }
    return worst;
}

void boot_free(BootImage *img)
{
    for (unsigned i = 0; i < img->n_owned; i++)
        xfree(img->owned[i]);
    xfree(img->owned);
    xfree(img->piece);
    *img = (BootImage){0};
}

/* Flat segments as the Linux boot protocol and PVH want them, and a task segment. */
static bool add_gdt(BootImage *img, const BootInput *in, Error *err)
{
    static const uint64_t gdt[] = {
        [BOOT_CS64 / 8] = 0x00af9b000000ffff,
        [BOOT_CS32 / 8] = 0x00cf9b000000ffff,
        [BOOT_DS / 8] = 0x00cf93000000ffff,
        [BOOT_TR / 8] = 0x00008b0000000067 | (uint64_t)BOOT_TSS << 16,
        0,
    };
    uint8_t bytes[sizeof gdt];

    for (unsigned i = 0; i < COUNT_OF(gdt); i++)
        put_le64(bytes + i * 8, gdt[i]);
    return boot_add_copy(img, in, BOOT_GDT, bytes, sizeof bytes, err);
}

/* PML4, PDPT, four page directories: the first 4 GiB by 2 MiB pages. */
static bool add_page_tables(BootImage *img, const BootInput *in, Error *err)
{
    enum { PRESENT_WRITE = 3, LARGE = 0x80 };
    uint8_t *t = xalloc(6 * 4096);

    boot_own(img, t);
    put_le64(t, (BOOT_PAGES + 4096) | PRESENT_WRITE);
    for (unsigned i = 0; i < 4; i++)
        put_le64(t + 4096 + i * 8, (BOOT_PAGES + (2 + i) * 4096) | PRESENT_WRITE);
    for (unsigned i = 0; i < 4 * 512; i++)
        put_le64(t + 2 * 4096 + i * 8, (uint64_t)i << 21 | PRESENT_WRITE | LARGE);
    return boot_add(img, in, BOOT_PAGES, t, 6 * 4096, 0, err);
}

/* Say what it is rather than only what it is not. */
static bool unknown_kernel(const BootFile *f, Error *err)
{
    if (f->size < 512)
        return error_set(err, "too short for a kernel (%zu bytes)", f->size);
    if (elf_is(f))
        return error_set(err, "an ELF file without a PVH entry note or a multiboot header");
    if (f->p[0] == 0x1f && f->p[1] == 0x8b)
        return error_set(err, "compressed by gzip: unpack it first");
    if (get_le32(f->p + 56) == 0x644d5241)
        return error_set(err, "a kernel for arm64, not for x86");
    if (get_le32(f->p + 56) == 0x05435352)
        return error_set(err, "a kernel for riscv, not for x86");
    return error_set(err, "not a kernel (no bzImage, PVH ELF or multiboot header)");
}

bool boot_load(BootImage *img, const BootInput *in, Error *err)
{
    static BootMatch (*const loaders[])(BootImage *, const BootInput *, const BootFile *,
                                        Error *) = {
        linux_load,
        pvh_load,
        multiboot_load,
    };
    BootMatch match = BOOT_NOT_MINE;
    BootFile f;

    *img = (BootImage){0};
    if (!in->read(in->kernel, &f, err))
        return error_prefix(err, "-kernel: ");
    boot_own(img, f.p);
    for (unsigned i = 0; i < COUNT_OF(loaders) && match == BOOT_NOT_MINE; i++)
        match = loaders[i](img, in, &f, err);
    if (match == BOOT_NOT_MINE)
        unknown_kernel(&f, err);
    if (match == BOOT_LOADED && add_gdt(img, in, err) &&
        (!img->long_mode || add_page_tables(img, in, err)))
        return true;
    boot_free(img);
    if (err && strncmp(err->msg, "-initrd", 7))
        error_prefix(err, "-kernel %s: ", in->kernel);
    return false;
}
