/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_loader - kernel files of any content: hw/firmware/boot.h
 *
 * The first byte picks the amount of RAM and the entry; the rest is the kernel's file, and its last
 * bytes serve as initrd.  What loads must lie in RAM, which boot_add() promises and this checks.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "hw/firmware/boot.h"

static const uint8_t *input_bytes;
static size_t input_size;

static bool read_input(const char *path, BootFile *out, Error *err)
{
    size_t size = *path == 'k' ? input_size : MIN(input_size, (size_t)5000);

    (void)err;
    *out = (BootFile){xalloc(size + 1), size};
    memcpy(out->p, input_bytes + (input_size - size), size);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BootInput in = {.kernel = "k",
                    .initrd = "i one,i two",
                    .append = "quiet",
                    .read = read_input,
                    .n_map = 2,
                    .rsdp = 0xe0000};
    BootImage img;

    if (size < 1)
        return 0;
    in.entry64 = data[0] & 1;
    in.low_ram = (2 + (data[0] >> 1)) * MIB;
    in.map[0] = (BootRange){0, 0x9fc00, BOOT_RAM};
    in.map[1] = (BootRange){MIB, in.low_ram - MIB, BOOT_RAM};
    input_bytes = data + 1;
    input_size = size - 1;
    if (!boot_load(&img, &in, NULL))
        return 0;
    for (unsigned i = 0; i < img.n_pieces; i++)
        if (!boot_is_ram(&in, img.piece[i].at, img.piece[i].size + img.piece[i].zero))
            abort();
    boot_free(&img);
    return 0;
}
