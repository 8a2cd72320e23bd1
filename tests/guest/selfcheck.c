/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * selfcheck - computes checksums of many kinds of work, one line "name value" each
 *
 * The same program runs on the host and in a guest, whose lines must be equal
 * (tests/functional/test_linux_checks.py).  "absent" stands for what the processor does not have;
 * such lines are not compared.  Nothing here may depend on time, addresses or the order of threads.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fenv.h>
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if __SIZEOF_POINTER__ == 8
#define IS_64 1
#define REG_PC REG_RIP
#else
#define IS_64 0
#define REG_PC REG_EIP
#endif
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HIDE(v) __asm__ volatile("" : "+m"(v)) /* the compiler knows nothing of its value */

/* --- random numbers and sums --- */

static uint64_t seed, sum;

static uint64_t rnd(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 32 | seed << 32) ^ seed >> 17;
}

static void add(uint64_t v)
{
    sum = (sum ^ v) * 0x100000001b3u;
    sum ^= sum >> 29;
}

static void add_bytes(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(((const uint8_t *)p)[i]);
}

/* Numbers of all sizes, with a liking for the ends. */
static uint64_t interesting(void)
{
    static const uint64_t ends[] = {
        0,         1,      2,          0x7f,       0x80,       0xff,      0x7fff,
        0x8000,    0xffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, (uint64_t)INT64_MIN,
        UINT64_MAX};
    uint64_t v = rnd();

    switch (v & 3) {
    case 0: return ends[(v >> 2) % COUNT(ends)];
    case 1: return rnd() >> (v >> 2 & 63);
    case 2: return -(rnd() >> (v >> 2 & 63));
    default: return rnd();
    }
}

static double rnd_double(void)
{
    static const uint64_t ends[] = {0,
                                    1,
                                    0x000fffffffffffff,
                                    0x0010000000000000,
                                    0x3ff0000000000000,
                                    0x3fefffffffffffff,
                                    0x4330000000000000,
                                    0x43e0000000000000,
                                    0x7fefffffffffffff,
                                    0x7ff0000000000000,
                                    0x7ff8000000000123,
                                    0x7ff0000000000001};
    uint64_t v = rnd(), bits;
    double d;

    switch (v & 3) {
    case 0: bits = ends[(v >> 2) % COUNT(ends)] | (v & 1ull << 40 ? 1ull << 63 : 0); break;
    case 1: bits = rnd(); break;
    default: bits = (rnd() & 0x800fffffffffffff) | (0x3ffull - 40 + (v >> 2) % 80) << 52;
    }
    memcpy(&d, &bits, 8);
    return d;
}

static uint64_t bits_of(double d)
{
    uint64_t v;

    memcpy(&v, &d, 8);
    return v;
}

/* --- integers --- */

static void check_integers(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t a = interesting(), b = interesting();
        int64_t sa = (int64_t)a, sb = (int64_t)b;

        add(a + b), add(a - b), add(a * b), add(a ^ (b << 1)), add(a & ~b);
        add(__builtin_popcountll(a)), add(__builtin_bswap64(a)), add(a ? __builtin_clzll(a) : 64),
            add(b ? __builtin_ctzll(b) : 64);
        add(a << (b & 63) | a >> (-b & 63)), add((uint64_t)(sa >> (b & 63))),
            add((uint32_t)a >> (b & 31)), add((uint64_t)((int32_t)a >> (b & 31)));
        if (b)
            add(a / b), add(a % b);
        if (b && !(sa == INT64_MIN && sb == -1))
            add((uint64_t)(sa / sb)), add((uint64_t)(sa % sb));
        if ((uint32_t)b)
            add((uint32_t)a / (uint32_t)b), add((uint32_t)a % (uint32_t)b), add(a % (uint32_t)b);
        if ((uint16_t)b)
            add((uint16_t)a / (uint16_t)b), add((uint64_t)((int16_t)a / (int32_t)(int16_t)b));
        add((uint64_t)((int64_t)(int8_t)a * (int16_t)b)),
            add((uint64_t)(int64_t)(int32_t)a * (uint64_t)(int64_t)(int8_t)b);
        add(__builtin_add_overflow((int32_t)a, (int32_t)b, &(int32_t){0})),
            add(__builtin_mul_overflow(sa, sb, &(int64_t){0}));
        add(__builtin_sub_overflow((int16_t)a, (int16_t)b, &(int16_t){0})), add(sa < sb),
            add(a < b), add((int8_t)a <= (int8_t)b);
    }
}

static void check_wide(void)
{
#if IS_64
    for (unsigned i = 0; i < 20000; i++) {
        unsigned __int128 a = (unsigned __int128)interesting() << 64 | interesting(),
                          b = (unsigned __int128)(rnd() & 1 ? interesting() : 0) << 64 |
                              interesting();
        __int128 s = (__int128)a;
        unsigned __int128 v[] = {
            a + b,         a - b,          a * b,          b ? a / b : 0,
            b ? a % b : 0, a << (i & 127), a >> (i & 127), (unsigned __int128)(s >> (i & 127))};

        add_bytes(v, sizeof v);
        add(a < b), add(s < (__int128)b);
    }
#else
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t a = interesting(), b = interesting();

        add(a << (b & 63)), add((uint64_t)((int64_t)a >> (b & 63)));
    }
#endif
}

/* Results and defined flags of @insn with operands of each size. */
enum { CF = 1, PF = 4, AF = 16, ZF = 64, SF = 128, OF = 2048, ALL = CF | PF | AF | ZF | SF | OF };
#if IS_64
typedef uint64_t Flags;
#else
typedef uint32_t Flags;
#endif
#define BIN(insn, type, mask)                                                                      \
    do {                                                                                           \
        type a_ = (type)a, b_ = (type)b;                                                           \
        Flags f_ = f;                                                                              \
        __asm__ volatile("push %1; popf; " insn " %2, %0; pushf; pop %1"                           \
                         : "+q"(a_), "+r"(f_)                                                      \
                         : "q"(b_)                                                                 \
                         : "cc");                                                                  \
        add(a_), add(f_ &(mask));                                                                  \
    } while (0)
#define XADD(insn, type, mask)                                                                     \
    do {                                                                                           \
        type a_ = (type)a, b_ = (type)b;                                                           \
        Flags f_ = f;                                                                              \
        __asm__ volatile("push %1; popf; " insn " %2, %0; pushf; pop %1"                           \
                         : "+q"(a_), "+r"(f_), "+q"(b_)                                            \
                         :                                                                         \
                         : "cc");                                                                  \
        add(a_), add(b_), add(f_ &(mask));                                                         \
    } while (0)
#define UNARY(insn, type, mask)                                                                    \
    do {                                                                                           \
        type a_ = (type)a;                                                                         \
        Flags f_ = f;                                                                              \
        __asm__ volatile("push %1; popf; " insn " %0; pushf; pop %1"                               \
                         : "+q"(a_), "+r"(f_)                                                      \
                         :                                                                         \
                         : "cc");                                                                  \
        add(a_), add(f_ &(mask));                                                                  \
    } while (0)
/* Shifts: OF is defined for one bit only, AF never; nothing changes for none. */
#define SHIFT(insn, type, mask)                                                                    \
    do {                                                                                           \
        type a_ = (type)a;                                                                         \
        Flags f_ = f;                                                                              \
        __asm__ volatile("push %1; popf; " insn " %%cl, %0; pushf; pop %1"                         \
                         : "+q"(a_), "+r"(f_)                                                      \
                         : "c"((uint8_t)n)                                                         \
                         : "cc");                                                                  \
        add(a_), add(f_ &(n == 0 ? ALL : n == 1 ? ((mask) | OF) : (mask)));                        \
    } while (0)
