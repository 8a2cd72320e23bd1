/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exact - arithmetic flags that nobody reads, for those who look at a fault's frame
 * (docs/translator.md, "Flags")
 *
 * Dead flags are not saved when a memory check destroys them in the host.  Instead the block's
 * table says, for each place that may fault, how to compute them from registers that still hold
 * operands or result of the op that wrote them: its recipe.  x64_sync_pc() follows it.  Where there
 * is none, the flags are saved.
 *
 * Emit.host_ok and Emit.mem_ok say which flags are exact in the host and in cpu->cc, dead or alive.
 */
#include "accel/jit/alu.h"
#include "accel/jit/x64/x64_priv.h"

/* --- at run time; general registers only --- */

static uint64_t recipe_reg(const Cpu *c, const Recipe *r, unsigned v, int32_t moved)
{
    return (c->r[v] - (uint64_t)(int64_t)moved) & alu_mask(r->type);
}

static uint16_t recipe_flags(const Cpu *c, const Recipe *r)
{
    uint64_t d = recipe_reg(c, r, r->d, r->d_moved),
             b = r->b == V_NONE ? (uint64_t)(int64_t)r->imm : recipe_reg(c, r, r->b, r->b_moved);
    uint16_t fl = 0;

    switch (r->op) { /* d is the result; what was there before */
    case IR_ADD: d -= b; break;
    case IR_SUB: d += b; break;
    case IR_INC: d--; break;
    case IR_DEC: d++; break;
    case IR_NEG: d = 0 - d; break;
    default: break; /* CMP, TEST: it has not changed */
    }
    alu_eval(r->op, r->type, d & alu_mask(r->type), b & alu_mask(r->type), 0, &fl);
    return fl;
}

void x64_recipe_follow(Cpu *c, const Recipe *all, unsigned n)
{
    const Recipe *r = &all[n - 1];
    uint16_t fl;

    if (r->before)
        x64_recipe_follow(c, all, r->before);
    fl = recipe_flags(c, r);
    c->cc = alu_cc_of_fl((uint16_t)((alu_fl_of_cc(c->cc) & ~r->mask) | (fl & r->mask)));
}

/* --- while emitting --- */

static bool is_guest_reg(unsigned v)
{
    return v < 16;
}

/* How the flags of @o can be computed behind it; op IR_NOP: they cannot. */
static Recipe recipe_of(const IrOp *o)
{
    Recipe r = {.type = o->type, .d = o->d, .b = V_NONE, .mask = o->fl_out, .op = IR_NOP};
    bool in_memory = o->flags & IRF_MEM_D, second = !(o->flags & IRF_MEM_B);
    unsigned op = o->op;

    switch (op) {
    case IR_CMP:
    case IR_TEST: r.d = o->a; break;
    case IR_AND:
    case IR_OR:
    case IR_XOR:
        op = IR_TEST;
        r.b = o->d;
        break;
    case IR_ADD:
    case IR_SUB:
        if (o->d == o->b && !(o->flags & IRF_IMM)) {
            if (op != IR_SUB || o->a != o->b)
                return r;
            op = IR_CMP; /* 0 with 0 */
        }
        break;
    case IR_INC:
    case IR_DEC:
    case IR_NEG: break;
    default: return r;
    }
    if (in_memory || !is_guest_reg(r.d))
        return r;
    if (r.b == V_NONE && ir_ops[o->op].form != FORM_DA) {
        if (!second || (o->flags & IRF_IMM ? !fits32(o->imm) : !is_guest_reg(o->b)))
            return r;
        r.b = o->flags & IRF_IMM ? V_NONE : o->b;
        r.imm = o->flags & IRF_IMM ? (int32_t)o->imm : 0;
    }
    r.op = (uint16_t)op;
    return r;
}

static unsigned recipe_add(Emit *e, const Recipe *r)
{
    if (e->n_recipes == X64_MAX_RECIPES)
        return 0;
    e->recipes[e->n_recipes] = *r;
    return ++e->n_recipes;
}

/* Registers @o changes and by how much; the recipe, and those before it, are void or follow. */
static unsigned recipe_after(Emit *e, unsigned n, const IrOp *o)
{
    uint32_t written = x64_written_by(o);
    Recipe r;
    int64_t by;

    if (!n)
        return 0;
    r = e->recipes[n - 1];
    if (o->op == IR_CALL)
        return 0;
    if (r.before && !(r.before = (uint16_t)recipe_after(e, r.before, o)))
        return 0;
    if (o->op == IR_LEA && x64_moves(o, &by) && fits32(by)) {
        r.d_moved += o->d == r.d ? (int32_t)by : 0;
        r.b_moved += o->d == r.b ? (int32_t)by : 0;
    } else if (written >> r.d & 1 || (r.b != V_NONE && written >> r.b & 1)) {
        return 0;
    }
    return memcmp(&r, &e->recipes[n - 1], sizeof r) ? recipe_add(e, &r) : n;
}

static bool keeps_on_zero(const IrOp *o)
{
    int most = o->type == I64 ? 63 : 31;

    switch (o->op) {
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR:
    case IR_RCL:
    case IR_RCR: return !(o->flags & IRF_IMM) || !(o->imm & most);
    case IR_SHLD:
    case IR_SHRD: return o->c != V_NONE || !(o->imm & most);
    default: return false;
    }
}

/* Nothing of the flags before @o is left behind it. */
static bool writes_all(const IrOp *o)
{
    return o->fl_out == FL_ALL && !keeps_on_zero(o);
}

void x64_exact_after(Emit *e, const IrOp *o)
{
    Recipe r;

    if (e->recipe)
        e->recipe = (uint16_t)recipe_after(e, e->recipe, o);
    if (!o->fl_out)
        return;
    if (e->fl_host && !e->fl_mem) { /* it wrote the host's */
        if (!keeps_on_zero(o))
            e->host_ok |= o->fl_out;
        e->mem_ok &= (uint16_t)~o->fl_out;
    }
    if (o->op == IR_CALL || o->op == IR_SETF) {
        e->mem_ok |= o->fl_out;
        e->recipe = 0;
        return;
    }
    r = recipe_of(o);
    if (r.op != IR_NOP && r.mask != FL_ALL && (FL_ALL & ~r.mask & ~e->mem_ok))
        r.before = e->recipe; /* INC and DEC: CF is older */
    e->recipe = r.op == IR_NOP ? 0 : (uint16_t)recipe_add(e, &r);
}

static uint16_t recipe_covers(const Emit *e, unsigned n)
{
    uint16_t mask = 0;

    for (; n; n = e->recipes[n - 1].before)
        mask |= e->recipes[n - 1].mask;
    return mask;
}

/* The recipe for what is missing in memory; 0: nothing is, or it cannot be told. */
static unsigned recipe_here(const Emit *e)
{
    uint16_t missing = FL_ALL & ~e->mem_ok;

    return missing && e->recipe && !(missing & ~recipe_covers(e, e->recipe)) ? e->recipe : 0;
}

static bool may_fault(const Emit *e, unsigned i)
{
    const IrOp *o = &e->ir->ops[i];
    unsigned group = e->ungrouped ? 0 : e->group_of[i];

    if (o->op == IR_CALL || o->op == IR_DIVU || o->op == IR_DIVS || o->op == IR_GUARD)
        return true;
    return o->flags & (IRF_MEM_B | IRF_MEM_D) && o->op != IR_LEA &&
           (!group || e->groups[group - 1].first == i);
}

/* May something fault, from op @i on, before all flags are overwritten? */
static bool fault_ahead(const Emit *e, unsigned i)
{
    for (; i < e->ir->n; i++) {
        if (may_fault(e, i))
            return true;
        if (writes_all(&e->ir->ops[i]))
            return false;
    }
    return false;
}

/* Its own recipe goes on from the one before. */
static bool counts_register(const IrOp *o)
{
    return (o->op == IR_INC || o->op == IR_DEC) && !(o->flags & IRF_MEM_D) && is_guest_reg(o->d);
}

