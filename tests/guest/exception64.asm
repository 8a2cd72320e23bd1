; SPDX-License-Identifier: GPL-2.0-or-later
; Exceptions in long mode: vectors, error codes, saved addresses, user level, IST, single step, breakpoints.
%define LONG
%include "guest.inc"

main64:
    SAY "exception64"
; #DE
    TRY .de
    xor edx, edx
    xor eax, eax
    xor ecx, ecx
.de_at:
    div ecx
.de:
    EXPECT 0, 0
    CHECK [exc_ip], .de_at
; #UD
    TRY .ud
.ud_at:
    ud2
.ud:
    EXPECT 6, 0
    CHECK [exc_ip], .ud_at
; #BP: the address behind it
    TRY .bp
    int3
.bp_next:
.bp:
    EXPECT 3, 0
    CHECK [exc_ip], .bp_next
; #GP: bad selector
    TRY .gp
    mov eax, 0x1234
    mov ds, ax
.gp:
    EXPECT 13, 0x1234
; #NP
    mov rax, [gdt + 0x10]
    btr rax, 47
    mov [gdt_more], rax
    TRY .np
    mov eax, gdt_more - gdt
    mov ds, ax
.np:
    EXPECT 11, gdt_more - gdt
; #SS: a stack that is not present
    TRY .ss
    mov eax, gdt_more - gdt
    mov ss, ax
.ss:
    EXPECT 12, gdt_more - gdt
; non-canonical: #GP(0), through RSP #SS(0)
    TRY .nc
    mov rax, 0x8000000000000000
    mov ebx, [rax]
.nc:
    EXPECT 13, 0
; #PF
    TRY .pf
    mov rax, 0x7000000000
.pf_at:
    mov byte [rax + 5], 1
.pf:
    EXPECT 14, 2
    CHECK [exc_ip], .pf_at
    mov rbx, 0x7000000005
    CHECK [exc_cr2], rbx
; flags and stack alignment of the frame
    TRY .align
    mov rsp, STACK0 - 0x1003
    stc
    ud2
.align:
    CHECK [exc_sp], STACK0 - 0x1003
    mov rax, [exc_flags]
    and eax, 1
    CHECK rax, 1
    mov rax, [exc_handler_sp]
    sub rax, STACK0 - 0x1010 - 40 - 18
    CHECK rax, 0
; from user level
    TRY .user
    USER .user_ud
.user_ud:
    ud2
.user:
    EXPECT 6, 0
    CHECK [exc_cs], 0x53
    CHECK [exc_ss], 0x33
    CHECK [exc_sp], STACK3
    CHECK [exc_handler_sp], STACK0 - 40 - 18
    CHECK [exc_ip], .user_ud
; privileged instructions at level 3
%macro PRIVILEGED 1+
    TRY %%back
    USER %%user
%%user:
    %1
    ud2
%%back:
    EXPECT 13, 0
%endmacro
    PRIVILEGED hlt
    PRIVILEGED mov rax, cr0
    PRIVILEGED mov cr3, rax
    PRIVILEGED cli
    PRIVILEGED wrmsr
    PRIVILEGED invlpg [rax]
    PRIVILEGED lgdt [gdtr]
    PRIVILEGED lidt [idtr]
    PRIVILEGED out 0x80, al
    PRIVILEGED clts
    PRIVILEGED mov rax, dr0
    PRIVILEGED swapgs
    PRIVILEGED ltr ax
    PRIVILEGED sysret
; INT n: level of the gate
    TRY .int
    USER .int_user
.int_user:
    int 0x80
.int:
    CHECK [exc_vector], 13 ; error code: vector * 8 + 2; QEMU 7.2 says * 16
    CHECK [exc_ip], .int_user
    or byte [idt + 0x80 * 16 + 5], 0x60
    TRY .int2
    USER .int2_user
.int2_user:
    int 0x80
.int2_next:
.int2:
    EXPECT 0x80, 0
    CHECK [exc_ip], .int2_next
; gate not present: #NP(IDT)
    and byte [idt + 0x81 * 16 + 5], 0x7f
    TRY .gate
    int 0x81
.gate:
    CHECK [exc_vector], 11
; IST
    mov byte [idt + 0x82 * 16 + 4], 1
    TRY .ist
    int 0x82
.ist:
    EXPECT 0x82, 0
    CHECK [exc_handler_sp], STACKI - 40 - 18
; double fault: #PF whose handler cannot be entered, because its gate is not present
    mov byte [idt + 8 * 16 + 4], 1
    and byte [idt + 14 * 16 + 5], 0x7f
    TRY .df
    mov rax, 0x7000000000
    mov eax, [rax]
.df:
    EXPECT 8, 0
    or byte [idt + 14 * 16 + 5], 0x80
; single step: three instructions, three traps
    mov qword [exc_count], 0
    mov qword [hook], step_hook
    pushfq
    or qword [rsp], 0x100
    popfq
    nop
    add eax, 1
    mov ebx, 5
.stepped:
    pushfq
    and qword [rsp], ~0x100
    popfq
    nop
    nop
    CHECK [exc_count], 6
    CHECK [exc_vector], 1
; REP under TF traps for each element
    mov qword [exc_count], 0
    mov edi, 0x500000
    mov ecx, 4
    xor eax, eax
    pushfq
    or qword [rsp], 0x100
    popfq
    rep stosb
    pushfq
    and qword [rsp], ~0x100
    popfq
    CHECK [exc_count], 7
; instruction breakpoint, with RF to go on
    mov qword [exc_count], 0
    mov qword [hook], bp_hook
    mov rax, .bp_here
    mov dr0, rax
    mov eax, 0x402
    mov dr7, rax
    nop
    nop
.bp_here:
    nop
    nop
    mov eax, 0x400
    mov dr7, rax
    CHECK [exc_count], 1
    CHECK [exc_ip], .bp_here
    mov rax, dr6
    and eax, 0xf
    CHECK rax, 1
; data breakpoint: a trap behind the write
    mov qword [exc_count], 0
    mov rax, 0x500010
    mov dr1, rax
    mov eax, 0x00d00408 ; DR1: write, 4 bytes
    mov dr7, rax
    mov dword [0x500000], 1
    mov dword [0x500012], 1
.watched:
    nop
    mov eax, 0x400
    mov dr7, rax
    CHECK [exc_count], 1
    CHECK [exc_ip], .watched
    mov qword [hook], 0
; #NM and #UD by CR0
    mov rax, cr0
    or al, 8
    mov cr0, rax
    TRY .nm
    movaps xmm0, xmm1
.nm:
    EXPECT 7, 0
    clts
    movaps xmm0, xmm1
; #GP by a misaligned vector operand
    TRY .mis
    movaps xmm0, [0x500001]
.mis:
    EXPECT 13, 0
; #AC at level 3
    UNLESS_QEMU .end
    mov rax, cr0
    or eax, 1 << 18
    mov cr0, rax
    TRY .ac
    push qword 0x33
    push qword STACK3
    push qword 0x40002
    push qword 0x53
    push qword .ac_user
    iretq
.ac_user:
    mov eax, [0x500001]
    ud2
.ac:
    EXPECT 17, 0
.end:
    PASS

step_hook:
    mov eax, 1
    ret
bp_hook:
    or dword [rsp + 8 + 34], 0x10000 ; RF
    mov eax, 1
    ret
