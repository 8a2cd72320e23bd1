; SPDX-License-Identifier: GPL-2.0-or-later
; 32-bit protected mode: segment checks, call gates, level changes, task switches, VM86, real mode and back, 16-bit code.
%include "guest.inc"
%include "desc.inc"

main32:
    SAY "protected32"
; limits and rights
    DESC 0, 0x600000, 0xfff, 0x92, 4     ; 4 KiB, not yet accessed
    mov ax, SEL(0)
    mov fs, ax
    mov al, [gdt_more + 5]
    and eax, 0xff
    CHECK eax, 0x93                      ; accessed now
    mov byte [fs:0xfff], 0x12
    movzx eax, byte [0x600fff]
    CHECK eax, 0x12
    UNLESS_QEMU .limit_end               ; it checks neither limits nor rights
    TRY .limit
    mov eax, [fs:0xffd]
.limit:
    EXPECT 13, 0
.limit_end:
    DESC 1, 0x600000, 0xfff, 0x90, 4     ; read only
    mov ax, SEL(1)
    mov fs, ax
    UNLESS_QEMU .ro_end
    TRY .ro
    mov [fs:0], eax
.ro:
    EXPECT 13, 0
.ro_end:
    DESC 2, 0x600000, 0xfff, 0x96, 4     ; expand down: 0x1000 and up
    mov ax, SEL(2)
    mov fs, ax
    mov byte [fs:0x1000], 0x34
    UNLESS_QEMU .down_end
    TRY .down
    mov byte [fs:0xfff], 1
.down:
    EXPECT 13, 0
.down_end:
    DESC 3, 0, 0xfffff, 0x98, 12         ; execute only
    mov ax, SEL(3)
    TRY .xo
    mov fs, ax
.xo:
    EXPECT 13, SEL(3)
    UNLESS_QEMU .null_end
    TRY .null
    xor eax, eax
    mov gs, ax
    mov eax, [gs:0]
.null:
    EXPECT 13, 0
.null_end:
    TRY .nullss
    xor eax, eax
    mov ss, ax
.nullss:
    EXPECT 13, 0
    TRY .table
    mov ax, 0x7f8
    mov fs, ax
.table:
    EXPECT 13, 0x7f8
; a stack segment's limit: #SS
    DESC 4, 0, 0x2fffff >> 12, 0x92, 12  ; up to 3 MiB
    UNLESS_QEMU .sslimit_end
    mov ax, SEL(4)
    TRY .sslimit
    mov ss, ax
    mov ecx, [ss:0x300000 - 2]
.sslimit:
    EXPECT 12, 0
.sslimit_end:
; LAR, LSL, VERR, VERW, ARPL
    mov ecx, SEL(0)
    lar eax, ecx
    setz bl
    CHECK eax, 0x00409300
    lsl eax, ecx
    CHECK eax, 0xfff
    mov ecx, 0x10
    lsl eax, ecx
    CHECK eax, 0xffffffff
    mov eax, 0x1234
    xor ecx, ecx
    lar eax, ecx
    setnz bl
    movzx ebx, bl
    CHECK ebx, 1
    CHECK eax, 0x1234
    mov ecx, SEL(1)
    verr cx
    setz bl
    verw cx
    setz bh
    movzx ebx, bx
    CHECK ebx, 1
    mov ecx, SEL(3)
    verr cx
    setz bl
    movzx ebx, bl
    CHECK ebx, 0
    mov eax, 0x10
    mov ecx, 3
    arpl ax, cx
    setz bl
    movzx ebx, bl
    CHECK eax, 0x13
    CHECK ebx, 1
; far call and return in one level, also with 16-bit operands
    call 0x08:far_proc
    CHECK eax, 0x77
    push dword 0x08
    push dword .far_ret
    retf
.far_ret:
    TRY .far_bad
    jmp 0x10:0
.far_bad:
    EXPECT 13, 0x10
; call gate from level 3 to 0 with two parameters
    GATE gdt_more + 8 * 5, 0x08, gate_proc, 0xec, 2
    mov dword [esp_before], 0
    TRY .gate_end
    USER .gate_user
.gate_user:
    mov ax, 0x33
    mov ds, ax
    push dword 0x1111
    push dword 0x2222
    call SEL(5):0
    ; back at level 3, parameters gone
    mov [user_esp], esp
    mov [user_eax], eax
    mov eax, cs
    mov [user_cs], eax
    ud2
.gate_end:
    EXPECT 6, 0
    CHECK [user_esp], STACK3
    CHECK [user_eax], 0x3333
    CHECK [user_cs], 0x2b
    CHECK [gate_cpl], 0x08
    CHECK [gate_esp], STACK0 - 24
; its level counts
    GATE gdt_more + 8 * 5, 0x08, gate_proc, 0x8c, 0
    TRY .gate_dpl
    USER .gate_dpl_user
.gate_dpl_user:
    call SEL(5):0
.gate_dpl:
    EXPECT 13, SEL(5)
; level 3 cannot load level 0 segments, and loses them on the way there
    mov ax, 0x10
    mov fs, ax
    TRY .lost
    USER .lost_user
