; SPDX-License-Identifier: GPL-2.0-or-later
; Virtual 8086 mode: a monitor that reflects INT and serves CLI, PUSHF, IRET; IOPL 3; I/O bitmap; VME's redirection; paging.
; cpu: max,+vme
%include "guest.inc"
%include "desc.inc"

section .vm align=16 follows=.text vstart=0
section .text

VMSEG equ 0x800
IF equ 0x200
DIR equ 0x620000
PAGES equ 0x621000

; the frame as the hook finds it, behind its return address
F_EIP equ 16
F_CS equ 20
F_FLAGS equ 24
F_ESP equ 28
F_SS equ 32

; ENTER_VM86 ip, flags: until .next, the label %3
%macro ENTER_VM86 3
    TRY %3
    push dword 0x5550                    ; GS
    push dword 0x4440                    ; FS
    push dword 0x3330                    ; DS
    push dword 0x2220                    ; ES
    push dword 0x900                     ; SS
    push dword 0x800                     ; ESP
    push dword 0x20002 | (%2)
    push dword VMSEG
    push dword %1
    iretd
%endmacro
%macro SEEN 2 ; word of the program
    movzx eax, word [VMSEG * 16 + %1]
    CHECK eax, %2
%endmacro

main32:
    SAY "vm86"
    mov esi, section..vm.start
    mov edi, VMSEG * 16
    mov ecx, vm_end
    rep movsb
    xor edi, edi
    mov eax, VMSEG * 0x10000 + vm_bad
    mov ecx, 256
    rep stosd
    mov word [0x21 * 4], vm_21
    mov word [0x22 * 4], vm_22
    ; TSS: redirection bitmap at 0x68, I/O bitmap at 0x88 up to port 0x3ff
    mov word [tss + 102], 0x88
    mov edi, tss + 0x68
    mov ecx, 0xa1
    mov al, 0xff
    rep stosb
    and byte [tss + 0x88 + 0xe9 / 8], ~(1 << (0xe9 & 7))
    mov word [gdt + 0x40], 0x68 + 0xa0
    mov byte [gdt + 0x45], 0x89
    mov ax, 0x40
    ltr ax
    mov byte [idt + 3 * 8 + 5], 0xee
    mov byte [idt + 0x30 * 8 + 5], 0xee
    mov dword [hook], monitor

; IOPL 0: everything that touches IF comes to the monitor
    mov dword [virtual_if], IF
    ENTER_VM86 vm_main, 0, .done0
.done0:
    EXPECT 13, 0
    call check_main
    CHECK [exits], 11
; IOPL 3: nothing of it does
    mov dword [exits], 0
    mov byte [idt + 0x22 * 8 + 5], 0xee
    ENTER_VM86 vm_iopl3, 0x3000, .done3
.done3:
    EXPECT 13, 0x23 * 8 + 2              ; a gate of level 0
    SEEN vm_flags1, 0x3002
    SEEN vm_flags2, 0x3202
    SEEN vm_count, 0x77
    CHECK [exits], 1                     ; INT 0x22 through the IDT
; a plain exception, and what is pushed for it
    mov dword [hook], 0
    ENTER_VM86 vm_ud, 0x3001, .ud
.ud:
    EXPECT 6, 0
    CHECK [exc_ip], vm_ud
    CHECK [exc_cs], VMSEG
    CHECK [exc_sp], 0x800
    CHECK [exc_ss], 0x900
    CHECK [exc_handler_sp], STACK0 - 52
    CHECK [STACK0 - 16], 0x2220
    CHECK [STACK0 - 12], 0x3330
    CHECK [STACK0 - 8], 0x4440
    CHECK [STACK0 - 4], 0x5550
    mov eax, fs
    CHECK eax, 0
    mov eax, gs
    CHECK eax, 0
%macro VM_FAULT 3 ; ip, vector, error
    ENTER_VM86 %1, 0x3000, %%next
%%next:
    EXPECT %2, %3
    CHECK [exc_ip], %1
%endmacro
    VM_FAULT vm_hlt, 13, 0
    VM_FAULT vm_cr0, 13, 0
    VM_FAULT vm_lgdt, 13, 0
    VM_FAULT vm_sldt, 6, 0
    VM_FAULT vm_lar, 6, 0
    VM_FAULT vm_arpl, 6, 0
    VM_FAULT vm_port, 13, 0              ; IOPL does not help there
    UNLESS_QEMU .no_limits
    VM_FAULT vm_limit, 13, 0
    VM_FAULT vm_limit_ss, 12, 0
