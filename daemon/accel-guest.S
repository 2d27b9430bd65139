/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest that accel.c runs to see whether KVM really works: one boot sector. It prints 'R' in real mode, goes on to
 * 64-bit mode with paging - which is where a KVM that only pretends gives up - writes and reads 30 MiB, uses the FPU, prints 'K'
 * on the debug console (port 0xe9) and leaves through QEMU's exit device (port 0xf4). It is data to us, never called.
 */
#define ADDRESS(label) (label - mf_accel_guest + 0x7c00)
#define TABLES 0x10000
#define FIRST 0x200000
#define LAST 0x2000000

        .section .rodata
        .globl  mf_accel_guest
        .type   mf_accel_guest, @object
        .size   mf_accel_guest, 512
        .balign 16
        .code16
mf_accel_guest:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movb    $'R', %al
        outb    %al, $0xe9

        /* Three tables: PML4, PDPT, and a page directory that maps the first GiB to itself in pages of 2 MiB. */
        movl    $TABLES, %edi
        movl    %edi, %cr3
        xorl    %eax, %eax
        movl    $(3 * 4096 / 4), %ecx
        cld
        rep stosl %eax, %es:(%edi)
        movl    $TABLES, %edi
        movl    $(TABLES + 0x1003), (%edi)
        movl    $(TABLES + 0x2003), 0x1000(%edi)
        movl    $(TABLES + 0x2000), %edi
        movl    $0x83, %eax
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        cmpl    $(TABLES + 0x3000), %edi
        jb      1b

        /* CR4: PAE, OSFXSR, OSXMMEXCPT. EFER: long mode. CR0: paging, protection, no FPU emulation. */
        movl    %cr4, %eax
        orl     $0x620, %eax
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax
        wrmsr
        lgdtl   ADDRESS(table_register)
        movl    %cr0, %eax
        andl    $0xfffffffb, %eax
        orl     $0x80000003, %eax
        movl    %eax, %cr0
        ljmpl   $8, $ADDRESS(long_mode)

        .code64
long_mode:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7c00, %esp
        xorl    %eax, %eax
        cpuid
        movl    $FIRST, %edi
2:      movq    %rdi, (%rdi)
        addq    $4096, %rdi
        cmpl    $LAST, %edi
        jb      2b
        movl    $FIRST, %edi
3:      cmpq    %rdi, (%rdi)
        jne     4f
        addq    $4096, %rdi
        cmpl    $LAST, %edi
        jb      3b
        movq    %rdi, %xmm0
        movq    %xmm0, %rax
        rdtsc
        movb    $'K', %al
        outb    %al, $0xe9
        xorl    %eax, %eax
        outl    %eax, $0xf4
4:      hlt
        jmp     4b

        .balign 8
descriptors:
        .quad   0, 0x00af9a000000ffff, 0x00cf92000000ffff
table_register:
        .word   table_register - descriptors - 1
        .long   ADDRESS(descriptors)

        .org    mf_accel_guest + 510
        .byte   0x55, 0xaa

        .section .note.GNU-stack, "", @progbits
