; SPDX-License-Identifier: GPL-2.0-or-later
; Page faults: rights of every kind, error codes, CR2, accessed and dirty bits, INVLPG, global pages, large pages, A/D through aliases.
%define LONG
%include "guest.inc"

PAGE equ 0x600000 ; what TESTVA maps
READ equ 0
WRITE equ 1
EXEC equ 2
USR equ 0x100     ; from level 3
WP equ 0x10000
NONE equ 0xbad

%macro ROW 5      ; leaf bits, NX, access, CR0 bits, error code or NONE
    dd PAGE + %1
    dd (%2) << 31
    dd %3, %4, %5
%endmacro

main64:
    SAY "paging"
    mov byte [PAGE], 0xc3 ; RET
    mov rsi, rows
.row:
    mov rax, [rsi]
    mov [PTX], rax
    mov rax, TESTVA
    invlpg [rax]
    mov rax, cr0
    and eax, ~WP
    or eax, [rsi + 12]
    mov cr0, rax
    mov [current], rsi
    mov ebp, [rsi + 8]
    TRY .after
    test ebp, USR
    jnz .from_user
    mov rdi, TESTVA
    call access
.after:
    mov rsi, [current]
    mov eax, [rsi + 16]
    cmp eax, NONE
    je .none
    CHECK [exc_vector], 14
    mov eax, [rsi + 16]
    CHECK rax, [exc_error]
    mov rbx, TESTVA
    CHECK [exc_cr2], rbx
    jmp .next
.none:
    test dword [rsi + 8], USR
    jnz .none_user
    CHECK [exc_vector], NONE
    jmp .next
.none_user:
    CHECK [exc_vector], 6
.next:
    add rsi, 20
    cmp rsi, rows_end
    jb .row
    jmp bits_test
.from_user:
    mov rdi, TESTVA
    USER .user
.user:
    call access
    ud2

access: ; bp: what, rdi: where
    movzx eax, bp
    and eax, 0xff
    cmp eax, WRITE
    je .write
    cmp eax, EXEC
    je .exec
    mov al, [rdi]
    ret
.write:
    mov byte [rdi], 0xc3
    ret
.exec:
    jmp rdi

bits_test:
    mov rax, cr0
    or eax, WP
    mov cr0, rax
    mov rdi, TESTVA
; a read sets accessed, a write dirty
    mov qword [PTX], PAGE + 3
    invlpg [rdi]
    mov al, [rdi]
    mov eax, [PTX]
    and eax, 0x60
    CHECK rax, 0x20
    mov [rdi], al
    mov eax, [PTX]
    and eax, 0x60
    CHECK rax, 0x60
    mov eax, [PDX]
    and eax, 0x20
    CHECK rax, 0x20
; the translation lives until INVLPG, then the new one is used
    mov dword [PAGE], 0x11111111
    mov dword [PAGE + 0x1000], 0x22222222
    mov eax, [rdi]
    mov qword [PTX], PAGE + 0x1003
    invlpg [rdi]
    mov eax, [rdi]
    CHECK rax, 0x22222222
; a global page survives the reload of CR3, but not INVLPG
    mov qword [PTX], PAGE + 0x103
    invlpg [rdi]
    mov eax, [rdi]
    mov qword [PTX], PAGE + 0x1103
    UNLESS_QEMU .global ; it may go, but should not
    mov rax, cr3
    mov cr3, rax
    mov eax, [rdi]
    CHECK rax, 0x11111111
.global:
    invlpg [rdi]
    mov eax, [rdi]
    CHECK rax, 0x22222222
; ... nor a change of CR4.PGE
    mov qword [PTX], PAGE + 0x103
    mov rax, cr4
    xor eax, 0x80
    mov cr4, rax
    xor eax, 0x80
    mov cr4, rax
    mov eax, [rdi]
    CHECK rax, 0x11111111
; not global: the reload is enough
    mov qword [PTX], PAGE + 3
    invlpg [rdi]
    mov eax, [rdi]
    mov qword [PTX], PAGE + 0x1003
    mov rax, cr3
    mov cr3, rax
    mov eax, [rdi]
    CHECK rax, 0x22222222
; an access across two pages, the second absent: nothing is written, CR2 is the second's first byte
    mov qword [PTX], PAGE + 3
    mov qword [PTX + 8], 0
    invlpg [rdi]
    mov dword [PAGE + 0xffc], 0x33333333
    TRY .cross
    mov rax, 0x4444444444444444
    mov [rdi + 0xffc], rax
.cross:
    EXPECT 14, 2
    mov rdi, TESTVA
    lea rbx, [rdi + 0x1000]
    CHECK [exc_cr2], rbx
    mov eax, [PAGE + 0xffc]
    CHECK rax, 0x33333333
; and across pages that are far apart
    mov qword [PTX + 8], PAGE + 0x5003
    mov rax, 0x1122334455667788
    mov [rdi + 0xffd], rax
    mov eax, [PAGE + 0xffd]
    shl eax, 8
    mov ebx, 0x66778800
    CHECK rax, rbx
    mov rax, [PAGE + 0x5000]
    shl rax, 24
    shr rax, 24
    mov rbx, 0x1122334455
    CHECK rax, rbx
    mov rbx, 0x1122334455667788
    CHECK [rdi + 0xffd], rbx
; reserved bits
    mov rax, (1 << 51) | (PAGE + 3)
    mov [PTX], rax
    invlpg [rdi]
    mov eax, 0x80000008
    cpuid
    cmp al, 52
    jae .no_reserved
    TRY .reserved
    mov rdi, TESTVA
    mov al, [rdi]
.reserved:
    or qword [exc_error], 1 ; QEMU 7.2 leaves P out
    EXPECT 14, 9
.no_reserved:
; a 2 MiB page whose base is not aligned
    mov qword [PDX + 8], 0x602083
    mov rdi, TESTVA + 0x200000
    invlpg [rdi]
    TRY .large
    mov al, [rdi]
.large:
    or qword [exc_error], 1 ; QEMU 7.2 leaves P out
    EXPECT 14, 9
    mov rdi, TESTVA + 0x200000
    mov qword [PDX + 8], 0x600083
    invlpg [rdi]
    mov dword [PAGE], 0x55555555
    mov eax, [rdi]
    CHECK rax, 0x55555555
; SMEP and SMAP: the kernel's own pages must not be the user's then
    mov eax, 7
    xor ecx, ecx
    cpuid
    test ebx, 1 << 20
    jz .end
    mov byte [PD0], 0x83
    mov byte [PD0 + 8], 0x83
    mov rax, cr3
    mov cr3, rax
    mov byte [PAGE], 0xc3
    mov qword [PTX], PAGE + 7
    mov rdi, TESTVA
    invlpg [rdi]
    mov rax, cr4
    or eax, 1 << 20
    mov cr4, rax
    TRY .smep
    mov rdi, TESTVA
    jmp rdi
.smep:
    EXPECT 14, 0x11
    mov rax, cr4
    or eax, 1 << 21
    mov cr4, rax
    TRY .smap
    mov rdi, TESTVA
    mov al, [rdi]
.smap:
    EXPECT 14, 1
    TRY .smap_w
    mov rdi, TESTVA
    mov [rdi], al
.smap_w:
    EXPECT 14, 3
    stac
    mov rdi, TESTVA
    mov al, [rdi]
    mov [rdi], al
    clac
    TRY .smap2
    mov al, [rdi]
.smap2:
    EXPECT 14, 1
.end:
    PASS

align 8
current: dq 0
rows:
    ROW 0, 0, READ, WP, 0
    ROW 0, 0, WRITE, WP, 2
    ROW 0, 0, EXEC, WP, 0x10
    ROW 0, 0, READ + USR, WP, 4
    ROW 0, 0, WRITE + USR, WP, 6
    ROW 0, 0, EXEC + USR, WP, 0x14
    ROW 1, 0, READ, WP, NONE
    ROW 1, 0, WRITE, WP, 3
    ROW 1, 0, WRITE, 0, NONE
    ROW 1, 0, EXEC, WP, NONE
    ROW 1, 0, READ + USR, WP, 5
    ROW 1, 0, WRITE + USR, 0, 7
    ROW 1, 0, EXEC + USR, WP, 0x15
    ROW 3, 0, WRITE, WP, NONE
    ROW 3, 1, READ, WP, NONE
    ROW 3, 1, EXEC, WP, 0x11
    ROW 5, 0, READ + USR, WP, NONE
    ROW 5, 0, WRITE + USR, WP, 7
    ROW 5, 0, WRITE + USR, 0, 7
    ROW 5, 0, EXEC + USR, WP, NONE
    ROW 5, 1, EXEC + USR, WP, 0x15
    ROW 5, 0, WRITE, WP, 3
    ROW 5, 0, WRITE, 0, NONE
    ROW 7, 0, WRITE + USR, WP, NONE
    ROW 7, 1, READ + USR, WP, NONE
rows_end:
