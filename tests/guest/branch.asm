; SPDX-License-Identifier: GPL-2.0-or-later
; Branches to addresses that are not canonical fault where they are and change nothing; arithmetic flags in fault frames.
%define LONG
%include "guest.inc"

BAD equ 0x800000000000
SEL64 equ 0x38

; FAULTS label of the instruction, label behind; the stack pointer is as before (in rbp)
%macro FAULTS 1
    EXPECT 13, 0
    CHECK [exc_ip], %1
    CHECK [exc_sp], rbp
%endmacro

; FLAGS expected: of the frame of the #PF at %2
%macro FLAGS 2
    CHECK [exc_vector], 14
    CHECK [exc_ip], %2
    mov rax, [exc_flags]
    and eax, 0x8d5
    CHECK rax, %1
%endmacro

main64:
    SAY "branch"
    mov rbx, BAD
    mov rbp, rsp
    mov ecx, 3
.again: ; the first time nothing is translated yet
    push rcx
    mov rbp, rsp
    TRY .jmp_reg_done
.jmp_reg:
    jmp rbx
.jmp_reg_done:
    FAULTS .jmp_reg
    TRY .jmp_mem_done
    mov [target], rbx
.jmp_mem:
    jmp [target]
.jmp_mem_done:
    FAULTS .jmp_mem
    TRY .call_done
.call:
    call rbx
.call_done:
    FAULTS .call
    TRY .call_mem_done
.call_mem:
    call [target]
.call_mem_done:
    FAULTS .call_mem
    push rbx
    mov rbp, rsp
    TRY .ret_done
.ret:
    ret
.ret_done:
    FAULTS .ret
    TRY .ret_n_done
.ret_n:
    ret 0x128
.ret_n_done:
    FAULTS .ret_n
    pop rax
    push qword SEL64
    push rbx
    mov rbp, rsp
    TRY .retf_done
.retf:
    o64 retf
.retf_done:
    FAULTS .retf
    add rsp, 16
    push qword 0x10
    push rsp
    push qword 2
    push qword SEL64
    push rbx
    mov rbp, rsp
    TRY .iret_done
.iret:
    iretq
.iret_done:
    FAULTS .iret
    mov qword [rsp + 8], 0x53 ; to level 3
    mov qword [rsp + 32], 0x33
    TRY .iret3_done
.iret3:
    iretq
.iret3_done:
    FAULTS .iret3
    add rsp, 40
    mov rbp, rsp
    mov rcx, rbx
    TRY .sysret_done
.sysret:
    o64 sysret
.sysret_done:
    FAULTS .sysret
    CHECK [exc_cs], SEL64
; single step does not change it
    TRY .step_done
    pushf
    or dword [rsp], 0x100
    mov qword [hook], step_hook
    popf
.step:
    jmp rbx
.step_done:
    mov qword [hook], 0
    FAULTS .step
; what is canonical but not there is a fault of the target
    TRY .missing_done
    mov rax, 0xffff800000000000
    jmp rax
.missing_done:
    EXPECT 14, 0x10
    mov rax, 0xffff800000000000
    CHECK [exc_ip], rax
    pop rcx
    dec ecx
    jnz .again

; flags that the code behind the fault overwrites
    mov rdi, 0xffff800000000000
    mov ecx, 3
.flags:
    push rcx
    TRY .add_done
    mov al, 0x7f
    mov ebx, 1
    add al, bl
.add:
    mov rcx, [rdi]
    xor eax, eax
.add_done:
    FLAGS 0x890, .add
    TRY .sub_done
    mov eax, 3
    sub eax, 5
.sub:
    mov rcx, [rdi]
    test eax, eax
.sub_done:
    FLAGS 0x091, .sub
    TRY .lost_done ; the result is gone when it faults
    mov eax, 3
    cmp eax, 5
    mov eax, 9
.lost:
    mov rcx, [rdi]
    test eax, eax
.lost_done:
    FLAGS 0x091, .lost
    TRY .inc_done ; CF is older
    mov eax, 0xffffffff
    stc
    inc eax
.inc:
    mov [rdi], rcx
    or eax, eax
.inc_done:
    FLAGS 0x055, .inc
    TRY .shift_done
    mov eax, 0xc0000000
    shl eax, 1
.shift:
    add rcx, [rdi]
.shift_done:
    and qword [exc_flags], ~0x10 ; AF is undefined
    FLAGS 0x085, .shift
    TRY .push_done ; between pushes
    mov rdx, rsp
    mov rax, -1
    push rax
    add rax, 1
    push rax
.push:
    mov [rdi], eax
    xor ecx, ecx
.push_done:
    FLAGS 0x055, .push
    TRY .memory_done
    mov dword [target], 0x80000000
    add dword [target], 0x80000000
.memory:
    mov [rdi], eax
    xor ecx, ecx
.memory_done:
    FLAGS 0x845, .memory
    TRY .div_done
    xor ecx, ecx
    mov eax, 5
    cmp eax, 6
    mov edx, ecx
.div:
    div ecx
    xor ecx, ecx
.div_done:
    CHECK [exc_vector], 0
    mov rax, [exc_flags]
    and eax, 0x8d5
    CHECK rax, 0x095
    pop rcx
    dec ecx
    jnz .flags
    PASS

; the step behind POPF; the handler's return has TF again
step_hook:
    mov eax, 1
    cmp qword [exc_vector], 1
    je .step
    xor eax, eax
.step:
    ret

align 8
target: dq 0
