/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aml - writing ACPI machine language (ACPI 6.4, chapters 20 and 6.4 for resources)
 *
 * Everything is appended to a ByteBuf.  Packages are opened, filled and closed:
 *     size_t at = aml_open(b, AML_SCOPE, "\\_SB"); ... aml_close(b, at);
 */
#ifndef HW_FIRMWARE_AML_H
#define HW_FIRMWARE_AML_H

#include "base/reflect.h"

typedef enum AmlBlock {
    AML_SCOPE = 0x10,
    AML_BUFFER = 0x11,
    AML_PACKAGE = 0x12,
    AML_DEVICE = 0x5b82
} AmlBlock;

size_t aml_open(ByteBuf *b, AmlBlock kind,
                const char *name);           /* name NULL: buffers and packages have none */
void aml_close(ByteBuf *b, size_t at);       /* a block holds less than 1 MiB */
void aml_name(ByteBuf *b, const char *name); /* Name (name, ...): the object follows */
void aml_int(ByteBuf *b, uint64_t v);
void aml_string(ByteBuf *b, const char *s);
void aml_eisa_id(ByteBuf *b, const char *id); /* "PNP0501" */
void aml_byte(ByteBuf *b, uint8_t v);

/* Name (_CRS, ResourceTemplate () { ... }) */
size_t aml_crs_open(ByteBuf *b);
void aml_crs_io(ByteBuf *b, uint16_t at, uint8_t size);
void aml_crs_irq(ByteBuf *b, unsigned irq); /* edge, active high, exclusive */
void aml_crs_memory(ByteBuf *b, uint32_t at, uint32_t size);
void aml_crs_close(ByteBuf *b, size_t at);

#endif
