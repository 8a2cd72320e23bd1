/* SPDX-License-Identifier: GPL-2.0-or-later */
/* model - the table of models, for model.c */
#ifndef CPU_X86_MODEL_PRIV_H
#define CPU_X86_MODEL_PRIV_H

#include "cpu/x86/model.h"

extern const X86Model x86_models[];
extern const unsigned x86_n_models;

#endif
