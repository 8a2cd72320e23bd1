; SPDX-License-Identifier: GPL-2.0-or-later
; Debug exceptions: single step, breakpoints on instructions, data and ports, RF, DR6 and DR7, INT3, INT1.
%define LONG
%include "guest.inc"

DATA equ 0x600000
DR6_CLEAR equ 0xffff0ff0

%macro SETDR 2
    mov rax, %2
    mov %1, rax
%endmacro
; HITS count, DR6, where the last one returned to
%macro HITS 3
    SETDR dr7, 0x400
    CHECK [exc_count], %1
    CHECK [exc_ip], %3
    UNLESS_QEMU %%end                    ; it keeps the last hit only
    mov rax, dr6
    mov rbx, %2
    CHECK rax, rbx
%%end:
    SETDR dr6, DR6_CLEAR
    mov qword [exc_count], 0
%endmacro
; WATCH address, DR7
%macro WATCH 2
    SETDR dr7, 0x400
    SETDR dr0, %1
    mov qword [exc_count], 0
    mov qword [exc_ip], 0
    SETDR dr7, %2
%endmacro
W1 equ 0x00010401
W2 equ 0x00050401
W4 equ 0x000d0401
W8 equ 0x00090401
RW1 equ 0x00030401
RW4 equ 0x000f0401
IO1 equ 0x00020401

main64:
    SAY "debug"
    mov qword [hook], db_hook
    SETDR dr6, DR6_CLEAR
    mov rbp, rsp
; single step: BS; MOV SS and POP SS hold it back
    call step_on
    nop
    nop
.s1:
    nop
    call step_off
    CHECK [exc_vector], 1
    mov rax, dr6
    mov rbx, 0xffff4ff0
    CHECK rax, rbx
    mov eax, 0x10
    UNLESS_QEMU .mov_ss
    call step_on
    mov eax, 0x10
.s2:
    mov ss, ax
.s3:
    nop
.s4:
    call step_off
    CHECK [last + 8], .s4                ; not .s3
    CHECK [last + 16], .s2
.mov_ss:
; INT n under TF: the handler is not stepped, and there is no trap behind INT itself
    mov rax, [idt + 0x80 * 16]
    call step_on
    int 0x80
.s5:
    nop
.s6:
    call step_off
    CHECK [last + 8], .s6
; a fault under TF: its own, then the step of what goes on
    call step_on
    ud2
.s7:
    nop
.s8:
    call step_off
    CHECK [last + 8], .s8
; REP: after each element, at the instruction itself
    mov edi, DATA
    mov ecx, 3
    call step_on
.s9:
    rep stosb
.s10:
    call step_off
    CHECK [last + 8], .s10
    CHECK [last + 16], .s9
    CHECK [last + 24], .s9
    SETDR dr6, DR6_CLEAR

; data: sizes and alignment
    WATCH DATA + 0x10, W4
    mov byte [DATA + 0xf], 1
    mov byte [DATA + 0x14], 1
    mov eax, [DATA + 0x10]               ; a read
    mov byte [DATA + 0x13], 1
.d1:
    nop
    HITS 1, 0xffff0ff1, .d1
    WATCH DATA + 0x10, W4
    mov dword [DATA + 0xd], 1            ; reaches into it
.d2:
    nop
    mov dword [DATA + 0xc], 1
    HITS 1, 0xffff0ff1, .d2
    WATCH DATA + 0x10, RW4
    mov al, [DATA + 0x12]
.d3:
    nop
    HITS 1, 0xffff0ff1, .d3
    WATCH DATA + 0x10, W8
    mov byte [DATA + 0x17], 0
.d4:
    HITS 1, 0xffff0ff1, .d4
    UNLESS_QEMU .d5_end
    WATCH DATA + 0x13, W2                ; the low bit does not count
    mov byte [DATA + 0x12], 0
.d5:
    HITS 1, 0xffff0ff1, .d5
.d5_end:
; by all sorts of instructions
%macro BY 2+
    WATCH DATA + 0x20, %1
    %2
%%at:
    HITS 1, 0xffff0ff1, %%at
