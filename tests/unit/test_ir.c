/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of cpu/ir/ir.h: builder, verifier, printer, liveness of flags. */
#include <stdlib.h>

#include "base/alloc.h"
#include "cpu/ir/ir.h"
#include "tests/unit/unit.h"

static IrOp *alu(IrBlock *b, IrOpcode op, unsigned d, unsigned a, unsigned r, uint16_t in,
                 uint16_t out)
{
    IrOp *o = ir_add(b, op, I64);

    o->d = (uint8_t)d;
    o->a = (uint8_t)a;
    o->b = (uint8_t)r;
    o->fl_in = in;
    o->fl_out = out;
    return o;
}

static void end(IrBlock *b)
{
    ir_add(b, IR_EXIT, I64)->imm = 0x2000;
}

static bool ok(const IrBlock *b)
{
    return ir_verify(b, NULL);
}

/* A fresh block with its first instruction. */
static IrBlock block(void)
{
    IrBlock b = {.pc = 0x1000};

    ir_insn(&b, 0x1000);
    return b;
}

START_TEST(the_builder_grows_and_clears)
{
    IrBlock b = block();

    for (unsigned i = 0; i < 1000; i++) {
        IrOp *o = ir_add(&b, IR_NOP, I64);

        ck_assert_uint_eq(o->d, V_NONE);
        ck_assert_uint_eq(o->seg, V_NONE);
        ck_assert_uint_eq(o->fl_out, 0);
    }
    ck_assert_uint_eq(b.n, 1001);
    ck_assert_uint_eq(ir_temp(&b), V_T(0));
    ck_assert_uint_eq(ir_temp(&b), V_T(1));
    ir_insn(&b, 0x1004);
    ck_assert_uint_eq(ir_temp(&b), V_T(0));
    ck_assert_uint_eq(b.n_insns, 2);
    xfree(b.ops);
}
END_TEST

START_TEST(conditions_read_what_they_test)
{
    ck_assert_uint_eq(ir_cond_flags(CC_E), FL_ZF);
    ck_assert_uint_eq(ir_cond_flags(CC_BE), FL_CF | FL_ZF);
    ck_assert_uint_eq(ir_cond_flags(CC_G), FL_SF | FL_OF | FL_ZF);
    ck_assert_uint_eq(ir_cond_flags(CC_NO), FL_OF);
}
END_TEST

START_TEST(a_good_block_passes)
{
    IrBlock b = block();
    IrOp *o;

    alu(&b, IR_ADD, V_R(0), V_R(0), V_R(1), 0, FL_ALL);
    ir_insn(&b, 0x1004);
    o = ir_add(&b, IR_MOV, I32);
    o->d = V_T(0);
    o->flags = IRF_MEM_B;
    o->base = V_R(3);
    o->asize = 8;
    o->msize = 4;
    alu(&b, IR_ADC, V_R(2), V_R(2), V_T(0), FL_CF, FL_ALL);
    end(&b);
    ck_assert(ok(&b));
    xfree(b.ops);
}
END_TEST

/* Breaks one thing at a time in an otherwise good block. */
START_TEST(bad_blocks_are_refused)
{
    for (unsigned i = 0; i < 12; i++) {
        IrBlock b = block();
        IrOp *o = alu(&b, i == 2 ? IR_ADC : IR_ADD, V_R(0), V_R(0), V_R(1), 0, FL_ALL);
        StrBuf why = {0};

        switch (i) {
        case 0: o->b = V_T(0); break; /* never written */
        case 1: o->d = V_X(0); break;
        case 2: break; /* carry is not in fl_in */
        case 3: o->b = V_NONE; break;
        case 4: o->flags = IRF_MEM_B | IRF_MEM_D; break;
        case 5: o->flags = IRF_LOCK; break;
        case 6: o->type = V128; break;
        case 7:
            o->op = IR_NOT;
            o->b = V_NONE;
            break;                     /* NOT writes no flags */
        case 8: o->op = IR_JMP; break; /* a terminator inside */
        case 9:                        /* may fault after a change */
            o = ir_add(&b, IR_MOV, I32);
            o->d = V_R(4);
            o->flags = IRF_MEM_B;
            o->base = V_R(3);
            o->asize = 8;
            o->msize = 4;
            break;
        case 10: o->op = IR_SHL; break; /* count may be 0: flags must be in fl_in */
        case 11:
            o->flags = IRF_MEM_D;
            o->asize = 8;
            o->msize = 3;
            break;
        }
        end(&b);
        ck_assert_msg(!ir_verify(&b, &why), "case %u", i);
        ck_assert_uint_gt(why.len, 0);
        strbuf_free(&why);
        xfree(b.ops);
    }
}
END_TEST

START_TEST(a_block_needs_its_terminator)
{
    IrBlock b = block();

    ck_assert(!ok(&b));
    alu(&b, IR_ADD, V_R(0), V_R(0), V_R(1), 0, FL_ALL);
    ck_assert(!ok(&b));
    end(&b);
    ck_assert(ok(&b));
    xfree(b.ops);
}
END_TEST

START_TEST(flags_live_until_their_last_reader)
{
    IrBlock b = block();

    alu(&b, IR_ADD, V_R(0), V_R(0), V_R(1), 0, FL_ALL);     /* 1: only CF is read */
    alu(&b, IR_ADC, V_R(2), V_R(2), V_R(3), FL_CF, FL_ALL); /* 2: ZF survives to the end */
    alu(&b, IR_SETC, V_NONE, V_NONE, V_NONE, 0, FL_CF);     /* 3 */
    end(&b);
    ir_flags_live(&b, FL_CF | FL_ZF);
    ck_assert_uint_eq(b.ops[1].fl_live, FL_CF);
    ck_assert_uint_eq(b.ops[2].fl_live, FL_ZF);
    ck_assert_uint_eq(b.ops[3].fl_live, FL_CF | FL_ZF);
    ck_assert_uint_eq(b.ops[0].fl_live, 0);
    xfree(b.ops);
}
END_TEST

START_TEST(printing_shows_operands_and_flags)
{
    IrBlock b = block();
    IrOp *o = alu(&b, IR_SBB, V_R(0), V_R(0), V_NONE, FL_CF, FL_ALL);
    StrBuf s = {0};

    o->flags = IRF_MEM_B;
    o->base = V_R(3);
    o->index = V_R(4);
    o->scale = 2;
    o->seg = V_R(21);
    o->disp = -8;
    o->asize = 8;
    o->msize = 8;
    end(&b);
    ir_print(&b, &s);
    ck_assert_str_eq(strbuf_str(&s), "---- 0x1000\n    sbb.i64 r0, r0, m64[r21: r3 + r4*4 + -0x8] "
                                     "<c >oszapc\n    exit.i64 0x2000\n");
    strbuf_free(&s);
    xfree(b.ops);
}
END_TEST

UNIT_MAIN("ir", the_builder_grows_and_clears, conditions_read_what_they_test, a_good_block_passes,
          bad_blocks_are_refused, a_block_needs_its_terminator, flags_live_until_their_last_reader,
          printing_shows_operands_and_flags)
