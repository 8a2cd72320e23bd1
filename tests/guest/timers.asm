; SPDX-License-Identifier: GPL-2.0-or-later
; Timers: rates of PIT, HPET and local APIC against the ACPI timer, and the interrupts of PIT and RTC (by the PIC), HPET, APIC (three modes).
%define LONG
%include "guest.inc"

APIC equ TESTVA            ; local APIC
HPET equ TESTVA + 0x1000
PM_TIMER equ 0x608         ; 3579545 Hz
PM_20MS equ 71591
PM_1MS equ 3580
TRIES equ 20               ; the host may look away while two clocks are read
AWAY equ 60                ; on a host that always does interrupts cannot be counted
VEC_PIC equ 0x20           ; 16 of the PICs
VEC_APIC equ 0x40
COUNT equ 8

%macro APICW 2
    mov dword [abs APIC + %1], %2
%endmacro
; Interrupts for %1 PM timer ticks
%macro LISTEN 1
    mov edi, %1
    call listen
%endmacro
; Until an interrupt of vector %1 comes, at most 100 times 20 ms; then another 20 ms
%macro AWAIT 1
    LISTEN 0
    mov r9d, 100
%%more:
    call listen_on
    dec r9d
    jz %%end
    cmp qword [count + (%1) * 8], 0
    je %%more
    call listen_on
%%end:
%endmacro
; BETWEEN value, low, high: jump to %4 if not
%macro BETWEEN 4
    mov rax, %1
    cmp rax, %2
    jb %4
    cmp rax, %3
    ja %4
%endmacro
; RETRY label: again, up to TRIES times, then fail
%macro RETRY 1
    inc qword [tries]
    cmp qword [tries], TRIES
    jb %1
    mov rax, [got]
    CHECK rax, -1
%endmacro
; The same for interrupts of 20 ms; they do not count if the host was away in between
%macro RETRY_COUNT 1
    cmp qword [gap], PM_1MS
    jb %%there
    inc qword [away]
    cmp qword [away], AWAY
    jb %1
    jmp %%end
%%there:
    RETRY %1
%%end:
%endmacro
%macro START 0
    mov qword [tries], 0
    mov qword [away], 0
%endmacro

main64:
    SAY "timers"
    mov rax, 0xfee00000 + 0x1b
    mov [PTX], rax
    mov rax, 0xfed00000 + 0x1b
    mov [PTX + 8], rax
    mov rax, cr3
    mov cr3, rax
    mov qword [hook], irq_hook
    call init_pics

; the ACPI timer runs, in 24 or 32 bits
    call pm
    mov ebx, eax
.runs:
    call pm
    cmp eax, ebx
    je .runs

; HPET's main counter: its period is told, in femtoseconds
    mov eax, [abs HPET + 4]
    mov [period], rax
    test eax, eax
    jz .bad_period
    cmp eax, 100000000
    jbe .period_good
.bad_period:
    CHECK rax, 1
.period_good:
    mov qword [abs HPET + 0x10], 1
    START
.hpet_rate:
    call pm
    mov r8d, eax
    mov r12, [abs HPET + 0xf0]
    mov edi, PM_20MS
    call wait_pm
    mov r13, [abs HPET + 0xf0]
    call pm_since_r8
    sub r13, r12
    mov rax, r13
    mul qword [period]                   ; femtoseconds
    mov rcx, 279365114                   ; of a PM tick
    div rcx
    call ratio                           ; of PM ticks, in per mille
    BETWEEN [got], 980, 1020, .hpet_again
    jmp .pit
.hpet_again:
    RETRY .hpet_rate

; PIT channel 2: a third of the PM timer's rate
.pit:
    in al, 0x61
    and al, 0xfc
    or al, 1
    out 0x61, al
    mov al, 0xb4                         ; rate generator
    out 0x43, al
    mov al, 0
    out 0x42, al
    out 0x42, al
    START
