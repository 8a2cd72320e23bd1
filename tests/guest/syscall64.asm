; SPDX-License-Identifier: GPL-2.0-or-later
; SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, compatibility mode, far transfers and call gates in long mode, FS/GS bases, XSAVE.
%define LONG
%include "guest.inc"

%define SEL(n) (gdt_more - gdt + 8 * (n))

%macro WRMSR 2 ; number, value in rax
    mov ecx, %1
    mov rax, %2
    mov rdx, rax
    shr rdx, 32
    wrmsr
%endmacro

main64:
    SAY "syscall64"
    ; user selectors in SYSRET's order: 0x60 code32, 0x68 data, 0x70 code64
    mov rax, [gdt + 0x28]
    mov [gdt + 0x60], rax
    mov rax, [gdt + 0x30]
    mov [gdt + 0x68], rax
    mov rax, [gdt + 0x50]
    mov [gdt + 0x70], rax
    ; kernel: 0x78 code64, 0x80 data; SYSENTER's: + 16 user 32 (0x88 code, 0x90 data), + 32 user 64 (0x98, 0xa0)
    mov rax, [gdt + 0x38]
    mov [gdt + 0x78], rax
    mov rax, [gdt + 0x10]
    mov [gdt + 0x80], rax
    mov rax, [gdt + 0x28]
    mov [gdt + 0x88], rax
    mov rax, [gdt + 0x30]
    mov [gdt + 0x90], rax
    mov rax, [gdt + 0x50]
    mov [gdt + 0x98], rax
    mov rax, [gdt + 0x30]
    mov [gdt + 0xa0], rax
    mov rax, 0x0063007800000000
    WRMSR 0xc0000081, rax
    WRMSR 0xc0000082, kernel
    WRMSR 0xc0000083, kernel_compat
    WRMSR 0xc0000084, 0x40601
    WRMSR 0x174, 0x78
    WRMSR 0x175, STACK0 - 0x800
    WRMSR 0x176, sysenter_kernel

; SYSCALL from 64-bit code, SYSRET to it
    mov qword [next_step], .step1
    TRY .done1
    USER .user1
.user1:
    stc
    mov r8, rsp
    syscall
.user1_next:
    setc bl
    ud2
.step1:
    CHECK rcx, .user1_next
    and r11d, 0x8d7
    test r11d, 1
    jz failed
    jc failed ; masked by SFMASK
    mov ax, cs
    movzx eax, ax
    CHECK rax, 0x78
    mov ax, ss
    movzx eax, ax
    CHECK rax, 0x80
    mov r10, rsp
    CHECK r10, r8 ; is the user's still
    or r11d, 1
    o64 sysret
.done1:
    EXPECT 6, 0
    CHECK [exc_cs], 0x73
    CHECK [exc_ss], 0x6b
    movzx ebx, bl
    CHECK rbx, 1
; SYSCALL needs EFER.SCE
    mov ecx, 0xc0000080
    rdmsr
    and eax, ~1
    wrmsr
    TRY .sce
    syscall
.sce:
    EXPECT 6, 0
    mov ecx, 0xc0000080
    rdmsr
    or eax, 1
    wrmsr
; SYSRET to compatibility mode: 32-bit code
    TRY .compat_done
    mov ecx, compat
    mov r11d, 2
    sysret
.compat_done:
    EXPECT 6, 0
    CHECK [exc_cs], 0x63
    CHECK rbx, 0x12345678
    CHECK [compat_esp], 0x44444440 - 4
; SYSENTER from 64-bit user code, SYSEXIT back
    UNLESS_QEMU .sysenter_end ; AMD's processors have it in 32-bit mode only
    mov qword [next_step], .enter
    TRY .sysenter_done
    USER .sysenter_user
.sysenter_user:
    mov r8, rsp
    mov r9, .sysenter_back
    sysenter
.enter:
    mov r10, rsp
    CHECK r10, STACK0 - 0x800
    mov ax, cs
    movzx eax, ax
    CHECK rax, 0x78
    mov rdx, r9
    mov rcx, r8
    o64 sysexit
.sysenter_back:
    mov rax, rsp
    ud2
.sysenter_done:
    EXPECT 6, 0
    CHECK [exc_cs], 0x98 + 3
    CHECK [exc_ss], 0xa0 + 3
    CHECK rax, STACK3
.sysenter_end:
; SWAPGS and bases
    mov rax, 0x600000
    WRMSR 0xc0000101, rax
    mov rax, 0x601000
    WRMSR 0xc0000102, rax
    mov rax, 0x602000
    WRMSR 0xc0000100, rax
    mov byte [0x600010], 1
    mov byte [0x601010], 2
    mov byte [0x602010], 3
    movzx eax, byte [gs:0x10]
    CHECK rax, 1
    swapgs
    movzx eax, byte [gs:0x10]
    CHECK rax, 2
    movzx eax, byte [fs:0x10]
    CHECK rax, 3
    swapgs
    UNLESS_QEMU .msr_end ; it checks neither value nor number
    TRY .noncanonical
    mov rax, 0x0000800000000000
    WRMSR 0xc0000101, rax
.noncanonical:
    EXPECT 13, 0
    TRY .badmsr
    mov ecx, 0xdeadbeef
    rdmsr
.badmsr:
    EXPECT 13, 0
.msr_end:
; null segments are fine in 64-bit mode, even SS
    xor eax, eax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov al, [0x600010]
    mov ax, 0x10
    mov ss, ax
    mov ds, ax
    mov es, ax
; far return and far jump between 64-bit code and compatibility mode at level 0
    mov rbp, rsp
    mov rsp, STACK0 - 0x2000
    push qword 0x08
    push qword .compat0
    o64 retf
bits 32
.compat0:
    mov eax, 0x99
    dec eax ; 0x48 0xff would be REX in 64-bit code
    jmp 0x38:.long_again
bits 64
.long_again:
    mov rsp, rbp
    movzx eax, al
    CHECK rax, 0x98
; 64-bit call gate from level 3
    mov rax, gate_proc
    mov rdi, gdt + SEL(10)
    mov [rdi], ax
    mov word [rdi + 2], 0x38
    mov word [rdi + 4], 0xec00
    shr rax, 16
    mov [rdi + 6], ax
    mov qword [rdi + 8], 0
    TRY .gate
    USER .gate_user
.gate_user:
    call dword far [gate_pointer]
    ud2
.gate:
    EXPECT 6, 0
    CHECK [exc_cs], 0x53
    CHECK [exc_sp], STACK3
    CHECK [gate_sp], STACK0 - 32
    CHECK [gate_ss], 0
; IRET to user and the null data segments after it: DS of level 0 is lost
    TRY .ds
    mov ax, 0x10
    mov ds, ax
    USER .ds_user
.ds_user:
    mov ax, ds
    movzx ebx, ax
    ud2
.ds:
    mov ax, 0x10
    mov ds, ax
    CHECK rbx, 0
; XSAVE and XRSTOR
    mov eax, 1
    cpuid
    test ecx, 1 << 26
    jz .no_xsave
    mov rax, cr4
    or eax, 1 << 18
    mov cr4, rax
    xor ecx, ecx
    mov eax, 3
    xor edx, edx
    xsetbv
    TRY .xcr
    mov eax, 2
    xsetbv
.xcr:
    EXPECT 13, 0
    mov rdi, 0x600000
    mov ecx, 0x200
    xor eax, eax
    rep stosq
    mov rax, 0x1122334455667788
    movq xmm3, rax
    fninit
    fld1
    mov eax, 3
    xor edx, edx
    mov rdi, 0x600000
    xsave [rdi]
    mov rax, [rdi + 512]
    CHECK rax, 3
    mov rax, [rdi + 160 + 48]
    mov rbx, 0x1122334455667788
    CHECK rax, rbx
    mov rax, [rdi + 32]
    mov rbx, 0x8000000000000000
    CHECK rax, rbx
    movzx eax, word [rdi + 40]
    CHECK rax, 0x3fff
    pxor xmm3, xmm3
    mov eax, 3
    xor edx, edx
    xrstor [rdi]
    movq rax, xmm3
    mov rbx, 0x1122334455667788
    CHECK rax, rbx
    mov qword [rdi + 512], 1 ; SSE in its initial state
    mov eax, 3
    xrstor [rdi]
    movq rax, xmm3
    CHECK rax, 0
    TRY .xrstor
    mov qword [rdi + 512], 1 << 8
    mov eax, 3
    xrstor [rdi]
