/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * null - the accelerator that never runs an instruction
 *
 * Device tests boot on it; vCPUs exist, are reset and stand still.
 */
#include "core/cpu.h"
#include "core/machine.h"

static bool null_probe(const char *arch, Error *err)
{
    (void)arch;
    (void)err;
    return true;
}

static bool null_start(Machine *m, Error *err)
{
    (void)m;
    (void)err;
    return true;
}

static void null_cpu(Cpu *c)
{
    (void)c;
}

static void null_code_written(Cpu *c, uint32_t ram_page, unsigned at, unsigned size)
{
    (void)c;
    (void)ram_page;
    (void)at;
    (void)size;
}

static const CpuHost null_host = {
    .vec_save = null_cpu,
    .sync_pc = null_cpu,
    .kick = null_cpu,
    .code_written = null_code_written,
    .watch_hit = null_cpu,
};

static bool null_vcpu_create(Cpu *c, Error *err)
{
    (void)err;
    c->host = &null_host;
    return true;
}

static void null_vcpu_destroy(Cpu *c)
{
    c->host = NULL;
}

static void null_machine(Machine *m)
{
    (void)m;
}

static const Accel null_accel = {
    .name = "null",
    .alias = "qtest",
    .doc = "never runs an instruction: for tests of devices",
    .probe = null_probe,
    .start = null_start,
    .stop = null_machine,
    .vcpu_create = null_vcpu_create,
    .vcpu_destroy = null_vcpu_destroy,
    .run = null_machine,
    .park = null_machine,
};
ACCEL_REGISTER(null_accel)