.pit_rate:
    call pm
    mov r8d, eax
    call pit2
    mov r12d, eax
    mov edi, PM_20MS
    call wait_pm
    call pit2
    mov r13d, eax
    call pm_since_r8
    sub r12d, r13d                       ; it counts down
    movzx eax, r12w
    imul eax, 3
    call ratio
    BETWEEN [got], 980, 1020, .pit_again
    jmp .tsc
.pit_again:
    RETRY .pit_rate

; TSC: goes on steadily, whatever its rate
.tsc:
    START
.tsc_rate:
    call tsc_20ms
    mov r14, rax
    call tsc_20ms
    xor edx, edx
    imul rax, 1000
    div r14
    mov [got], rax
    BETWEEN [got], 950, 1050, .tsc_again
    jmp .lapic
.tsc_again:
    RETRY .tsc_rate

; APIC timer, divided by 1 and by 16
.lapic:
    APICW 0xf0, 0x1ff
    APICW 0x80, 0
    APICW 0x320, 0x10000 + VEC_APIC
    START
.lapic_rate:
    APICW 0x3e0, 0xb
    call apic_20ms
    mov r14, rax
    APICW 0x3e0, 3
    call apic_20ms
    imul rax, 16000
    xor edx, edx
    div r14
    mov [got], rax
    BETWEEN [got], 950, 1050, .lapic_again
    jmp .oneshot
.lapic_again:
    RETRY .lapic_rate
; one shot: one interrupt, and the count stays 0
.oneshot:
    mov rax, r14
    xor edx, edx
    mov ecx, 10
    div rcx
    mov [ticks_2ms], rax                 ; undivided
    APICW 0x3e0, 0xb
    APICW 0x320, VEC_APIC
    mov [abs APIC + 0x380], eax
    AWAIT VEC_APIC
    CHECK [count + VEC_APIC * 8], 1
    mov eax, [abs APIC + 0x390]
    CHECK rax, 0
; periodic: ten in 20 ms
    START
.periodic:
    APICW 0x320, 0x20000 + VEC_APIC
    mov rax, [ticks_2ms]
    mov [abs APIC + 0x380], eax
    LISTEN PM_20MS
    APICW 0x380, 0
    mov rax, [count + VEC_APIC * 8]
    mov [got], rax
    BETWEEN [got], 7, 12, .periodic_again
    jmp .masked
.periodic_again:
    RETRY_COUNT .periodic
; a masked timer counts, but does not interrupt
.masked:
    APICW 0x320, 0x10000 + VEC_APIC
    sti                                  ; the last one
    nop
    nop
    cli
    mov rax, [ticks_2ms]
    mov [abs APIC + 0x380], eax
    LISTEN PM_20MS
    CHECK [count + VEC_APIC * 8], 0
; TSC deadline
    mov eax, 1
    cpuid
    bt ecx, 24
    jnc .hpet
    APICW 0x320, 0x40000 + VEC_APIC
    mfence
    call tsc_20ms                        ; nothing is armed
    CHECK [count + VEC_APIC * 8], 0
    shl rax, 1
    call deadline                        ; in 40 ms
    mov ecx, 0x6e0
    rdmsr
    or eax, edx
    setnz bl
    movzx ebx, bl
    CHECK rbx, 1
    AWAIT VEC_APIC
    CHECK [count + VEC_APIC * 8], 1
    mov ecx, 0x6e0
    rdmsr
    or eax, edx
    mov eax, eax
    CHECK rax, 0                         ; disarmed
    xor eax, eax
    call deadline                        ; a time gone by: at once
    AWAIT VEC_APIC
    CHECK [count + VEC_APIC * 8], 1
    call tsc_20ms
    imul rax, 25
    call deadline
    xor eax, eax
    xor edx, edx
    mov ecx, 0x6e0
    wrmsr                                ; 0 disarms
    LISTEN PM_20MS * 40
    CHECK [count + VEC_APIC * 8], 0
    APICW 0x320, 0x10000 + VEC_APIC