#define SIZES(kind, insn, mask)                                                                    \
    kind(insn "b", uint8_t, mask);                                                                 \
    kind(insn "w", uint16_t, mask);                                                                \
    kind(insn "l", uint32_t, mask)
#if IS_64
#define SIZES64(kind, insn, mask)                                                                  \
    SIZES(kind, insn, mask);                                                                       \
    kind(insn "q", uint64_t, mask)
#define WIDE(kind, insn, mask)                                                                     \
    kind(insn "w", uint16_t, mask);                                                                \
    kind(insn "l", uint32_t, mask);                                                                \
    kind(insn "q", uint64_t, mask)
#else
#define SIZES64 SIZES
#define WIDE(kind, insn, mask)                                                                     \
    kind(insn "w", uint16_t, mask);                                                                \
    kind(insn "l", uint32_t, mask)
#endif

static void check_flags(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t a = interesting(), b = interesting();
        Flags f = (Flags)(rnd() & ALL) | 0x202;

        SIZES64(BIN, "add", ALL);
        SIZES64(BIN, "adc", ALL);
        SIZES64(BIN, "sub", ALL);
        SIZES64(BIN, "sbb", ALL);
        SIZES64(BIN, "cmp", ALL);
        SIZES64(BIN, "and", ALL & ~AF);
        SIZES64(BIN, "or", ALL & ~AF);
        SIZES64(BIN, "xor", ALL & ~AF);
        SIZES64(BIN, "test", ALL & ~AF);
        SIZES64(UNARY, "inc", ALL);
        SIZES64(UNARY, "dec", ALL);
        SIZES64(UNARY, "neg", ALL);
        SIZES64(UNARY, "not", ALL);
        WIDE(BIN, "imul", CF | OF);
        WIDE(BIN, "bt", CF | ZF);
        WIDE(BIN, "bts", CF | ZF);
        WIDE(BIN, "btr", CF | ZF);
        WIDE(BIN, "btc", CF | ZF);
        SIZES64(XADD, "xadd", ALL);
        if ((uint16_t)b) {
            WIDE(BIN, "bsf", ZF);
            WIDE(BIN, "bsr", ZF);
        }
    }
}

static void check_shifts(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t a = interesting();
        Flags f = (Flags)(rnd() & ALL) | 0x202;
        unsigned n = rnd() % 8;

        SIZES64(SHIFT, "shl", CF | PF | ZF | SF);
        SIZES64(SHIFT, "shr", CF | PF | ZF | SF);
        SIZES64(SHIFT, "sar", CF | PF | ZF | SF);
        SIZES64(SHIFT, "rol", CF | PF | ZF | SF | AF);
        SIZES64(SHIFT, "ror", CF | PF | ZF | SF | AF);
        SIZES64(SHIFT, "rcl", CF | PF | ZF | SF | AF);
        SIZES64(SHIFT, "rcr", CF | PF | ZF | SF | AF);
        n = rnd() % 32;
        SHIFT("shll", uint32_t, CF | PF | ZF | SF);
        SHIFT("rcrl", uint32_t, CF | PF | ZF | SF | AF);
        SHIFT("rcll", uint32_t, CF | PF | ZF | SF | AF);
        SHIFT("sarl", uint32_t, CF | PF | ZF | SF);
        SHIFT("rorl", uint32_t, PF | ZF | SF | AF);
        SHIFT("sarb", uint8_t, SF | ZF | PF);
    }
}

/* --- floating point --- */

static const int roundings[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

#define SSE2OP(insn, type, reg)                                                                    \
    do {                                                                                           \
        type r_ = (type)a;                                                                         \
        uint32_t csr_ = 0x1f80 | round << 13 | ftz;                                                \
        __asm__ volatile("ldmxcsr %2; " insn " %3, %0; stmxcsr %1"                                 \
                         : "+x"(r_), "=m"(csr_)                                                    \
                         : "m"(csr_), "x"((type)b));                                               \
        add_bytes(&r_, sizeof r_), add(csr_ & 0x3f);                                               \
    } while (0)
#define SSE_TO_INT(insn, itype, type)                                                              \
    do {                                                                                           \
        type x_ = (type)a;                                                                         \
        itype r_;                                                                                  \
        uint32_t csr_ = 0x1f80 | round << 13;                                                      \
        __asm__ volatile("ldmxcsr %1; " insn " %2, %0; stmxcsr %1"                                 \
                         : "=r"(r_), "+m"(csr_)                                                    \
                         : "x"(x_));                                                               \
        add((uint64_t)r_), add(csr_ & 0x3f);                                                       \
    } while (0)

__attribute__((target("sse2"))) static void check_sse_scalar(void)
{
    uint32_t keep = _mm_getcsr();

    for (unsigned i = 0; i < 20000; i++) {
        double a = rnd_double(), b = rnd_double();
        uint32_t round = i & 3, ftz = i & 16 ? i & 32 ? 0x8040 : 0x8000 : 0;
        Flags f;

        SSE2OP("addsd", double, 0);
        SSE2OP("subsd", double, 0);
        SSE2OP("mulsd", double, 0);
        SSE2OP("divsd", double, 0);
        SSE2OP("sqrtsd", double, 0);
        SSE2OP("minsd", double, 0);
        SSE2OP("maxsd", double, 0);
        SSE2OP("cmpltsd", double, 0);
        SSE2OP("cmpunordsd", double, 0);
        SSE2OP("addss", float, 0);
        SSE2OP("subss", float, 0);
        SSE2OP("mulss", float, 0);
        SSE2OP("divss", float, 0);
        SSE2OP("sqrtss", float, 0);
        SSE2OP("minps", float, 0);
        SSE2OP("cmpneqss", float, 0);
        SSE_TO_INT("cvtsd2si", int32_t, double);
        SSE_TO_INT("cvttsd2si", int32_t, double);
        SSE_TO_INT("cvtss2si", int32_t, float);
#if IS_64
        SSE_TO_INT("cvtsd2siq", int64_t, double);
        SSE_TO_INT("cvttsd2siq", int64_t, double);
        SSE_TO_INT("cvttss2siq", int64_t, float);
        a = (double)(int64_t)interesting(), add(bits_of(a)), a = (double)interesting(),
        add(bits_of(a));
#endif
        _mm_setcsr(0x1f80);
        __asm__ volatile("ucomisd %2, %1; pushf; pop %0" : "=r"(f) : "x"(a), "x"(b) : "cc");
        add(f & ALL), add(_mm_getcsr() & 0x3f);
        __asm__ volatile("comisd %2, %1; pushf; pop %0" : "=r"(f) : "x"(b), "x"(a) : "cc");
        add(f & ALL), add(_mm_getcsr() & 0x3f);
    }
    _mm_setcsr(keep);
}

static void check_fenv(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        volatile double a = rnd_double(), b = rnd_double(), r;
        volatile float fa = (float)a, fb = (float)b, fr;
        volatile long double la = a, lb = b, lr;

        fesetround(roundings[i & 3]);
        feclearexcept(FE_ALL_EXCEPT);
        r = a + b, add(bits_of(r)), r = a * b, add(bits_of(r)), r = a / b, add(bits_of(r)),
        r = a - b, add(bits_of(r));
        add((unsigned)fetestexcept(FE_ALL_EXCEPT));
        feclearexcept(FE_ALL_EXCEPT);
        fr = fa + fb, add(bits_of(fr)), fr = fa * fb, add(bits_of(fr)), fr = fa / fb,
        add(bits_of(fr));
        add((unsigned)fetestexcept(FE_ALL_EXCEPT));
        feclearexcept(FE_ALL_EXCEPT);
        lr = la + lb, add_bytes((void *)&lr, 10), lr = la * lb, add_bytes((void *)&lr, 10),
        lr = la / lb, add_bytes((void *)&lr, 10);
        add((unsigned)fetestexcept(FE_ALL_EXCEPT));
        feclearexcept(FE_ALL_EXCEPT);
        add((uint64_t)lrint(fmod(a, 1e9))), add(bits_of(rint(a))), add(bits_of(nearbyint(b))),
            add(bits_of(floor(a))), add(bits_of(ceil(b)));
        add(bits_of(trunc(a))), add(bits_of(sqrt(a))), add(bits_of(ldexp(a, (int)(i % 200) - 100))),
            add((unsigned)fetestexcept(FE_ALL_EXCEPT));
    }
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
}

