; SPDX-License-Identifier: GPL-2.0-or-later
; Task switches through 32- and 16-bit TSSs: by JMP, CALL, IRET, gates and exceptions; busy bits, links, LDT, CR3, levels, #TS.
%include "guest.inc"
%include "desc.inc"

TSS_A equ 0x610000
TSS_B equ 0x611000
TSS_C equ 0x612000 ; 16-bit
TSS_H equ 0x613000 ; handler of invalid TSSs
LDT equ 0x614000
DIR1 equ 0x620000
DIR2 equ 0x621000
DIR_PAGES equ 0x622000
A equ 0
B equ 1
C equ 2
H equ 3
LDTS equ 4
CODE16 equ 5
TGATE equ 6
BAD equ 7

; TASK tss, eip: flat, level 0
%macro TASK 2
    mov edx, %1
    mov eax, %2
    call new_task
%endmacro
%macro MAIN_BUSY 1
    movzx eax, byte [gdt + 0x45]
    CHECK eax, %1
%endmacro

main32:
    SAY "task"
    DESC A, TSS_A, 0x67, 0x89, 0
    DESC B, TSS_B, 0x67, 0x89, 0
    DESC C, TSS_C, 0x2b, 0x81, 0
    DESC H, TSS_H, 0x67, 0x89, 0
    DESC CODE16, 0x100000, 0xffff, 0x9a, 0
    MAIN_BUSY 0x8b
; by JMP: not nested
    TASK TSS_A, .a1
    mov ebx, 0x1b1b
    stc
    jmp SEL(A):0
.a1_back:
    setc cl
    CHECK ebx, 0x1b1b
    movzx ebp, cl
    UNLESS_QEMU .a1_flags                ; it may lose them
    CHECK ebp, 1
.a1_flags:
    CHECK [seen_flags], 0x2
    CHECK [seen_tr], SEL(A)
    CHECK [seen_busy], 0x89              ; main's meanwhile
    CHECK [seen_ip], .a1_back
    mov eax, [seen_cr0]
    and eax, 8
    CHECK eax, 8
    movzx eax, word [TSS_A]
    CHECK eax, 0xffff                    ; no link
    MAIN_BUSY 0x8b
    ACCESS A, 0x89
    mov eax, cr0
    and eax, 8
    CHECK eax, 8
    clts
    CHECK [TSS_A + 32], .a1_next
    CHECK [TSS_A + 40], 0xaa
; it goes on where it was
    jmp SEL(A):0
    CHECK [seen_tr], 0x1234
    clts
    jmp .calls
.a1:
    call look
    mov eax, 0xaa
    jmp 0x40:0
.a1_next:
    mov dword [seen_tr], 0x1234
    jmp 0x40:0

; nested CALLs, IRET back
.calls:
    TASK TSS_A, .a2
    TASK TSS_B, .b2
    call SEL(A):0
    CHECK [seen_tr], SEL(B)
    mov eax, [seen_flags]
    and eax, 0x4000
    CHECK eax, 0x4000
    CHECK [seen_busy], 0x8b
    CHECK [seen_busy_a], 0x8b
    CHECK [seen_a], 0x2222
    movzx eax, word [TSS_B]
    CHECK eax, SEL(A)
    movzx eax, word [TSS_A]
    CHECK eax, 0x40
    ACCESS A, 0x89
    ACCESS B, 0x89
    MAIN_BUSY 0x8b
    mov eax, [TSS_B + 36]
    and eax, 0x4000
    CHECK eax, 0                         ; NT is clear in what IRET saves
    str eax
    CHECK eax, 0x40
    jmp .small
.a2:
    call SEL(B):0
    mov dword [seen_a], 0x2222
    iretd
.b2:
    call look
    movzx eax, byte [gdt_more + 8 * A + 5]
    mov [seen_busy_a], eax
    iretd