.xrstor:
    EXPECT 13, 0
.no_xsave:
    mov rdi, 0x600000
    mov rax, 0x1122334455667788
    movq xmm5, rax
    fxsave [rdi]
    pxor xmm5, xmm5
    fxrstor [rdi]
    movq rax, xmm5
    mov rbx, 0x1122334455667788
    CHECK rax, rbx
; CR0.PG cannot be cleared here, CR4.PAE neither, unknown bits fault
    UNLESS_QEMU .cr0_end ; it lets all that pass
    TRY .pg
    mov rax, cr0
    btr rax, 31
    mov cr0, rax
.pg:
    EXPECT 13, 0
    TRY .pae
    mov rax, cr4
    btr rax, 5
    mov cr4, rax
.pae:
    EXPECT 13, 0
    TRY .cr4
    mov rax, cr4
    bts rax, 31
    mov cr4, rax
.cr4:
    EXPECT 13, 0
    TRY .cr0
    mov rax, cr0
    bts rax, 32
    mov cr0, rax
.cr0:
    EXPECT 13, 0
.cr0_end:
; PCID: two spaces, each keeps its translation; INVPCID
    mov eax, 1
    cpuid
    bt ecx, 17
    jnc .end
    mov rdi, TESTVA
    mov qword [PTX], 0x600003
    mov dword [0x600000], 0x11111111
    mov dword [0x601000], 0x22222222
    mov rax, cr4
    bts rax, 17
    mov cr4, rax
    mov ebx, [rdi]                ; PCID 0 has it
    mov qword [PTX], 0x601003
    mov eax, PML4 + 1
    mov cr3, rax
    mov ebx, [rdi]
    CHECK rbx, 0x22222222
    mov eax, PML4
    bts rax, 63
    mov cr3, rax                  ; nothing flushed
    mov ebx, [rdi]
    CHECK rbx, 0x11111111
    mov qword [pcid], 0
    mov [pcid + 8], rdi
    xor eax, eax
    invpcid rax, [pcid]           ; address in PCID 0
    mov ebx, [rdi]
    CHECK rbx, 0x22222222
    mov qword [PTX], 0x600003
    mov qword [pcid], 1
    mov eax, 1
    invpcid rax, [pcid]           ; PCID 1 only
    mov ebx, [rdi]
    CHECK rbx, 0x22222222
    mov eax, PML4 + 1
    bts rax, 63
    mov cr3, rax
    mov ebx, [rdi]
    CHECK rbx, 0x11111111
    mov eax, PML4                 ; flushes PCID 0
    mov cr3, rax
    mov ebx, [rdi]
    CHECK rbx, 0x11111111
    TRY .invpcid
    mov eax, 4
    invpcid rax, [pcid]
.invpcid:
    EXPECT 13, 0
.end:
    PASS

failed:
    CHECK r11, rcx

kernel:
    jmp [next_step]
kernel_compat:
    ud2
sysenter_kernel:
    jmp [next_step]

gate_proc:
    mov [gate_sp], rsp
    mov ax, ss
    movzx eax, ax
    mov [gate_ss], rax
    o64 retf

bits 32
compat:
    mov ax, 0x6b
    mov ds, ax
    mov esp, 0x44444440
    sub esp, 4
    mov [compat_esp], esp
    xor ebx, ebx
    mov ebx, 0x12345678
    ud2
bits 64

align 8
next_step: dq 0
compat_esp: dq 0
gate_pointer: dd 0
    dw SEL(10) + 3
align 8
gate_sp: dq 0
gate_ss: dq 0
pcid: dq 0, 0