.no_limits:
; a handler of another level than 0
    DESC 0, 0, 0xfffff, 0xfa, 12
    GATE idt + 0x30 * 8, SEL(0) + 3, 0x1000, 0xee, 0
    ENTER_VM86 vm_int30, 0x3000, .level
.level:
    EXPECT 13, SEL(0)

; paging: page 0xb000 of the program is elsewhere
    mov edi, DIR
    mov ecx, 0x2000 / 4
    xor eax, eax
    rep stosd
    mov dword [DIR], PAGES + 7
    mov eax, 0x400083
    mov [DIR + 4], eax
    mov edi, PAGES
    mov eax, 7
    mov ecx, 1024
.page:
    stosd
    add eax, 0x1000
    loop .page
    mov dword [PAGES + 0xb * 4], 0x500007
    mov dword [PAGES + 0xc * 4], 0x501005 ; read only
    mov dword [PAGES + 0xd * 4], 0x502003 ; not the user's
    mov dword [0x500010], 0x0b0b
    mov eax, DIR
    mov cr3, eax
    mov eax, cr4
    or eax, 0x10
    mov cr4, eax
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
    ENTER_VM86 vm_paged, 0x3000, .paged
.paged:
    EXPECT 14, 7
    CHECK [exc_cr2], 0xc010
    SEEN vm_flags1, 0x0b0b
    ENTER_VM86 vm_paged2, 0x3000, .paged2
.paged2:
    EXPECT 14, 5
    CHECK [exc_cr2], 0xd010
    mov dword [hook], monitor
    mov dword [exits], 0
    mov dword [virtual_if], IF
    ENTER_VM86 vm_main, 0, .done_paged
.done_paged:
    call check_main
    CHECK [exits], 11

; VME: INT 0x21 goes to the program's own table, IF stands for VIF
    mov eax, 1
    cpuid
    test edx, 2
    jz .end
    mov eax, cr4
    or eax, 1
    mov cr4, eax
    and byte [tss + 0x68 + 0x21 / 8], ~(1 << (0x21 & 7))
    mov dword [exits], 0
    mov dword [hook], 0
    ENTER_VM86 vm_vme, 0x80000, .vme
.vme:
    EXPECT 13, 0
    CHECK [exits], 0
    CHECK [exc_ip], vm_vme_22
    SEEN vm_flags1, 0x3202               ; IOPL looks like 3
    SEEN vm_flags2, 0x3002
    SEEN vm_count, 0x21
    SEEN vm_handler_flags, 0x3002
    mov eax, [exc_flags]
    and eax, 0xa3000
    CHECK eax, 0xa0000                   ; VIF is set again by IRET
; STI while VIP is set
    ENTER_VM86 vm_sti, 0x100000, .vip
.vip:
    EXPECT 13, 0
    CHECK [exc_ip], vm_sti
.end:
    SAY ""
    PASS

check_main:
    SEEN vm_flags1, 2                    ; behind CLI
    SEEN vm_flags2, 0x202                ; behind STI
    SEEN vm_handler_flags, 2
    SEEN vm_count, 0x21
    SEEN vm_string, 0x6867
    SEEN vm_es, 0x1234
    CHECK [virtual_if], IF
    ret

; keeps all registers but eax
monitor:
    mov eax, [exc_flags]
    test eax, 0x20000
    jz .no
    inc dword [exits]
    push ebx
    push ecx
    push edx
    push esi
    %define G(n) esp + 20 + (n)
    movzx ebx, word [G(F_CS)]
    shl ebx, 4
    add ebx, [G(F_EIP)]                  ; the instruction
    movzx esi, word [G(F_SS)]
    shl esi, 4
    movzx ecx, word [G(F_ESP)]
    add esi, ecx                         ; the program's stack
    mov eax, [exc_vector]
    cmp eax, 3
    je .skip
    cmp eax, 0x22
    je .skip
    cmp eax, 13
    jne .give_up
    cmp dword [exc_error], 0
    jne .give_up
    mov al, [ebx]
    cmp al, 0xcd
    je .int
    cmp al, 0xcf
    je .iret
    cmp al, 0x9c
    je .pushf
    cmp al, 0x9d
    je .popf
    cmp al, 0xfa
    je .cli
    cmp al, 0xfb
    je .sti
    cmp al, 0xf4
    je .one
    cmp al, 0xe6
    je .two
.give_up:
    dec dword [exits]
    pop esi
    pop edx
    pop ecx
    pop ebx
.no:
    xor eax, eax
    ret
.int:
    movzx edx, byte [ebx + 1]
    cmp dl, 0xff
    je .give_up
    call .flags
    mov [esi - 2], ax
    mov ax, [G(F_CS)]
    mov [esi - 4], ax
    mov ax, [G(F_EIP)]
    add ax, 2
    mov [esi - 6], ax
    sub word [G(F_ESP)], 6
    movzx eax, word [edx * 4]
    mov [G(F_EIP)], eax
    movzx eax, word [edx * 4 + 2]
    mov [G(F_CS)], eax
    mov dword [virtual_if], 0
    jmp .skip
.iret:
    movzx eax, word [esi]
    mov [G(F_EIP)], eax
    movzx eax, word [esi + 2]
    mov [G(F_CS)], eax
    movzx eax, word [esi + 4]
    add word [G(F_ESP)], 6
    jmp .set_flags
.pushf:
    call .flags
    mov [esi - 2], ax
    sub word [G(F_ESP)], 2
    jmp .one
.popf:
    movzx eax, word [esi]
    add word [G(F_ESP)], 2
    inc word [G(F_EIP)]
.set_flags:
    mov edx, eax
    and edx, IF
    mov [virtual_if], edx
    and eax, 0xcd5
    or eax, 0x20002
    mov [G(F_FLAGS)], eax
    jmp .skip
.cli:
    mov dword [virtual_if], 0
    jmp .one
.sti:
    mov dword [virtual_if], IF
    jmp .one
.two:
    inc word [G(F_EIP)]
.one:
    inc word [G(F_EIP)]
.skip:
    pop esi
    pop edx
    pop ecx
    pop ebx
    mov eax, 1
    ret
.flags: ; one call deeper
    mov eax, [G(F_FLAGS) + 4]
    and eax, 0xdff
    or eax, [virtual_if]
    ret

align 4
virtual_if: dd 0
exits: dd 0

section .vm
bits 16
vm_main:
    mov ax, cs
    mov ds, ax
    xor ax, ax                           ; flags: ZF, PF
    or al, 1
    cli
    pushf
    pop word [vm_flags1]
    sti
    pushf
    pop word [vm_flags2]
    int 0x21
    mov ax, 0x1234
    mov es, ax
    mov [vm_es], es
    mov si, vm_text
    xor di, di
    mov cx, 2
    cld
    rep movsb
    mov ax, [es:0]
    mov [vm_string], ax
    mov al, '.'
    out 0xe9, al
    out 0x80, al
    hlt
    int3
    push word 0x202
    popf
    int 0xff
vm_21:
    pushf
    pop word [vm_handler_flags]
    mov word [vm_count], 0x21
    iret
vm_22:
    mov word [vm_count], 0x2222
    iret
vm_bad:
    ud2

vm_iopl3:
    mov ax, cs
    mov ds, ax
    or al, 1
    cli
    pushf
    pop word [vm_flags1]
    push word 0x202                      ; IOPL stays
    popf
    pushf
    pop word [vm_flags2]
    int 0x22
    pushf
    push cs
    push word .iret
    mov word [vm_count], 0
    iret
    ud2
.iret:
    mov word [vm_count], 0x77
    cli
    int 0x23
    ud2

vm_ud: ud2
vm_hlt: hlt
vm_cr0: mov eax, cr0
vm_lgdt: lgdt [0]
vm_sldt: sldt ax
vm_lar: lar ax, ax
vm_arpl: arpl ax, ax
vm_port: out 0x80, al
vm_limit: mov ax, [0xffff]
vm_limit_ss: mov eax, [ss:0xfffe]
vm_int30: int 0x30

vm_paged:
    mov ax, cs
    mov ds, ax
    mov ax, 0xb00
    mov es, ax
    mov ax, [es:0x10]
    mov [vm_flags1], ax
    mov ax, 0xc00
    mov es, ax
    mov ax, [es:0x10]
    mov [es:0x10], ax
    ud2
vm_paged2:
    mov ax, 0xd00
    mov es, ax
    mov ax, [es:0x10]
    ud2

vm_vme:
    mov ax, cs
    mov ds, ax
    or al, 1
    pushf
    pop word [vm_flags1]
    cli
    pushf
    pop word [vm_flags2]
    sti
    mov word [vm_count], 0
    int 0x21
vm_vme_22:
    int 0x22
vm_sti:
    sti
    ud2

align 2
vm_flags1: dw 0
vm_flags2: dw 0
vm_handler_flags: dw 0
vm_count: dw 0
vm_string: dw 0
vm_es: dw 0
vm_text: db "gh"
vm_end:
