/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linux - bzImage kernels by their 32- or 64-bit entry
 *
 * Documents: Linux Documentation/arch/x86/boot.rst (protocol 2.02 and later) and zero-page.rst.
 * The 16-bit setup code is not run: the zero page tells what it would have found out.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "hw/firmware/boot.h"

/* Offsets in the file's first sectors and, the same, in the zero page. */
enum {
    ACPI_RSDP_ADDR = 0x070,
    ALT_MEM_K = 0x1e0,
    E820_ENTRIES = 0x1e8,
    SETUP_SECTS = 0x1f1,
    BOOT_FLAG = 0x1fe,
    JUMP_LENGTH = 0x201,
    HEADER = 0x202,
    VERSION = 0x206,
    TYPE_OF_LOADER = 0x210,
    LOADFLAGS = 0x211,
    CODE32_START = 0x214,
    RAMDISK_IMAGE = 0x218,
    RAMDISK_SIZE = 0x21c,
    CMD_LINE_PTR = 0x228,
    INITRD_ADDR_MAX = 0x22c,
    XLOADFLAGS = 0x236,
    CMDLINE_SIZE = 0x238,
    PREF_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
    HEADER_MIN_END = 0x230, /* of protocol 2.03 */
    HEADER_MAX_END = 0x290,
    E820_TABLE = 0x2d0,
    ZERO_PAGE_SIZE = 4096,
};
enum {
    LOADED_HIGH = 1,
    XLF_KERNEL_64 = 1,
    LOADER_UNDEFINED = 0xff,
    VID_MODE = 0x1fa,
    VID_NORMAL = 0xffff
};

typedef struct Header {
    uint16_t version;
    uint32_t setup_size, end; /* of 16-bit code; of the header's fields */
    uint32_t initrd_max, cmdline_max;
    uint64_t load_at, needs_end; /* kernel and its work space: [load_at, needs_end) */
} Header;

static bool header_parse(Header *h, const BootFile *f, Error *err)
{
    const uint8_t *p = f->p;
    unsigned sects = p[SETUP_SECTS] ? p[SETUP_SECTS] : 4;

    h->version = get_le16(p + VERSION);
    h->setup_size = (sects + 1) * 512;
    h->end = MIN(HEADER + (uint32_t)p[JUMP_LENGTH], (uint32_t)HEADER_MAX_END);
    if (h->version < 0x202)
        return error_set(err, "its boot protocol %u.%02u is too old (2.02 is needed)",
                         h->version >> 8, h->version & 255);
    if (!(p[LOADFLAGS] & LOADED_HIGH))
        return error_set(err, "a zImage that loads below 1 MiB; only bzImage is supported");
    if (f->size <= h->setup_size)
        return error_set(err, "cut short: no code after %u bytes of setup", h->setup_size);
    h->initrd_max = h->version >= 0x203 ? get_le32(p + INITRD_ADDR_MAX) : 0x37ffffff;
    h->cmdline_max = h->version >= 0x206 ? get_le32(p + CMDLINE_SIZE) : 255;
    h->load_at = MIB;
    h->needs_end = MIB + (f->size - h->setup_size);
    if (h->version >= 0x20a) {
        uint64_t pref = get_le64(p + PREF_ADDRESS),
                 end = MAX(pref, (uint64_t)MIB) + get_le32(p + INIT_SIZE);

        if (pref < 4 * GIB)
            h->needs_end = MAX(h->needs_end, end);
    }
    return true;
}

static void put_e820(uint8_t *zero_page, const BootInput *in)
{
    uint8_t *e = zero_page + E820_TABLE;

    zero_page[E820_ENTRIES] = (uint8_t)in->n_map;
    for (unsigned i = 0; i < in->n_map; i++, e += 20) {
        put_le64(e, in->map[i].at);
        put_le64(e + 8, in->map[i].size);
        put_le32(e + 16, in->map[i].type);
    }
    put_le32(zero_page + ALT_MEM_K, (uint32_t)((in->low_ram - MIB) / KIB));
}

