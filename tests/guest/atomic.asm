; SPDX-License-Identifier: GPL-2.0-or-later
; Locked operations of two processors on operands that cross a cache line or a page, or lie in a device; CMPXCHG16B's alignment.
; smp: 2
%define LONG
%include "guest.inc"

APIC equ 0xfee00000
AP_CODE equ 0x8000
LINE equ 0x400000 + 64
PAGE equ 0x401000
LOOPS equ 200  ; on the border of a cache line, where host processors may be slow
CROSSING equ 200 ; on the border of a page

; Everything that both processors do @2 times to the operand at @1, which none of them may lose
%macro WORK 2
    mov rdi, %1
    mov ecx, %2
%%add:
    lock inc dword [rdi]
    mov eax, 1
    lock xadd [rdi], eax
    lock add dword [rdi], 1
    dec ecx
    jnz %%add
    mov ecx, %2
%%compare: ; 64 bits: the low half counts up, the high half down
    mov rax, [rdi + 16]
%%again:
    mov rbx, 0xffffffff00000001
    add rbx, rax
    lock cmpxchg [rdi + 16], rbx
    jne %%again
    dec ecx
    jnz %%compare
    mov ecx, %2
%%spin: ; a lock taken by XCHG, a counter under it
    mov al, 1
    xchg [lock_word - 1], ax
    test al, al
    jz %%taken
    pause
    jmp %%spin
%%taken:
    inc qword [guarded]
    mov word [lock_word - 1], 0
    dec ecx
    jnz %%spin
    mov ebp, %2
%%pair: ; CMPXCHG8B adds to both halves
    mov eax, [rdi + 32]
    mov edx, [rdi + 36]
%%retry:
    mov ebx, eax
    inc ebx
    lea ecx, [rdx + 2]
    lock cmpxchg8b [rdi + 32]
    jne %%retry
    dec ebp
    jnz %%pair
    mov ecx, %2
%%bits: ; each sets and clears bits of its own
    lock bts dword [rdi + 48], r12d
    jc failed
    lock btr dword [rdi + 48], r12d
    jnc failed
    lock xor dword [rdi + 48], 0x10000
    dec ecx
    jnz %%bits
%endmacro

; Wait for the other one: @1 is the number of this meeting
%macro MEET 1
    lock inc dword [met]
%%wait:
    pause
    cmp dword [met], 2 * %1
    jb %%wait
%endmacro

main64:
    SAY "atomic"
    mov rax, APIC + 0x1b
    mov [PTX], rax
    mov rbx, TESTVA
    invlpg [rbx]
    mov dword [rbx + 0xf0], 0x1ff
    mov rsi, ap_start
    mov rdi, AP_CODE
    mov ecx, ap_start_end - ap_start
    rep movsb
    mov dword [rbx + 0x310], 0
    mov dword [rbx + 0x300], 0x000c4500
    mov ecx, 100000
.delay:
    pause
    loop .delay
    mov dword [rbx + 0x300], 0x000c4600 + (AP_CODE >> 12)
    mov r12d, 3
    MEET 1
    WORK LINE - 2, LOOPS
    MEET 2
    CHECK qword [guarded], 2 * LOOPS
    mov eax, [LINE - 2]
    CHECK rax, 6 * LOOPS
    mov eax, [LINE + 14]
    CHECK rax, 2 * LOOPS
    mov eax, [LINE + 18]
    neg eax
    CHECK rax, 2 * LOOPS
    mov eax, [LINE + 30]
    CHECK rax, 2 * LOOPS
    mov eax, [LINE + 34]
    CHECK rax, 4 * LOOPS
    CHECK qword [LINE + 46], 0
    mov qword [guarded], 0
    MEET 3
    mov r13, PAGE - 2
    call pages
    MEET 4
    mov eax, [PAGE - 2]
    CHECK rax, 6 * CROSSING
    mov eax, [PAGE - 2 + 16]
    CHECK rax, 2 * CROSSING
; an operand in two pages of which the second is missing: nothing is written
    mov qword [PTX + 8], 0x600003
    mov qword [PTX + 16], 0
    mov rbx, TESTVA + 0x1ffe
    mov rax, cr3
    mov cr3, rax
    mov word [rbx], 0x1234
    TRY .fault
    lock add dword [rbx], 1
.fault:
    EXPECT 14, 2
    movzx eax, word [rbx]
    CHECK rax, 0x1234
; a device: the task priority, which reads back
    mov rbx, TESTVA
    lock or dword [rbx + 0x80], 0x20
    mov eax, [rbx + 0x80]
    CHECK rax, 0x20
    mov eax, 0x30
    xchg [rbx + 0x80], eax
    CHECK rax, 0x20
    lock and dword [rbx + 0x80], 0
    mov eax, [rbx + 0x80]
    CHECK rax, 0
; CMPXCHG16B wants alignment, CMPXCHG8B does not
    mov rdi, 0x402008
    TRY .unaligned
    lock cmpxchg16b [rdi]
.unaligned:
    EXPECT 13, 0
    TRY .unlocked
    cmpxchg16b [rdi]
.unlocked:
    EXPECT 13, 0
    xor eax, eax
    xor edx, edx
    mov ebx, 5
    mov ecx, 6
    lock cmpxchg16b [rdi + 8]
    jnz failed
    CHECK [rdi + 8], 5
    CHECK [rdi + 16], 6
    xor eax, eax
    xor edx, edx
    lock cmpxchg8b [rdi + 0x43]
    jnz failed
    PASS

; CROSSING times all of it at the border of a page; both processors
pages:
    WORK PAGE - 2, CROSSING
    ret

failed:
    mov edi, $
    jmp check_failed

align 16
met: dd 0
guarded: dq 0
times 64 - ($ - $$) % 64 db 0
lock_word: dw 0 ; its first byte is on the line before
times 62 db 0


bits 16
ap_start:
    cli
    xor ax, ax
    mov ds, ax
    o32 lgdt [AP_CODE + ap_gdtr_copy - ap_start]
    mov eax, 1
    mov cr0, eax
    jmp dword 0x08:ap32
ap_gdtr_copy:
    dw gdt_end - gdt - 1
    dd gdt
ap_start_end:

bits 32
ap32:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, cr4
    or eax, 0x6a0
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, 0x80010023
    mov cr0, eax
    jmp 0x38:ap64
bits 64
ap64:
    mov rsp, STACKI
    mov r12d, 9
    MEET 1
    WORK LINE - 2, LOOPS
    MEET 2
    MEET 3
    call pages
    MEET 4
    cli
    hlt