.lost_user:
    mov eax, fs
    mov bx, 0x33
    mov ds, bx
    mov [user_eax], eax
    mov ax, 0x10
    mov fs, ax
.lost:
    EXPECT 13, 0x10
    CHECK [user_eax], 0
; INT through a 16-bit gate and a trap gate; from level 3 the stack of the TSS
    mov byte [idt + 0x80 * 8 + 5], 0xef
    TRY .int
    USER .int_user
.int_user:
    int 0x80
.int_next:
.int:
    EXPECT 0x80, 0
    CHECK [exc_ip], .int_next
    CHECK [exc_sp], STACK3
    CHECK [exc_ss], 0x33
    CHECK [exc_handler_sp], STACK0 - 36
    TRY .int_dpl
    USER .int_dpl_user
.int_dpl_user:
    int 0x81
.int_dpl:
    EXPECT 13, 0x81 * 8 + 2
; I/O permission bitmap: port 0xe9 is allowed, 0x80 is not
    mov word [gdt + 0x40], 0x68 + 0x40
    mov byte [gdt + 0x45], 0x89
    mov ax, 0x40
    ltr ax
    mov edi, tss + 0x68
    mov ecx, 0x41
    mov al, 0xff
    rep stosb
    mov byte [tss + 0x68 + 0xe9 / 8], ~(1 << (0xe9 & 7))
    TRY .io
    USER .io_user
.io_user:
    mov al, '.'
    out 0xe9, al
.io_at:
    out 0x80, al
.io:
    EXPECT 13, 0
    CHECK [exc_ip], .io_at
    TRY .iopl
    push dword 0x33
    push dword STACK3
    push dword 0x3002
    push dword 0x2b
    push dword .iopl_user
    iretd
.iopl_user:
    out 0x80, al
    cli
    ud2
.iopl:
    EXPECT 6, 0
; BOUND, INTO, AAM 0, ENTER
    mov dword [user_eax], 5
    mov dword [user_eax + 4], 10
    mov eax, 10
    bound eax, [user_eax]
    TRY .bound
    mov eax, 11
    bound eax, [user_eax]
.bound:
    EXPECT 5, 0
    TRY .into
    mov al, 0x7f
    inc al
    into
.into:
    EXPECT 4, 0
    TRY .aam
    mov al, 5
    aam 0
.aam:
    EXPECT 0, 0
    mov eax, 0x79
    add al, 0x35
    daa
    setc bl
    movzx ebx, bl
    and eax, 0xff
    CHECK eax, 0x14
    CHECK ebx, 1
    mov eax, 0x0105
    sub al, 8
    aas
    and eax, 0xffff
    CHECK eax, 0x0007
    mov ebp, STACK0 - 0x2000
    mov dword [ebp - 4], 0xaaaa
    mov [esp_before], esp
    enter 0x20, 2
    CHECK [ebp], STACK0 - 0x2000
    CHECK [ebp - 4], 0xaaaa
    mov eax, [esp_before]
    sub eax, 4
    CHECK eax, ebp
    CHECK [ebp - 8], eax
    leave
    mov ecx, esp
    CHECK ecx, [esp_before]

; task switch: CALL a TSS, the task returns by IRET
%define TSS2 0x610000
    mov edi, TSS2
    mov ecx, 0x1000 / 4
    xor eax, eax
    rep stosd
    DESC 6, TSS2, 0x67, 0x89, 0
    mov dword [TSS2 + 32], task_code
    mov dword [TSS2 + 36], 2
    mov dword [TSS2 + 40], 0x4242
    mov dword [TSS2 + 56], STACKI
    mov dword [TSS2 + 72], 0x10
    mov dword [TSS2 + 76], 0x08
    mov dword [TSS2 + 80], 0x10
    mov dword [TSS2 + 84], 0x10
    mov dword [TSS2 + 88], 0x10
    mov dword [TSS2 + 92], 0x10
    mov dword [TSS2 + 102], 0x68
    mov eax, 0x1010
    mov ebx, 0x2020
    stc
    call SEL(6):0
    setc cl
    movzx ecx, cl
    CHECK ecx, 1
    CHECK eax, 0x1010
    CHECK ebx, 0x2020
    CHECK [task_eax], 0x4242
    CHECK [task_nt], 0x4000
    CHECK [task_tr], SEL(6)
    movzx eax, word [TSS2]
    CHECK eax, 0x40                      ; link
    movzx eax, byte [gdt_more + 8 * 6 + 5]
    CHECK eax, 0x89                      ; available again
    movzx eax, byte [gdt + 0x45]
    CHECK eax, 0x8b
    str eax
    CHECK eax, 0x40
    mov eax, cr0
    and eax, 8
    CHECK eax, 8                         ; TS
    clts
; again, by a task gate for INT; it continues behind its IRET
    GATE idt + 0x90 * 8, SEL(6), 0, 0x85, 0
    mov dword [task_eax], 0
    int 0x90
    CHECK [task_eax], 0x5656
    clts
