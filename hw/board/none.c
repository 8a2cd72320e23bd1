/* SPDX-License-Identifier: GPL-2.0-or-later */
/* none - a machine with nothing in it, for programs that only want to ask what there is */
#include "core/machine.h"

static bool none_build(Machine *m, Error *err)
{
    (void)m;
    (void)err;
    return true;
}

static Board none_board = {
    .name = "none",
    .doc = "empty machine",
    .max_cpus = 1,
    .features = BOARD_FIRMWARE, /* nothing needs to be loaded */
    .build = none_build,
};
BOARD_REGISTER(none_board)
