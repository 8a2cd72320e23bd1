; SPDX-License-Identifier: GPL-2.0-or-later
; Real mode: vector table, limits, addresses that wrap, string instructions, stack, A20; the ways to protected mode and back.
%include "guest.inc"

section .low align=16 follows=.text vstart=0x9000
section .text

; LCHECK value, expected: in 16-bit code
%macro LCHECK 2
    cmp %1, %2
    je %%ok
    mov dx, $
    jmp 0:low_failed
%%ok:
%endmacro
; LTRY where: the next exception goes on there with this stack; LEXPECT vector
%macro LTRY 1
    mov word [cs:low_resume], %1
    mov word [cs:low_sp], sp
    mov word [cs:low_vector], 0xbad
%endmacro
%macro LEXPECT 1
    LCHECK word [cs:low_vector], %1
%endmacro
%macro LUNLESS_QEMU 1
    cmp byte [cs:is_qemu], 0
    jne %1
%endmacro

main32:
    SAY "realmode"
    mov esi, section..low.start
    mov edi, 0x9000
    mov ecx, low_end - 0x9000
    rep movsb
    mov eax, 0x40000000
    cpuid
    cmp ebx, 'TCGT'
    sete [is_qemu]
; a segment of 4 GiB for FS stays so in real mode
    mov ax, 0x10
    mov fs, ax
    mov dword [0x500000], 0x13572468
    jmp 0x18:prot16

back32: ; from protected 16-bit code, with the stack of 16 bits
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK0 - 0x1000
    lidt [idtr]
    CHECK [0x7000], 0x600d
    mov eax, cs
    CHECK eax, 8
; and the whole way again
    cmp dword [trips], 3
    je .end
    inc dword [trips]
    jmp 0x18:prot16
.end:
    SAY ""
    PASS

failed32:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK0 - 0x1000
    lidt [idtr]
    movzx edi, word [fail_at]
    movzx eax, word [low_vector]
    jmp check_failed

align 4
trips: dd 0

section .low
bits 16
prot16:
    mov ax, 0x20
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov gs, ax
    mov esp, 0x18000 ; only SP counts
    push word 0x1234
    LCHECK word [0x7ffe], 0x1234
    LCHECK esp, 0x17ffe
    pop ax
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    ; CS is still that of protected mode
    mov ax, cs
    LCHECK ax, 0x18
    jmp 0:real

real:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x8000
    ; the vector table: all go to one handler each
    xor di, di
    mov cx, 256
    mov ax, low_stubs
.vector:
    stosw
    mov word [di], 0
    add di, 2
    add ax, 4
    loop .vector
    lidt [low_idtr]
    mov ax, cs
    LCHECK ax, 0
    mov eax, 0x500000
    LCHECK dword [fs:eax], 0x13572468
    cmp word [trip], 0
    jne .again

    mov si, .text
    mov cx, .text_end - .text
    mov dx, 0xe9
    rep outsb
    LCHECK si, .text_end
    jmp .interrupts
.text: db "real "
.text_end:

.interrupts:
; INT: flags, CS and IP on the stack; IF and TF are clear in the handler
    LTRY .int_60
    mov bp, sp
    stc
    sti
    int 0x60
.int_60:
    cli
    LEXPECT 0x60
    LCHECK word [bp - 6], .int_60
    LCHECK word [bp - 4], 0
    mov ax, [bp - 2]
    and ax, 0x201
    LCHECK ax, 0x201
    mov ax, [low_flags]
    and ax, 0x300
    LCHECK ax, 0
; IRET
    mov word [0x61 * 4], .handler
    clc
    int 0x61
    jc .interrupts_2
    LCHECK word [low_vector], 0xffff
.handler:
    mov bx, sp
    or byte [bx + 4], 1
    iret
.interrupts_2:
; faults point at the instruction, traps behind it
    LTRY .de
    xor cx, cx
.de_at:
    div cx
.de:
    LEXPECT 0
    LCHECK word [low_ip], .de_at
    LTRY .bp
    int3
.bp:
    LEXPECT 3
    LCHECK word [low_ip], .bp
    LTRY .of
    mov al, 0x7f
    inc al
    into
.of:
    LEXPECT 4
    LCHECK word [low_ip], .of
    LTRY .br
    mov ax, 9
.br_at:
    bound ax, [bounds]
.br:
    LEXPECT 5
    LCHECK word [low_ip], .br_at
    mov ax, -3
    bound ax, [bounds]
