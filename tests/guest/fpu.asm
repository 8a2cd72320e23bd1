; SPDX-License-Identifier: GPL-2.0-or-later
; Floating point and vectors: #MF, #XM and when they come, stack faults, MMX, #NM and #UD by control bits, FXSAVE and XSAVE.
%define LONG
%include "guest.inc"

AREA equ 0x600000  ; 4 KiB, saves
AREA2 equ 0x601000

%macro CW 1        ; control word of a fresh unit
    fninit
    mov word [word0], %1
    fldcw [word0]
%endmacro
%macro SW 1        ; the status word is
    fnstsw ax
    movzx eax, ax
    CHECK rax, %1
%endmacro
%macro MXCSR 1
    mov dword [word0], %1
    ldmxcsr [word0]
%endmacro
%macro MXCSR_IS 1
    stmxcsr [word0]
    mov eax, [word0]
    CHECK rax, %1
%endmacro
; WAITS what, status: the exception comes with the next waiting instruction
%macro WAITS 2+
    TRY %%next
    %2
    SW %1
    nop
%%at:
    fwait
%%next:
    EXPECT 16, 0
    CHECK [exc_ip], %%at
    fnclex
%endmacro
%macro CR0SET 2    ; and, or
    mov rax, cr0
    and rax, %1
    or eax, %2
    mov cr0, rax
%endmacro
%macro FAULTS 3+   ; vector, error, instruction: a fault at it
    TRY %%next
%%at:
    %3
%%next:
    EXPECT %1, %2
    CHECK [exc_ip], %%at
%endmacro

main64:
    SAY "fpu"
; unmasked x87 exceptions: ES and B are up, operands as before, #MF at the next waiting instruction
    CW 0x37b
    fldz
    fld1
    WAITS 0xb084, {fdiv st1}
    fnstsw ax
    CW 0x37e
    fldz
    WAITS 0xb881, {fdiv st0}
    UNLESS_QEMU .stack_end               ; it knows no stack faults
    CW 0x37e
    fld1
    fstp st0
    WAITS 0x80c1, {fadd st0}            ; stack underflow: SF, C1 is 0
    CW 0x37e
    times 8 fld1
    WAITS 0x82c1, {fld1}                ; stack overflow: C1 is 1
.stack_end:
    CW 0x35f
    UNLESS_QEMU .mf_end                  ; it waits in FWAIT only
    fld1
    fld qword [three]
    WAITS 0xb2a0, {fdivr st1}           ; inexact, rounded up
; not by non-waiting ones, but by a load
    CW 0x37b
    fldz
    fld1
    fdiv st1
    fnstsw ax
    fnstcw [word0]
    FAULTS 16, 0, fld1
    fnclex
    fld1
.mf_end:
; a store is not done, and FNSTENV tells where
    UNLESS_QEMU .where_end
    CW 0x37e
    fld qword [big]
    mov dword [AREA], 0x11111111
    fistp dword [AREA]
    mov eax, [AREA]
    CHECK rax, 0x11111111
    SW 0xb881                            ; still there
    fnclex
    CW 0x37b
    fldz
    fld1
.where:
    fdiv st1
    fnstenv [AREA]
    movzx eax, word [AREA + 4]
    CHECK rax, 0xb084
    mov eax, [AREA + 12]
    CHECK rax, .where
.where_end:
    fnclex
; masked: what comes instead
    CW 0x37f
    fldz
    fld1
    fdiv st1
    fstp qword [AREA]
    mov rbx, 0x7ff0000000000000
    CHECK [AREA], rbx
    fld tword [indefinite]
    fldz
    fdiv st0
    fstp tword [AREA]
    mov rbx, 0xc000000000000000
    CHECK [AREA], rbx
    movzx eax, word [AREA + 8]
    CHECK rax, 0xffff
; FCMOV, FCOMI
    fninit
    fld1
    fldz
    fcomi st1
    setc bl
    movzx ebx, bl
    CHECK rbx, 1
    fcomi st1
    fcmovb st1
    fistp dword [AREA]
    mov eax, [AREA]
    CHECK rax, 1

; MMX: all registers in use, TOP 0, exponents all ones; EMMS
    fninit
    fld1
    mov rax, 0x0102030405060708
    movq mm3, rax
    paddb mm3, mm3
    fxsave [AREA]
    movzx eax, byte [AREA + 4]
    CHECK rax, 0xff
    movzx eax, word [AREA + 2]
    and eax, 0x3800
    CHECK rax, 0
    mov rbx, 0x020406080a0c0e10
    CHECK [AREA + 32 + 3 * 16], rbx
    UNLESS_QEMU .exponent
    movzx eax, word [AREA + 32 + 3 * 16 + 8]
    CHECK rax, 0xffff
.exponent:
    emms
    fxsave [AREA]
    movzx eax, byte [AREA + 4]
    CHECK rax, 0
