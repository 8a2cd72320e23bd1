; SPDX-License-Identifier: GPL-2.0-or-later
; Self-modifying code: patches before, behind and inside the running block, through another mapping, across pages, many times.
%define LONG
%include "guest.inc"

main64:
    SAY "smc"
; an immediate patched between calls
    mov ecx, 2000
.many:
    mov [patched + 1], ecx
    call patched
    CHECK rax, rcx
    dec ecx
    jnz .many
; the next instruction of the same block
    xor ebx, ebx
    mov byte [.here], 0x90            ; INC EBX becomes NOP, CMC
    mov byte [.here + 1], 0xf5
    jmp .here
.here:
    inc ebx
    CHECK rbx, 0
    mov ecx, 3
.loop:
    mov dword [.target + 1], ecx      ; straight ahead, no jump between
.target:
    mov eax, 0
    CHECK rax, rcx
    dec ecx
    jnz .loop
; through another address of the same page
    mov rax, patched
    and rax, ~0xfff
    or eax, 3
    mov [PTX], rax
    mov rdi, TESTVA
    invlpg [rdi]
    mov rax, patched
    and eax, 0xfff
    add rdi, rax
    mov dword [rdi + 1], 0x5151
    call patched
    CHECK rax, 0x5151
; run it there, patch it here
    call rdi
    CHECK rax, 0x5151
    mov dword [patched + 1], 0x6161
    call rdi
    CHECK rax, 0x6161
; other code behind the same address
    mov byte [0x600000], 0xb8         ; MOV EAX, 1; RET
    mov dword [0x600001], 1
    mov byte [0x600005], 0xc3
    mov byte [0x601000], 0xb8
    mov dword [0x601001], 2
    mov byte [0x601005], 0xc3
    mov rdi, TESTVA
    mov edx, 100
.remap:
    mov qword [PTX], 0x600003
    invlpg [rdi]
    call rdi
    CHECK rax, 1
    mov qword [PTX], 0x601003
    invlpg [rdi]
    call rdi
    CHECK rax, 2
    dec edx
    jnz .remap
; an instruction that crosses a page, its second half patched
    mov byte [0x602ffd], 0xb8         ; MOV EAX, imm32 at ...ffd, RET at 003002
    mov dword [0x602ffe], 0x01020304
    mov byte [0x603002], 0xc3
    mov rdi, 0x602ffd
    call rdi
    CHECK rax, 0x01020304
    mov word [0x603000], 0x0506
    call rdi
    CHECK rax, 0x05060304
; LOCK and string stores into code
    lock or byte [0x602ffe], 0xf0
    call rdi
    CHECK rax, 0x050603f4
    push rdi
    mov rdi, 0x602ffe
    mov al, 0x11
    mov ecx, 4
    rep stosb
    pop rdi
    call rdi
    CHECK rax, 0x11111111
; a call that pushes into its own block, to a block that is known and in the end patches itself
    mov ecx, 5
    mov [stack], rsp
.push:
    mov rax, known
    lea rsp, [.slot + 10]
.slot:
    mov rdx, strict qword 0x1122334455667788
    call rax
.back:
    ud2
.known:
    CHECK rax, rdx
    CHECK [.slot + 2], .back
    dec ecx
    jnz .push
; data beside hot code: must not disturb it
    mov ecx, 200000
    mov rdi, neighbour
.neighbour:
    mov [rdi], ecx
    dec ecx
    jnz .neighbour
    PASS

neighbour: dd 0
align 8
stack: dq 0
align 16
patched:
    mov eax, 0
    ret
align 4096 ; a page of its own
known:
    mov rsp, [stack]
    mov rdi, neighbour
    mov rsi, known_late + 1
    cmp ecx, 1
    cmove rdi, rsi
    mov [rdi], ecx
known_late:
    mov eax, 0
    mov edx, 0
    cmp ecx, 1
    cmove edx, ecx
    jmp main64.known