%macro UNDEFINED 1+
    LTRY %%back
%%at:
    %1
%%back:
    LEXPECT 6
    LCHECK word [low_ip], %%at
%endmacro
    UNDEFINED ud2
    UNDEFINED sldt ax
    UNDEFINED str ax
    UNDEFINED lldt ax
    UNDEFINED ltr ax
    UNDEFINED lar ax, cx
    UNDEFINED verr ax
    UNDEFINED arpl ax, cx
    UNDEFINED db 0xf0, 0x90
; the table elsewhere, and too short
    LUNLESS_QEMU .idt_end
    lidt [idtr_short]
    LTRY .short
    int 0x62
.short:
    LEXPECT 13
    lidt [low_idtr]
.idt_end:
    mov ax, 0x700
    mov es, ax
    xor si, si
    xor di, di
    mov cx, 0x200
    rep movsw
    mov word [es:0x63 * 4], .moved
    lidt [idtr_moved]
    int 0x63
    LCHECK word [low_vector], 0xffff
.moved:
    add sp, 6
    lidt [low_idtr]
; single step; none behind MOV SS
    mov word [1 * 4], .step
    xor si, si
    pushf
    pop ax
    or ax, 0x100
    push ax
    popf
    nop
    nop
    and ax, 0xfeff
    push ax
    popf
    nop
    LCHECK si, 5
    jmp .limits
.step:
    inc si
    iret

.limits:
    mov word [1 * 4], low_stubs + 4
    LUNLESS_QEMU .limits_end
    LTRY .gp
.gp_at:
    mov ax, [0xffff]
.gp:
    LEXPECT 13
    LCHECK word [low_ip], .gp_at
    LTRY .gp32
    mov eax, 0x10000
    mov al, [eax]
.gp32:
    LEXPECT 13
    LTRY .ss
    mov bp, 0xffff
    mov ax, [bp]
.ss:
    LEXPECT 12
    LTRY .movs
    mov si, 0xffff
    mov di, 0x500
    movsw
.movs:
    LEXPECT 13
    LCHECK si, 0xffff
; code ends at 64K: no way across, neither by branches of 32 bits; a fault at the branch, but behind the last instruction
%macro AT_END 2+ ; address, bytes; LTRY was before
    mov ax, 0x3000
    mov es, ax
    mov eax, 0x10000
    mov ecx, 3
    mov di, %1
    mov si, %%bytes
    mov cx, %%end - %%bytes
    rep movsb
    mov cx, 3
    push word 0x3000
    push word %1
    retf
%%bytes: db %2
%%end:
%endmacro
    LTRY .behind
    AT_END 0xfffe, 0x90, 0x90
.behind:
    LEXPECT 13
    LCHECK word [low_ip], 0
    LTRY .across
    AT_END 0xfffd, 0x90, 0xb9, 1, 0      ; MOV CX, 1 from 0xfffe on
.across:
    LEXPECT 13
    LCHECK word [low_ip], 0xfffe
    LCHECK cx, 3
    LTRY .jmp32
    AT_END 0x100, 0x90, 0x66, 0xe9, 0xf9, 0xfe, 0, 0
.jmp32:
    LEXPECT 13
    LCHECK word [low_ip], 0x101
    LTRY .jmp_eax
    AT_END 0x100, 0x90, 0x66, 0xff, 0xe0
.jmp_eax:
    LEXPECT 13
    LCHECK word [low_ip], 0x101
    LTRY .call_eax
    AT_END 0x100, 0x90, 0x66, 0xff, 0xd0
.call_eax:
    LEXPECT 13
    LCHECK word [low_ip], 0x101
    LTRY .ret32
    AT_END 0x100, 0x66, 0x50, 0x66, 0xc3 ; PUSH EAX, RET
.ret32:
    LEXPECT 13
    LCHECK word [low_ip], 0x102
    LTRY .jmp16                          ; 16 bits wrap
    mov ax, 0x3000
    mov es, ax
    mov word [es:0], 0x0b0f              ; UD2
    AT_END 0xfff0, 0xe9, 0x0d, 0
.jmp16:
    LCHECK word [low_vector], 6
    LCHECK word [low_ip], 0
    xor ax, ax
    mov es, ax
    jmp .limits_end
