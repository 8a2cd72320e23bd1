; SPDX-License-Identifier: GPL-2.0-or-later
; Code segments that end: branches beyond the limit fault where they are, what reaches across it faults as it is begun.
%include "guest.inc"
%include "desc.inc"

%define AT 0x600000
%define BITS32 0
%define BITS16 1
%define LARGER 2
%define TOP 0x2222

; CODE offset, bytes
%macro CODE 2+
    mov edi, AT + %1
    mov esi, %%bytes
    mov ecx, %%end - %%bytes
    jmp %%over
%%bytes: db %2
%%end:
%%over:
    rep movsb
%endmacro
; FAULTS segment, code, where, ECX, flags, top of the stack: #GP with all of that as it was
%macro FAULTS 3-6 3, 2, TOP
    mov dword [top], %6
    mov ecx, %4
    ENTER_ %1, %2, %5
    EXPECT 13, 0
    CHECK [exc_ip], %3
    CHECK [exc_cs], SEL(%1)
    CHECK ecx, %4
    mov eax, [resume_sp]
    sub eax, 28 + 4                      ; the handler's frame and `top`
    CHECK eax, [exc_handler_sp]
%endmacro
; RUNS: the same comes to a breakpoint that ends at
%macro RUNS 3-6 3, 2, TOP
    mov dword [top], %6
    mov ecx, %4
    ENTER_ %1, %2, %5
    CHECK [exc_vector], 3
    CHECK [exc_ip], %3
%endmacro
%macro ENTER_ 3
    mov dword [far_pointer], %2
    mov word [far_pointer + 4], SEL(%1)
    TRY %%back
    push dword [top]
    mov eax, 0x1000
    push dword %3
    popfd
    jmp far [far_pointer]
%%back:
%endmacro

main32:
    SAY "codelimit"
    UNLESS_QEMU .end                     ; it knows no limits of code
    DESC BITS32, AT, 0xfff, 0x9a, 4
    DESC BITS16, AT, 0xfff, 0x9a, 0
    DESC LARGER, AT, 0x1fff, 0x9a, 4
    mov edi, AT
    mov ecx, 0x2000
    mov al, 0xcc                         ; INT3
    rep stosb
    mov dword [rounds], 3                ; also by code that is known
.round:
; the last byte, and behind it
    CODE 0xffe, 0x90, 0xcc
    RUNS BITS32, 0xffe, 0x1000
    CODE 0xffe, 0x90, 0x90
    FAULTS BITS32, 0xffe, 0x1000
    FAULTS BITS16, 0xffe, 0x1000
    RUNS LARGER, 0xffe, 0x1001
    FAULTS BITS32, 0xffe, 0x1000
; an instruction across: also an undefined one, and one that is too long
    CODE 0xffb, 0x90, 0xb9, 1, 2, 3, 4   ; MOV ECX, 0x04030201
    FAULTS BITS32, 0xffb, 0xffc
    RUNS LARGER, 0xffb, 0x1002
    CODE 0x1000, 0xcc
    CODE 0xffe, 0x90, 0x0f, 0x0b         ; UD2
    FAULTS BITS32, 0xffe, 0xfff
    CODE 0x1000, 0xcc
    CODE 0xff8, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66
    FAULTS BITS32, 0xff8, 0xff8
    CODE 0xff0, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc
; JMP
    CODE 0x100, 0xe9, 0xfa, 0x0e, 0, 0   ; 0xfff
    RUNS BITS32, 0x100, 0x1000
    CODE 0x100, 0x90, 0xe9, 0xfa, 0x0e, 0, 0 ; 0x1000
    FAULTS BITS32, 0x100, 0x101
    RUNS LARGER, 0x100, 0x1001
    CODE 0x100, 0xe9, 0, 0, 0, 0x80      ; far behind
    FAULTS BITS32, 0x100, 0x100
    CODE 0x100, 0xe9, 0xfd, 0x0e, 0x90   ; the same in 16 bits
    FAULTS BITS16, 0x100, 0x100
    CODE 0xff0, 0xeb, 0x0e, 0xcc
    FAULTS BITS32, 0xff0, 0xff0
    CODE 0xff0, 0xeb, 0x0d
    RUNS BITS32, 0xff0, 0x1000