%endmacro
    BY W1, inc byte [DATA + 0x20]
    BY W1, xchg [DATA + 0x20], al
    BY RW1, cmp al, [DATA + 0x20]
    UNLESS_QEMU .by_end                  ; it does not see all
    BY W4, movaps [DATA + 0x20], xmm0
    BY RW4, movdqu xmm0, [DATA + 0x18]
    BY W4, fst dword [DATA + 0x20]
    BY W1, lock or byte [DATA + 0x20], 1
    BY W1, lock cmpxchg [DATA + 0x20], al
    BY RW1, bt dword [DATA + 0x20], 3
    BY W1, fxsave [DATA]
.by_end:
    mov rsp, DATA + 0x28
    BY W8, push rax
    BY RW4, pop rax
    mov rsp, rbp
    mov edi, DATA + 0x20
    BY W1, stosb
    mov esi, DATA + 0x20
    BY RW1, lodsb
; REP: behind the element that hit
    mov edi, DATA + 0x1e
    mov ecx, 6
    WATCH DATA + 0x20, W1
.rep:
    rep stosb
    CHECK rcx, 0
    UNLESS_QEMU .rep_end                 ; it may notice it late
    HITS 1, 0xffff0ff1, .rep
    jmp .rep_next
.rep_end:
    SETDR dr7, 0x400
    SETDR dr6, DR6_CLEAR
.rep_next:
    UNLESS_QEMU .d6_end
; two at once, a disabled one, and DR6 keeps its bits
    SETDR dr1, DATA + 0x31
    WATCH DATA + 0x30, W1 | 0x00100008
    mov word [DATA + 0x30], 0
.d6:
    HITS 1, 0xffff0ff3, .d6
    WATCH DATA + 0x30, W1
    mov byte [DATA + 0x31], 0
    SETDR dr6, DR6_CLEAR | 4
    mov byte [DATA + 0x30], 0
.d7:
    HITS 1, 0xffff0ff5, .d7
.d6_end:
    SETDR dr6, DR6_CLEAR
; with single step: both bits
    WATCH DATA + 0x30, W1
    call step_on
    mov byte [DATA + 0x30], 0
    call step_off
    mov rax, dr6
    mov rbx, 0xffff4ff1
    CHECK rax, rbx
    SETDR dr6, DR6_CLEAR

; instructions: a fault, whose handler sets RF to go on
    SETDR dr7, 0x400
    SETDR dr1, .x1
    SETDR dr0, .x2
    mov qword [exc_count], 0
    mov qword [want_rf], 1
    SETDR dr7, 0x40a
    nop
.x1:
    nop
    nop
.x2:
    nop
    mov rax, [exc_flags]
    and eax, 0x10000
    CHECK rax, 0                         ; the handler sets it
    HITS 2, 0xffff0ff3, .x2
; without RF it would come again: the hook counts to three
    mov qword [want_rf], 0
    SETDR dr0, .x3
    SETDR dr7, 0x402
    nop
.x3:
    nop
    HITS 3, 0xffff0ff1, .x3
; a breakpoint on an instruction that faults: the fault's frame has RF
    mov qword [want_rf], 1
    SETDR dr0, .x4
    SETDR dr7, 0x402
    nop
.x4:
    ud2                                  ; the hook skips it
    UNLESS_QEMU .x4_end
    mov rax, [exc_flags]
    and eax, 0x10000
    CHECK rax, 0x10000
    HITS 2, 0xffff0ff1, .x4
.x4_end:
    SETDR dr7, 0x400
; a trap's frame has not
    int3
    mov rax, [exc_flags]
    and eax, 0x10000
    CHECK rax, 0
    mov qword [exc_count], 0
; on the target of a jump, in a loop
    SETDR dr0, .x5
    mov qword [exc_count], 0
    SETDR dr7, 0x402
    mov ecx, 5
.x5:
    loop .x5
    HITS 5, 0xffff0ff1, .x5

; general detect: any access to a debug register
    UNLESS_QEMU .gd_end
    SETDR dr7, 0x2400
.gd:
    mov rbx, dr0
    CHECK [exc_count], 1
    CHECK [exc_ip], .gd
    mov rax, dr7
    CHECK rax, 0x400                     ; it is off again
    HITS 1, 0xffff2ff0, .gd
.gd_end:

; ports, with CR4.DE
    mov rax, cr4
    or eax, 8
    mov cr4, rax
    WATCH 0x80, IO1
    out 0x80, al
.io1:
    nop
    in al, 0x81
    UNLESS_QEMU .io_end                  ; its place is another
    HITS 1, 0xffff0ff1, .io1
.io_end:
    SETDR dr7, 0x400
    SETDR dr6, DR6_CLEAR