; a 16-bit TSS
.small:
    mov edi, TSS_C
    mov ecx, 44 / 4
    xor eax, eax
    rep stosd
    mov word [TSS_C + 14], .c - 0x100000
    mov word [TSS_C + 16], 0x3
    mov word [TSS_C + 18], 0x1818
    mov word [TSS_C + 26], 0xfff0
    mov word [TSS_C + 30], 0x3030
    mov word [TSS_C + 36], SEL(CODE16)
    mov word [TSS_C + 38], 0x20
    mov word [TSS_C + 40], 0x10
    mov word [TSS_C + 34], 0x10
    mov edx, 0xddddeeee
    call SEL(C):0
    CHECK edx, 0xddddeeee
    CHECK [seen_tr], SEL(C)
    CHECK [seen_a], 0x30301818
    mov eax, [seen_flags]
    and eax, 0x4001
    CHECK eax, 0x4001
    ACCESS C, 0x81
    movzx eax, word [TSS_C]
    CHECK eax, 0x40
    movzx eax, word [TSS_C + 14]
    CHECK eax, .c_next - 0x100000
    movzx eax, word [TSS_C + 24]
    CHECK eax, 0x7777
; from it to a 32-bit one and back, then by JMP
    TASK TSS_A, .a3
    jmp SEL(C):0
    CHECK [seen_a], 0x3333
    ACCESS C, 0x81
    ACCESS A, 0x89
    clts
    jmp .gates
bits 16
.c:
    pushfd
    pop dword [dword seen_flags]
    mov [dword seen_a], ax
    mov [dword seen_a + 2], si
    str ax
    mov [dword seen_tr], ax
    mov bx, 0x7777
    iret
.c_next:
    call SEL(A):0
    jmp 0x40:0
bits 32
.a3:
    mov dword [seen_a], 0x3333
    iretd

; task gates: in the IDT for INT n and for a fault, in the GDT for CALL
.gates:
    GATE idt + 0x90 * 8, SEL(A), 0, 0x85, 0
    TASK TSS_A, .a4
    int 0x90
.int_next:
    CHECK [seen_ip], .int_next
    mov eax, [seen_flags]
    and eax, 0x4000
    CHECK eax, 0x4000
    clts
    TASK TSS_A, .a5
    GATE idt + 13 * 8, SEL(A), 0, 0x85, 0
    mov ebp, esp
    mov eax, 0x7f4
.fault_at:
    mov fs, ax
.fault_next:
    sub ebp, esp
    CHECK ebp, 0
    CHECK [seen_a], 0x7f4
    CHECK [seen_ip], .fault_at
    CHECK [TSS_A + 56], STACKI           ; it has taken the error code
    GATE idt + 13 * 8, 0x08, stubs + 13 * 16, 0x8e, 0
    TASK TSS_A, .a4
    GATE gdt_more + 8 * TGATE, SEL(A), 0, 0x85, 0
    call SEL(TGATE):0
.call_next:
    CHECK [seen_ip], .call_next
    CHECK [seen_tr], SEL(A)
    clts
    TRY .gate_dpl
    USER .gate_user
.gate_user:
    call SEL(TGATE):0
.gate_dpl:
    EXPECT 13, SEL(TGATE)
    mov byte [gdt_more + 8 * TGATE + 5], 0xe5
    TASK TSS_A, .a4
    TRY .gate_user2_end
    USER .gate_user2
.gate_user2:
    call SEL(TGATE):0                    ; from level 3 to a task of level 0
    ud2
.gate_user2_end:
    EXPECT 6, 0
    CHECK [exc_cs], 0x2b
    clts
; a descriptor of level 0 is not for level 3
    TRY .tss_dpl
    USER .tss_user
.tss_user:
    call SEL(A):0
.tss_dpl:
    EXPECT 13, SEL(A)
    jmp .local
.a4:
    call look
    iretd
.a5:
    pop eax
    mov [seen_a], eax
    mov eax, [tss + 32]
    mov [seen_ip], eax
    mov dword [tss + 32], .fault_next
    iretd

; LDT of a task
.local:
    DESC LDTS, LDT, 0xf, 0x82, 0
    mov dword [LDT + 8], 0x0000ffff
    mov dword [LDT + 12], 0x00cf9360     ; base 0x600000
    mov dword [0x600000], 0x60606060
    TASK TSS_A, .a6
    mov word [TSS_A + 96], SEL(LDTS)
    mov word [TSS_A + 88], 8 + 4         ; FS
    call SEL(A):0
    clts
    CHECK [seen_a], 0x60606060
    CHECK [seen_ip], SEL(LDTS)
    sldt eax
    CHECK eax, 0
