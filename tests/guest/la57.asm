; SPDX-License-Identifier: GPL-2.0-or-later
; Five-level paging: on and off, what is canonical, branches, page faults and INVLPG beyond 48 bits.
; cpu: max,+la57
%define LONG
%include "guest.inc"

PML5 equ 0x205000
HIGH equ 1 << 48           ; the second entry of PML5, a copy of the first
BAD equ 1 << 56

%macro FAULTS 3 ; vector, error, instruction
    EXPECT %1, %2
    CHECK [exc_ip], %3
%endmacro

main64:
    SAY "la57"
    mov eax, 7
    xor ecx, ecx
    cpuid
    bt ecx, 16
    jnc failed
    mov rbx, HIGH
    TRY .four
.four_at:
    mov eax, [rbx]
.four:
    FAULTS 13, 0, .four_at
    mov rax, cr4
    bts rax, 12
    TRY .set
    mov cr4, rax           ; not in long mode
.set:
    EXPECT 13, 0
    mov dword [PML5], PML4 + 7
    mov dword [PML5 + 8], PML4 + 7
    mov dword [PML5 + 511 * 8], PML4 + 7
    mov edi, .five
    mov esi, PML5
    jmp switch
.five:
    mov rax, cr4
    bt rax, 12
    jnc failed
    mov qword [0x600000], 0x1234567
    mov rbx, HIGH + 0x600000
    CHECK [rbx], 0x1234567
    mov qword [rbx], 0x765
    CHECK [0x600000], 0x765
    movups xmm0, [rbx]
    mov rcx, 0xffff000000600000  ; the last entry
    CHECK [rcx], 0x765
    mov rdx, BAD + 0x600000
    TRY .bad
.bad_at:
    mov eax, [rdx]
.bad:
    FAULTS 13, 0, .bad_at
    mov rdx, 2 << 48       ; canonical, not there
    TRY .missing
.missing_at:
    mov [rdx], eax
.missing:
    FAULTS 14, 2, .missing_at
    CHECK [exc_cr2], rdx
; code up there, and branches to what is and is not an address
    mov word [0x600000], 0xd0ff ; call rax
    mov byte [0x600002], 0xc3
    mov rax, .callee
    call rbx
    CHECK rcx, 0x77
    mov rax, BAD
    TRY .jump
.jump_at:
    jmp rax
.jump:
    FAULTS 13, 0, .jump_at
    TRY .call
    call rbx               ; and the call up there is wrong
.call:
    FAULTS 13, 0, rbx
    TRY .jump_missing
    jmp rdx
.jump_missing:
    FAULTS 14, 0x10, rdx
; INVLPG
    mov rbx, HIGH + TESTVA
    mov qword [PTX], 0x601003
    mov qword [0x601000], 1
    mov qword [0x602000], 2
    CHECK [rbx], 1
    mov qword [PTX], 0x602003
    invlpg [rbx]
    CHECK [rbx], 2
; CR4.LA57 stays as long as long mode does
    mov rax, cr4
    btr rax, 12
    TRY .clear
    mov cr4, rax
.clear:
    EXPECT 13, 0
    mov edi, .again
    mov esi, PML4
    jmp switch
.again:
    mov rax, cr4
    bt rax, 12
    jc failed
    mov rbx, HIGH
    mov rax, HIGH + 0x600000
    TRY .four_again
.jump_four:
    jmp rax
.four_again:
    FAULTS 13, 0, .jump_four
    PASS

.callee:
    mov ecx, 0x77
    ret

failed:
    mov edi, $
    jmp check_failed

; to edi with CR3 esi, CR4.LA57 the other way
switch:
    push qword 8
    push qword .compat
    o64 retf
bits 32
.compat:
    mov eax, cr0
    btr eax, 31
    mov cr0, eax
    mov eax, cr4
    btc eax, 12
    mov cr4, eax
    mov cr3, esi
    mov eax, cr0
    bts eax, 31
    mov cr0, eax
    push dword 0x38
    push edi
    retf
bits 64