; an MMX instruction is a waiting one
    UNLESS_QEMU .mmx_end
    CW 0x37b
    fldz
    fld1
    fdiv st1
    FAULTS 16, 0, {movd mm0, eax}
    fnclex
.mmx_end:

    UNLESS_QEMU .xm_end                  ; it knows no #XM
; unmasked SSE exceptions: #XM, destination as before, flags up; all of a packed operation at once
    MXCSR 0x1d80
    movaps xmm0, [ones]
    FAULTS 19, 0, {divps xmm0, [zeros]}
    MXCSR_IS 0x1d84
    movd eax, xmm0
    CHECK rax, 0x3f800000
    MXCSR 0x1f80
    divps xmm0, [zeros]
    movd eax, xmm0
    CHECK rax, 0x7f800000
    MXCSR_IS 0x1f84
    MXCSR 0x1f00                         ; invalid
    movaps xmm1, [zeros]
    FAULTS 19, 0, {divpd xmm1, [zeros]}
    MXCSR_IS 0x1f01
    MXCSR 0x1f00
    FAULTS 19, 0, {cvttsd2si eax, [big]}
    MXCSR 0x0f80                         ; inexact
    movsd xmm2, [three]
    FAULTS 19, 0, {divsd xmm2, [seven]}
    MXCSR_IS 0x0fa0
    MXCSR 0x1b80                         ; overflow
    movsd xmm2, [huge]
    FAULTS 19, 0, {mulsd xmm2, xmm2}
    MXCSR 0x1f80
    FAULTS 13, 0, {ldmxcsr [reserved]}
    MXCSR_IS 0x1f80
    ; without OSXMMEXCPT it is #UD
    mov rax, cr4
    and eax, ~0x400
    mov cr4, rax
    MXCSR 0x1d80
    movaps xmm0, [ones]
    FAULTS 6, 0, {divps xmm0, [zeros]}
    MXCSR 0x1f80
    mov rax, cr4
    or eax, 0x400
    mov cr4, rax
.xm_end:

; TS: #NM by all of them; FWAIT only with MP; CLTS
    CR0SET ~0, 8
    FAULTS 7, 0, fld1
    FAULTS 7, 0, fninit
    FAULTS 7, 0, {movd mm0, eax}
    UNLESS_QEMU .emms
    FAULTS 7, 0, emms
.emms:
    FAULTS 7, 0, {addps xmm0, xmm1}
    FAULTS 7, 0, {fxsave [AREA]}
    FAULTS 7, 0, fwait
    FAULTS 7, 0, {ldmxcsr [word0]}
    CR0SET ~2, 0
    fwait
    prefetchnta [AREA]
    CR0SET ~0, 2
    clts
    fld1
; EM: x87 is #NM, vectors are #UD
    CR0SET ~0, 4
    FAULTS 7, 0, fld1
    FAULTS 6, 0, {movd mm0, eax}
    FAULTS 6, 0, {addps xmm0, xmm1}
    CR0SET ~4, 0
; without OSFXSR SSE is #UD, MMX is not
    mov rax, cr4
    and eax, ~0x200
    mov cr4, rax
    FAULTS 6, 0, {addps xmm0, xmm1}
    movd mm0, eax
    emms
    mov rax, cr4
    or eax, 0x200
    mov cr4, rax

; FXSAVE and FXRSTOR: all that there is
    fninit
    fld1
    fldpi
    fld qword [three]
    fincstp
    MXCSR 0x1fa5
%assign i 0
%rep 16
    mov rax, 0x1111111111111111 * (i & 7) + i
    movq xmm %+ i, rax
    pshufd xmm %+ i, xmm %+ i, 0x4e
%assign i i + 1
%endrep
    fxsave64 [AREA]
    movzx eax, word [AREA + 2]
    CHECK rax, 0x3000
    movzx eax, byte [AREA + 4]
    CHECK rax, 0xe0
    mov eax, [AREA + 24]
    CHECK rax, 0x1fa5
    fninit
    MXCSR 0x1f80
%assign i 0
%rep 16
    pxor xmm %+ i, xmm %+ i
%assign i i + 1
%endrep
    fxrstor64 [AREA]
    mov edi, AREA2
    mov ecx, 64
    xor eax, eax
    rep stosq
    fxsave64 [AREA2]
    mov esi, AREA
    mov edi, AREA2
    mov ecx, 416
    UNLESS_QEMU .same                    ; it forgets the addresses
    mov ecx, 416
    repe cmpsb
    CHECK rcx, 0
.same:
    fldenv [fresh]                       ; tags of an empty unit
    FAULTS 13, 0, {fxrstor64 [AREA + 8]}
    UNLESS_QEMU .mxcsr_end
    or dword [AREA + 24], 1 << 16
    FAULTS 13, 0, {fxrstor64 [AREA]}
    and dword [AREA + 24], 0xffff
