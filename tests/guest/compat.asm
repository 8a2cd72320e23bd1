; SPDX-License-Identifier: GPL-2.0-or-later
; Compatibility mode: 32- and 16-bit user code under a 64-bit kernel; INT, SYSCALL, SYSENTER, far transfers between modes, segments.
%define LONG
%include "guest.inc"

%define SEL(n) (gdt_more - gdt + 8 * (n))
U32 equ 0x60 + 3   ; user selectors in SYSRET's order
UDATA equ 0x68 + 3
U64 equ 0x70 + 3
K64 equ 0x78
UBASE equ 0xb8 + 3 ; data at 0x600000, 4 KiB
U16 equ 0xc0 + 3   ; 16-bit code at 0x600000
CGATE equ 0xc8 + 3 ; two slots: call gate to level 0
STACK equ 0x601000

%macro SETMSR 2 ; number, value
    mov ecx, %1
    mov rax, %2
    mov rdx, rax
    shr rdx, 32
    wrmsr
%endmacro
; COMPAT where: 32-bit code of level 3, its flags %2
%macro COMPAT 1-2 0x2
    push qword UDATA
    push qword STACK
    push qword %2
    push qword U32
    push qword %1
    iretq
%endmacro

main64:
    SAY "compat"
    mov rax, [gdt + 0x28]
    mov [gdt + 0x60], rax
    mov rax, [gdt + 0x30]
    mov [gdt + 0x68], rax
    mov rax, [gdt + 0x50]
    mov [gdt + 0x70], rax
    mov rax, [gdt + 0x38]
    mov [gdt + 0x78], rax
    mov rax, [gdt + 0x10]
    mov [gdt + 0x80], rax
    mov rax, [gdt + 0x28]                ; SYSENTER's: + 16, + 24
    mov [gdt + 0x88], rax
    mov rax, [gdt + 0x30]
    mov [gdt + 0x90], rax
    mov rax, 0x0040f36000000fff
    mov [gdt + 0xb8], rax
    mov rax, 0x0000fb600000ffff
    mov [gdt + 0xc0], rax
    SETMSR 0xc0000081, 0x0063007800000000
    SETMSR 0xc0000082, kernel64
    SETMSR 0xc0000083, kernel32
    SETMSR 0xc0000084, 0x200
    SETMSR 0x174, K64
    SETMSR 0x175, STACK0 - 0x800
    SETMSR 0x176, kernel_enter
    or byte [idt + 0x80 * 16 + 5], 0x60

; the frame of an exception in 32-bit code, alignment of the kernel's stack
    TRY .ud
    COMPAT .ud_user, 0x3
.ud_user:
    ud2
.ud:
    EXPECT 6, 0
    CHECK [exc_cs], U32
    CHECK [exc_ss], UDATA
    CHECK [exc_sp], STACK
    CHECK [exc_handler_sp], STACK0 - 40 - 18
    CHECK [exc_ip], .ud_user
    mov rax, [exc_flags]
    and eax, 1
    CHECK rax, 1
; instructions that are others there, addresses of 32 and 16 bits, high registers untouched by it
    mov dword [0x600800], 0x12345678
    mov dword [0x600804], 0x9abcdef0
    TRY .old
    mov r8, 0x1122334455667788
    mov rbx, 0xffffffff00600000
    COMPAT .old_user
bits 32
; UCHECK value, expected: UD2 comes instead of what is expected
%macro UCHECK 2
    cmp %1, %2
    je %%ok
    ud2
%%ok:
%endmacro
.old_user:
    mov ax, UDATA
    mov ds, ax
    mov es, ax
    UCHECK ebx, 0x00600000
    mov eax, 0x7fffffff
    inc eax                              ; 0x40
    UCHECK eax, 0x80000000
    dec eax
    UCHECK eax, 0x7fffffff
    pusha
    UCHECK esp, STACK - 32
    popa
    push ds
    UCHECK esp, STACK - 4
    pop es
    mov ax, 0x79
    add al, 0x35
    daa
    UCHECK al, 0x14
    mov al, 57
    aam
    UCHECK ax, 0x0507
    lds eax, [pointer32]
    UCHECK eax, 0x600800
    bound eax, [bounds]
    mov ecx, 0x10000
    db 0x67
    jecxz .jcxz                          ; looks at CX
    ud2
.jcxz:
    mov ecx, 0xffffff00
    UCHECK dword [eax + ecx + 0x100], 0x12345678 ; wraps at 4 GiB
    UCHECK dword [0x600804], 0x9abcdef0  ; no address relative to IP
    mov esi, 0x600800
    mov edi, 0x600900
    mov ecx, 2
    cld
    rep movsd
    UCHECK edi, 0x600908
    UCHECK dword [0x600904], 0x9abcdef0
    enter 16, 0
    UCHECK esp, STACK - 20
    leave
    push dword 0x11223344
    pop dword [0x600910]
    UCHECK dword [0x600910], 0x11223344
    call .near
    UCHECK esp, STACK
    int 0x80
.near:
    ret
bits 64
.old:
    EXPECT 0x80, 0
    mov rbx, 0x1122334455667788
    CHECK r8, rbx
; segments have bases and limits again
    TRY .base
    COMPAT .base_user
bits 32
.base_user:
    mov ax, UBASE
    mov ds, ax
    UCHECK dword [0x800], 0x12345678
    mov gs, ax
    UCHECK dword [gs:0x804], 0x9abcdef0
    int 0x80
bits 64
.base:
    EXPECT 0x80, 0
    UNLESS_QEMU .limit_end               ; it checks no limits
    TRY .limit
    COMPAT .limit_user
bits 32
.limit_user:
    mov ax, UBASE
    mov ds, ax
    mov al, [0xfff]
.limit_at:
    mov eax, [0xffd]
bits 64
.limit:
    EXPECT 13, 0
    CHECK [exc_ip], .limit_at
    TRY .null
    COMPAT .null_user
bits 32
.null_user:
    xor eax, eax
    mov ds, ax
.null_at:
    mov eax, [0x600800]
bits 64
.null:
    EXPECT 13, 0
    CHECK [exc_ip], .null_at
.limit_end:
; 64-bit code does not see the base of DS, but that of GS
    mov ax, UBASE
    mov ds, ax
    mov gs, ax
    mov eax, [0x600800]
    CHECK rax, 0x12345678
    mov eax, [gs:0x800]
    CHECK rax, 0x12345678
