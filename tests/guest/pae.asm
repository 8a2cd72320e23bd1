; SPDX-License-Identifier: GPL-2.0-or-later
; 32-bit paging: two levels with and without 4 MiB pages, three levels with NX; changes between them.
%include "guest.inc"

DIR equ 0x610000     ; two levels
TABLE equ 0x611000
TABLE2 equ 0x612000  ; 0 - 4 MiB, page by page
PDP equ 0x620000     ; three levels
PD equ 0x621000      ; the first, fourth GiB
PD1 equ 0x622000     ; the second: TESTVA
PT1 equ 0x623000
PT1B equ 0x625000
FRAME equ 0x700000   ; frames tests map
P equ 1
W equ 2
U equ 4
A equ 0x20
D equ 0x40
PS equ 0x80
G equ 0x100
WP equ 0x10000

%macro FAULT 2+ ; error code, instruction: at TESTVA
    TRY %%next
%%at:
    %2
%%next:
    EXPECT 14, %1
    CHECK [exc_ip], %%at
%endmacro
; as the user
%macro USERFAULT 3+ ; vector, error code, instruction
    TRY %%next
    USER %%user
%%user:
    mov ax, 0x33
    mov ds, ax
    %3
    ud2
%%next:
    mov ax, 0x10
    mov ds, ax
    EXPECT %1, %2
%endmacro
%macro MAP 1 ; leaf of two levels
    mov dword [TABLE], %1
    invlpg [TESTVA]
%endmacro
%macro MAP3 2 ; leaf of three levels, NX
    mov dword [PT1], %1
    mov dword [PT1 + 4], (%2) << 31
    invlpg [TESTVA]
%endmacro
%macro CR4SET 2 ; and, or
    mov eax, cr4
    and eax, %1
    or eax, %2
    mov cr4, eax
%endmacro
%macro PAGING 1
    mov eax, cr0
    %if %1
    or eax, 0x80010000
    %else
    and eax, 0x7fffffff
    %endif
    mov cr0, eax
%endmacro

main32:
    SAY "pae"
    mov edi, DIR
    mov ecx, 0x20000 / 4
    xor eax, eax
    rep stosd
    mov ecx, 4
    mov edi, FRAME
.mark: ; frame n holds n n n n, and RET behind it
    mov eax, 5
    sub eax, ecx
    imul eax, 0x01010101
    mov [edi], eax
    mov byte [edi + 0x10], 0xc3
    add edi, 0x1000
    loop .mark

; two levels without PSE: bit 7 of a directory's entry means nothing
    mov dword [DIR], TABLE2 + PS + P + W + U
    mov edi, TABLE2
    mov eax, P + W + U
    mov ecx, 1024
.page:
    stosd
    add eax, 0x1000
    loop .page
    mov dword [DIR + 4], 0x400000 + P + W + U
    mov dword [DIR + (TESTVA >> 22) * 4], TABLE + P + W + U
    ; 4 - 8 MiB through a table at 0x613000
    mov dword [DIR + 4], 0x613000 + P + W + U
    mov edi, 0x613000
    mov ecx, 1024
.page2:
    stosd
    add eax, 0x1000
    loop .page2
    mov dword [TABLE], FRAME + P + W + U
    mov eax, DIR
    mov cr3, eax
    PAGING 1
    CHECK [TESTVA], 0x01010101
    mov eax, [TABLE]
    and eax, A | D
    CHECK eax, A
    mov dword [TESTVA + 4], 0
    mov eax, [TABLE]
    and eax, A | D
    CHECK eax, A | D
    MAP 0
    FAULT 0, mov ebx, [TESTVA]
    CHECK [exc_cr2], TESTVA
    FAULT 2, mov [TESTVA + 5], bl
    CHECK [exc_cr2], TESTVA + 5
    MAP FRAME + P
    FAULT 3, mov [TESTVA], bl
    CHECK [TESTVA], 0x01010101
    mov eax, [TABLE]
    and eax, A | D
    CHECK eax, A                         ; no dirty page by a write that faults
    USERFAULT 14, 5, mov ebx, [TESTVA]
    USERFAULT 14, 7, mov [TESTVA], ebx
    MAP FRAME + P + U
    USERFAULT 6, 0, mov ebx, [TESTVA]
    USERFAULT 14, 7, mov [TESTVA], ebx
    FAULT 3, mov [TESTVA], ebx
    ; without WP the kernel writes
    mov eax, cr0
    and eax, ~WP
    mov cr0, eax
    mov byte [TESTVA + 8], 1
    USERFAULT 14, 7, mov [TESTVA], ebx
    mov eax, cr0
    or eax, WP
    mov cr0, eax
    FAULT 3, mov [TESTVA], ebx
    ; rights of the directory count too
    MAP FRAME + P + W + U
    mov byte [DIR + (TESTVA >> 22) * 4], P
    mov eax, cr3
    mov cr3, eax
    FAULT 3, mov [TESTVA], ebx
    USERFAULT 14, 5, mov ebx, [TESTVA]
    mov byte [DIR + (TESTVA >> 22) * 4], P + W + U
    mov eax, cr3
    mov cr3, eax
    ; no I/D bit without NX
    MAP 0
    TRY .fetch
    call TESTVA
.fetch:
    EXPECT 14, 0
    CHECK [exc_ip], TESTVA
    CHECK [exc_cr2], TESTVA

; 4 MiB pages
    mov dword [DIR], TABLE2 + P + W + U
    CR4SET ~0, 0x90                      ; PGE, PSE
    mov dword [DIR], PS + P + W + U
    mov dword [DIR + (TESTVA >> 22) * 4], 0x400000 + PS + P + W
    mov eax, cr3
    mov cr3, eax
    CHECK [TESTVA + FRAME - 0x400000], 0x01010101
    mov eax, [DIR + (TESTVA >> 22) * 4]
    and eax, A | D
    CHECK eax, A
    mov byte [TESTVA + FRAME - 0x400000 + 4], 0
    mov eax, [DIR + (TESTVA >> 22) * 4]
    and eax, A | D
    CHECK eax, A | D
    USERFAULT 14, 5, mov ebx, [TESTVA]
    mov dword [DIR + (TESTVA >> 22) * 4], 0x600000 + PS + P + W
    mov eax, cr3
    mov cr3, eax
    TRY .reserved
    mov ebx, [TESTVA]
.reserved:
    or dword [exc_error], 1              ; QEMU 7.2 leaves P out
    EXPECT 14, 9
    mov dword [DIR + (TESTVA >> 22) * 4], 0x400000 + PS + P + W + G
    invlpg [TESTVA]
    CHECK [TESTVA + FRAME - 0x400000], 0x01010101
    UNLESS_QEMU .no_global
    mov dword [DIR + (TESTVA >> 22) * 4], 0
    mov eax, cr3
    mov cr3, eax
    CHECK [TESTVA + FRAME - 0x400000], 0x01010101
    invlpg [TESTVA + 0x123456]           ; anywhere in it
    FAULT 0, mov ebx, [TESTVA]
.no_global:
; without CR4.PSE the same entry is a table's
    mov dword [DIR + (TESTVA >> 22) * 4], TABLE + PS + P + W + U
    mov dword [DIR], TABLE2 + P + W + U
    MAP FRAME + 0x1000 + P + W + U
    CR4SET ~0x10, 0
    mov dword [DIR], TABLE2 + PS + P + W + U
    CHECK [TESTVA], 0x02020202
; bits of CR0 that do not fit
    UNLESS_QEMU .cr0_end
    TRY .nw
    mov eax, cr0
    and eax, ~0x40000000
    or eax, 0x20000000
    mov cr0, eax
.nw:
    EXPECT 13, 0
    TRY .pe
    mov eax, cr0
    and eax, ~1
    mov cr0, eax
.pe:
    EXPECT 13, 0
.cr0_end:

; three levels
    PAGING 0
    CHECK [FRAME + 0x1000], 0x02020202
    CR4SET ~0x10, 0x20
    mov dword [PDP], PD + P
    mov dword [PDP + 8], PD1 + P
    mov edi, PD
    mov eax, PS + P + W + U
    mov ecx, 8
.pd:
    mov [edi], eax
    add eax, 0x200000
    add edi, 8
    loop .pd
    mov dword [PD1], PT1 + P + W + U
    mov dword [PT1], FRAME + P + W + U
    mov dword [PT1B], FRAME + 0x1000 + P + W + U
    mov eax, PDP
    mov cr3, eax
    PAGING 1
    CHECK [TESTVA], 0x01010101
    mov eax, [PT1]
    and eax, A | D
    CHECK eax, A
    USERFAULT 6, 0, mov ebx, [TESTVA]
    FAULT 0, mov ebx, [0x80000000]       ; its PDPTE is absent
    FAULT 2, mov [0x40200000], ebx       ; its PDE is
; malformed PDPTEs are not taken
    UNLESS_QEMU .pdpte_end
    TRY .pdpte
    mov dword [PDP + 16], P + W
    mov eax, cr3
    mov cr3, eax
.pdpte:
    EXPECT 13, 0
    mov dword [PDP + 16], W + U          ; absent: all is ignored
    mov eax, cr3
    mov cr3, eax
    CHECK [TESTVA], 0x01010101
.pdpte_end:
; NX: reserved, until it is enabled; so are the bits 52 to 62
    mov eax, 0x80000001
    cpuid
    bt edx, 20
    jnc .smep
    MAP3 FRAME + P + W + U, 1
    TRY .nx_reserved
    mov ebx, [TESTVA]
.nx_reserved:
    or dword [exc_error], 1
    EXPECT 14, 9
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x800
    wrmsr
    CHECK [TESTVA], 0x01010101
    TRY .nx
    call TESTVA + 0x10
.nx:
    EXPECT 14, 0x11
    CHECK [exc_cr2], TESTVA + 0x10
    TRY .nx_user
    USER TESTVA + 0x10
.nx_user:
    EXPECT 14, 0x15
    MAP3 FRAME + P + W + U, 0
    call TESTVA + 0x10
    MAP3 0, 0
    TRY .absent
    call TESTVA + 0x10
.absent:
    EXPECT 14, 0x10
    MAP3 FRAME + P + W + U, 0
    mov dword [PD1 + 4], 1 << 31         ; NX of the directory
    invlpg [TESTVA]
    TRY .nx_dir
    call TESTVA + 0x10
.nx_dir:
    EXPECT 14, 0x11
    mov dword [PD1 + 4], 0
    invlpg [TESTVA]
    mov dword [PT1 + 4], 1 << 20
    invlpg [TESTVA]
    TRY .bit52
    mov ebx, [TESTVA]
.bit52:
    or dword [exc_error], 1
    EXPECT 14, 9
    MAP3 FRAME + P + W + U, 0
; 2 MiB pages
    mov dword [PD1], 0x600000 + PS + P + W
    invlpg [TESTVA]
    CHECK [TESTVA + FRAME - 0x600000 + 0x2000], 0x03030303
    mov dword [PD1], 0x602000 + PS + P + W
    invlpg [TESTVA]
    TRY .base
    mov ebx, [TESTVA]
.base:
    or dword [exc_error], 1
    EXPECT 14, 9
    mov dword [PD1], PT1 + P + W + U
    invlpg [TESTVA]
; SMEP, for pages of the kernel's only below 16 MiB
.smep:
    mov eax, 7
    xor ecx, ecx
    cpuid
    bt ebx, 7
    jnc .no_smep
    mov byte [PD], 0x83
    mov byte [PD + 8], 0x83
    mov eax, cr3
    mov cr3, eax
    CR4SET ~0, 1 << 20
    TRY .smep_fault
    call TESTVA + 0x10
.smep_fault:
    EXPECT 14, 0x11
    CR4SET ~(1 << 20), 0
    mov byte [PD], 0x87
    mov byte [PD + 8], 0x87
.no_smep:
; an operand on two pages, the second in another frame, below 4 GiB and across its end
    MAP3 FRAME + P + W + U, 0
    mov dword [PT1 + 8], FRAME + 0x3000 + P + W + U
    mov dword [TESTVA + 0xffe], 0xaabbccdd
    movzx eax, word [FRAME + 0xffe]
    CHECK eax, 0xccdd
    movzx eax, word [FRAME + 0x3000]
    CHECK eax, 0xaabb
    mov dword [PDP + 24], PD1 + P        ; fourth GiB: its last page is PT1B's
    mov eax, cr3
    mov cr3, eax
    mov dword [PD1 + 511 * 8], PT1B + P + W + U
    mov dword [PT1B + 511 * 8], FRAME + 0x2000 + P + W + U
    mov ebx, 0xffffffff
    invlpg [ebx]
    mov byte [FRAME + 0x2fff], 0x77
    movzx eax, byte [ebx]
    CHECK eax, 0x77
    mov byte [1], 0x66
    movzx eax, byte [ebx + 2]            ; wraps
    CHECK eax, 0x66
; and back to two levels, and to none
    PAGING 0
    CR4SET ~0x20, 0
    mov eax, DIR
    mov cr3, eax
    PAGING 1
    CHECK [TESTVA], 0x02020202
    PAGING 0
    CHECK [FRAME + 0x1000], 0x02020202
    PASS