.mxcsr_end:
    fxrstor64 [AREA]

; XSAVE: components asked for, XINUSE, compaction, what is not to be touched
    mov eax, 1
    cpuid
    bt ecx, 26
    jnc .end
    FAULTS 6, 0, {xgetbv}                ; before OSXSAVE
    mov rax, cr4
    or eax, 1 << 18
    mov cr4, rax
    mov eax, 1
    cpuid
    bt ecx, 27
    setc bl
    movzx ebx, bl
    CHECK rbx, 1
    bt ecx, 28
    jnc .end
    xor ecx, ecx
    mov eax, 7
    xor edx, edx
    xsetbv
    xgetbv
    CHECK rax, 7
    mov eax, 0xd
    xor ecx, ecx
    cpuid
    CHECK rbx, 832
    vmovups ymm5, [pattern]
    vmovups ymm15, [pattern]
    mov edi, AREA
    mov ecx, 128
    mov rax, 0x5555555555555555
    rep stosq
    mov edi, AREA + 512
    mov ecx, 8
    xor eax, eax
    rep stosq
    mov eax, 4
    xor edx, edx
    xsave64 [AREA]
    CHECK [AREA + 512], 4
    mov rbx, 0x5555555555555555
    CHECK [AREA], rbx                    ; x87 was not asked for
    CHECK [AREA + 160], rbx
    UNLESS_QEMU .avx_mxcsr
    mov eax, [AREA + 24]
    CHECK rax, 0x1fa5                    ; MXCSR goes with AVX
.avx_mxcsr:
    mov rbx, [pattern + 16]
    CHECK [AREA + 576 + 5 * 16], rbx
    CHECK [AREA + 576 + 15 * 16], rbx
    vzeroupper
    mov eax, 4
    xrstor64 [AREA]
    vextracti128 xmm0, ymm5, 1
    movq rax, xmm0
    CHECK rax, rbx
; initial components are marked so
    mov eax, 7
    mov qword [AREA + 512], 2
    xrstor64 [AREA]                      ; SSE as saved, x87 and AVX initial
    vextracti128 xmm0, ymm5, 1
    movq rax, xmm0
    CHECK rax, 0
    fnstcw [word0]
    movzx eax, word [word0]
    CHECK rax, 0x37f
    mov eax, 0xd
    mov ecx, 1
    cpuid
    bt eax, 1
    jnc .no_xsavec
    vmovups ymm7, [pattern]
    mov edi, AREA2
    mov ecx, 128
    xor eax, eax
    rep stosq
    mov eax, 4
    xor edx, edx
    xsavec64 [AREA2]
    mov rbx, (1 << 63) | 4
    CHECK [AREA2 + 520], rbx
    mov rbx, [pattern + 24]
    CHECK [AREA2 + 576 + 7 * 16 + 8], rbx
    vzeroall
    mov eax, 4
    xrstor64 [AREA2]
    vextracti128 xmm0, ymm7, 1
    vpextrq rax, xmm0, 1
    CHECK rax, rbx
.no_xsavec:
; AVX: #NM with TS, #UD without XCR0's bit; 128-bit forms clear the upper halves
    CR0SET ~0, 8
    FAULTS 7, 0, {vaddps ymm0, ymm1, ymm2}
    UNLESS_QEMU .ts_end
    FAULTS 7, 0, {xsave64 [AREA]}
.ts_end:
    clts
    vmovups ymm1, [pattern]
    vpaddb xmm1, xmm1, xmm1
    vextracti128 xmm0, ymm1, 1
    vmovq rax, xmm0
    CHECK rax, 0
    vmovups ymm1, [pattern]
    paddb xmm1, xmm1                     ; the old form keeps them
    vextracti128 xmm0, ymm1, 1
    vmovq rax, xmm0
    CHECK rax, [pattern + 16]
    UNLESS_QEMU .aligned
    FAULTS 13, 0, {vmovaps ymm0, [AREA + 16]}
.aligned:
    vaddps ymm0, ymm0, [AREA + 1]        ; need not be aligned
    xor ecx, ecx
    xor edx, edx
    mov eax, 3
    xsetbv
    FAULTS 6, 0, {vaddps ymm0, ymm1, ymm2}
    addps xmm0, xmm1
.end:
    PASS

align 32
ones: dd 1.0, 1.0, 1.0, 1.0
zeros: dd 0, 0, 0, 0
pattern: dq 0x0123456789abcdef, 0x1122334455667788, 0x99aabbccddeeff00, 0xfedcba9876543210
three: dq 3.0
seven: dq 7.0
big: dq 1e20
huge: dq 1e300
indefinite: dq 0xc000000000000000
    dw 0xffff
fresh: dd 0x37f, 0, 0xffff, 0, 0, 0, 0
word0: dd 0
reserved: dd 0x11f80