; Jcc: only if it jumps
    CODE 0x100, 0x0f, 0x84, 0xfa, 0x0e, 0, 0 ; JZ 0x1000
    FAULTS BITS32, 0x100, 0x100, 3, 0x46
    RUNS BITS32, 0x100, 0x107
    CODE 0xffe, 0x74, 0x10
    FAULTS BITS32, 0xffe, 0x1000
    FAULTS BITS32, 0xffe, 0xffe, 3, 0x46
    CODE 0xffe, 0x74, 0x80
    RUNS BITS32, 0xffe, 0xf81, 3, 0x46
    FAULTS BITS32, 0xffe, 0x1000
    CODE 0xffe, 0xcc, 0xcc
; LOOP, LOOPZ, JECXZ
    CODE 0xff0, 0xe2, 0x0e, 0xcc
    FAULTS BITS32, 0xff0, 0xff0
    RUNS BITS32, 0xff0, 0xff3, 1
    FAULTS BITS32, 0xff0, 0xff0, 0
    CODE 0xff0, 0x67, 0xe2, 0x0d, 0xcc
    FAULTS BITS32, 0xff0, 0xff0, 0x10000
    RUNS BITS32, 0xff0, 0xff4, 0x10001
    CODE 0xff0, 0xe1, 0x0e, 0xcc
    FAULTS BITS32, 0xff0, 0xff0, 3, 0x46
    RUNS BITS32, 0xff0, 0xff3, 3
    RUNS BITS32, 0xff0, 0xff3, 1, 0x46
    CODE 0xff0, 0xe3, 0x0e, 0xcc
    FAULTS BITS32, 0xff0, 0xff0, 0
    RUNS BITS32, 0xff0, 0xff3, 0x10000
; CALL and RET
    CODE 0x100, 0xe8, 0xfb, 0x0e, 0, 0
    FAULTS BITS32, 0x100, 0x100
    RUNS LARGER, 0x100, 0x1001
    CODE 0x100, 0x90, 0xc3
    FAULTS BITS32, 0x100, 0x101
    FAULTS BITS32, 0x100, 0x101, 3, 2, 0x1000
    RUNS BITS32, 0x100, 0x1000, 3, 2, 0xfff
    RUNS LARGER, 0x100, 0x1001, 3, 2, 0x1000
    CODE 0x100, 0xc2, 0x10, 0
    FAULTS BITS32, 0x100, 0x100
    CODE 0x100, 0x66, 0xc3
    FAULTS BITS32, 0x100, 0x100, 3, 2, 0x10001000
    RUNS BITS32, 0x100, 0x1000, 3, 2, 0x10000fff
; through registers and memory
    CODE 0x100, 0x90, 0xff, 0xe0
    FAULTS BITS32, 0x100, 0x101
    RUNS LARGER, 0x100, 0x1001
    CODE 0x100, 0x90, 0xff, 0xd0
    FAULTS BITS32, 0x100, 0x101
    RUNS LARGER, 0x100, 0x1001
    CODE 0x100, 0xff, 0x24, 0x24         ; JMP [ESP]
    FAULTS BITS32, 0x100, 0x100
    RUNS BITS32, 0x100, 0x1000, 3, 2, 0xfff
    CODE 0x100, 0xff, 0x14, 0x24         ; CALL [ESP]
    FAULTS BITS32, 0x100, 0x100
    RUNS BITS32, 0x100, 0x1000, 3, 2, 0xfff
; in steps: the fault comes first
    mov dword [hook], skip_steps
    CODE 0x100, 0x90, 0xe9, 0xfa, 0x0e, 0, 0
    FAULTS BITS32, 0x100, 0x101, 3, 0x102
    mov dword [hook], 0
    mov edi, AT + 0xff0
    mov ecx, 0x20
    mov al, 0xcc
    rep stosb
    dec dword [rounds]
    jnz .round
.end:
    PASS

; EAX: go back to where the trap came from?
skip_steps:
    xor eax, eax
    cmp dword [exc_vector], 1
    sete al
    ret

align 8
far_pointer: dq 0
top: dd 0
rounds: dd 0