; DR4 and DR5 are not there then, else they are DR6 and DR7
    mov qword [hook], 0
    TRY .dr4
    mov rax, dr4
.dr4:
    EXPECT 6, 0
    mov rax, cr4
    and eax, ~8
    mov cr4, rax
    mov rax, dr5
    CHECK rax, 0x400
    mov rax, dr4
    mov rbx, DR6_CLEAR
    CHECK rax, rbx
; high halves
    TRY .dr6_high
    mov rax, 1 << 32
    mov dr6, rax
.dr6_high:
    EXPECT 13, 0
    TRY .dr7_high
    mov rax, 1 << 32
    mov dr7, rax
.dr7_high:
    EXPECT 13, 0
    UNLESS_QEMU .fixed_end               ; it keeps what is written
    SETDR dr6, 0
    mov rax, dr6
    mov rbx, DR6_CLEAR
    CHECK rax, rbx
    SETDR dr6, DR6_CLEAR
.fixed_end:
; INT1 does not care for the gate's level, INT3 does; INT1 leaves DR6
    UNLESS_QEMU .int1_end
    TRY .int1
    USER .int1_user
.int1_user:
    db 0xf1
.int1_next:
.int1:
    EXPECT 1, 0
    CHECK [exc_ip], .int1_next
    CHECK [exc_cs], 0x53
    mov rax, dr6
    mov rbx, DR6_CLEAR
    CHECK rax, rbx
.int1_end:
    TRY .int3
    USER .int3_user
.int3_user:
    int3
.int3:
    CHECK [exc_vector], 13               ; error code: 3 * 8 + 2; QEMU 7.2 says * 16
    CHECK [exc_ip], .int3_user
    or byte [idt + 3 * 16 + 5], 0x60
    TRY .int3b
    USER .int3b_user
.int3b_user:
    int3
.int3b_next:
.int3b:
    EXPECT 3, 0
    CHECK [exc_ip], .int3b_next
; stepping a program of level 3
    UNLESS_QEMU .end                     ; it counts more
    mov qword [hook], db_hook
    mov qword [exc_count], 0
    TRY .user_step
    push qword 0x33
    push qword STACK3
    push qword 0x102
    push qword 0x53
    push qword .user
    iretq
.user:
    nop
    nop
    push rax
    mov qword [hook], 0
.user_last:
    nop
    ud2
.user_step:
    CHECK [exc_count], 4
    CHECK [exc_vector], 1
    CHECK [exc_ip], .user_last
    SETDR dr6, DR6_CLEAR
; a breakpoint of the kernel's does not miss the user's access
    mov qword [hook], 0
    WATCH DATA + 0x40, W1
    TRY .user_watch
    USER .user2
.user2:
    mov byte [DATA + 0x40], 1
.user2_next:
    ud2
.user_watch:
    EXPECT 1, 0
    CHECK [exc_ip], .user2_next
.end:
    PASS

step_on:
    pushfq
    or qword [rsp], 0x100
    popfq
    ret
step_off: ; the steps up to here are three behind the call
    pushfq
    and qword [rsp], ~0x100
    popfq
    sub qword [last_at], 5 * 8
    push rsi
    push rcx
    push rax
    mov rsi, [last_at]
    mov ecx, 1
.copy:
    mov rax, [steps + rsi]
    mov [last + rcx * 8], rax
    sub rsi, 8
    inc ecx
    cmp ecx, 5
    jb .copy
    mov qword [last_at], 0x100
    pop rax
    pop rcx
    pop rsi
    ret

; notes where each #DB came; skips UD2; a breakpoint without want_rf comes three times
db_hook:
    push rbx
    mov rax, [exc_vector]
    cmp eax, 6
    je .ud
    cmp eax, 1
    jne .back
    mov rbx, [last_at]
    mov rax, [exc_ip]
    mov [steps + rbx], rax
    add qword [last_at], 8
    cmp qword [want_rf], 0
    jne .rf
    cmp qword [exc_count], 3
    jb .back
.rf:
    or dword [rsp + 16 + 34], 0x10000
    jmp .back
.ud:
    add qword [rsp + 16 + 18], 2
.back:
    pop rbx
    mov eax, 1
    ret

align 8
want_rf: dq 1
last: times 8 dq 0 ; last + 8: the last step before step_off, + 16: the one before it
last_at: dq 0x100
steps: times 256 dq 0