static long double rnd_ext(void)
{
    struct {
        uint64_t m;
        uint16_t e;
    } v = {rnd() | 1ull << 63, (uint16_t)(0x3fff - 70 + rnd() % 140)};
    static const uint64_t mant[] = {0,          1ull << 63,         0xc000000000000000,
                                    UINT64_MAX, 0xa000000000000000, 0x4000000000000000};
    static const uint16_t expo[] = {0, 1, 0x3ffe, 0x3fff, 0x403e, 0x7ffe, 0x7fff};
    long double r = 0;

    if (rnd() % 8 == 0)
        v.m = mant[rnd() % COUNT(mant)];
    if (rnd() % 8 == 0)
        v.e = expo[rnd() % COUNT(expo)];
    v.e |= (uint16_t)(rnd() & 0x8000);
    memcpy(&r, &v.m, 8);
    memcpy((char *)&r + 8, &v.e, 2);
    return r;
}

#define X87_ALL "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"

/* C1 is undefined behind some: @mask of the status word. */
#define X87(insn, n_in, mask)                                                                      \
    do {                                                                                           \
        uint16_t sw_;                                                                              \
        long double r_;                                                                            \
        __asm__ volatile("fninit; fldcw %2; fldt %4; fldt %3; " insn                               \
                         "; fnstsw %1; fstpt %0; fninit"                                           \
                         : "=m"(r_), "=m"(sw_)                                                     \
                         : "m"(cw), "m"(a), "m"(b)                                                 \
                         : X87_ALL);                                                               \
        add_bytes(&r_, 10), add(sw_ &(mask));                                                      \
    } while (0)
#define X87_TO(insn, type)                                                                         \
    do {                                                                                           \
        uint16_t sw_;                                                                              \
        type r_;                                                                                   \
        __asm__ volatile("fninit; fldcw %2; fldt %3; " insn " %0; fnstsw %1; fninit"               \
                         : "=m"(r_), "=m"(sw_)                                                     \
                         : "m"(cw), "m"(a)                                                         \
                         : X87_ALL);                                                               \
        add_bytes(&r_, sizeof r_), add(sw_ & 0xff7f);                                              \
    } while (0)

static void check_x87(void)
{
    static const uint16_t precisions[] = {0x300, 0x300, 0x200, 0x000};

    for (unsigned i = 0; i < 20000; i++) {
        long double a = rnd_ext(), b = rnd_ext();
        uint16_t cw = 0x7f | precisions[i & 3] | (i >> 2 & 3) << 10;
        struct {
            char b[10];
        } bcd;
        Flags f;

        X87("faddp", 2, 0xffff);
        X87("fsubp", 2, 0xffff);
        X87("fsubrp", 2, 0xffff);
        X87("fmulp", 2, 0xffff);
        X87("fdivp", 2, 0xffff);
        X87("fdivrp", 2, 0xffff);
        X87("fsqrt", 1, 0xffff);
        X87("frndint", 1, 0xffff);
        X87("fabs; fchs", 1, 0xffff);
        X87("fxam", 1, 0xffff);
        X87("ftst", 1, 0xfdff);
        X87("fucom", 2, 0xfdff);
        X87("fcom", 2, 0xfdff);
        X87("fxch", 2, 0xffff);
        X87("fxtract; faddp", 1, 0xffff);
        X87("fprem", 2, 0xffff);
        X87("fprem1", 2, 0xffff);
        X87("fscale", 2, 0xffff);
        X87_TO("fistpl", int32_t);
        X87_TO("fistps", int16_t);
        X87_TO("fistpll", int64_t);
        X87_TO("fstps", float);
        X87_TO("fstpl", double);
        X87_TO("fisttpll", int64_t);
        X87_TO("fbstp", typeof(bcd));
        __asm__ volatile("fninit; fldt %2; fldt %1; fucomip; pushf; pop %0; fninit"
                         : "=r"(f)
                         : "m"(a), "m"(b)
                         : X87_ALL, "cc");
        add(f & (CF | PF | ZF));
    }
    {
        char env[28];
        uint16_t tag, sw;

        __asm__ volatile("fninit; fldz; fld1; fldpi; fincstp; ffree %%st(1); fnstenv %0; fninit"
                         : "=m"(env)
                         :
                         : X87_ALL);
        memcpy(&tag, env + 8, 2);
        memcpy(&sw, env + 4, 2);
        add(tag), add(sw);
    }
}

/* Moderate arguments: the processor reduces large ones with its own pi. */
static void check_x87_functions(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        long double a = (long double)(int64_t)rnd() / 4611686018427387904.0L,
                    b = (long double)(int64_t)rnd() / 9223372036854775808.0L;
        uint16_t cw = 0x37f;

        X87("fsin", 1, 0);
        X87("fcos", 1, 0);
        X87("fptan; faddp", 1, 0);
        X87("fpatan", 2, 0);
        a = b, b = 1 + b;
        X87("f2xm1", 1, 0);
        a = fabsl(a) + 0.0001L;
        X87("fyl2x", 2, 0);
        a = a / 4;
        X87("fyl2xp1", 2, 0);
    }
}

static void check_libm(void)
{
    for (unsigned i = 0; i < 3000; i++) {
        double a = (double)(int64_t)rnd() / 1e17, b = (double)(rnd() >> 40) / 1e5, c = a / 100;

        add(bits_of(sin(a))), add(bits_of(cos(a))), add(bits_of(tan(a))), add(bits_of(exp(c))),
            add(bits_of(log(b))), add(bits_of(pow(b, c / 10)));
        add(bits_of(atan2(a, b))), add(bits_of(asin(c))), add(bits_of(cbrt(a))),
            add(bits_of(hypot(a, b))), add(bits_of(fma(a, b, c)));
        add(bits_of(tgamma(b / 10))), add(bits_of(erf(c))), add(bits_of(sinh(c))),
            add(bits_of(log1p(b))), add(bits_of(expm1(c)));
        add(bits_of((double)sinf((float)a))), add(bits_of((double)expf((float)c))),
            add(bits_of((double)powf((float)b, (float)c / 10)));
        add(bits_of((double)logf((float)b))), add(bits_of(remainder(a, b))),
            add(bits_of(fmod(a, c)));
    }
}

static void check_libm_long(void)
{
    for (unsigned i = 0; i < 1000; i++) {
        long double a = (long double)(int64_t)rnd() / 1e18L,
                    r[] = {expl(a),          sinhl(a), powl(fabsl(a), 1.5L),
                           log10l(fabsl(a)), atanl(a), fmodl(a, 0.3L),
                           cbrtl(a)};

        for (unsigned n = 0; n < COUNT(r); n++)
            add_bytes(&r[n], 10);
    }
}

static void check_text(void)
{
    for (unsigned i = 0; i < 2000; i++) {
        char s[100];
        double d = rnd_double();

        snprintf(s, sizeof s, "%.17g %a %Lf", d, d, (long double)(int64_t)rnd());
        add_bytes(s, strlen(s));
        add(bits_of(strtod(s, NULL)));
        snprintf(s, sizeof s, "%lld %llx", (long long)interesting(), (long long)rnd());
        add_bytes(s, strlen(s));
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void check_sort(void)
{
    static uint64_t v[20000];

    for (unsigned i = 0; i < COUNT(v); i++)
        v[i] = interesting();
    qsort(v, COUNT(v), 8, compare);
    add_bytes(v, sizeof v);
}

/* --- vectors --- */

#define V128(e)                                                                                    \
    do {                                                                                           \
        __m128i r_ = (e);                                                                          \
        add_bytes(&r_, 16);                                                                        \
    } while (0)
#define V256(e)                                                                                    \
    do {                                                                                           \
        __m256i r_ = (e);                                                                          \
        add_bytes(&r_, 32);                                                                        \
    } while (0)

static void fill(void *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = interesting();

        memcpy((char *)p + i, &v, 8);
    }
}

__attribute__((target("sse2"))) static void check_sse2(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        __m128i a, b;

        fill(&a, 16), fill(&b, 16);
        V128(_mm_add_epi8(a, b));
        V128(_mm_adds_epi8(a, b));
        V128(_mm_adds_epu16(a, b));
        V128(_mm_sub_epi32(a, b));
        V128(_mm_subs_epu8(a, b));
        V128(_mm_add_epi64(a, b));
        V128(_mm_mulhi_epi16(a, b));
        V128(_mm_mulhi_epu16(a, b));
        V128(_mm_mullo_epi16(a, b));
        V128(_mm_mul_epu32(a, b));
        V128(_mm_madd_epi16(a, b));
        V128(_mm_sad_epu8(a, b));
        V128(_mm_avg_epu8(a, b));
        V128(_mm_avg_epu16(a, b));
        V128(_mm_min_epu8(a, b));
        V128(_mm_max_epi16(a, b));
        V128(_mm_cmpgt_epi8(a, b));
        V128(_mm_cmpeq_epi32(a, b));
        V128(_mm_packs_epi16(a, b));
        V128(_mm_packus_epi16(a, b));
        V128(_mm_packs_epi32(a, b));
        V128(_mm_unpacklo_epi8(a, b));
        V128(_mm_unpackhi_epi16(a, b));
        V128(_mm_unpacklo_epi64(a, b));
        V128(_mm_shuffle_epi32(a, 0x1b));
        V128(_mm_shufflelo_epi16(a, 0x93));
        V128(_mm_shufflehi_epi16(b, 0x4e));
        V128(_mm_slli_si128(a, 5));
        V128(_mm_srli_si128(a, 11));
        V128(_mm_sll_epi16(a, _mm_cvtsi32_si128((int)(i % 20))));
        V128(_mm_sra_epi32(a, _mm_cvtsi32_si128((int)(i % 40))));
        V128(_mm_srl_epi64(a, b));
        V128(_mm_andnot_si128(a, b));
        add((unsigned)_mm_movemask_epi8(a)), add((unsigned)_mm_extract_epi16(a, 5));
        V128(_mm_insert_epi16(a, (int)i, 3));
        V128(_mm_cvtps_epi32(_mm_castsi128_ps(a)));
        V128(_mm_cvttpd_epi32(_mm_castsi128_pd(b)));
        V128(_mm_castps_si128(_mm_cvtepi32_ps(a)));
        V128(_mm_castpd_si128(_mm_cvtps_pd(_mm_castsi128_ps(a))));
        V128(_mm_castps_si128(_mm_cvtpd_ps(_mm_castsi128_pd(a))));
        V128(_mm_castpd_si128(_mm_add_pd(_mm_castsi128_pd(a), _mm_castsi128_pd(b))));
        V128(_mm_castps_si128(_mm_mul_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b))));
        V128(_mm_castps_si128(_mm_div_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b))));
        V128(_mm_castpd_si128(_mm_sqrt_pd(_mm_castsi128_pd(a))));
        V128(_mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x6c)));
        V128(_mm_castpd_si128(_mm_cmple_pd(_mm_castsi128_pd(a), _mm_castsi128_pd(b))));
    }
}

__attribute__((target("sse4.2"))) static void check_sse4(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        __m128i a, b;

        fill(&a, 16), fill(&b, 16);
        V128(_mm_shuffle_epi8(a, b));
        V128(_mm_maddubs_epi16(a, b));
        V128(_mm_mulhrs_epi16(a, b));
        V128(_mm_hadd_epi16(a, b));
        V128(_mm_hsubs_epi16(a, b));
        V128(_mm_sign_epi8(a, b));
        V128(_mm_abs_epi32(a));
        V128(_mm_alignr_epi8(a, b, 7));
        V128(_mm_minpos_epu16(a));
        V128(_mm_mpsadbw_epu8(a, b, 5));
        V128(_mm_blendv_epi8(a, b, _mm_srai_epi32(b, 3)));
        V128(_mm_packus_epi32(a, b));
        V128(_mm_mul_epi32(a, b));
        V128(_mm_mullo_epi32(a, b));
        V128(_mm_cmpgt_epi64(a, b));
        V128(_mm_cvtepi8_epi64(a));
        V128(_mm_cvtepu16_epi32(b));
        V128(_mm_max_epi8(a, b));
        V128(_mm_min_epu32(a, b));
        V128(_mm_castps_si128(_mm_dp_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0xb5)));
        V128(_mm_castpd_si128(_mm_round_pd(_mm_castsi128_pd(a), 9)));
        V128(_mm_castps_si128(_mm_insert_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x92)));
        V128(_mm_insert_epi8(a, (int)i, 9));
        V128(_mm_blend_epi16(a, b, 0xa5));
        add((unsigned)_mm_testz_si128(a, b)), add((unsigned)_mm_testc_si128(a, b)),
            add((unsigned)_mm_extract_epi8(a, 13)), add(_mm_crc32_u32((unsigned)i, (unsigned)sum));
        add(_mm_crc32_u8((unsigned)sum, (uint8_t)i));
        b = _mm_and_si128(b, _mm_set1_epi8(3)), a = _mm_and_si128(a, _mm_set1_epi8(3));
        add((unsigned)_mm_cmpistri(a, b, 0x0c)), add((unsigned)_mm_cmpistri(a, b, 0x40)),
            add((unsigned)_mm_cmpestri(a, (int)i % 20, b, 9, 0x19)),
            add((unsigned)_mm_cmpistrz(a, b, 8));
        V128(_mm_cmpistrm(a, b, 0x44));
        V128(_mm_cmpestrm(a, 16, b, (int)(i % 17), 0x01));
        add((unsigned)_mm_cmpistrc(a, b, 0x04)), add((unsigned)_mm_cmpistro(a, b, 0x14));
    }
}

__attribute__((target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt"))) static void check_avx2(void)
{
    static int32_t table[1024];

    fill(table, sizeof table);
    for (unsigned i = 0; i < 5000; i++) {
        __m256i a, b, index;
        __m256 fa, fb;
        __m256d da, db;

        fill(&a, 32), fill(&b, 32), fill(&fa, 32), fill(&fb, 32);
        for (unsigned n = 0; n < 4; n++)
            ((double *)&da)[n] = rnd_double(), ((double *)&db)[n] = rnd_double();
        index = _mm256_and_si256(a, _mm256_set1_epi32(1023));
        V256(_mm256_add_epi8(a, b));
        V256(_mm256_shuffle_epi8(a, b));
        V256(_mm256_permutevar8x32_epi32(a, b));
        V256(_mm256_permute4x64_epi64(a, 0x39));
        V256(_mm256_permute2x128_si256(a, b, 0x31));
        V256(_mm256_sllv_epi32(a, _mm256_and_si256(b, _mm256_set1_epi32(63))));
        V256(_mm256_srav_epi32(a, b));
        V256(_mm256_srlv_epi64(a, b));
        V256(_mm256_mullo_epi32(a, b));
        V256(_mm256_maddubs_epi16(a, b));
        V256(_mm256_packus_epi32(a, b));
        V256(_mm256_unpackhi_epi8(a, b));
        V256(_mm256_alignr_epi8(a, b, 3));
        V256(_mm256_cvtepu8_epi32(_mm256_castsi256_si128(a)));
        V256(_mm256_broadcastw_epi16(_mm256_castsi256_si128(a)));
        V256(_mm256_inserti128_si256(a, _mm256_castsi256_si128(b), 1));
        V256(_mm256_i32gather_epi32(table, index, 4));
        V256(_mm256_mask_i32gather_epi32(a, table, index, b, 4));
        V256(_mm256_blendv_epi8(a, b, a));
        V256(_mm256_sad_epu8(a, b));
        V256(_mm256_maskload_epi32(table + i % 100, b));
        V256(_mm256_cmpgt_epi64(a, b));
        V256(_mm256_mpsadbw_epu8(a, b, 0x2a));
        V256(_mm256_blend_epi32(a, b, 0x5a));
        _mm256_maskstore_epi32(table + i % 1000, a, b);
        V256(_mm256_castps_si256(_mm256_fmadd_ps(fa, fb, fa)));
        V256(_mm256_castpd_si256(_mm256_fnmsub_pd(da, db, da)));
        V256(_mm256_castpd_si256(_mm256_fmaddsub_pd(da, db, db)));
        V256(_mm256_castps_si256(_mm256_hadd_ps(fa, fb)));
        V256(_mm256_castpd_si256(_mm256_div_pd(da, db)));
        V256(_mm256_castpd_si256(_mm256_cmp_pd(da, db, 0x1d)));
        V256(_mm256_castps_si256(_mm256_permutevar_ps(fa, b)));
        V256(_mm256_castps_si256(_mm256_round_ps(fa, 10)));
        V256(_mm256_castps_si256(_mm256_dp_ps(fa, fb, 0x71)));
        V256(_mm256_castpd_si256(_mm256_addsub_pd(da, db)));
        V128(_mm256_cvtps_ph(fa, 0));
        V256(_mm256_castps_si256(_mm256_cvtph_ps(_mm256_castsi256_si128(a))));
        V128(_mm256_cvttpd_epi32(da));
        V256(_mm256_castps_si256(_mm256_sqrt_ps(fa)));
        V256(_mm256_castps_si256(_mm256_max_ps(fa, fb)));
        add((unsigned)_mm256_movemask_epi8(a)), add((unsigned)_mm256_testnzc_si256(a, b)),
            add((unsigned)_mm256_movemask_pd(da));
        {
            uint32_t x = (uint32_t)interesting(), y = (uint32_t)interesting();

            add(_andn_u32(x, y)), add(_bextr_u32(x, i % 40, i % 50)), add(_blsr_u32(x)),
                add(_blsi_u32(x)), add(_blsmsk_u32(x)), add(_bzhi_u32(x, i & 255));
            add(_pdep_u32(x, y)), add(_pext_u32(x, y)), add(_lzcnt_u32(x >> i % 32)),
                add(_tzcnt_u32(x << i % 32)), add((unsigned)_mm_popcnt_u32(y));
        }
#if IS_64
        {
            unsigned long long x = interesting(), y = interesting(), high,
                               low = _mulx_u64(x, y, &high);

            add(low), add(high), add(_pdep_u64(x, y)), add(_pext_u64(x, y)),
                add(_bzhi_u64(x, i & 255)), add(_lzcnt_u64(x)), add(_tzcnt_u64(y));
        }
#endif
        _mm256_zeroupper();
    }
}

__attribute__((target("aes,pclmul,sse4.1"))) static void check_aes(void)
{
    __m128i a, k;

    fill(&a, 16), fill(&k, 16);
    for (unsigned i = 0; i < 20000; i++) {
        a = _mm_aesenc_si128(a, k), k = _mm_xor_si128(_mm_aeskeygenassist_si128(k, 0x1b), a),
        a = _mm_aesdeclast_si128(a, k);
        a = _mm_aesenclast_si128(_mm_aesimc_si128(a), k),
        a = _mm_xor_si128(_mm_aesdec_si128(a, k), _mm_clmulepi64_si128(a, k, 0x10));
        V128(a);
    }
}

__attribute__((target("sha,sse4.1"))) static void check_sha(void)
{
    __m128i a, b, c;

    fill(&a, 16), fill(&b, 16), fill(&c, 16);
    for (unsigned i = 0; i < 20000; i++) {
        a = _mm_sha256rnds2_epu32(a, b, c), b = _mm_sha256msg1_epu32(b, a),
        c = _mm_sha256msg2_epu32(c, b);
        a = _mm_sha1rnds4_epu32(a, _mm_sha1nexte_epu32(b, c), 2),
        b = _mm_sha1msg2_epu32(_mm_sha1msg1_epu32(b, c), a);
        V128(a);
    }
}

__attribute__((target("mmx"))) static void check_mmx(void)
{
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t a = interesting(), b = interesting(), r;

#define MMX(insn)                                                                                  \
    do {                                                                                           \
        __asm__ volatile("movq %1, %%mm0; " insn " %2, %%mm0; movq %%mm0, %0; emms"                \
                         : "=m"(r)                                                                 \
                         : "m"(a), "m"(b)                                                          \
                         : "mm0");                                                                 \
        add(r);                                                                                    \
    } while (0)
        MMX("paddb");
        MMX("paddsw");
        MMX("psubusb");
        MMX("pmaddwd");
        MMX("pmulhw");
        MMX("packsswb");
        MMX("punpckhbw");
        MMX("pcmpgtd");
        MMX("psraw");
        MMX("psadbw");
    }
}

/* --- memory --- */

/* Two pages, and none behind them. */
static char *guarded(void)
{
    char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    mprotect(p + 2 * 4096, 4096, PROT_NONE);
    return p;
}

static void check_strings(void)
{
    char *a = guarded(), *b = guarded();

    for (unsigned i = 0; i < 4000; i++) {
        size_t n = rnd() % 300, at = 8192 - n - (i & 1 ? 0 : rnd() % 60), to = rnd() % 4000, len;

        for (size_t k = 0; k < n; k++)
            a[at + k] = (char)(1 + rnd() % 30);
        memcpy(b + to, a + at, n), add_bytes(b + to, n);
        memmove(b + to + rnd() % 40, b + to, n), add_bytes(b + to, n + 40);
        add(n ? (uint64_t)((char *)memchr(a + at, a[at + n / 2], n) - a) : 0),
            add(n ? (uint64_t)((char *)memrchr(a + at, a[at + n / 3], n) - a) : 0);
        memset(b + at, (int)i, n), add_bytes(b + 8100, 92);
        add((uint64_t)memcmp(a + at, b + at, n) >> 63);
        if (!n)
            continue;
        a[at + n - 1] = 0, len = strlen(a + at), add(len), add(strnlen(a + at, 100));
        memcpy(b + to, a + at, n), add((uint64_t)(strcmp(a + at, b + to) == 0));
        b[to + n / 2]++, add((uint64_t)(strcmp(a + at, b + to) < 0)),
            add((uint64_t)(strncmp(a + at, b + to, n / 2) == 0));
        strcpy(b + at, a + at), add_bytes(b + at, n), add((uint64_t)(strchrnul(b + at, 7) - b)),
            add(strspn(b + at, "\1\2\3\4\5\6\7")), add(strcspn(b + at, "\11\12"));
        add((uint64_t)(strrchr(b + at, 0) - b)),
            add((uint64_t)(strstr(a + at, n > 9 ? a + at + n - 5 : "x") != NULL));
    }
    munmap(a, 3 * 4096), munmap(b, 3 * 4096);
}

static void check_rep(void)
{
    static uint8_t m[4096];

    fill(m, sizeof m);
    for (unsigned i = 0; i < 3000; i++) {
        const char *s = (char *)m + 1000 + rnd() % 1000;
        char *d = (char *)m + 1000 + rnd() % 1000;
        size_t n = rnd() % 100;
        uint8_t v = (uint8_t)rnd();

        switch (i % 6) {
        case 0: __asm__ volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(n) : : "memory"); break;
        case 1:
            __asm__ volatile("std; rep movsw; cld" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
            break;
        case 2:
            __asm__ volatile("rep stosl" : "+D"(d), "+c"(n) : "a"(v * 0x10203u) : "memory");
            break;
        case 3: __asm__ volatile("repne scasb" : "+D"(d), "+c"(n) : "a"(v) : "memory", "cc"); break;
        case 4:
            __asm__ volatile("repe cmpsb" : "+S"(s), "+D"(d), "+c"(n) : : "memory", "cc");
            break;
        default: __asm__ volatile("rep movsl" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
        }
        add((uintptr_t)s - (uintptr_t)m), add((uintptr_t)d - (uintptr_t)m), add(n);
    }
    add_bytes(m, sizeof m);
}

static void check_atomics(void)
{
    static uint64_t line[16] __attribute__((aligned(64)));
    char *p = (char *)line;

    for (unsigned i = 0; i < 5000; i++) {
        uint64_t wide = interesting(),
                 *u64 = (uint64_t *)(p + rnd() % 60); /* misaligned, too: locked all the same */
        uint32_t *u32 = (uint32_t *)(p + rnd() % 60), v = (uint32_t)wide;

        __asm__ volatile("lock xaddl %0, %1" : "+r"(v), "+m"(*u32));
        add(v);
        __asm__ volatile("lock orl %1, %0" : "+m"(*u32) : "r"(v));
        __asm__ volatile("lock btsl %1, %0" : "+m"(*u32) : "r"(v & 31) : "cc");
        __asm__ volatile("lock negl %0" : "+m"(*u32));
        __asm__ volatile("xchgl %0, %1" : "+r"(v), "+m"(*u32));
        add(v);
#if IS_64
        {
            uint64_t old[2] = {line[2 * (i & 7)], line[2 * (i & 7) + 1] + (i % 3 == 0)};
            uint8_t ok;

            __asm__ volatile("lock cmpxchg16b %0; setz %1"
                             : "+m"(*(unsigned __int128 *)&line[2 * (i & 7)]), "=q"(ok),
                               "+a"(old[0]), "+d"(old[1])
                             : "b"(wide), "c"((uint64_t)i)
                             : "cc");
            add(ok), add(old[0]), add(old[1]);
            wide = *u64;
            __asm__ volatile("lock cmpxchgq %2, %1" : "+a"(wide), "+m"(*u64) : "r"(sum) : "cc");
            add(wide);
        }
#else
        {
            uint64_t old = *u64 + (i % 3 == 0);

            add(__sync_val_compare_and_swap(u64, old, sum));
        }
#endif
    }
    add_bytes(line, sizeof line);
}

/* --- code made at run time --- */

/* MOV EAX, n; ADD EAX, n; RET, rewritten and moved; and code that changes the instruction behind
 * itself. */
static void check_jit(void)
{
    uint8_t *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned (*fn)(void);

    for (unsigned i = 0; i < 3000; i++) {
        uint8_t *at =
            p + (i % 3 == 0 ? 4096 - rnd() % 12 : rnd() % 8000); /* also across two pages */
        uint8_t code[] = {0xb8, 0, 0, 0, 0, 0x05, 0, 0, 0, 0, 0xc3};
        uint32_t a = (uint32_t)rnd(), b = (uint32_t)rnd();

        memcpy(code + 1, &a, 4), memcpy(code + 6, &b, 4), memcpy(at, code, sizeof code);
        memcpy(&fn, &at, sizeof fn);
        add(fn());
        at[5] = 0x35; /* XOR */
        add(fn());
        for (unsigned k = 0; k < 3; k++)
            at[6]++, add(fn());
    }
    for (unsigned i = 0; i < 1000; i++) {
        /* MOVB imm to the immediate of the following MOV EAX, imm; RET */
#if IS_64
        uint8_t code[] = {0xc6, 0x05, 1, 0, 0, 0, (uint8_t)i, 0xb8, 0, 0, 0, 0, 0xc3};
#else
        uint8_t code[] = {0xc6, 0x05, 0, 0, 0, 0, (uint8_t)i, 0xb8, 0, 0, 0, 0, 0xc3};
        uint32_t target = (uint32_t)p + 8;

        memcpy(code + 2, &target, 4);
#endif
        memcpy(p, code, sizeof code);
        memcpy(&fn, &p, sizeof fn);
        add(fn());
        p[6]++;
        add(fn());
    }
    mprotect(p, 4096, PROT_READ | PROT_EXEC);
    add(fn == NULL);
    munmap(p, 3 * 4096);
}

/* --- signals --- */

static sigjmp_buf back;
static volatile int got_code, got_signal, armed;
static volatile uintptr_t got_addr, base_addr;

static void jump_back(int n, siginfo_t *info, void *context)
{
    (void)context;
    if (!armed) {
        printf("signal %d at %p where none was expected\n", n, info->si_addr);
        exit(1);
    }
    got_signal = n, got_code = info->si_code, got_addr = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static void catch_all(void (*fn)(int, siginfo_t *, void *))
{
    static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGTRAP, SIGBUS};
    struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    for (unsigned i = 0; i < COUNT(signals); i++)
        sigaction(signals[i], &sa, NULL);
}

#define RAISES(...)                                                                                \
    do {                                                                                           \
        got_signal = got_code = 0;                                                                 \
        armed = 1;                                                                                 \
        if (!sigsetjmp(back, 1)) {                                                                 \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
        armed = 0;                                                                                 \
        add((unsigned)got_signal), add((unsigned)got_code),                                        \
            add(got_signal == SIGSEGV && got_code <= SEGV_ACCERR ? got_addr - base_addr : 0);      \
    } while (0)

static void check_faults(void)
{
    volatile int zero = 0, one = 1, least = INT32_MIN;
    char *p = mmap(NULL, 2 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char *q = p;

    base_addr = (uintptr_t)p;
    catch_all(jump_back);
    for (unsigned i = 0; i < 20; i++) {
        RAISES(add((unsigned)(one / zero)));
        RAISES(add((unsigned)(least / (zero - 1))));
        RAISES(q[i] = 1);
        RAISES(__asm__ volatile("ud2"));
        RAISES(__asm__ volatile("int3"));
        RAISES(__asm__ volatile("hlt"));
        RAISES(__asm__ volatile("cli"));
        RAISES(__asm__ volatile("int $0x3"));
        munmap(p + 4096, 4096);
        RAISES(add((unsigned)q[4096 + i]));
        RAISES(__asm__ volatile("movl %1, %0" : "=m"(*(uint32_t *)(p + 4094)) : "r"(1)));
        RAISES(__asm__ volatile("mov %0, %%ds" : : "r"(0x1234)));
    }
    munmap(p, 4096);
}

#define FP_RAISES(cw, csr, ...)                                                                    \
    RAISES(uint16_t cw_ = (cw); uint32_t csr_ = (csr);                                             \
           __asm__ volatile("fninit; fldcw %0; ldmxcsr %1"                                         \
                            :                                                                      \
                            : "m"(cw_), "m"(csr_));                                                \
           __VA_ARGS__);                                                                           \
    __asm__ volatile("fninit");                                                                    \
    _mm_setcsr(0x1f80)

__attribute__((target("sse2"))) static void check_fp_traps(void)
{
    volatile double zero = 0, one = 1, big = 1e308, tiny = 1e-308;
    double r = 0;

    catch_all(jump_back);
    FP_RAISES(0x37b, 0x1f80, __asm__ volatile("fldz; fld1; fdiv %st(1), %st; fwait"));
    FP_RAISES(0x37e, 0x1f80, __asm__ volatile("fldz; fldz; fdiv %st(1), %st; fwait"));
    FP_RAISES(0x37e, 0x1f80, __asm__ volatile("fstp %st(0); fwait"));
    FP_RAISES(0x377, 0x1f80,
              __asm__ volatile("fldl %0; fmull %0; fstpl %1; fwait"
                               :
                               : "m"(big), "m"(r)));
    FP_RAISES(0x35f, 0x1f80, __asm__ volatile("fldpi; fld1; fdiv %st(1), %st; fwait"));
    FP_RAISES(0x37f, 0x1d80, r = one / zero; HIDE(r));
    FP_RAISES(0x37f, 0x1f00, r = zero / zero; HIDE(r));
    FP_RAISES(0x37f, 0x1b80, r = big * big; HIDE(r));
    FP_RAISES(0x37f, 0x1780, r = tiny * tiny; HIDE(r));
    FP_RAISES(0x37f, 0x0f80, r = one / 3; HIDE(r));
}

static volatile unsigned steps;

static void count_step(int n, siginfo_t *info, void *context)
{
    (void)n, (void)info;
    if (((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] & 0x100)
        steps++;
}

#if IS_64
#define STACK_TOP "(%%rsp)"
#else
#define STACK_TOP "(%%esp)"
#endif

/* Steps through a loop by the trap flag; signals keep the vector and x87 registers. */
__attribute__((target("sse2"))) static void check_steps(void)
{
    uint64_t v[2] = {rnd(), rnd()}, w[2];
    long double x = 1.25L, y;

    catch_all(count_step);
    steps = 0;
    __asm__ volatile("movups %2, %%xmm3; fldt %3; mov $100, %%ecx; pushf; orl $0x100, " STACK_TOP
                     "; popf; 1: addl $3, %%eax; dec %%ecx; jnz 1b;"
                     "pushf; andl $~0x100, " STACK_TOP "; popf; movups %%xmm3, %0; fstpt %1"
                     : "=m"(w), "=m"(y)
                     : "m"(v), "m"(x)
                     : "eax", "ecx", "xmm3", "cc");
    add(steps), add_bytes(w, 16), add_bytes(&y, 10);
}

static void on_alarm(int n)
{
    /* dirties what the interrupted code uses */
    long double v = n;

    for (unsigned i = 0; i < 50; i++)
        v = v * 1.5L + 1;
    HIDE(v);
    steps++;
}

/* A computation under a rain of signals comes out as without. */
static void check_alarms(void)
{
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    timer_t t;
    struct itimerspec every = {{0, 300000}, {0, 300000}}, never = {0};
    double v = 1;
    long double w = 1;

    sigaction(SIGALRM, &sa, NULL);
    steps = 0;
    timer_create(CLOCK_MONOTONIC, NULL, &t);
    timer_settime(t, 0, &every, NULL);
    for (unsigned i = 0; i < 400000; i++)
        v = v * 1.0000001 + 0.5 / (i + 1), w = w * 0.9999999L + (long double)v,
        add(bits_of(v) >> 20);
    timer_settime(t, 0, &never, NULL);
    timer_delete(t);
    add(bits_of(v)), add_bytes(&w, 10), add(steps > 0);
}

static void check_jumps(void)
{
    jmp_buf env;
    volatile unsigned n = 0;
    int v = setjmp(env);

    add((unsigned)v);
    if (n++ < 1000)
        longjmp(env, (int)(n * 7));
}

/* --- processes and threads --- */

static uint64_t counters[4];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned turn;

static void *work(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;

    for (unsigned i = 0; i < 20000; i++) {
        uint64_t seen = __atomic_load_n(&counters[1], __ATOMIC_RELAXED);

        __atomic_fetch_add(&counters[0], 1, __ATOMIC_SEQ_CST);
        while (!__atomic_compare_exchange_n(&counters[1], &seen, seen + me, 1, __ATOMIC_ACQ_REL,
                                            __ATOMIC_RELAXED))
            ;
        pthread_mutex_lock(&mutex);
        counters[2] += me;
        pthread_mutex_unlock(&mutex);
    }
    for (unsigned i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % 4 != me)
            pthread_cond_wait(&cond, &mutex);
        counters[3] = counters[3] * 31 + me;
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return arg;
}

static void check_threads(void)
{
    pthread_t t[4];

    for (uintptr_t i = 0; i < COUNT(t); i++)
        pthread_create(&t[i], NULL, work, (void *)i);
    for (unsigned i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
    add_bytes(counters, sizeof counters);
}

/* Store and load of two threads: never both old, if there is a full barrier between. */
static volatile int flag_a, flag_b, seen_a, seen_b;
static pthread_barrier_t gate;

static void *dekker(void *arg)
{
    for (unsigned i = 0; i < 2000; i++) {
        pthread_barrier_wait(&gate);
        if (arg) {
            flag_a = 1, __sync_synchronize(), seen_b = flag_b;
        } else {
            flag_b = 1, __sync_synchronize(), seen_a = flag_a;
        }
        pthread_barrier_wait(&gate);
        if (arg)
            add(!seen_a && !seen_b), flag_a = flag_b = 0;
    }
    return NULL;
}

static void check_order(void)
{
    pthread_t t;

    pthread_barrier_init(&gate, NULL, 2);
    pthread_create(&t, NULL, dekker, NULL);
    dekker(&gate);
    pthread_join(t, NULL);
}

static void check_processes(void)
{
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
        local = 5;

    for (unsigned i = 0; i < 40; i++) {
        int fd[2], status;
        uint8_t buf[3000];
        size_t got = 0;
        ssize_t n;
        pid_t child;

        if (pipe(fd))
            abort();
        child = fork();
        if (!child) {
            for (unsigned k = 0; k < sizeof buf; k++)
                buf[k] = (uint8_t)(k * i);
            __atomic_fetch_add(shared, (int)i, __ATOMIC_SEQ_CST),
                local = 6; /* the parent's is another */
            _exit(write(fd[1], buf, sizeof buf) == sizeof buf ? (int)i : 99);
        }
        close(fd[1]);
        while ((n = read(fd[0], buf + got, sizeof buf - got)) > 0)
            got += (size_t)n;
        close(fd[0]);
        waitpid(child, &status, 0);
        add((unsigned)WEXITSTATUS(status)), add_bytes(buf, got), add((unsigned)*shared),
            add((unsigned)local);
    }
    munmap(shared, 4096);
}

/* Two processes on one processor or two keep their registers apart. */
static void check_switches(void)
{
    pid_t child = fork();
    long double v = child ? 1 : 2;
    double w = child ? 3 : 4;
    int status;

    for (unsigned i = 0; i < 2000; i++) {
        v = v * 1.0001L + 1, w = w / 1.001 + 2;
        if (i % 20 == 0)
            sched_yield();
    }
    if (!child)
        _exit((int)((unsigned)v + bits_of(w) % 200) & 0x7f);
    waitpid(child, &status, 0);
    add((unsigned)WEXITSTATUS(status)), add_bytes(&v, 10), add(bits_of(w));
}

static void check_memory(void)
{
    enum { PAGES = 64 };
    uint8_t *p =
        mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    catch_all(jump_back);
    base_addr = (uintptr_t)p;
    for (unsigned i = 0; i < 1000; i++) {
        unsigned page = (unsigned)rnd() % PAGES;
        volatile uint8_t *at = p + page * 4096 + rnd() % 4096;
        static const int rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                     PROT_READ | PROT_WRITE};

        mprotect(p + page * 4096, 4096, rights[rnd() % 4]);
        if (i % 50 == 0)
            madvise(p + page * 4096, 4096, MADV_DONTNEED);
        RAISES(add(*at));
        RAISES(*at = (uint8_t)i);
        if (i % 100 == 0)
            p = mremap(p, PAGES * 4096, PAGES * 4096, MREMAP_MAYMOVE), base_addr = (uintptr_t)p;
    }
    munmap(p, PAGES * 4096);
}

static void check_clocks(void)
{
    struct timespec a, b;
    unsigned wrong = 0;

    clock_gettime(CLOCK_MONOTONIC, &a);
    for (unsigned i = 0; i < 50000; i++, a = b) {
        clock_gettime(CLOCK_MONOTONIC, &b);
        wrong += b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec < a.tv_nsec);
    }
    add(wrong);
}

#if !IS_64
#include <asm/ldt.h>
#include <sys/syscall.h>

/* Segments with bases and limits of a program's own, and the old instructions. */
static void check_segments(void)
{
    static char room[256];
    struct user_desc d = {
        .entry_number = 3, .base_addr = (unsigned)room, .limit = 99, .seg_32bit = 1, .useable = 1};
    unsigned v = 0;

    catch_all(jump_back);
    base_addr = 0;
    fill(room, sizeof room);
    if (syscall(SYS_modify_ldt, 1, &d, sizeof d) == 0) {
        for (unsigned i = 90; i < 110; i++)
            RAISES(__asm__ volatile("push %%fs; mov %1, %%fs; movzbl %%fs:(%2), %0; pop %%fs"
                                    : "=r"(v)
                                    : "r"(3 * 8 + 7), "r"(i));
                   add(v));
    }
    for (unsigned i = 0; i < 5000; i++) {
        uint32_t a = (uint32_t)rnd(), f = (uint32_t)(rnd() & (CF | AF)) | 0x202;

#define OLD(insn, mask)                                                                            \
    do {                                                                                           \
        uint32_t a_ = a, f_ = f;                                                                   \
        __asm__ volatile("push %1; popf; " insn "; pushf; pop %1" : "+a"(a_), "+r"(f_) : : "cc");  \
        add(a_), add(f_ &(mask));                                                                  \
    } while (0)
        OLD("daa", CF | AF | ZF | SF | PF);
        OLD("das", CF | AF | ZF | SF | PF);
        OLD("aaa", CF | AF);
        OLD("aas", CF | AF);
        OLD("aam", ZF | SF | PF);
        OLD("aad", ZF | SF | PF);
        OLD(".byte 0xd6", CF);
        OLD("sahf; lahf", ALL);
    }
}
#else
/* Into compatibility mode and back, by far returns. */
static void check_segments(void)
{
    static const uint8_t code[] = {
        0x40, 0x48, 0xb8, 5, 0, 0,   0,
        0x05, 7,    0,    0, 0, 0xcb}; /* INC EAX; DEC EAX; MOV EAX, 5; ADD EAX, 7; RETF */
    uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    uint32_t v = 0;

    memcpy(p, code, sizeof code);
    for (unsigned i = 0; i < 100; i++) {
        struct __attribute__((packed)) {
            uint32_t at;
            uint16_t sel;
        } far = {(uint32_t)(uintptr_t)p, 0x23};
        uint64_t stack = (uintptr_t)p + 8192;

        __asm__ volatile("mov %%rsp, %%r12; mov %1, %%rsp; lcall *(%2); mov %%r12, %%rsp"
                         : "=a"(v)
                         : "r"(stack), "r"(&far), "a"(i)
                         : "r12", "memory", "cc");
        add(v);
    }
    munmap(p, 8192);
}
#endif

/* --- the list --- */

#define HAS(f) __builtin_cpu_supports(f)

static int has_sha(void) /* the compiler has no name for it */
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

int main(void)
{
    const struct {
        const char *name;
        void (*fn)(void);
        int present;
    } checks[] = {
        {"integers", check_integers, 1},
        {"wide", check_wide, 1},
        {"flags", check_flags, 1},
        {"shifts", check_shifts, 1},
        {"sse-scalar", check_sse_scalar, HAS("sse2")},
        {"fenv", check_fenv, 1},
        {"x87", check_x87, HAS("sse3")},
        {"x87-functions", check_x87_functions, 1},
        {"libm", check_libm, 1},
        {"libm-long", check_libm_long, 1},
        {"text", check_text, 1},
        {"sort", check_sort, 1},
        {"sse2", check_sse2, HAS("sse2")},
        {"sse4", check_sse4, HAS("sse4.2")},
        {"mmx", check_mmx, HAS("mmx") && HAS("sse")},
        {"avx2", check_avx2, HAS("avx2") && HAS("fma") && HAS("bmi2") && HAS("f16c")},
        {"aes", check_aes, HAS("aes") && HAS("pclmul") && HAS("sse4.1")},
        {"sha", check_sha, HAS("sse4.1") && has_sha()},
        {"strings", check_strings, 1},
        {"rep", check_rep, 1},
        {"atomics", check_atomics, 1},
        {"jit", check_jit, 1},
        {"faults", check_faults, 1},
        {"fp-traps", check_fp_traps, HAS("sse2")},
        {"steps", check_steps, HAS("sse2")},
        {"alarms", check_alarms, 1},
        {"jumps", check_jumps, 1},
        {"threads", check_threads, 1},
        {"order", check_order, 1},
        {"processes", check_processes, 1},
        {"switches", check_switches, 1},
        {"memory", check_memory, 1},
        {"clocks", check_clocks, 1},
        {"segments", check_segments, 1},
    };

    for (unsigned i = 0; i < COUNT(checks); i++) {
        seed = 0x9e3779b97f4a7c15u * (i + 1), sum = 0xcbf29ce484222325u;
        if (checks[i].present)
            checks[i].fn();
        if (checks[i].present)
            printf("%s %016llx\n", checks[i].name, (unsigned long long)sum);
        else
            printf("%s absent\n", checks[i].name);
        fflush(stdout);
    }
    return 0;
}
