; SPDX-License-Identifier: GPL-2.0-or-later
; String instructions: page borders, both directions, overlap, faults in the middle, scans, address sizes.
%define LONG
%include "guest.inc"

A equ 0x600000
B equ 0x610000

; COPY instruction, source, destination, count; results are compared against a loop of the same element order
%macro FILL 0
    mov rdi, A - 64
    mov ecx, 0x3000 + 128
    mov al, 7
%%l:
    mov [rdi], al
    inc rdi
    add al, 13
    loop %%l
%endmacro

; reference copy: element size %1, source %2, destination %3, count %4, step %5
%macro SLOW 5
    mov rsi, %2
    mov rdi, %3
    mov rcx, %4
%%l:
    %if %1 == 1
    mov al, [rsi]
    mov [rdi], al
    %elif %1 == 2
    mov ax, [rsi]
    mov [rdi], ax
    %elif %1 == 4
    mov eax, [rsi]
    mov [rdi], eax
    %else
    mov rax, [rsi]
    mov [rdi], rax
    %endif
    add rsi, %5
    add rdi, %5
    dec rcx
    jnz %%l
%endmacro

; Copy by loop and by instruction must give the same 12 KiB. %1 mnemonic suffix, %2 size, %3 source, %4 destination, %5 count, %6 direction
%macro COPY 6
    FILL
    %ifidn %6, down
    SLOW %2, %3, %4, %5, -%2
    %else
    SLOW %2, %3, %4, %5, %2
    %endif
    call save
    FILL
    mov rsi, %3
    mov rdi, %4
    mov rcx, %5
    %ifidn %6, down
    std
    %endif
    rep movs%1
    cld
    CHECK rcx, 0
    %ifidn %6, down
    mov rax, %3 - %2 * (%5)
    mov rbx, %4 - %2 * (%5)
    %else
    mov rax, %3 + %2 * (%5)
    mov rbx, %4 + %2 * (%5)
    %endif
    CHECK rax, rsi
    CHECK rbx, rdi
    call compare
%endmacro

main64:
    SAY "string"
    COPY b, 1, A + 5, A + 0x1003, 0x1800, up
    COPY q, 8, A + 5, A + 0x1003, 0x180, up
    COPY w, 2, A + 1, A + 0x1fff, 0x333, up       ; elements straddle pages
    COPY d, 4, A + 0xffd, A + 0x1ffe, 0x200, up
    COPY b, 1, A, A + 1, 0x1800, up               ; propagates
    COPY b, 1, A, A + 7, 0x1800, up
    COPY w, 2, A, A + 1, 0x800, up
    COPY q, 8, A, A + 3, 0x200, up
    COPY d, 4, A, A + 8, 0x400, up
    COPY b, 1, A + 9, A, 0x1800, up
    COPY b, 1, A + 0x1800, A + 0x1803, 0x1700, down
    COPY q, 8, A + 0x1800, A + 0x1808, 0x300, down
    COPY q, 8, A + 0x1803, A + 0x1800, 0x300, down
    COPY w, 2, A + 0xfff, A + 0x2001, 0x300, down
    COPY d, 4, A + 0x1001, A + 0x1ffd, 0x300, down

; STOS
    FILL
    mov rdi, A + 0xffd
    mov ecx, 0x401
    mov eax, 0x11223344
    rep stosd
    CHECK rdi, A + 0xffd + 0x1004
    mov eax, [A + 0xffd + 0x1000]
    CHECK rax, 0x11223344
    movzx eax, byte [A + 0xffd + 0x1004]
    mov ebx, (7 + 13 * (64 + 0xffd + 0x1004)) & 0xff
    CHECK rax, rbx
    mov rdi, A + 0x1008
    mov ecx, 0x300
    std
    mov rax, 0x0102030405060708
    rep stosq
    cld
    CHECK rdi, A + 0x1008 - 0x1800
    mov rbx, [A + 0x1010 - 0x1800]
    CHECK rbx, rax

; LODS and SCAS
    FILL
    mov rsi, A
    mov ecx, 0x1805
    xor eax, eax
    rep lodsb
    CHECK rsi, A + 0x1805
    movzx ebx, byte [A + 0x1804]
    CHECK rax, rbx
    mov byte [A + 0x1700], 0xff
    mov rdi, A
    mov al, 0xff
    mov rdx, 256
.fill:
    mov ecx, -1
    repne scasb
    mov bl, [rdi - 1]
    CHECK rbx, rbx
    cmp bl, 0xff
    jne wrong
    cmp rdi, A + 0x1701
    jb .fill
    CHECK rdi, A + 0x1701
; REPE SCAS ends at the first difference, flags are those of the comparison
    mov rdi, B
    mov ecx, 0x3000
    mov al, 0x5a
    rep stosb
    mov byte [B + 0x1234], 0x5b
    mov rdi, B
    mov ecx, 0x3000
    repe scasb
    pushfq
    CHECK rdi, B + 0x1235
    CHECK rcx, 0x3000 - 0x1235
    pop rax
    and eax, 0x8d5
    CHECK rax, 0x095 ; 5a - 5b = ff: CF, PF, AF, SF
    mov rdi, B
    mov ecx, 0x1000
    mov al, 0x5a
    repe scasb
    setz bl
    movzx ebx, bl
    CHECK rbx, 1
    CHECK rcx, 0
; CMPS
    mov rsi, B
    mov rdi, B + 0x1000
    mov ecx, 0x200
    repe cmpsq
    setne bl
    movzx ebx, bl
    CHECK rbx, 1
    CHECK rsi, B + 0x238
    CHECK rcx, 0x200 - 0x47
    mov rsi, B + 0xfff
    mov rdi, B + 0x1fff
    mov ecx, 0x100
    std
    repe cmpsb
    cld
    CHECK rsi, B + 0xfff - 0x100
    mov rsi, B
    mov rdi, B + 0x1230
    mov ecx, 0x10
    repne cmpsb
    CHECK rcx, 0xf
; count 0 changes nothing, not even flags
    stc
    mov ecx, 0
    mov rdi, B
    repe scasb
    setc bl
    movzx ebx, bl
    CHECK rbx, 1
    CHECK rdi, B
; 32-bit addresses
    mov rdi, 0xffffffff00000000 | B
    mov rcx, 0xffffffff00000010
    xor eax, eax
    a32 rep stosb
    CHECK rdi, B + 0x10
    CHECK rcx, 0
    mov eax, [B + 12]
    CHECK rax, 0
; a fault in the middle: registers tell how far it came
    mov qword [PTX], 0x600003
    mov qword [PTX + 8], 0x601003
    mov qword [PTX + 16], 0
    mov rax, cr3
    mov cr3, rax
    TRY .fault
    mov rdi, TESTVA + 0x800
    mov ecx, 0x2000
    mov al, 0x77
    rep stosb
.fault:
    EXPECT 14, 2
    mov rbx, TESTVA + 0x2000
    CHECK [exc_cr2], rbx
    CHECK rdi, rbx
    CHECK rcx, 0x2000 - 0x1800
    movzx eax, byte [0x601fff]
    CHECK rax, 0x77
    TRY .fault2
    mov rsi, TESTVA + 0x1ff0
    mov rdi, B
    mov ecx, 0x10
    rep movsw
.fault2:
    EXPECT 14, 0
    CHECK rcx, 8
    CHECK rdi, B + 0x10
    mov rbx, TESTVA + 0x2000
    CHECK rsi, rbx
; an element that straddles into the absent page
    TRY .fault3
    mov rdi, TESTVA + 0x1ffd
    mov ecx, 3
    mov byte [0x601ffd], 0x12
    mov eax, 0xffffffff
    rep stosd
.fault3:
    EXPECT 14, 2
    CHECK rcx, 3
    movzx eax, byte [0x601ffd]
    CHECK rax, 0x12
; writing over code
    mov rdi, patch
    mov al, 0x90
    mov ecx, patch_end - patch
    mov ebx, 1
    call patch
    CHECK rbx, 2
    rep stosb
    mov byte [patch_end - 1], 0xc3
    call patch
    CHECK rbx, 2
    PASS

wrong:
    CHECK rbx, 0xff

patch:
    inc ebx
    nop
    nop
    ret
patch_end:

save:
    mov rsi, A - 64
    mov rdi, 0x700000
    mov ecx, (0x3000 + 128) / 8
.l:
    mov rax, [rsi]
    mov [rdi], rax
    add rsi, 8
    add rdi, 8
    loop .l
    ret

compare:
    mov rsi, A - 64
    mov rdi, 0x700000
    mov edx, (0x3000 + 128) / 8
.l:
    mov rax, [rsi]
    CHECK rax, [rdi]
    add rsi, 8
    add rdi, 8
    dec edx
    jnz .l
    ret