.limits_end:
; addresses of 16 bits wrap
    mov byte [0x601], 0x5a
    mov bx, 0xffff
    mov si, 0x602
    LCHECK byte [bx + si], 0x5a
    mov di, 0x600
    mov bp, 0x10
    LCHECK byte [bp + di - 0xf], 0x5a
    mov bx, 0xfff0
    mov al, 0x11
    mov byte [1], 0x77
    xlatb
    LCHECK al, 0x77
    lea ax, [bx + si + 0x20]
    LCHECK ax, 0x612
    mov ebx, 0x12340601
    mov ecx, 0xedcc0000
    LCHECK byte [ebx + ecx], 0x5a
; BP means SS
    mov ax, 0x100
    mov ss, ax
    mov word [0x1604], 0x1111
    mov word [0x604], 0x2222
    mov bp, 0x604
    LCHECK word [bp], 0x1111
    LCHECK word [ds:bp], 0x2222
    xor ax, ax
    mov ss, ax
    mov sp, 0x8000
; IP wraps too
    mov ax, 0x2000
    mov es, ax
    mov word [es:0xfffa], 0x20eb ; JMP SHORT to 0x1c
    mov byte [es:0x1c], 0xcb
    call 0x2000:0xfffa
; strings: index wraps, count is CX, DF, segment override, ECX with 32-bit addresses
    mov di, 0xfffe
    mov ax, 0xabcd
    mov cx, 2
    mov ecx, 0x50002
    rep stosw
    LCHECK di, 2
    LCHECK word [es:0], 0xabcd
    LCHECK word [es:0xfffe], 0xabcd
    LCHECK ecx, 0x50000
    mov di, 0x10
    mov cx, 0
    rep stosb
    LCHECK di, 0x10
    LCHECK ecx, 0x50000
    mov di, 0x700
    mov si, 0x700
    mov cx, 8
    mov al, 1
.fill:
    mov [si], al
    inc si
    inc al
    loop .fill
    std
    mov si, 0x707
    mov di, 0x70b
    push ds
    pop es
    mov cx, 8
    rep movsb
    cld
    LCHECK si, 0x6ff
    LCHECK di, 0x703
    LCHECK dword [0x704], 0x04030201
    LCHECK dword [0x708], 0x08070605
    mov esi, 0x704
    mov edi, 0x710
    mov ecx, 2
    a32 rep movsd
    LCHECK edi, 0x718
    LCHECK dword [0x714], 0x08070605
    LCHECK ecx, 0
    mov si, 0x704
    mov di, 0x710
    mov cx, 100
    mov byte [0x716], 0x99
    repe cmpsb
    LCHECK cx, 93
    LCHECK si, 0x70b
    mov al, 0x99
    mov di, 0x710
    mov cx, 100
    repne scasb
    LCHECK di, 0x717
    LCHECK cx, 93
    mov ax, 0x70
    mov es, ax
    mov byte [0x720], 0x21
    mov si, 0x20
    es lodsb
    LCHECK al, 0x21
    xor ax, ax
    mov es, ax
; stack: 16-bit and 32-bit pushes, PUSHA, ENTER, RET n, far pointers
    mov esp, 0x8000
    push byte -2
    LCHECK word [0x7ffe], 0xfffe
    push dword -2
    LCHECK dword [0x7ffa], -2
    LCHECK esp, 0x7ffa
    push sp
    LCHECK word [0x7ff8], 0x7ffa
    mov esp, 0x8000
    mov ebp, 0x11112222
    pushad
    LCHECK dword [0x7fe8], 0x11112222
    LCHECK dword [0x7fec], 0x8000
    xor ebp, ebp
    popad
    LCHECK ebp, 0x11112222
    LCHECK esp, 0x8000
    pusha
    LCHECK sp, 0x7ff0
    popa
    LCHECK ebp, 0x11112222
    enter 0x10, 0
    LCHECK word [0x7ffe], 0x2222
    LCHECK sp, 0x7fee
    LCHECK ebp, 0x11117ffe
    leave
    LCHECK sp, 0x8000
