; SPDX-License-Identifier: GPL-2.0-or-later
; Interrupt controllers: I/O APIC edge and level, masks, destinations; local APIC IPIs, errors, software disable, NMI; x2APIC; PIC modes.
%define LONG
%include "guest.inc"

APIC equ TESTVA
IOAPIC equ TESTVA + 0x1000
HPET equ TESTVA + 0x2000
V equ 0x40                 ; what the I/O APIC sends
IPI equ 0x50

%macro APICW 2
    mov dword [abs APIC + %1], %2
%endmacro
%macro APIC_IS 2
    mov eax, [abs APIC + %1]
    CHECK rax, %2
%endmacro
; REDIRECT high, low: the entry of the HPET's pin
%macro REDIRECT 2
    mov edx, %1
    mov eax, %2
    call redirect
%endmacro
; Interrupts in, and how many came of a vector since the last time
%macro TOOK 2
    call let_in
    CHECK [count + (%1) * 8], %2
    mov qword [count + (%1) * 8], 0
%endmacro
%macro X2W 2               ; MSR, value
    mov ecx, 0x800 + (%1)
    mov rax, %2
    mov rdx, rax
    shr rdx, 32
    wrmsr
%endmacro
%macro X2_FAULTS 2
    TRY %%next
    X2W %1, %2
%%next:
    EXPECT 13, 0
%endmacro
%macro X2_IS 2
    mov ecx, 0x800 + (%1)
    rdmsr
    mov eax, eax
    CHECK rax, %2
%endmacro

main64:
    SAY "apic"
    mov rax, 0xfee00000 + 0x1b
    mov [PTX], rax
    mov rax, 0xfec00000 + 0x1b
    mov [PTX + 8], rax
    mov rax, 0xfed00000 + 0x1b
    mov [PTX + 16], rax
    mov rax, cr3
    mov cr3, rax
    mov qword [hook], irq_hook
    APICW 0xf0, 0x1ff
    APICW 0x80, 0
    APICW 0xe0, -1                       ; flat
    APICW 0xd0, 1 << 24
    APICW 0x350, 0x10000                 ; no PIC
    mov eax, [abs APIC + 0x30]
    and eax, 0xf0
    CHECK rax, 0x10
    ; the highest pin that HPET's comparator 0 can have
    mov eax, [abs HPET + 0x104]
    bsr eax, eax
    mov [pin], rax
    mov qword [abs HPET + 0x10], 0

; edge: one for each rise; while masked it is lost
    REDIRECT 0, V
    call hpet_edge
    TOOK V, 1
    call hpet_edge
    call hpet_edge2                      ; waits in IRR: they are one
    TOOK V, 1
    REDIRECT 0, V + 0x10000
    call hpet_edge
    TOOK V, 0
    REDIRECT 0, V
    TOOK V, 0
; logical and physical destinations; none
    REDIRECT 0x01000000, V + 0x800       ; logical
    call hpet_edge
    TOOK V, 1
    REDIRECT 0x02000000, V + 0x800
    call hpet_edge
    TOOK V, 0
    REDIRECT 0xff000000, V               ; all
    call hpet_edge
    TOOK V, 1
    REDIRECT 0x01000000, V + 0x900       ; lowest priority
    call hpet_edge
    TOOK V, 1
    APICW 0xe0, 0x0fffffff               ; clusters: cluster 2, member 4
    APICW 0xd0, 0x24 << 24
    REDIRECT 0x24000000, V + 0x800
    call hpet_edge
    TOOK V, 1
    REDIRECT 0x14000000, V + 0x800
    call hpet_edge
    TOOK V, 0
    APICW 0xe0, -1
    APICW 0xd0, 1 << 24
; as NMI: not held back by IF
    REDIRECT 0, 0x400
    call hpet_edge
    call settle
    UNLESS_QEMU .nmi_end                 ; it may send two
    CHECK [count + 2 * 8], 1
.nmi_end:
    mov qword [count + 2 * 8], 0
; level: remote IRR until EOI, and again as long as the line is up
    REDIRECT 0, V + 0x8000
    call hpet_level
    mov qword [keep], 1
    call let_in
    CHECK [count + V * 8], 1
    call entry_low
    and eax, 0xf000
    CHECK rax, 0xc000                    ; level, remote IRR
    mov eax, [abs APIC + 0x100 + 0x10 * (V / 32)]
    CHECK rax, 1                         ; ISR
    mov eax, [abs APIC + 0x180 + 0x10 * (V / 32)]
    CHECK rax, 1                         ; TMR
    call let_in
    CHECK [count + V * 8], 1             ; not before EOI
    APICW 0xb0, 0
    call let_in
    CHECK [count + V * 8], 2             ; still up
    mov dword [abs HPET + 0x20], 1       ; now down
    APICW 0xb0, 0
    call let_in
    CHECK [count + V * 8], 2
    call entry_low
    and eax, 0xf000
    CHECK rax, 0x8000
    mov qword [keep], 0
    mov qword [count + V * 8], 0
; masked while up, unmasked: it comes
    REDIRECT 0, V + 0x18000
    call hpet_level
    TOOK V, 0
    mov qword [keep], 1
    REDIRECT 0, V + 0x8000
    TOOK V, 1
    mov dword [abs HPET + 0x20], 1
    APICW 0xb0, 0
    mov qword [keep], 0
    TOOK V, 0
    REDIRECT 0, 0x10000
    mov qword [abs HPET + 0x10], 0
    mov qword [abs HPET + 0x100], 0

; IPIs: shorthands and destinations
%macro SEND 2
    APICW 0x310, %1
    APICW 0x300, %2
%endmacro
    SEND 0, 0x00044000 + IPI
    TOOK IPI, 1
    SEND 0, 0x00084000 + IPI
    TOOK IPI, 1
    SEND 0, 0x000c4000 + IPI             ; all but self
    TOOK IPI, 0
    SEND 0, 0x00004000 + IPI
    TOOK IPI, 1
    SEND 0x05000000, 0x00004000 + IPI    ; nobody
    TOOK IPI, 0
    SEND 0xff000000, 0x00004000 + IPI
    TOOK IPI, 1
    SEND 0x03000000, 0x00004800 + IPI    ; logical
    TOOK IPI, 1
    SEND 0x02000000, 0x00004800 + IPI
    TOOK IPI, 0
    SEND 0, 0x00004400                   ; NMI
    call settle
    CHECK [count + 2 * 8], 1
    mov eax, [abs APIC + 0x300]
    and eax, 0x1000
    CHECK rax, 0                         ; delivered
; nested: a higher class interrupts, PPR tells
    mov qword [keep], 1
    SEND 0, 0x00044000 + IPI
    TOOK IPI, 1
    APIC_IS 0xa0, IPI & 0xf0
    SEND 0, 0x00044001 + IPI             ; the same class waits
    TOOK IPI + 1, 0
    SEND 0, 0x00044010 + IPI             ; the next does not
    TOOK IPI + 0x10, 1
    APIC_IS 0xa0, (IPI + 0x10) & 0xf0
    APICW 0xb0, 0
    APIC_IS 0xa0, IPI & 0xf0
    APICW 0xb0, 0
    mov qword [keep], 0
    TOOK IPI + 1, 1
    APIC_IS 0xa0, 0
; TPR
    APICW 0x80, 0x60
    SEND 0, 0x00044000 + IPI
    TOOK IPI, 0
    mov rax, cr8
    CHECK rax, 6
    APICW 0x80, 0
    TOOK IPI, 1
    UNLESS_QEMU .esr_end                 ; it delivers them
; an illegal vector: error register, which is read after a write
    APICW 0x370, 0x10000
    APICW 0x280, 0
    SEND 0, 0x00044005
    APICW 0x280, 0
    mov eax, [abs APIC + 0x280]
    test al, 0x60
    setnz bl
    movzx ebx, bl
    CHECK rbx, 1