static bool add_initrd(BootImage *img, const BootInput *in, const Header *h, uint8_t *zero_page,
                       Error *err)
{
    BootFile f;
    Gpa at;

    if (!in->initrd)
        return true;
    if (!in->read(in->initrd, &f, err))
        return error_prefix(err, "-initrd: ");
    boot_own(img, f.p);
    at = boot_find_top(in, f.size, h->needs_end, MIN((Gpa)h->initrd_max + 1, in->low_ram));
    if (!at)
        return error_set(err,
                         "-initrd %s: no room for its %zu bytes beside the kernel in %" PRIu64
                         " MiB of RAM",
                         in->initrd, f.size, in->low_ram >> 20);
    put_le32(zero_page + RAMDISK_IMAGE, (uint32_t)at);
    put_le32(zero_page + RAMDISK_SIZE, (uint32_t)f.size);
    return boot_add(img, in, at, f.p, f.size, 0, err);
}

static bool add_cmdline(BootImage *img, const BootInput *in, const Header *h, uint8_t *zero_page,
                        Error *err)
{
    const char *text = in->append ? in->append : "";
    Gpa at = BOOT_TEXT;

    if (strlen(text) > h->cmdline_max)
        return error_set(err, "-append has %zu characters, this kernel takes %u", strlen(text),
                         h->cmdline_max);
    put_le32(zero_page + CMD_LINE_PTR, BOOT_TEXT);
    return boot_add_text(img, in, &at, text, err);
}

static bool lay_out(BootImage *img, const BootInput *in, const BootFile *f, Error *err)
{
    Header h = {0};
    uint8_t *zero_page = xalloc(ZERO_PAGE_SIZE);
    uint8_t *p = f->p;

    boot_own(img, zero_page);
    if (!header_parse(&h, f, err))
        return false;
    if (in->entry64 && (h.version < 0x20c || !(get_le16(p + XLOADFLAGS) & XLF_KERNEL_64)))
        return error_set(err, "has no 64-bit entry");
    if (!boot_is_ram(in, MIB, h.needs_end - MIB))
        return error_set(err, "needs RAM up to %" PRIu64 " MiB, there are %" PRIu64,
                         ((h.needs_end - 1) >> 20) + 1, in->low_ram >> 20);
    memcpy(zero_page + SETUP_SECTS, p + SETUP_SECTS, h.end - SETUP_SECTS);
    zero_page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    put_le16(zero_page + VID_MODE, VID_NORMAL);
    put_le32(zero_page + CODE32_START, (uint32_t)h.load_at);
    put_le32(zero_page + RAMDISK_IMAGE, 0);
    put_le32(zero_page + RAMDISK_SIZE, 0);
    put_le64(zero_page + ACPI_RSDP_ADDR, in->rsdp);
    put_e820(zero_page, in);
    img->long_mode = in->entry64;
    img->entry = h.load_at + (in->entry64 ? 0x200 : 0);
    img->esi = BOOT_INFO;
    return add_initrd(img, in, &h, zero_page, err) && add_cmdline(img, in, &h, zero_page, err) &&
           boot_add(img, in, h.load_at, p + h.setup_size, f->size - h.setup_size, 0, err) &&
           boot_add(img, in, BOOT_INFO, zero_page, ZERO_PAGE_SIZE, 0, err);
}

BootMatch linux_load(BootImage *img, const BootInput *in, const BootFile *f, Error *err)
{
    if (f->size < HEADER + 4 || memcmp(f->p + HEADER, "HdrS", 4))
        return BOOT_NOT_MINE;
    if (f->size < HEADER_MAX_END) {
        error_set(err, "cut short: %zu bytes end within its header", f->size);
        return BOOT_FAILED;
    }
    return lay_out(img, in, f, err) ? BOOT_LOADED : BOOT_FAILED;
}