; the debug registers' local enables go, the global stay
    mov eax, 0x12345678
    mov dr0, eax
    mov dr1, eax
    mov eax, 0x409
    mov dr7, eax
    TASK TSS_A, .a4
    call SEL(A):0
    mov eax, dr7
    CHECK eax, 0x408
    mov eax, 0x400
    mov dr7, eax
    clts
    jmp .levels
.a6:
    mov eax, [fs:0]
    mov [seen_a], eax
    sldt eax
    mov [seen_ip], eax
    iretd

; a task of level 3: its exceptions come to its own level 0 stack
.levels:
    TASK TSS_A, .a7
    mov dword [TSS_A + 72], 0x33
    mov dword [TSS_A + 76], 0x2b
    mov dword [TSS_A + 80], 0x33
    mov dword [TSS_A + 84], 0x33
    mov dword [TSS_A + 88], 0x33
    mov dword [TSS_A + 92], 0x33
    mov dword [TSS_A + 4], STACKI - 0x2000
    mov dword [TSS_A + 8], 0x10
    TRY .in_task
    call SEL(A):0
    jmp .vm86
.a7:
    mov eax, cs
    mov [seen_a], eax
    ud2
.in_task:
    EXPECT 6, 0
    CHECK [exc_cs], 0x2b
    CHECK [exc_handler_sp], STACKI - 0x2000 - 36
    CHECK [seen_a], 0x2b
    str eax
    CHECK eax, SEL(A)
    push dword 0x4002
    popfd
    iretd                                ; level 0 may do it for the task

; a VM86 task
.vm86:
    clts
    TASK TSS_A, 0
    mov dword [TSS_A + 36], 0x23002
    mov dword [TSS_A + 76], 0x800
    mov dword [TSS_A + 84], 0x900
    mov dword [TSS_A + 80], 0x900
    mov dword [TSS_A + 56], 0x100
    mov dword [TSS_A + 4], STACKI - 0x2000
    mov dword [TSS_A + 8], 0x10
    mov dword [0x8000], 0x00b8d88c       ; MOV AX, DS; MOV AX, imm16
    mov dword [0x8004], 0x900b0f71       ; 0x7100; UD2
    TRY .in_vm86
    call SEL(A):0
    jmp .paging
.in_vm86:
    EXPECT 6, 0
    CHECK [exc_cs], 0x800
    CHECK [exc_ip], 5
    CHECK [exc_ss], 0x900
    CHECK [exc_sp], 0x100
    mov eax, [exc_flags]
    and eax, 0x20000
    CHECK eax, 0x20000
    push dword 0x4002
    popfd
    iretd

; CR3
.paging:
    clts
    call directories
    mov dword [0x630000], 0x11111111
    mov dword [0x631000], 0x22222222
    mov dword [tss + 28], DIR1
    mov eax, DIR1
    mov cr3, eax
    mov eax, cr4
    or eax, 0x10
    mov cr4, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    CHECK [TESTVA], 0x11111111
    TASK TSS_A, .a8
    mov dword [TSS_A + 28], DIR2
    call SEL(A):0
    CHECK [seen_a], 0x22222222
    CHECK [TESTVA], 0x11111111
    mov eax, cr3
    CHECK eax, DIR1
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    clts
    jmp .invalid
.a8:
    mov eax, [TESTVA]
    mov [seen_a], eax
    iretd

; faults before the switch belong to the old task
.invalid:
    TASK TSS_A, .a4
    DESC BAD, TSS_A, 0x66, 0x89, 0
    TRY .limit
    call SEL(BAD):0
.limit:
    EXPECT 10, SEL(BAD)
    MAIN_BUSY 0x8b
    DESC BAD, TSS_C, 0x2a, 0x81, 0
    TRY .limit16
    call SEL(BAD):0
.limit16:
    EXPECT 10, SEL(BAD)
    DESC BAD, TSS_A, 0x67, 0x09, 0
    TRY .absent
    call SEL(BAD):0
.absent:
    EXPECT 11, SEL(BAD)
    DESC BAD, TSS_A, 0x67, 0x8b, 0
    TRY .busy
    call SEL(BAD):0
.busy:
    EXPECT 13, SEL(BAD)
    mov word [tss], SEL(A)               ; IRET to a task that is not busy
    TRY .link
    push dword 0x4002
    popfd
    iretd
.link:
    EXPECT 10, SEL(A)
