; SPDX-License-Identifier: GPL-2.0-or-later
; Local APIC: timer interrupts, HLT, self-IPI, priorities; INIT and SIPI start a second processor; locked additions by both.
; smp: 2
%define LONG
%include "guest.inc"

APIC equ 0xfee00000
AP_CODE equ 0x8000
LOOPS equ 100000

%macro APICW 2
    mov dword [rbx + %1], %2
%endmacro

%macro DELAY 1
    mov ecx, %1
%%l:
    pause
    loop %%l
%endmacro

main64:
    SAY "smp"
    ; APIC page: uncached, in the second table's first entry
    mov rax, APIC + 0x1b
    mov [PTX], rax
    mov rbx, TESTVA
    invlpg [rbx]
    mov qword [hook], irq_hook
    APICW 0xf0, 0x1ff             ; on, spurious vector 0xff
    APICW 0x80, 0                 ; TPR
; self-IPI: waits for IF
    APICW 0x300, 0x00044041       ; fixed, self, vector 0x41
    DELAY 1000
    CHECK [irq_count + 0x41 * 8], 0
    sti
    nop
    nop
    cli
    CHECK [irq_count + 0x41 * 8], 1
; the higher vector first, the lower one after EOI
    APICW 0x300, 0x00044041
    APICW 0x300, 0x00044051
    DELAY 1000
    mov qword [order], 0
    sti
    nop
    nop
    nop
    cli
    CHECK [order], 0x5141
; TPR holds back
    mov eax, 5
    mov cr8, rax
    APICW 0x300, 0x00044051
    sti
    nop
    nop
    CHECK [irq_count + 0x51 * 8], 1
    mov eax, 4
    mov cr8, rax
    DELAY 100
    CHECK [irq_count + 0x51 * 8], 2
    xor eax, eax
    mov cr8, rax
    cli
; STI holds interrupts back for one instruction: STI, CLI lets none in
    APICW 0x300, 0x00044041
    DELAY 1000
    mov rbp, [irq_count + 0x41 * 8]
    sti
    cli
    CHECK [irq_count + 0x41 * 8], rbp
    sti
    nop
    cli
    inc rbp
    CHECK [irq_count + 0x41 * 8], rbp
; periodic timer and HLT
    APICW 0x3e0, 0xb              ; divide by 1
    APICW 0x320, 0x20060          ; periodic, vector 0x60
    APICW 0x380, 1000000
.halt:
    sti
    hlt
    cli
    cmp qword [irq_count + 0x60 * 8], 5
    jb .halt
    APICW 0x380, 0
; the second processor
    mov rsi, ap_start
    mov rdi, AP_CODE
    mov ecx, ap_start_end - ap_start
    rep movsb
    APICW 0x310, 0
    APICW 0x300, 0x000c4500       ; INIT, all but self
    DELAY 100000
    APICW 0x300, 0x000c4600 + (AP_CODE >> 12)
.up:
    pause
    cmp dword [ap_up], 0
    je .up
    CHECK [ap_up], 1
    mov rdx, counter
    mov dword [go], 1
    mov ecx, LOOPS
.add:
    lock inc qword [rdx]
    loop .add
.finished:
    pause
    cmp dword [ap_finished], 0
    je .finished
    CHECK [counter], 2 * LOOPS
; an IPI to it while it halts, and its answer
    mov qword [order], 0
    APICW 0x310, 0x01000000
    APICW 0x300, 0x00004070
.answer:
    pause
    sti
    nop
    nop
    cli
    cmp qword [irq_count + 0x71 * 8], 0
    je .answer
; NMI wakes it
    mov dword [ap_finished], 0
    APICW 0x310, 0x01000000
    APICW 0x300, 0x00004400
.nmi:
    pause
    cmp qword [irq_count + 2 * 8], 0
    je .nmi
    PASS

; rax is saved by the handler
irq_hook:
    movzx eax, word [rsp + 16]
    cmp eax, 0x20
    jae .irq
    cmp eax, 2
    je .count
    xor eax, eax
    ret
.irq:
    push rbx
    mov rbx, TESTVA
    mov dword [rbx + 0xb0], 0
    shl qword [order], 8
    or [order], al
    cmp eax, 0x70
    jne .no_answer
    push rax
    mov dword [rbx + 0x310], 0
    mov dword [rbx + 0x300], 0x00004071
    pop rax
.no_answer:
    pop rbx
.count:
    lock inc qword [irq_count + rax * 8]
    mov eax, 1
    ret

bits 16
ap_start:
    cli
    xor ax, ax
    mov ds, ax
    o32 lgdt [ap_gdtr - ap_start + AP_CODE]
    mov eax, cr4
    or eax, 0x6a0
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, cr0
    or eax, 0x80010023
    and eax, 0x9fffffff
    mov cr0, eax
    jmp dword 0x38:ap_long
ap_gdtr:
    dw gdt_end - gdt - 1
    dd gdt
ap_start_end:
bits 64
ap_long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov rsp, STACKI - 0x8000
    lidt [idtr]
    mov rbx, TESTVA
    APICW 0xf0, 0x1ff
    lock inc dword [ap_up]
.go:
    pause
    cmp dword [go], 0
    je .go
    mov rdx, counter
    mov ecx, LOOPS
.add:
    lock inc qword [rdx]
    loop .add
    mov dword [ap_finished], 1
.halt:
    sti
    hlt
    jmp .halt

align 8
order: dq 0
ap_up: dd 0
go: dd 0
ap_finished: dd 0
align 64
counter: dq 0
irq_count: times 256 dq 0