; ENTER with levels: the frames before are copied, SP and BP wrap
    mov bp, 0x7e00
    mov word [0x7dfe], 0x1357
    mov word [0x7dfc], 0x2468
    enter 4, 3
    LCHECK word [0x7ffe], 0x7e00
    LCHECK word [0x7ffc], 0x1357
    LCHECK word [0x7ffa], 0x2468
    LCHECK word [0x7ff8], 0x7ffe
    LCHECK sp, 0x7ff4
    LCHECK bp, 0x7ffe
    leave
    LCHECK sp, 0x8000
    LCHECK bp, 0x7e00
    push word 1
    push word 2
    call .ret4
    LCHECK sp, 0x8000
    push cs
    call .retf
    LCHECK sp, 0x8000
    call far [far_pointer]
    LCHECK sp, 0x8000
    call 0x0900:(.seg900 - 0x9000)
    LCHECK ax, 0x900
    pushfd
    push dword 0
    push dword .iretd
    iretd
.iretd:
    LCHECK sp, 0x8000
    les bx, [far_pointer2]
    mov ax, es
    LCHECK ax, 0x1234
    LCHECK bx, 0x5678
    lgs ebx, [far_pointer2 - 2]
    mov ax, gs
    LCHECK ax, 0x1234
    lss sp, [stack_pointer]
    LCHECK sp, 0x400
    mov ax, ss
    LCHECK ax, 0x7c0
    push word 0x4321
    LCHECK word [0x7ffe], 0x4321
    xor ax, ax
    mov ss, ax
    mov es, ax
    mov sp, 2
    push word [0]                        ; at 0
    LCHECK sp, 0
    push word 0x4444                     ; at fffe
    LCHECK sp, 0xfffe
    mov esp, 0x8000
    mov cx, 0
    jcxz .jcxz
    LCHECK cx, 1
.jcxz:
    mov ecx, 0x10000
    a32 loop .looped                     ; ECX, not CX
    LCHECK cx, 1
.looped:
; A20
    mov ax, 0xffff
    mov es, ax
    mov byte [0xffe0], 0x11
    mov byte [es:0xfff0], 0x22
    LCHECK byte [0xffe0], 0x11
    in al, 0x92
    and al, 0xfc
    out 0x92, al
    mov byte [es:0xfff0], 0x33
    LCHECK byte [0xffe0], 0x33
    mov eax, 0x10ffe0
    LCHECK byte [fs:eax], 0x33
    in al, 0x92
    or al, 2
    and al, 0xfe
    out 0x92, al
    LCHECK byte [es:0xfff0], 0x22
    xor ax, ax
    mov es, ax
; back: LMSW sets PE, but does not clear it
.again:
    inc word [trip]
    mov dword [0x7000], 0x600d
    lgdt [low_gdtr]
    test word [trip], 1
    jz .by_cr0
    smsw ax
    or al, 1
    lmsw ax
    and al, 0xfe
    lmsw ax
    smsw ax
    and ax, 1
    LCHECK ax, 1
    jmp .protected
.by_cr0:
    mov eax, cr0
    or al, 1
    mov cr0, eax
.protected:
    jmp 0x18:.prot16
.prot16:
    mov ax, 0x20
    mov ss, ax
    mov ds, ax
    call .near                           ; a stack of 16 bits
    jmp dword 0x08:back32
.near:
    ret

.ret4:
    ret 4
.retf:
    retf
.seg900:
    mov ax, cs
    retf

low_stubs: ; four bytes each
%rep 256
    call low_entry
    nop
%endrep
low_entry: ; stack: behind the call, IP, CS, flags
    pushf
    push bp
    push ax
    mov bp, sp
    mov ax, [bp + 4]
    mov [cs:low_flags], ax
    mov ax, [bp + 8]
    mov [cs:low_ip], ax
    mov ax, [bp + 6]
    sub ax, low_stubs + 3
    shr ax, 2
    mov [cs:low_vector], ax
    pop ax
    pop bp
    mov sp, [cs:low_sp]
    jmp [cs:low_resume]

low_failed: ; dx: where
    cli
    xor ax, ax
    mov ds, ax
    mov [fail_at], dx
    lgdt [low_gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 0x08:failed32

align 4
is_qemu: dw 0
trip: dw 0
fail_at: dw 0
low_resume: dw 0
low_sp: dw 0
low_vector: dw 0
low_ip: dw 0
low_flags: dw 0
bounds: dw -3, 8
far_pointer: dw real.retf, 0
far_pointer2: dw 0x5678, 0x1234
stack_pointer: dw 0x400, 0x7c0
low_gdtr:
    dw gdt_end - gdt - 1
    dd gdt
low_idtr:
    dw 0x3ff
    dd 0
idtr_short:
    dw 0x187
    dd 0
idtr_moved:
    dw 0x3ff
    dd 0x7000
low_end:
