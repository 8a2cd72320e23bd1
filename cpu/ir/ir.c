/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ir - building, checking and printing of blocks, and the liveness of flags
 *
 * The meaning of each op is in ops.def, the invariants in ir.h; ir_verify() names them by number.
 */
#include "cpu/ir/ir.h"

#include "base/alloc.h"

const IrOpInfo ir_ops[IR_COUNT] = {
#define OP(name, form) [IR_##name] = {#name, form},
#include "cpu/ir/ops.def"
#undef OP
};

static const char *const type_names[] = {"i8", "i16", "i32", "i64", "v128", "v256"};
static const char *const cond_names[] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                         "s", "ns", "p", "np", "l", "ge", "le", "g"};

uint16_t ir_cond_flags(unsigned cc)
{
    static const uint16_t flags[8] = {
        FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF, FL_SF | FL_OF | FL_ZF,
    };

    return flags[cc >> 1 & 7];
}

/* --- builder --- */

IrOp *ir_add(IrBlock *b, IrOpcode op, IrType type)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 128;
        b->ops = xrealloc(b->ops, b->cap * sizeof *b->ops);
    }
    IrOp *o = &b->ops[b->n++];

    *o = (IrOp){.op = (uint16_t)op,
                .type = (uint8_t)type,
                .d = V_NONE,
                .a = V_NONE,
                .b = V_NONE,
                .c = V_NONE,
                .base = V_NONE,
                .index = V_NONE,
                .seg = V_NONE};
    return o;
}

uint8_t ir_temp(IrBlock *b)
{
    assert(b->n_temps < CPU_TEMPS);
    return V_T(b->n_temps++);
}

void ir_insn(IrBlock *b, Gva pc)
{
    ir_add(b, IR_INSN, I64)->imm = (int64_t)pc;
    b->n_insns++;
    b->n_temps = 0;
}

/* --- liveness --- */

void ir_flags_live(IrBlock *b, uint16_t live_out)
{
    uint16_t live = live_out;

    for (IrOp *o = b->ops + b->n; o-- > b->ops;) {
        o->fl_live = live;
        if (o->op >= IR_SHL &&
            o->op <= IR_SHRD) /* reads flags only to keep them for a zero count */
            o->fl_in &= live | (o->op == IR_RCL || o->op == IR_RCR ? FL_CF : 0);
        live = (uint16_t)((live & ~o->fl_out) | o->fl_in);
    }
}

/* --- printing --- */

static void print_reg(unsigned v, StrBuf *out)
{
    if (v == V_NONE)
        strbuf_add(out, "-");
    else if (v == V_PC)
        strbuf_add(out, "pc");
    else if (v < V_TEMP)
        strbuf_addf(out, "r%u", v);
    else if (v < V_TEMP + CPU_TEMPS)
        strbuf_addf(out, "t%u", v - V_TEMP);
    else if (v >= V_XMM && v < V_XMM + CPU_VREGS)
        strbuf_addf(out, "x%u", v - V_XMM);
    else
        strbuf_addf(out, "?%u", v);
}

static void print_imm(int64_t v, StrBuf *out)
{
    if (v < 0 && v >= -0x10000)
        strbuf_addf(out, "-0x%" PRIx64, -(uint64_t)v);
    else
        strbuf_addf(out, "0x%" PRIx64, (uint64_t)v);
}

static void print_mem(const IrOp *o, StrBuf *out)
{
    const char *plus = "";

    strbuf_addf(out, "m%u[", o->msize * 8u);
    if (o->seg != V_NONE) {
        print_reg(o->seg, out);
        strbuf_add(out, ": ");
    }
    if (o->base != V_NONE) {
        print_reg(o->base, out);
        plus = " + ";
    }
    if (o->index != V_NONE) {
        strbuf_add(out, plus);
        print_reg(o->index, out);
        if (o->scale)
            strbuf_addf(out, "*%u", 1u << o->scale);
        plus = " + ";
    }
    if (o->disp || !*plus) {
        strbuf_add(out, plus);
        print_imm(o->disp, out);
    }
    strbuf_add(out, o->asize == 2 ? "]a16" : o->asize == 4 ? "]a32" : "]");
}