; HPET comparator 0 by legacy replacement: IRQ 0; one shot, periodic
.hpet:
    mov qword [abs HPET + 0x10], 0
    mov qword [abs HPET + 0xf0], 0
    mov rax, 2000000000000               ; 2 ms
    xor edx, edx
    div qword [period]
    mov [hpet_2ms], rax
    mov qword [abs HPET + 0x100], 4      ; enabled, one shot
    mov [abs HPET + 0x108], rax
    mov al, 0xfe
    out 0x21, al
    mov qword [abs HPET + 0x10], 3
    AWAIT VEC_PIC
    BETWEEN [count + VEC_PIC * 8], 1, 2, .pit_bad ; one of the PIT's may have waited
    mov rax, [abs HPET + 0x100]
    test al, 0x10                        ; can it be periodic?
    jz .hpet_off
    START
.hpet_periodic:
    mov qword [abs HPET + 0x10], 0
    mov qword [abs HPET + 0xf0], 0
    mov rax, [hpet_2ms]
    mov qword [abs HPET + 0x100], 0x4c   ; set the accumulator
    mov [abs HPET + 0x108], rax
    mov [abs HPET + 0x108], rax
    mov qword [abs HPET + 0x10], 3
    LISTEN PM_20MS
    mov rax, [count + VEC_PIC * 8]
    mov [got], rax
    BETWEEN [got], 7, 12, .hpet_again2
    jmp .hpet_off
.hpet_again2:
    RETRY_COUNT .hpet_periodic
.hpet_off:
    mov qword [abs HPET + 0x100], 0
    mov qword [abs HPET + 0x10], 1

; PIT channel 0 by the PIC: periodic at 500 Hz, then one shot
    START
.pit_irq:
    mov al, 0x34
    out 0x43, al
    mov al, 2386 & 0xff
    out 0x40, al
    mov al, 2386 >> 8
    out 0x40, al
    LISTEN PM_20MS
    mov rax, [count + VEC_PIC * 8]
    mov [got], rax
    BETWEEN [got], 7, 13, .pit_irq_again
    jmp .pit_oneshot
.pit_irq_again:
    RETRY_COUNT .pit_irq
.pit_oneshot:
    mov al, 0x30
    out 0x43, al
    mov al, 2386 & 0xff
    out 0x40, al
    mov al, 2386 >> 8
    out 0x40, al
    AWAIT VEC_PIC
    BETWEEN [count + VEC_PIC * 8], 1, 2, .pit_bad ; one of the old rate may have waited
    jmp .pit_masked
.pit_bad:
    CHECK rax, 1
.pit_masked:
    mov al, 0xff
    out 0x21, al

; RTC: 1024 Hz on IRQ 8; it waits for register C to be read
    mov al, 0xfb
    out 0x21, al
    mov al, 0xfe
    out 0xa1, al
    mov al, 0x0a
    mov ah, 0x26
    call cmos_write
    mov al, 0x0b
    mov ah, 0x42
    call cmos_write
    mov al, 0x0c
    call cmos_read
    START
.rtc:
    mov qword [read_c], 1
    LISTEN PM_20MS
    mov rax, [count + (VEC_PIC + 8) * 8]
    mov [got], rax
    BETWEEN [got], 14, 26, .rtc_again
    jmp .rtc_stuck
.rtc_again:
    RETRY_COUNT .rtc
.rtc_stuck:
    mov qword [read_c], 0
    LISTEN PM_20MS
    BETWEEN [count + (VEC_PIC + 8) * 8], 0, 1, .rtc_bad
    mov al, 0x0c
    call cmos_read
    and eax, 0xc0
    CHECK rax, 0xc0                      ; IRQF, PF
    jmp .end
.rtc_bad:
    CHECK rax, 1
.end:
    PASS

pm: ; eax: 24 bits
    push rdx
    mov edx, PM_TIMER
    in eax, dx
    and eax, 0xffffff
    pop rdx
    ret
