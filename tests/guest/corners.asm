; SPDX-License-Identifier: GPL-2.0-or-later
; Corners of long mode: NMI blocking, interrupt shadows, XSAVES, XRSTORS, MONITOR, MWAIT, virtual interrupts of level 3 (PVI),
; nested faults, IRET to each mode.
; cpu: max,+monitor,+vme
%define LONG
%include "guest.inc"

APIC equ 0xfee00000
AREA equ 0x600000 ; for XSAVES

%macro APICW 2
    mov dword [r15 + %1], %2
%endmacro
%macro DELAY 1
    mov ecx, %1
%%l:
    pause
    loop %%l
%endmacro

main64:
    SAY "corners"
    mov rax, APIC + 0x1b
    mov [PTX], rax
    mov r15, TESTVA
    invlpg [r15]
    APICW 0xf0, 0x1ff
    APICW 0x80, 0
    mov qword [hook], irq_hook

; NMI: blocked from its delivery to the next IRET, one is kept
    APICW 0x310, 0                ; to itself
    APICW 0x300, 0x00004400
    DELAY 100
    CHECK [nmi_count], 2
    CHECK [nmi_depth_max], 1
; it comes though IF is clear, and not behind MOV SS: the next instruction is done first
    mov qword [nmi_nest], 0
    mov ax, ss
    mov ebx, 0
    APICW 0x300, 0x00004400
    DELAY 100
    CHECK [nmi_count], 3

; STI: the instruction behind it comes first; not if IF was set before
    APICW 0x300, 0x00044041       ; self
    DELAY 100
    xor ebx, ebx
    sti
    inc ebx
.behind_sti:
    cli
    CHECK [irq_at], .behind_sti
    CHECK rbx, 1
; MOV SS does the same
    sti
    cli
    APICW 0x300, 0x00044041
    DELAY 100
    mov ax, ss
    sti
    mov ss, ax
.behind_ss:
    nop
.behind_both:
    cli
    UNLESS_QEMU .no_ss
    mov rax, [irq_at]
    cmp rax, .behind_ss           ; the shadow of STI ends before that of MOV SS
    je .no_ss
    CHECK rax, .behind_both
.no_ss:
; STI; HLT does not miss the interrupt that waits
    APICW 0x300, 0x00044041
    DELAY 100
    sti
    hlt
.behind_hlt:
    cli
    CHECK [irq_at], .behind_hlt

; MONITOR, MWAIT
    UNLESS_QEMU .mwait_end
    mov rax, AREA
    mov ecx, 1
    xor edx, edx
    TRY .monitor
    monitor
.monitor:
    EXPECT 13, 0
    xor ecx, ecx
    mov rax, BAD_ADDRESS
    TRY .monitor_page
    monitor
.monitor_page:
    EXPECT 14, 0
    mov rax, AREA
    xor ecx, ecx
    monitor
    mov ecx, 2
    xor eax, eax
    TRY .mwait
    mwait
.mwait:
    EXPECT 13, 0
    APICW 0x300, 0x00044041
    mov ecx, 1
    mwait                         ; an interrupt wakes it, though it is masked
    sti
    nop
    cli
    APICW 0x300, 0x00044041
    xor ecx, ecx
    sti
    mwait
    cli
    TRY .mwait_user
    USER .user_mwait
.user_mwait:
    xor ecx, ecx
    mwait
.mwait_user:
    EXPECT 6, 0
.mwait_end:

; XSAVES and XRSTORS: the compacted form
    mov eax, 0xd
    mov ecx, 1
    cpuid
    test eax, 8
    jz .no_xsaves
    mov rax, cr4
    bts eax, 18
    mov cr4, rax
    mov eax, 7
    xor edx, edx
    xor ecx, ecx
    xsetbv
    mov rdi, AREA
    mov ecx, 1024 / 8
    xor eax, eax
    rep stosq
    vpcmpeqd ymm1, ymm1, ymm1
    mov rax, 0x1122334455667788
    movq xmm2, rax
    fninit
    mov eax, 7
    xor edx, edx
    mov rdi, AREA
    xsaves64 [rdi]
    mov rax, 0x8000000000000007
    CHECK [rdi + 520], rax        ; XCOMP_BV
    mov rax, [rdi + 512]
    and eax, 6
    CHECK rax, 6
    CHECK [rdi + 160 + 16], -1
    mov rbx, 0x1122334455667788
    CHECK [rdi + 160 + 32], rbx
    CHECK [rdi + 576 + 16], -1    ; YMM_Hi128 comes first behind the header
    vzeroall
    mov eax, 7
    xrstors64 [rdi]
    movq rax, xmm2
    CHECK rax, rbx
    vextracti128 xmm3, ymm1, 1
    movq rax, xmm3
    CHECK rax, -1
; not all components are asked for: those stay
    vpxor ymm1, ymm1, ymm1
    movq xmm4, rax
    mov eax, 4
    xrstors64 [rdi]
    movq rax, xmm1
    CHECK rax, 0
    vextracti128 xmm3, ymm1, 1
    movq rax, xmm3
    CHECK rax, -1
; what is wrong with an area
    xor edx, edx
    mov eax, 7
    TRY .misaligned
    xsaves64 [rdi + 16]
.misaligned:
    EXPECT 13, 0
    xor edx, edx
    mov eax, 7
    mov rdi, AREA
    btr qword [rdi + 520], 63
    TRY .standard
    xrstors64 [rdi]
.standard:
    EXPECT 13, 0
    bts qword [rdi + 520], 63
    or qword [rdi + 528], 1       ; reserved
    TRY .reserved
    xrstors64 [rdi]
.reserved:
    EXPECT 13, 0
    mov qword [rdi + 528], 0
    bts qword [rdi + 512], 40     ; not in XCOMP_BV
    TRY .unknown
    xrstors64 [rdi]
.unknown:
    EXPECT 13, 0
    btr qword [rdi + 512], 40
    TRY .xsaves_user
    USER .user_xsaves
.user_xsaves:
    mov eax, 7
    xor edx, edx
    xsaves64 [rdi]
.xsaves_user:
    EXPECT 13, 0
    mov ecx, 0xda0                ; XSS: nothing to switch on
    xor eax, eax
    xor edx, edx
    wrmsr
    mov eax, 1
    TRY .xss
    wrmsr
.xss:
    EXPECT 13, 0
.no_xsaves:

; PVI: level 3 has a virtual IF, if IOPL does not give it the real one
    mov rax, cr4
    or eax, 2
    mov cr4, rax
    TRY .pvi_done
    push qword 0x33
    push qword STACK3
    push qword 0x202
    push qword 0x53
    push qword .pvi
    iretq
.pvi:
    sti
    pushf
    pop rax                       ; VIF is bit 19
    cli
    pushf
    pop rbx
    ud2
.pvi_done:
    EXPECT 6, 0
    bt eax, 19
    jnc failed
    bt eax, 9
    jnc failed
    bt ebx, 19
    jc failed
    bt ebx, 9
    jnc failed
; VIP and STI: the kernel is asked
    TRY .vip_done
    push qword 0x33
    push qword STACK3
    push qword 0x100202           ; VIP
    push qword 0x53
    push qword .vip
    iretq
.vip:
    sti
    ud2
.vip_done:
    EXPECT 13, 0
    mov rax, cr4
    and eax, ~2
    mov cr4, rax
    TRY .no_pvi
    USER .user_cli
.user_cli:
    cli
.no_pvi:
    EXPECT 13, 0

; nested faults: #PF, then #GP of its gate, is a double fault; #DE and then #NP too; #BP is not
    mov qword [hook], 0
    mov rax, [idt + 14 * 16]
    mov [saved], rax
    mov byte [idt + 14 * 16 + 5], 0x0e ; not present
    TRY .df
    mov eax, [BAD_ADDRESS]
.df:
    EXPECT 8, 0
    mov rax, [saved]
    mov [idt + 14 * 16], rax
    mov rax, [idt]
    mov [saved], rax
    mov byte [idt + 5], 0x0e
    TRY .df_de
    xor ecx, ecx
    div ecx
.df_de:
    EXPECT 8, 0
    mov rax, [saved]
    mov [idt], rax
    mov rax, [idt + 3 * 16]
    mov [saved], rax
    mov byte [idt + 3 * 16 + 5], 0x0e
    TRY .bp
    int3
.bp:
    EXPECT 11, 3 * 8 + 2
    mov rax, [saved]
    mov [idt + 3 * 16], rax
; a page fault while #DE is delivered: of the handler's stack, no double fault
    mov rax, [tss + 0x24]
    push rax
    mov rax, BAD_ADDRESS
    mov [tss + 0x24], rax         ; IST1
    mov byte [idt + 4], 1
    TRY .stack
    xor ecx, ecx
    div ecx
.stack:
    EXPECT 14, 2
    mov byte [idt + 4], 0
    pop rax
    mov [tss + 0x24], rax

; IRET: to the same level with a null SS, to 32-bit code of level 0, to 16-bit code of level 3
    mov rbp, rsp
    push qword 0
    push rbp
    push qword 2
    push qword 0x38
    push qword .null_ss
    iretq
.null_ss:
    mov ax, ss
    movzx eax, ax
    CHECK rax, 0
    mov ax, 0x10
    mov ss, ax
    push qword 0x10
    push rbp
    push qword 2
    push qword 0x08
    push qword .code32
    iretq
bits 32
.code32:
    inc eax                       ; 0x40 is REX elsewhere
    push dword 0x38
    push dword .back
    retf
bits 64
.back:
    CHECK rax, 0x11
    mov rax, [gdt + 0x18]
    bts rax, 45
    bts rax, 46
    mov [gdt + 0x60], rax         ; 16-bit code of level 3
    TRY .code16_done
    push qword 0x33
    push qword STACK3
    push qword 2
    push qword 0x63
    push qword 0x100
    mov word [0x100], 0x0b0f      ; UD2
    iretq
.code16_done:
    EXPECT 6, 0
    CHECK [exc_cs], 0x63
    CHECK [exc_ip], 0x100
; to a null SS at level 3, to a level that CS does not have
    TRY .ss3
    push qword 3
    push qword STACK3
    push qword 2
    push qword 0x53
    push qword .ss3
    iretq
.ss3:
    EXPECT 13, 0
    TRY .inner
    USER .user_iret
.user_iret:
    push qword 0x10
    push qword STACK0
    push qword 2
    push qword 0x38
    push qword .inner
    iretq
.inner:
    EXPECT 13, 0x38
    TRY .not_code
    push qword 0x10
    push rbp
    push qword 2
    push qword 0x10
    push qword .not_code
    iretq
.not_code:
    EXPECT 13, 0x10
    PASS

failed:
    mov edi, $
    jmp check_failed

; rax is saved by the handler
irq_hook:
    movzx eax, word [rsp + 16]
    cmp eax, 2
    je .nmi
    cmp eax, 0x41
    jne .other
    mov rax, [exc_ip]
    mov [irq_at], rax
    mov dword [r15 + 0xb0], 0
    mov eax, 1
    ret
.other:
    xor eax, eax
    ret
.nmi: ; the first one sends two more, of which one is kept
    push rcx
    inc qword [nmi_count]
    inc qword [nmi_depth]
    mov rax, [nmi_depth]
    cmp rax, [nmi_depth_max]
    jbe .seen
    mov [nmi_depth_max], rax
.seen:
    cmp qword [nmi_nest], 0
    je .sent
    mov qword [nmi_nest], 0
    APICW 0x300, 0x00004400
    DELAY 50
    APICW 0x300, 0x00004400
    DELAY 50
.sent:
    dec qword [nmi_depth]
    pop rcx
    mov eax, 1
    ret

BAD_ADDRESS equ TESTVA + 0x5000
align 8
saved: dq 0
irq_at: dq 0
nmi_count: dq 0
nmi_depth: dq 0
nmi_depth_max: dq 0
nmi_nest: dq 1