.esr_end:
; switched off by software: LVTs are masked, IPIs not taken
    APICW 0x320, V
    APICW 0xf0, 0xff
    UNLESS_QEMU .off_end
    mov eax, [abs APIC + 0x320]
    CHECK rax, 0x10000 + V
    APICW 0x320, V                       ; and stay so
    APIC_IS 0x320, 0x10000 + V
    SEND 0, 0x00044000 + IPI
    TOOK IPI, 0
.off_end:
    APICW 0xf0, 0x1ff
    TOOK IPI, 0

; PIC: IRQ 0 through LINT0; IRR, ISR, specific EOI
    call pic
; x2APIC
    mov eax, 1
    cpuid
    bt ecx, 21
    jnc .end
    APICW 0xd0, 0
    TRY .too_soon
    mov ecx, 0x802
    rdmsr
.too_soon:
    EXPECT 13, 0
    mov ecx, 0x1b
    rdmsr
    mov [base], eax
    mov [base + 4], edx
    or eax, 0xc00
    wrmsr
    X2_IS 0x02, 0                        ; ID
    X2_IS 0x0d, 1                        ; LDR is made of it
    X2_IS 0x0f, 0x1ff
    X2W 0x08, 0
    X2_FAULTS 0x02, 0                    ; read only
    X2_FAULTS 0x0d, 0
    X2_FAULTS 0x0e, 0                    ; no DFR
    X2_FAULTS 0x31, 0                    ; ICR is one
    X2_FAULTS 0x0b, 1                    ; EOI takes 0 only
    X2_FAULTS 0x08, 0x100
    X2_FAULTS 0x08, 1 << 32
    mov qword [x2], 1
    X2W 0x3f, IPI                        ; self IPI
    TOOK IPI, 1
    X2W 0x30, IPI                        ; physical 0
    TOOK IPI, 1
    X2W 0x30, (5 << 32) + IPI
    TOOK IPI, 0
    X2W 0x30, (1 << 32) + 0x800 + IPI    ; logical, cluster 0
    TOOK IPI, 1
    X2W 0x30, (0xffffffff << 32) + IPI
    TOOK IPI, 1
    X2W 0x30, 0x40000 + IPI
    TOOK IPI, 1
    mov ecx, 0x83f
    TRY .self_read
    rdmsr
.self_read:
    EXPECT 13, 0
; the timer's registers are there too
    X2W 0x32, V
    X2W 0x3e, 0xb
    X2W 0x38, 1000
    call let_in_long
    CHECK [count + V * 8], 1
    mov qword [count + V * 8], 0
; an interrupt from the I/O APIC is ended by the MSR
    X2W 0x32, 0x10000 + V
    REDIRECT 0, V + 0x8000
    call hpet_level
    mov qword [down], 1
    TOOK V, 1
    call entry_low
    and eax, 0x4000
    CHECK rax, 0
    mov qword [abs HPET + 0x10], 0
; back: not directly
    mov ecx, 0x1b
    mov edx, [base + 4]
    TRY .direct
    mov eax, [base]
    wrmsr
.direct:
    EXPECT 13, 0
    mov ecx, 0x1b
    mov edx, [base + 4]
    mov eax, [base]
    and eax, ~0xc00
    wrmsr
    mov ecx, 0x1b
    mov edx, [base + 4]
    mov eax, [base]
    wrmsr
    mov qword [x2], 0
    mov eax, [abs APIC + 0xf0]
    and eax, 0x100
    CHECK rax, 0                         ; as after reset
.end:
    PASS

let_in:
    sti
    nop
    nop
    nop
    cli
    ret
settle: ; what is not held back by IF comes soon, not at once
    mov ecx, 100
.wait:
    pause
    loop .wait
    ret
let_in_long: ; until one of V comes, however late, and a while longer
    sti
    mov ecx, 100000
.wait:
    push rcx
    mov ecx, 1000
.inner:
    pause
    loop .inner
    pop rcx
    cmp qword [count + V * 8], 0
    loope .wait
    mov ecx, 100000