; those behind it to the new one: seen by a handler that is a task itself
    GATE idt + 10 * 8, SEL(H), 0, 0x85, 0
    GATE idt + 11 * 8, SEL(H), 0, 0x85, 0
    GATE idt + 12 * 8, SEL(H), 0, 0x85, 0
%macro INVALID 3 ; offset in the TSS, value, error code
    TASK TSS_H, .h
    TASK TSS_A, .a4
    mov word [TSS_A + %1], %2
    mov byte [gdt_more + 8 * A + 5], 0x89
    jmp SEL(A):0
    CHECK [seen_a], %3
    CHECK [seen_tr], SEL(A)
    ACCESS A, 0x8b
    UNLESS_QEMU %%end
    CHECK [TSS_A + 32], .a4
%%end:
%endmacro
    INVALID 76, 0x10, 0x10               ; CS is data
    INVALID 76, 0x2b, 0x10               ; CS and SS of different levels
    INVALID 76, 0, 0
    INVALID 80, 0x08, 0x08               ; SS is code
    INVALID 80, 0, 0
    INVALID 84, 0x7f8, 0x7f8             ; DS beyond the table
    INVALID 96, 0x10, 0x10               ; LDT is data
    DESC BAD, 0, 0xffff, 0x13, 0
    INVALID 84, SEL(BAD), SEL(BAD)       ; DS is absent: #NP
    INVALID 80, SEL(BAD), SEL(BAD)       ; SS: #SS
    jmp .debug_trap
.h:
    pop eax
    mov [seen_a], eax
    movzx eax, word [TSS_H]
    mov [seen_tr], eax
    mov byte [gdt_more + 8 * H + 5], 0x89
    jmp 0x40:0

; the T bit: a #DB before the new task's first instruction
.debug_trap:
    UNLESS_QEMU .end
    mov byte [gdt_more + 8 * A + 5], 0x89
    TASK TSS_A, .a4
    mov word [TSS_A + 100], 1
    mov eax, 0xffff0ff0
    mov dr6, eax
    mov dword [hook], db_hook
    TRY .end
    call SEL(A):0
    EXPECT 1, 0
    CHECK [exc_ip], .a4
    mov eax, dr6
    CHECK eax, 0xffff8ff0
.end:
    PASS

db_hook:
    mov eax, 1
    ret

; edx: TSS, eax: EIP
new_task:
    push eax
    mov edi, edx
    xor eax, eax
    mov ecx, 0x68 / 4
    rep stosd
    pop dword [edx + 32]
    mov word [edx], 0xffff
    mov dword [edx + 36], 2
    mov dword [edx + 56], STACKI
    mov eax, 0x10
    mov [edx + 72], eax
    mov [edx + 80], eax
    mov [edx + 84], eax
    mov [edx + 88], eax
    mov [edx + 92], eax
    mov dword [edx + 76], 0x08
    mov word [edx + 102], 0x68
    ret

; what a task sees of itself and of the first one
look:
    pushfd
    pop dword [seen_flags]
    str eax
    mov [seen_tr], eax
    movzx eax, byte [gdt + 0x45]
    mov [seen_busy], eax
    mov eax, [tss + 32]
    mov [seen_ip], eax
    mov eax, cr0
    mov [seen_cr0], eax
    ret

; 16 MiB as they are, TESTVA as 0x630000 or 0x631000
directories:
    mov edi, DIR1
    mov ecx, 0x3000 / 4
    xor eax, eax
    rep stosd
    mov eax, 0x87
    xor ecx, ecx
.next:
    mov [DIR1 + ecx * 4], eax
    mov [DIR2 + ecx * 4], eax
    add eax, 0x400000
    inc ecx
    cmp ecx, 4
    jb .next
    mov dword [DIR1 + (TESTVA >> 22) * 4], DIR_PAGES + 7
    mov dword [DIR2 + (TESTVA >> 22) * 4], DIR_PAGES + 0x1000 + 7
    mov dword [DIR_PAGES], 0x630007
    mov dword [DIR_PAGES + 0x1000], 0x631007
    ret

align 4
seen_flags: dd 0
seen_tr: dd 0
seen_busy: dd 0
seen_busy_a: dd 0
seen_ip: dd 0
seen_cr0: dd 0
seen_a: dd 0