static void print_sep(bool *first, StrBuf *out)
{
    strbuf_add(out, *first ? " " : ", ");
    *first = false;
}

static bool form_has_d(const IrOp *o)
{
    unsigned f = ir_ops[o->op].form;

    return o->d != V_NONE || (o->flags & IRF_MEM_D && f != FORM_AB);
}

static void print_operands(const IrOp *o, StrBuf *out)
{
    bool first = true, mem_a = ir_ops[o->op].form == FORM_AB && o->flags & IRF_MEM_D;

    if (form_has_d(o)) {
        print_sep(&first, out);
        if (o->flags & IRF_MEM_D)
            print_mem(o, out);
        else
            print_reg(o->d, out);
    }
    if (o->a != V_NONE || mem_a) {
        print_sep(&first, out);
        if (mem_a)
            print_mem(o, out);
        else
            print_reg(o->a, out);
    }
    if (o->flags & (IRF_IMM | IRF_MEM_B) || o->b != V_NONE) {
        print_sep(&first, out);
        if (o->flags & IRF_MEM_B)
            print_mem(o, out);
        else if (o->flags & IRF_IMM)
            print_imm(o->imm, out);
        else
            print_reg(o->b, out);
    }
    if (o->c != V_NONE) {
        print_sep(&first, out);
        print_reg(o->c, out);
    }
}

static void print_flags(const char *what, uint16_t fl, StrBuf *out)
{
    static const struct {
        uint16_t bit;
        char c;
    } names[] = {
        {FL_OF, 'o'}, {FL_SF, 's'}, {FL_ZF, 'z'}, {FL_AF, 'a'}, {FL_PF, 'p'}, {FL_CF, 'c'},
    };

    if (!fl)
        return;
    strbuf_addf(out, " %s", what);
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        if (fl & names[i].bit)
            strbuf_addn(out, &names[i].c, 1);
    }
}

static void print_special(const IrOp *o, StrBuf *out)
{
    switch (o->op) {
    case IR_LEA:
        print_operands(o, out);
        strbuf_add(out, ", ");
        print_mem(o, out);
        break;
    case IR_LDS:
        strbuf_add(out, " ");
        print_reg(o->d, out);
        strbuf_addf(out, ", cpu+%" PRId64, o->disp);
        break;
    case IR_STS:
        strbuf_addf(out, " cpu+%" PRId64 ",", o->disp);
        print_operands(o, out);
        break;
    case IR_PASS:
        strbuf_addf(out, " %s", ir_pass_rows ? ir_pass_rows[o->pass].name : "?");
        print_operands(o, out);
        strbuf_addf(out, ", imm 0x%x", (unsigned)(o->imm & 0xff));
        break;
    case IR_GUARD:
    case IR_JMPI:
        print_operands(o, out);
        if (o->scale)
            strbuf_addf(out, " %u bits k=0x%" PRIx64, o->scale, (uint64_t)o->disp);
        break;
    case IR_CALL:
        print_operands(o, out);
        strbuf_addf(out, " helper %p k=0x%" PRIx64 "%s%s%s%s", (void *)(uintptr_t)o->imm,
                    (uint64_t)o->disp, o->cc & IRC_FAST ? " fast" : "", o->cc & IRC_PC ? " pc" : "",
                    o->cc & IRC_FLAGS_IN ? " fin" : "", o->cc & IRC_FLAGS_OUT ? " fout" : "");
        break;
    case IR_BR:
    case IR_BRZ:
    case IR_BRNZ:
        print_operands(o, out);
        strbuf_addf(out, " 0x%" PRIx64 " else 0x%" PRIx64, (uint64_t)o->imm, (uint64_t)o->disp);
        break;
    case IR_JMP:
    case IR_EXIT:
    case IR_SETC: strbuf_addf(out, " 0x%" PRIx64, (uint64_t)o->imm); break;
    default: print_operands(o, out);
    }
}

static bool op_has_cond(unsigned op)
{
    return op == IR_SETCC || op == IR_CMOV || op == IR_BR;
}

void ir_print_op(const IrOp *o, StrBuf *out)
{
    if (o->op >= IR_COUNT) {
        strbuf_addf(out, "op %u?", o->op);
        return;
    }
    if (o->op == IR_INSN) {
        strbuf_addf(out, "---- 0x%" PRIx64, (uint64_t)o->imm);
        return;
    }
    strbuf_add(out, "    ");
    for (const char *s = ir_ops[o->op].name; *s; s++) {
        char c = *s >= 'A' && *s <= 'Z' ? (char)(*s | 0x20) : *s;
        strbuf_addn(out, &c, 1);
    }
    if (op_has_cond(o->op))
        strbuf_addf(out, ".%s", cond_names[o->cc & 15]);
    strbuf_addf(out, ".%s", o->type <= V256 ? type_names[o->type] : "?");
    if (o->op == IR_MOVZX || o->op == IR_MOVSX)
        strbuf_addf(out, "<%s", o->stype <= V256 ? type_names[o->stype] : "?");
    if (o->flags & IRF_LOCK)
        strbuf_add(out, " lock");
    if (o->flags & IRF_ALIGN)
        strbuf_add(out, " align");
    print_special(o, out);
    print_flags("<", o->fl_in, out);
    print_flags(">", o->fl_out, out);
    print_flags("live ", o->fl_live, out);
}

void ir_print(const IrBlock *b, StrBuf *out)
{
    for (unsigned i = 0; i < b->n; i++) {
        ir_print_op(&b->ops[i], out);
        strbuf_add(out, "\n");
    }
}

/* --- verifier --- */

enum {                     /* what an op demands of its operands and flags, besides its form */
       RULE_RD_D = 1 << 0, /* d is a source too */
       RULE_WR_B = 1 << 1,
       RULE_WR_A = 1 << 2,
       RULE_CARRY = 1 << 3, /* reads CF */
       RULE_SHIFT = 1 << 4, /* flags survive a count of 0 */
       RULE_COND = 1 << 5,
       RULE_FLAGS = 1 << 6, /* may write flags */
       RULE_FAULT = 1 << 7, /* may fault without a memory operand */
};

static const uint8_t rules[IR_COUNT] = {
    [IR_INSH] = RULE_RD_D,
    [IR_ADD] = RULE_FLAGS,
    [IR_ADC] = RULE_FLAGS | RULE_CARRY,
    [IR_SUB] = RULE_FLAGS,
    [IR_SBB] = RULE_FLAGS | RULE_CARRY,
    [IR_AND] = RULE_FLAGS,
    [IR_OR] = RULE_FLAGS,
    [IR_XOR] = RULE_FLAGS,
    [IR_CMP] = RULE_FLAGS,
    [IR_TEST] = RULE_FLAGS,
    [IR_NEG] = RULE_FLAGS,
    [IR_INC] = RULE_FLAGS,
    [IR_DEC] = RULE_FLAGS,
    [IR_SHL] = RULE_FLAGS | RULE_SHIFT,
    [IR_SHR] = RULE_FLAGS | RULE_SHIFT,
    [IR_SAR] = RULE_FLAGS | RULE_SHIFT,
    [IR_ROL] = RULE_FLAGS | RULE_SHIFT,
    [IR_ROR] = RULE_FLAGS | RULE_SHIFT,
    [IR_RCL] = RULE_FLAGS | RULE_SHIFT | RULE_CARRY,
    [IR_RCR] = RULE_FLAGS | RULE_SHIFT | RULE_CARRY,
    [IR_SHLD] = RULE_FLAGS | RULE_SHIFT,
    [IR_SHRD] = RULE_FLAGS | RULE_SHIFT,
    [IR_MULU] = RULE_FLAGS,
    [IR_MULS] = RULE_FLAGS,
    [IR_IMUL] = RULE_FLAGS,
    [IR_GUARD] = RULE_FAULT,
    [IR_DIVU] = RULE_FAULT | RULE_RD_D | RULE_FLAGS,
    [IR_DIVS] = RULE_FAULT | RULE_RD_D | RULE_FLAGS,
    [IR_BT] = RULE_FLAGS,
    [IR_BTS] = RULE_FLAGS,
    [IR_BTR] = RULE_FLAGS,
    [IR_BTC] = RULE_FLAGS,
    [IR_BSF] = RULE_FLAGS | RULE_RD_D,
    [IR_BSR] = RULE_FLAGS | RULE_RD_D,
    [IR_XCHG] = RULE_RD_D | RULE_WR_B,
    [IR_XADD] = RULE_FLAGS | RULE_RD_D | RULE_WR_B,
    [IR_CMPXCHG] = RULE_FLAGS | RULE_RD_D | RULE_WR_A,
    [IR_CMPXCHG2] = RULE_FLAGS,
    [IR_SETCC] = RULE_COND,
    [IR_CMOV] = RULE_COND | RULE_RD_D,
    [IR_BR] = RULE_COND,
    [IR_SETF] = RULE_FLAGS,
    [IR_SETC] = RULE_FLAGS,
    [IR_PASS] = RULE_FLAGS,
    [IR_CALL] = RULE_FLAGS,
};