.more:
    pause
    loop .more
    cli
    ret

redirect: ; edx: high, eax: low
    push rax
    mov ecx, [pin]
    lea ecx, [rcx * 2 + 0x11]
    mov [abs IOAPIC], ecx
    mov [abs IOAPIC + 0x10], edx
    dec ecx
    pop rax
    mov [abs IOAPIC], ecx
    mov [abs IOAPIC + 0x10], eax
    ret
entry_low:
    mov ecx, [pin]
    lea ecx, [rcx * 2 + 0x10]
    mov [abs IOAPIC], ecx
    mov eax, [abs IOAPIC + 0x10]
    ret

; One pulse of comparator 0; it is seen in the counter
hpet_edge:
hpet_edge2:
    xor eax, eax
    call hpet_start
    mov qword [abs HPET + 0x10], 0
    ret
hpet_level:
    mov eax, 2
hpet_start: ; eax: 2 for level
    mov qword [abs HPET + 0x10], 0
    mov dword [abs HPET + 0x20], 1
    mov qword [abs HPET + 0xf0], 0
    mov ecx, [pin]
    shl ecx, 9
    lea ecx, [rcx + rax + 4]
    mov [abs HPET + 0x100], rcx
    mov qword [abs HPET + 0x108], 10000
    mov qword [abs HPET + 0x10], 1
    mov r10d, 20000                      ; until long behind: the host may look away
.wait:
    pause
    cmp dword [abs HPET + 0xf0], 3000000
    jb .wait
    cmp eax, 2
    jne .done
.status: ; of level interrupts only
    test dword [abs HPET + 0x20], 1
    jnz .done
    pause
    dec r10d
    jnz .status
.done:
    ret

pic:
    mov al, 0x11
    out 0x20, al
    mov al, 0x20
    out 0x21, al
    mov al, 4
    out 0x21, al
    mov al, 1
    out 0x21, al
    mov al, 0xfe
    out 0x21, al
    APICW 0x350, 0x700                   ; ExtINT
    mov al, 0x30                         ; PIT: one shot, at once
    out 0x43, al
    mov al, 100
    out 0x40, al
    xor al, al
    out 0x40, al
    call irr_wait
    mov eax, [pic_irr]
    and eax, 1
    CHECK rax, 1
    mov qword [keep], 1
    TOOK 0x20, 1
    mov al, 0x0b                         ; ISR
    out 0x20, al
    in al, 0x20
    movzx eax, al
    CHECK rax, 1
    mov al, 0x60                         ; specific EOI of 0
    out 0x20, al
    in al, 0x20
    movzx eax, al
    CHECK rax, 0
    mov qword [keep], 0
    mov al, 0xff
    out 0x21, al
    APICW 0x350, 0x10000
    ret
irr_wait:
    mov ecx, 100000
    mov al, 0x0a
    out 0x20, al
.wait:
    in al, 0x20
    mov [pic_irr], al
    test al, 1
    jnz .done
    loop .wait
.done:
    ret

irq_hook:
    movzx eax, word [rsp + 16]
    cmp eax, 2
    je .nmi
    cmp eax, 0x20
    jb .exception
    inc qword [count + rax * 8]
    cmp qword [down], 0
    je .no_down
    mov dword [abs HPET + 0x20], 1
    mov qword [down], 0
.no_down:
    cmp qword [keep], 0
    jne .done
    cmp eax, 0x30
    jb .pic
    cmp qword [x2], 0
    jne .x2
    APICW 0xb0, 0
    jmp .done
.x2:
    push rcx
    push rdx
    X2W 0x0b, 0
    pop rdx
    pop rcx
    jmp .done
.pic:
    mov al, 0x20
    out 0x20, al
    jmp .done
.nmi:
    inc qword [count + rax * 8]
.done:
    mov eax, 1
    ret
.exception:
    xor eax, eax
    ret

align 8
pin: dq 0
keep: dq 0
down: dq 0
x2: dq 0
base: dq 0
pic_irr: dq 0
count: times 256 dq 0