pm_since_r8: ; rbx: ticks since then
    call pm
    mov ebx, eax
    sub ebx, r8d
    and ebx, 0xffffff
    ret
ratio: ; rax of rbx in per mille
    imul rax, 1000
    xor edx, edx
    div rbx
    mov [got], rax
    ret
wait_pm: ; edi ticks; [gap]: most that passed from one reading to the next
    push rbx
    push rcx
    push rdx
    call pm
    mov ebx, eax
    mov ecx, eax
.wait:
    pause
    call pm
    mov edx, eax
    sub edx, ecx
    and edx, 0xffffff
    mov ecx, eax
    cmp [gap], rdx
    jae .step
    mov [gap], rdx
.step:
    sub eax, ebx
    and eax, 0xffffff
    cmp eax, edi
    jb .wait
    pop rdx
    pop rcx
    pop rbx
    ret
pit2: ; eax: channel 2's count, latched
    mov al, 0x80
    out 0x43, al
    in al, 0x42
    mov ah, al
    in al, 0x42
    xchg al, ah
    movzx eax, ax
    ret
tsc: ; rax
    rdtsc
    shl rdx, 32
    or rax, rdx
    ret
tsc_20ms: ; rax: TSC ticks, scaled to 20 ms exactly
    call pm
    mov r8d, eax
    call tsc
    mov r12, rax
    mov edi, PM_20MS
    call wait_pm
    call tsc
    sub rax, r12
    mov r12, rax
    call pm_since_r8
    mov rax, r12
    jmp to_20ms
apic_20ms:
    APICW 0x380, -1
    call pm
    mov r8d, eax
    mov edi, PM_20MS
    call wait_pm
    mov r12d, [abs APIC + 0x390]
    call pm_since_r8
    not r12d
    mov eax, r12d
to_20ms:
    mov ecx, PM_20MS
    mul rcx
    div rbx
    ret
deadline: ; rax from now on (0: the past)
    mov rbx, rax
    call tsc
    lea rax, [rax + rbx]
    test rbx, rbx
    jnz .set
    shr rax, 1
.set:
    mov qword [count + VEC_APIC * 8], 0
    mov rdx, rax
    shr rdx, 32
    mov ecx, 0x6e0
    wrmsr
    ret

; Interrupts are counted anew, for edi PM ticks
listen:
    push rdi
    mov rdi, count
    mov ecx, 256
    xor eax, eax
    cld
    rep stosq
    pop rdi
    mov qword [gap], 0
    jmp listen_for
listen_on:
    mov edi, PM_20MS
listen_for:
    sti
    call wait_pm
    cli
    ret

cmos_write: ; al: where, ah: what
    out 0x70, al
    mov al, ah
    out 0x71, al
    ret
cmos_read:
    out 0x70, al
    in al, 0x71
    movzx eax, al
    ret

init_pics:
    mov al, 0x11
    out 0x20, al
    out 0xa0, al
    mov al, VEC_PIC
    out 0x21, al
    mov al, VEC_PIC + 8
    out 0xa1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xa1, al
    mov al, 1
    out 0x21, al
    out 0xa1, al
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    ret

irq_hook:
    movzx eax, word [rsp + 16]
    cmp eax, VEC_PIC
    jb .exception
    inc qword [count + rax * 8]
    cmp eax, VEC_APIC
    jae .apic
    push rax
    cmp eax, VEC_PIC + 8
    jb .master
    cmp qword [read_c], 0
    je .no_c
    mov al, 0x0c
    call cmos_read
.no_c:
    mov al, 0x20
    out 0xa0, al
.master:
    mov al, 0x20
    out 0x20, al
    pop rax
    jmp .done
.apic:
    APICW 0xb0, 0
.done:
    mov eax, 1
    ret
.exception:
    xor eax, eax
    ret

align 8
tries: dq 0
away: dq 0
gap: dq 0
got: dq 0
period: dq 0
hpet_2ms: dq 0
ticks_2ms: dq 0
read_c: dq 1
count: times 256 dq 0