/* Will the recipe do at all places that may fault, from @i on until other flags are written? */
static bool recipe_lasts(const Emit *e, unsigned i)
{
    uint32_t used = 0;
    bool good = true;

    for (unsigned n = e->recipe; n; n = e->recipes[n - 1].before)
        used |= 1u << e->recipes[n - 1].d |
                (e->recipes[n - 1].b != V_NONE ? 1u << e->recipes[n - 1].b : 0);
    for (; i < e->ir->n; i++) {
        const IrOp *o = &e->ir->ops[i];
        int64_t by;

        if (!good && may_fault(e, i))
            return false;
        if (writes_all(o) || ir_ops[o->op].form == FORM_TERM)
            return true;
        if (o->op == IR_CALL || (o->fl_out && !counts_register(o)) ||
            (x64_written_by(o) & used && !(o->op == IR_LEA && x64_moves(o, &by))))
            good = false;
    }
    return true;
}

unsigned x64_exact_point(Emit *e, unsigned i)
{
    const IrOp *o = &e->ir->ops[i];
    bool alive = (o->fl_live & ~o->fl_out) | o->fl_in, known = recipe_here(e);

    if (!e->fl_host || e->fl_mem)
        return recipe_here(e);
    if (!alive && (!(e->host_ok & ~e->mem_ok) || (known ? recipe_lasts(e, i) : !fault_ahead(e, i))))
        return recipe_here(e);
    if (e->mem_ok & ~e->host_ok)
        x64_flags_merge(e);
    else
        x64_flags_to_mem(e);
    return recipe_here(e);
}

void x64_exact_place(Emit *e, unsigned recipe)
{
    if (recipe != e->pcs[e->n_pcs - 1].recipe)
        x64_pc_entry(e, e->pcs[e->insn].pc, recipe);
}

void x64_exact_signal(Emit *e)
{
    x64_exact_place(e, e->host_ok == FL_ALL && !e->fl_mem ? RECIPE_HOST : recipe_here(e));
}

/* A count of 0 keeps flags: before a shift whose dead flags may be shown, bring them into the
 * host. */
void x64_exact_shift(Emit *e, unsigned i)
{
    if (keeps_on_zero(&e->ir->ops[i]) && fault_ahead(e, i + 1))
        x64_exact_host(e, FL_ALL);
}

/* Out of line only: in memory by the recipe of the entry in force. */
static void rebuild(Emit *e)
{
    emit_call(&e->a, e->x->rebuild);
    x64_exact_place(e, 0);
    e->fl_mem = true;
    e->mem_ok = FL_ALL;
}

void x64_exact_host(Emit *e, uint16_t want)
{
    if (!(want & ~e->host_ok))
        return;
    if (e->fl_host && !e->fl_mem)
        x64_flags_merge(e);
    e->fl_host = false;
    if (e->ungrouped && recipe_here(e)) {
        x64_exact_place(e, recipe_here(e));
        rebuild(e);
    }
    x64_flags_need(e);
}

void x64_exact_begin(Emit *e)
{
    e->mem_ok = FL_ALL;
    e->host_ok = e->recipe = 0;
    e->n_recipes = 0;
}

void x64_exact_copy(Emit *e, const Group *g)
{
    e->host_ok = 0;
    e->mem_ok = g->mem_ok_in;
    e->recipe = 0;
    if (g->recipe_in)
        rebuild(e);
}

/* Recipes that are referred to get consecutive numbers. */
static uint16_t renumber(Emit *e, uint16_t to[], unsigned recipe)
{
    Recipe *r = &e->recipes[recipe - 1];

    if (!to[recipe - 1]) {
        if (r->before)
            r->before = renumber(e, to, r->before);
        to[recipe - 1] = (uint16_t)++e->n_recipes;
        memcpy(e->a.p, r, sizeof *r);
        e->a.p += sizeof *r;
    }
    return to[recipe - 1];
}

void x64_exact_table(Emit *e)
{
    uint16_t to[X64_MAX_RECIPES];
    uint8_t *head = e->a.p, *entries = head + 8;

    memset(to, 0, e->n_recipes * sizeof *to);
    e->n_recipes = 0;
    e->a.p = entries + e->n_pcs * sizeof(PcEntry);
    for (unsigned i = 0; i < e->n_pcs; i++) {
        PcEntry *p = &e->pcs[i];

        if (p->recipe && p->recipe != RECIPE_HOST)
            p->recipe = renumber(e, to, p->recipe);
    }
    memcpy(head, &e->n_pcs, 4);
    memcpy(head + 4, &e->n_recipes, 4);
    memcpy(entries, e->pcs, e->n_pcs * sizeof(PcEntry));
}