typedef struct Verify {
    const IrBlock *b;
    const IrOp *o;
    StrBuf *why;
    uint8_t temps; /* defined in this instruction */
    bool changed;  /* guest state was changed in this instruction */
} Verify;

static bool fail(Verify *v, const char *what)
{
    if (v->why) {
        strbuf_addf(v->why, "op %u: %s: ", (unsigned)(v->o - v->b->ops), what);
        ir_print_op(v->o, v->why);
        strbuf_add(v->why, "\n");
    }
    return false;
}

static bool reg_ok(const IrOp *o, unsigned r)
{
    if (r < V_TEMP + CPU_TEMPS)
        return true;
    return r >= V_XMM && r < V_XMM + CPU_VREGS && (o->op == IR_PASS || o->type >= V128);
}

static bool check_read(Verify *v, unsigned r)
{
    if (r == V_NONE)
        return true;
    if (!reg_ok(v->o, r))
        return fail(v, "bad source register");
    if (r >= V_TEMP && r < V_TEMP + CPU_TEMPS && !(v->temps >> (r - V_TEMP) & 1))
        return fail(v, "temporary read before it is written");
    return true;
}

static bool check_write(Verify *v, unsigned r)
{
    if (r == V_NONE)
        return true;
    if (!reg_ok(v->o, r))
        return fail(v, "bad destination register");
    if (r >= V_TEMP && r < V_TEMP + CPU_TEMPS)
        v->temps |= (uint8_t)(1u << (r - V_TEMP));
    else
        v->changed = true;
    return true;
}

static bool check_mem(Verify *v)
{
    const IrOp *o = v->o;
    unsigned mem = o->flags & (IRF_MEM_B | IRF_MEM_D);

    if (mem == (IRF_MEM_B | IRF_MEM_D))
        return fail(v, "two memory operands (invariant 3)");
    if (o->flags & IRF_MEM_B && o->flags & IRF_IMM && o->op != IR_PASS)
        return fail(v, "b is immediate and memory");
    if (o->flags & IRF_LOCK && !(o->flags & IRF_MEM_D))
        return fail(v, "LOCK without a memory destination");
    if (!mem && o->op != IR_LEA)
        return true;
    if (o->asize != 2 && o->asize != 4 && o->asize != 8)
        return fail(v, "bad address size (invariant 4)");
    if (o->scale > 3)
        return fail(v, "bad scale");
    if (mem && (!o->msize || o->msize > 32 || o->msize & (o->msize - 1)))
        return fail(v, "bad memory operand size");
    if (mem && v->changed)
        return fail(v, "may fault after a change of state (invariant 3)");
    return check_read(v, o->base) && check_read(v, o->index) && check_read(v, o->seg);
}

static bool check_operands(Verify *v)
{
    const IrOp *o = v->o;
    unsigned form = ir_ops[o->op].form, rule = rules[o->op];
    bool reads_d = rule & RULE_RD_D;

    if (!check_mem(v) || !check_read(v, o->a) || (!(o->flags & IRF_IMM) && !check_read(v, o->b)))
        return false;
    if ((form == FORM_SHIFT3 || o->op == IR_DIVU || o->op == IR_DIVS) && !check_read(v, o->c))
        return false;
    if (reads_d && !(o->flags & IRF_MEM_D) && !check_read(v, o->d))
        return false;
    if (form == FORM_DAB && o->a == V_NONE && !(o->flags & IRF_MEM_D))
        return fail(v, "first source is missing");
    if ((form == FORM_DB || form == FORM_DAB || form == FORM_AB) && o->op != IR_LEA &&
        o->op != IR_SETF && o->b == V_NONE && !(o->flags & (IRF_IMM | IRF_MEM_B)))
        return fail(v, "second source is missing");
    if (rule & RULE_FAULT && v->changed)
        return fail(v, "may fault after a change of state (invariant 3)");
    if (o->flags & IRF_MEM_D && o->op != IR_BT)
        v->changed = true;
    return check_write(v, o->d) && (!(rule & RULE_WR_B) || check_write(v, o->b)) &&
           (!(rule & RULE_WR_A) || check_write(v, o->a)) &&
           (form != FORM_WIDE || check_write(v, o->c));
}

static bool check_flags(Verify *v)
{
    const IrOp *o = v->o;
    unsigned rule = rules[o->op];

    if ((o->fl_in | o->fl_out) & ~FL_ALL)
        return fail(v, "unknown flags");
    if (o->fl_out && !(rule & RULE_FLAGS))
        return fail(v, "op cannot write flags (invariant 2)");
    if (rule & RULE_CARRY && !(o->fl_in & FL_CF))
        return fail(v, "carry is read but not in fl_in (invariant 2)");
    if (rule & RULE_COND && (o->cc > CC_G || ir_cond_flags(o->cc) & ~o->fl_in))
        return fail(v, "condition reads flags not in fl_in (invariant 2)");
    if (rule & RULE_SHIFT && o->fl_out & ~o->fl_in) {
        bool by_imm = ir_ops[o->op].form == FORM_SHIFT3 ? o->c == V_NONE : o->flags & IRF_IMM;
        if (!by_imm || !(o->imm & (o->type == I64 ? 63 : 31)))
            return fail(v, "flags of a count of 0 are not in fl_in (invariant 2)");
    }
    if (o->op == IR_GETF && o->fl_in != FL_ALL)
        return fail(v, "GETF reads all flags");
    if (o->op == IR_CALL && ((o->cc & IRC_FLAGS_IN && o->fl_in != FL_ALL) ||
                             (o->cc & IRC_FLAGS_OUT && o->fl_out != FL_ALL)))
        return fail(v, "flags of a helper");
    if (o->fl_out)
        v->changed = true;
    return true;
}

static bool check_op(Verify *v)
{
    const IrOp *o = v->o;

    if (o->op >= IR_COUNT || o->type > V256)
        return fail(v, "no such op or type");
    if (o->type >= V128 && o->op != IR_PASS && o->op != IR_MOV)
        return fail(v, "op has no vector form");
    if (o->op == IR_INSN) {
        v->temps = 0;
        v->changed = false;
        return true;
    }
    if (v->o == v->b->ops)
        return fail(v, "block does not start with INSN");
    if ((ir_ops[o->op].form == FORM_TERM) != (o == v->b->ops + v->b->n - 1))
        return fail(v, "exactly one terminator, at the end");
    return check_operands(v) && check_flags(v);
}

bool ir_verify(const IrBlock *b, StrBuf *why)
{
    Verify v = {.b = b, .why = why};

    for (v.o = b->ops; v.o < b->ops + b->n; v.o++) {
        if (!check_op(&v))
            return false;
    }
    if (b->n < 2) {
        if (why)
            strbuf_add(why, "block without a terminator\n");
        return false;
    }
    return true;
}