; and by JMP both ways
    jmp SEL(6):0
.jumped_back:
    CHECK [task_eax], 0x7878
    movzx eax, byte [gdt_more + 8 * 6 + 5]
    CHECK eax, 0x89
    clts
    TRY .busy
    call 0x40:0
.busy:
    EXPECT 13, 0x40

; VM86: an INT comes to level 0 with all segments on the stack
    mov word [idt + 0x21 * 8 + 4], 0xee00
    mov edi, 0x8000
    mov esi, vm_code
    mov ecx, vm_code_end - vm_code
    rep movsb
    mov dword [hook], vm_hook
    TRY .vm
    push dword 0x5555                    ; GS
    push dword 0x4444                    ; FS
    push dword 0x3333                    ; DS
    push dword 0x2222                    ; ES
    push dword 0x0900                    ; SS
    push dword 0x0800                    ; ESP
    push dword 0x23002                   ; VM, IOPL 3
    push dword 0x0800                    ; CS
    push dword 0
    iretd
.vm:
    mov dword [hook], 0
    EXPECT 6, 0
    CHECK [vm_seen], 0x21
    CHECK [vm_stack + 28], 0x0800        ; ESP
    CHECK [vm_stack + 32], 0x0900
    CHECK [vm_stack + 36], 0x2222
    CHECK [vm_stack + 40], 0x0700        ; the program changed it
    CHECK [vm_stack + 44], 0x4444
    CHECK [vm_stack + 48], 0x5555
    movzx eax, word [0x7010]
    CHECK eax, 0xbeef
; IOPL 0: INT n, CLI, PUSHF are general protection faults
    TRY .vm_iopl
    times 5 push dword 0
    push dword 0x0800
    push dword 0x20002
    push dword 0x0800
    push dword 0
    iretd
.vm_iopl:
    EXPECT 13, 0

; 16-bit protected mode, real mode, and back
    mov [esp_before], esp
    mov edi, 0x9000
    mov esi, real_code
    mov ecx, real_code_end - real_code
    rep movsb
    jmp 0x18:0x9000
back32:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov esp, [esp_before]
    lidt [idtr]
    movzx eax, word [0x7020]
    CHECK eax, 0x1234
    movzx eax, word [0x7022]
    CHECK eax, 0xf00d
    UNLESS_QEMU .end
    movzx eax, word [0x7024]
    CHECK eax, 13                        ; limit of 64 KiB
.end:
    SAY ""
    PASS

far_proc:
    mov eax, 0x77
    retf

gate_proc:
    mov ecx, cs
    mov [ss:gate_cpl], ecx
    mov [ss:gate_esp], esp
    mov eax, [esp + 8]
    add eax, [esp + 12]
    retf 8

task_code:
    mov [task_eax], eax
    pushfd
    pop eax
    and eax, 0x4000
    mov [task_nt], eax
    str eax
    mov [task_tr], eax
    iretd
    mov dword [task_eax], 0x5656
    iretd
    mov dword [task_eax], 0x7878
    jmp 0x40:0

vm_hook:
    mov eax, [exc_vector]
    cmp eax, 0x21
    jne .other
    mov [vm_seen], eax
    push esi
    push edi
    push ecx
    lea esi, [esp + 16]
    push ss
    pop es
    mov edi, vm_stack
    mov ecx, 16
    cld
    rep movsd
    pop ecx
    pop edi
    pop esi
    mov eax, 1
    ret
.other:
    xor eax, eax
    ret

bits 16
vm_code:
    mov ax, 0x0700
    mov ds, ax
    mov word [0x10], 0xbeef
    int 0x21
    ud2
vm_code_end:

real_code: ; at 0x9000, selector 0x18
    mov ax, 0x20
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov sp, 0x7000
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    jmp 0:(.real - real_code + 0x9000)
.real:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    lidt [real_idtr - real_code + 0x9000]
    mov word [0x60 * 4], .int60 - real_code + 0x9000
    mov word [0x60 * 4 + 2], 0
    mov word [13 * 4], .gp - real_code + 0x9000
    mov word [13 * 4 + 2], 0
    int 0x60
    mov [0x7020], ax
    call 0x0900:(.far - real_code)
    mov [0x7022], ax
    mov word [0x7024], 0
    mov bx, 0xffff
    mov ax, [bx]
.after:
    lgdt [.gdtr - real_code + 0x9000]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 0x08:back32
.int60:
    mov ax, 0x1234
    iret
.far:
    mov ax, 0xf00d
    retf
.gp:
    mov word [0x7024], 13
    add sp, 6
    jmp .after
.gdtr:
    dw gdt_end - gdt - 1
    dd gdt
real_idtr:
    dw 0x3ff
    dd 0
real_code_end:
bits 32

align 4
user_eax: dd 0, 0
user_esp: dd 0
user_cs: dd 0
gate_cpl: dd 0
gate_esp: dd 0
esp_before: dd 0
task_eax: dd 0
task_nt: dd 0
task_tr: dd 0
vm_seen: dd 0
vm_stack: times 20 dd 0