; SYSCALL from 32-bit code comes to CSTAR, SYSRET goes back (on Intel's processors it is #UD there)
    xor eax, eax
    cpuid
    cmp ebx, 'Auth'
    jne .syscall_end
    TRY .syscall
    COMPAT .syscall_user
bits 32
.syscall_user:
    mov edi, esp
    syscall
.syscall_next:
    UCHECK esp, edi
    UCHECK ebx, 0x3232
    mov eax, ss
    UCHECK eax, UDATA
    int 0x80
bits 64
kernel32:
    CHECK rcx, main64.syscall_next
    mov ebx, 0x3232
    mov ax, cs
    movzx eax, ax
    CHECK rax, K64
    sysret
kernel64:
    mov ebx, 0x6464
    o64 sysret
main64.syscall:
    EXPECT 0x80, 0
    CHECK [exc_cs], U32
main64.syscall_end:
; SYSENTER and SYSEXIT
    UNLESS_QEMU main64.enter_end         ; AMD's processors have it in 32-bit mode only
    TRY main64.enter
    COMPAT main64.enter_user
bits 32
main64.enter_user:
    mov ebp, esp
    mov edi, main64.enter_next
    sysenter
main64.enter_next:
    UCHECK esp, ebp
    mov eax, cs
    UCHECK eax, 0x88 + 3
    int 0x80
bits 64
kernel_enter:
    mov rax, rsp
    CHECK rax, STACK0 - 0x800
    mov edx, edi
    mov ecx, ebp
    sysexit
main64.enter:
    EXPECT 0x80, 0
    CHECK [exc_cs], 0x88 + 3
main64.enter_end:
; far jump, call and return between 32- and 64-bit code of level 3
    TRY main64.far
    COMPAT main64.far_user
bits 32
main64.far_user:
    mov ax, UDATA
    mov ds, ax
    jmp U64:main64.in64
bits 64
main64.in64:
    mov rax, 0x123456789                 ; 64-bit code indeed
    shr rax, 32
    cmp eax, 1
    je main64.in64_ok
    ud2
main64.in64_ok:
    push qword U32
    push qword main64.back32
    o64 retf
bits 32
main64.back32:
    mov eax, 0x48
    dec eax
    UCHECK eax, 0x47
    UCHECK esp, STACK
    call U64:main64.sub64
    UCHECK ebx, 0x77
    UCHECK esp, STACK
    call far [pointer64]
    UCHECK esp, STACK
    pushfd
    push dword U64
    push dword main64.iretd
    iretd                                ; to 64-bit code by a 32-bit frame
bits 64
main64.sub64:
    mov rbx, 0x7700000000
    shr rbx, 32
    retf                                 ; a 32-bit frame
main64.iretd:
    mov rbx, 0x7700000000
    shr rbx, 32
    cmp ebx, 0x77
    jne main64.bad
    call dword far [pointer32code]
    cmp rsp, STACK
    jne main64.bad
    int 0x80
main64.bad:
    ud2
bits 32
main64.sub32:
    mov eax, 0x48
    dec eax
    retf
bits 64
main64.far:
    EXPECT 0x80, 0
    CHECK [exc_cs], U64
; 16-bit code
    mov rsi, main64.code16
    mov edi, 0x600000
    mov ecx, main64.code16_end - main64.code16
    rep movsb
    TRY main64.sixteen
    push qword UDATA
    push qword STACK
    push qword 2
    push qword U16
    push qword 0
    iretq
bits 16
main64.code16:
    mov ax, 0x1234
    push ax
    mov ebx, 0x55667788
    push ebx
    pop cx
    int 0x80
main64.code16_end:
bits 64
main64.sixteen:
    EXPECT 0x80, 0
    CHECK [exc_cs], U16
    CHECK [exc_ip], main64.code16_end - main64.code16
    CHECK [exc_sp], STACK - 4
    movzx ecx, cx
    CHECK rcx, 0x7788
; a call gate from 32-bit code to the kernel: a 64-bit frame
    mov rax, gate_proc
    mov rdi, gdt + (CGATE & ~7)
    mov [rdi], ax
    mov word [rdi + 2], K64
    mov word [rdi + 4], 0xec00
    shr rax, 16
    mov [rdi + 6], ax
    mov qword [rdi + 8], 0
    TRY main64.gate
    COMPAT main64.gate_user
bits 32
main64.gate_user:
    call CGATE:0
    UCHECK esp, STACK
    mov eax, cs
    UCHECK eax, U32
    int 0x80
bits 64
gate_proc:
    mov rax, rsp
    CHECK rax, STACK0 - 32
    CHECK [rsp + 8 + 8], U32             ; CHECK pushes
    CHECK [rsp + 24 + 8], UDATA
    o64 retf
main64.gate:
    EXPECT 0x80, 0
; faults of 32-bit code: beyond CS's limit, privileged, a page
    TRY main64.page
    COMPAT main64.page_user
bits 32
main64.page_user:
    mov eax, 0x7f000000
    mov [eax + 0x1000000], eax
bits 64
main64.page:
    EXPECT 14, 6
    mov ebx, 0x80000000
    CHECK [exc_cr2], rbx
    TRY main64.cli
    COMPAT main64.cli_user
bits 32
main64.cli_user:
    cli
bits 64
main64.cli:
    EXPECT 13, 0
    PASS

align 8
pointer32: dd 0x600800
    dw UDATA
bounds: dd 0, 0x700000
pointer64: dd main64.sub64
    dw U64
pointer32code: dd main64.sub32
    dw U32
