/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gdb_guest - what test_gdb.py debugs: a bare-metal guest with symbols, on one or two processors
 *
 * Built as ELF64 (entered by PVH) or, with -m32, as ELF32 (entered by multiboot).  Processor 0
 * starts the other one, if there is one; each calls work() in an endless loop.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long word;

volatile int total, watched, turns[2], copied[4];
volatile u32 ticks; /* timer interrupts */
volatile u8 text[16] = "hello";
u8 stacks[2][8192] __attribute__((aligned(16)));

void start_c(u32 cpu);
int leaf(int x);
int middle(int x);
void work(u32 cpu);

#ifdef __x86_64__
__asm__(".section .note.pvh, \"a\"\n"
        ".long 4, 4, 18\n .asciz \"Xen\"\n .long start32\n"
        ".bss\n .align 4096\n"
        "pml4: .skip 4096\n pdpt: .skip 4096\n"
        ".section .data\n .align 8\n"
        "gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff\n"
        "gdt_end:\n"
        "gdtr: .word gdt_end - gdt - 1\n .long gdt, 0\n"
        ".text\n .code32\n"
        ".global start32\n"
        "start32:\n"
        "    movl $pdpt + 3, pml4\n"
        "    movl $0x83, pdpt\n movl $0x40000083, pdpt + 8\n"
        "    movl $0x80000083, pdpt + 16\n movl $0xc0000083, pdpt + 24\n"
        "    xorl %esi, %esi\n"
        "enter_long:\n" /* esi: processor */
        "    lgdt gdtr\n"
        "    movl $0x20, %eax\n movl %eax, %cr4\n"
        "    movl $pml4, %eax\n movl %eax, %cr3\n"
        "    movl $0xc0000080, %ecx\n rdmsr\n orl $0x100, %eax\n wrmsr\n"
        "    movl $0x80000011, %eax\n movl %eax, %cr0\n"
        "    ljmp $8, $start64\n"
        "    .code64\n"
        "start64:\n"
        "    movl $16, %eax\n movl %eax, %ss\n movl %eax, %ds\n movl %eax, %es\n"
        "    movl %esi, %edi\n"
        "    leal 1(%rsi), %eax\n shll $13, %eax\n leaq stacks(%rax), %rsp\n"
        "    xorl %ebp, %ebp\n"
        "    call start_c\n"
        /* copied to 0x8000: where the second processor begins */
        "ap_begin:\n .code16\n"
        "    cli\n xorw %ax, %ax\n movw %ax, %ds\n"
        "    lgdtl 0x8000 + ap_gdtr - ap_begin\n"
        "    movl $0x11, %eax\n movl %eax, %cr0\n"
        "    ljmpl $0x18, $ap_32\n"
        "ap_gdtr: .word 31\n .long gdt\n"
        "ap_end:\n"
        "    .code32\n"
        "ap_32:\n"
        "    movw $16, %ax\n movw %ax, %ds\n movl $1, %esi\n"
        "    jmp enter_long\n"
        "    .code64\n");
#else
__asm__(".section .note.multiboot, \"a\"\n .align 4\n"
        ".long 0x1badb002, 0, -0x1badb002\n"
        ".section .data\n .align 8\n"
        "gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
        "gdtr: .word 23\n .long gdt\n"
        ".text\n .global start32\n"
        "start32:\n"
        "    lgdt gdtr\n ljmp $8, $1f\n"
        "1:  movl $16, %eax\n movl %eax, %ss\n movl %eax, %ds\n movl %eax, %es\n"
        "    xorl %esi, %esi\n"
        "    movl $stacks + 8192, %esp\n xorl %ebp, %ebp\n pushl %esi\n"
        "    call start_c\n"
        "ap_begin:\n ap_end:\n");
#endif

extern const u8 ap_begin[], ap_end[];

static void copy(volatile u8 *to, volatile const u8 *from, word n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

/* --- the timer, for tests of stepping: only from begin_ticks() on, which the debugger calls --- */

#ifdef __x86_64__
struct gate {
    u16 low, sel, attr, mid;
    u32 high, zero;
} __attribute__((packed));
struct gate idt[256];

__asm__(
    "timer_entry:\n"
    "    pushq %rax\n incl ticks(%rip)\n movb $0x20, %al\n outb %al, $0x20\n popq %rax\n iretq\n");
extern const u8 timer_entry[];

static void outb(u16 port, u8 v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

void begin_ticks(void)
{
    struct {
        u16 limit;
        word base;
    } __attribute__((packed)) idtr = {sizeof idt - 1, (word)idt};
    word at = (word)timer_entry;
    static const u8 pic[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4},    {0x21, 1},
                                {0x21, 0xfe}, {0x43, 0x34}, {0x40, 0xff}, {0x40, 0x02}};

    idt[0x20] = (struct gate){(u16)at, 8, 0x8e00, (u16)(at >> 16), (u32)(at >> 32), 0};
    __asm__ volatile("lidt %0" : : "m"(idtr));
    for (u32 i = 0; i < sizeof pic / sizeof pic[0]; i++)
        outb(pic[i][0], pic[i][1]);
    __asm__ volatile("sti");
}
#else
void begin_ticks(void) {}
#endif

/* --- the program --- */

__attribute__((noinline)) int leaf(int x)
{
    total += x;
    return total & 0xff;
}

__attribute__((noinline)) int middle(int x)
{
    int a = leaf(x);
    int b = leaf(a + 1);

    return a + b;
}

__attribute__((noinline)) void work(u32 cpu)
{
    int r = middle(turns[cpu] & 7);

    turns[cpu]++;
    if (turns[cpu] % 4 == 0)
        watched = watched + 1;
    if (turns[cpu] % 8 == 0)
        copy((volatile u8 *)copied, (volatile const u8 *)text, sizeof copied);
    copied[3] = r;
}

static void start_other(void)
{
    volatile u32 *apic = (volatile u32 *)0xfee00000ul;

    copy((volatile u8 *)0x8000ul, ap_begin, (word)(ap_end - ap_begin));
    apic[0xf0 / 4] = 0x1ff;
    apic[0x310 / 4] = 1u << 24;
    apic[0x300 / 4] = 0x4500; /* INIT */
    apic[0x310 / 4] = 1u << 24;
    apic[0x300 / 4] = 0x4608; /* start at 0x8000 */
}

void start_c(u32 cpu)
{
    if (cpu == 0 && (word)ap_end > (word)ap_begin)
        start_other();
    for (;;)
        work(cpu);
}
