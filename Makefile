# SPDX-License-Identifier: GPL-2.0-or-later
#
# The one Makefile.  Every folder lists its objects in its files.mk (CONTRIBUTING.md explains the words):
#
#   obj-y += core/clock.o           part of rhea and of every unit test
#   general-regs += cpu/tlb.o       of these, compiled for use from translated code
#   unit-tests += test_clock        tests/unit/test_clock.c or tests/bench/test_clock.c
#   test-objs += tests/bench/x.o    part of every unit test
#   cpu-test += tests/cpu/x.o       part of the program check-cpu
#   tool-img += tools/img/main.o    part of rhea-img; likewise tool-io, tool-nbd
#   fuzz-tests += fuzz_decode       tests/fuzz/fuzz_decode.c, a libFuzzer entry
#   generated += $(B)/cpu/x.inc     made before anything is compiled, by a rule in the same files.mk
#
# SRC is the source tree, B the build folder; `make B=other` builds elsewhere.

SRC ?= .
B ?= build
T ?= 60
RUN ?=

.PHONY: all run check check-unit check-cpu check-functional check-guest check-boots check-libvirt check-asan check-tsan check-locks
.PHONY: check-nightly lint format fuzz bench docs install clean distclean help objs unit-programs fuzz-programs
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

all:

ifeq ($(abspath $(B)),$(abspath $(SRC)))
    $(error the build folder must not be the source tree)
endif

# --- configuration: made with defaults if there is none ---

ifneq ($(filter run check,$(MAKECMDGOALS)),)
    CONFIGURE_ARGS += --install-deps
endif
ifneq ($(or $(if $(MAKECMDGOALS),,all),$(filter-out help clean distclean lint format,$(MAKECMDGOALS))),)
    include $(B)/config.mk
endif

# The variables of the last run stay, new arguments come last and win.
$(B)/config.mk: $(SRC)/configure
	$(SRC)/configure --build=$(B) $(CONFIGURED_WITH) $(CONFIGURE_ARGS)

# --- what there is ---

MK_FILES := $(sort $(foreach d,* */* */*/* */*/*/*,$(wildcard $(SRC)/$(d)/files.mk)))
include $(MK_FILES)

# What has no source yet is named, and left out.
has-source = $(or $(wildcard $(SRC)/$(1:.o=.c) $(SRC)/$(1:.o=.S)),$(filter $(B)/$(1:.o=.c),$(generated)))
present = $(foreach o,$(sort $(1)),$(if $(call has-source,$(o)),$(o),\
	$(warning $(o) is listed in a files.mk, but has no source)))

OBJS := $(addprefix $(B)/,$(call present,$(obj-y) $(general-regs)))
MAIN_OBJ := $(B)/main/main.o
LIB_OBJS := $(filter-out $(MAIN_OBJ),$(OBJS))
TEST_LIB_OBJS := $(addprefix $(B)/,$(call present,$(test-objs)))
GENERAL_OBJS := $(addprefix $(B)/,$(sort $(general-regs)))

test-source = $(firstword $(wildcard $(SRC)/tests/unit/$(1).c $(SRC)/tests/bench/$(1).c))
TEST_OBJS := $(foreach t,$(sort $(unit-tests)),$(or \
	$(patsubst $(SRC)/%.c,$(B)/%.o,$(call test-source,$(t))),$(warning there is no $(t).c)))
TEST_PROGRAMS := $(TEST_OBJS:.o=)
# Tools are made of what knows nothing of guests, and of their own.
TOOL_LIB_OBJS := $(filter $(B)/base/% $(B)/core/% $(B)/block/%,$(OBJS))
TOOLS := $(foreach t,img io nbd,$(if $(tool-$(t)),$(t)))
TOOL_OBJS := $(foreach t,$(TOOLS),$(addprefix $(B)/,$(call present,$(tool-$(t)))))
TOOL_NAMES := $(foreach t,$(TOOLS),$(B)/rhea-$(t) $(B)/compat/qemu-$(t))
CPU_TEST_OBJS := $(addprefix $(B)/,$(call present,$(cpu-test)))
FUZZ_OBJS := $(foreach t,$(sort $(fuzz-tests)),$(B)/tests/fuzz/$(t).o)
FUZZ_PROGRAMS := $(FUZZ_OBJS:.o=)

# --- compiling ---

WARN_FLAGS := -Wall -Wextra -Wmissing-prototypes -Wwrite-strings
# All our thread-local variables are in the program itself.  (The other way of reaching them, once the
# linker has shortened it, also breaks the null checks of UBSan.)
BASE_CFLAGS = -std=gnu11 $(OPT_FLAGS) $(WARN_FLAGS) $(WERROR) -fno-strict-aliasing -fno-common \
	-ftls-model=local-exec \
	-ffile-prefix-map=$(SRC)/= -I$(SRC) -I$(B) -include $(B)/config.h -pthread \
	$(LIB_CFLAGS) $(SAN_FLAGS) $(USER_CFLAGS)
# No vector registers (they are the guest's) and no calls that might use them.
GENERAL_FLAGS := -mgeneral-regs-only -fno-tree-loop-distribute-patterns -fno-stack-protector
ifneq ($(findstring clang,$(CC)),)
    GENERAL_FLAGS := -mgeneral-regs-only -fno-builtin-memset -fno-builtin-memcpy -fno-stack-protector
endif
ifneq ($(SAN_FLAGS),)
    GENERAL_FLAGS += -fno-sanitize=address,thread
endif

$(GENERAL_OBJS): EXTRA_CFLAGS = $(GENERAL_FLAGS)
$(TEST_OBJS) $(TEST_LIB_OBJS): EXTRA_CFLAGS = $(CHECK_CFLAGS)

ifeq ($(V),)
    quiet = @printf '  %-4s %s\n' $(1) $(patsubst $(B)/%,%,$@);
endif

$(B)/%.o: $(SRC)/%.c $(B)/config.mk | $(generated)
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(BASE_CFLAGS) $(EXTRA_CFLAGS) -MMD -MP -c $< -o $@

$(B)/%.o: $(B)/%.c $(B)/config.mk | $(generated)
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(BASE_CFLAGS) $(EXTRA_CFLAGS) -MMD -MP -c $< -o $@

$(B)/%.o: $(SRC)/%.S $(B)/config.mk | $(generated)
	@mkdir -p $(@D)
	$(call quiet,AS)$(CC) -I$(SRC) -I$(B) -MMD -MP -c $< -o $@

-include $(wildcard $(sort $(OBJS:.o=.d) $(TOOL_OBJS:.o=.d) $(TEST_OBJS:.o=.d) $(TEST_LIB_OBJS:.o=.d) $(CPU_TEST_OBJS:.o=.d) $(FUZZ_OBJS:.o=.d)))

# --- linking: objects directly, never through an archive, since classes register by constructor ---

LINK = $(CC) $(SAN_FLAGS) -pthread

$(B)/rhea: $(OBJS)
	$(call quiet,LINK)$(LINK) $(OBJS) -o $@ $(USER_LDFLAGS) $(LIBS)

$(TOOLS:%=$(B)/rhea-%): $(B)/rhea-%: $(TOOL_OBJS) $(TOOL_LIB_OBJS)
	$(call quiet,LINK)$(LINK) $(addprefix $(B)/,$(call present,$(tool-$*))) $(TOOL_LIB_OBJS) -o $@ $(USER_LDFLAGS) $(LIBS)
$(TOOLS:%=$(B)/compat/qemu-%): $(B)/compat/qemu-%: $(B)/rhea-%
	@mkdir -p $(@D)
	@ln -sf ../rhea-$* $@

NAMES := $(foreach a,$(ARCHS),$(B)/rhea-system-$(a) $(B)/compat/qemu-system-$(a))
$(B)/rhea-system-%: | $(B)/rhea
	@ln -sf rhea $@
$(B)/compat/qemu-system-%: | $(B)/rhea
	@mkdir -p $(@D)
	@ln -sf ../rhea $@

$(TEST_PROGRAMS): $(B)/%: $(B)/%.o $(LIB_OBJS) $(TEST_LIB_OBJS)
	$(call quiet,LINK)$(LINK) $^ -o $@ $(USER_LDFLAGS) $(LIBS) $(CHECK_LIBS)

$(B)/tests/cpu/check-cpu: $(CPU_TEST_OBJS) $(LIB_OBJS)
	$(call quiet,LINK)$(LINK) $^ -o $@ $(USER_LDFLAGS) $(LIBS)

$(FUZZ_PROGRAMS): $(B)/%: $(B)/%.o $(LIB_OBJS)
	$(call quiet,LINK)$(LINK) -fsanitize=fuzzer $^ -o $@ $(USER_LDFLAGS) $(LIBS)

all: $(B)/rhea $(NAMES) $(TOOL_NAMES)
objs: $(OBJS)
unit-programs: $(TEST_PROGRAMS)
fuzz-programs: $(FUZZ_PROGRAMS)

# --- checking ---
# Runners get RHEA (the program) and RHEA_BUILD, and end with a line "N passed, N failed".

export RHEA = $(abspath $(B)/rhea)
export RHEA_BUILD = $(abspath $(B))
export RHEA_GUESTS ?= $(abspath $(B)/guests)
export SANITIZE
# Recipes with it start with a +, or the jobs of -j would not be shared.
SUB_MAKE = $(MAKE) --no-print-directory

check: all
	+@rc=0; for t in lint check-unit check-cpu check-functional; do \
	    echo "== $$t"; $(SUB_MAKE) $$t || rc=1; \
	done; exit $$rc

ifeq ($(CONFIG_CHECK),y)
check-unit: unit-programs
	@$(SRC)/tools/run-units $(TEST_PROGRAMS)
else
check-unit:
	@echo "SKIPPED: the unit tests need the Check library (apt-get install check libsubunit-dev)"
endif

# A runner that is not there is named, and is no failure.
run-if-there = if [ -x $(1) ]; then $(RUN) $(1) $(2); else echo "SKIPPED: there is no $(1)"; fi

check-cpu: $(B)/tests/cpu/check-cpu
	@$(call run-if-there,$(SRC)/tests/cpu/run)

# Guests come from Debian's archive, once; what cannot be had is skipped, by name.
check-functional: all
	@$(SRC)/tools/fetch-guest "$(RHEA_GUESTS)" || \
	    echo "SKIPPED: some of the guests of $(RHEA_GUESTS) could not be fetched"
	@$(call run-if-there,$(SRC)/tests/functional/run,-j $(shell nproc))

# The bare-metal guests alone, on both back ends.
check-guest: all
	@$(call run-if-there,$(SRC)/tests/functional/run,test_guest)

# Each kernel with 1, 2 and 4 processors, N times; too slow for `check`.
N ?= 20
check-boots: all
	@$(call run-if-there,$(SRC)/tests/functional/check-boots,$(N))

# The same tests as `check`, at lengths that take hours.
check-nightly: all unit-programs
	+@rc=0; \
	TIMEOUT=10000 CK_TIMEOUT_MULTIPLIER=100 POWERCUTS=10000 MODEL_OPS=1000000 \
	    $(SRC)/tools/run-units $(addprefix $(B)/tests/unit/,test_powercut test_block_model) || rc=1; \
	RHEA_CRASHES=1000 RHEA_MODEL_SEEDS=100 RHEA_FAULTS_MOST=200 RANDOM_QMP_COMMANDS=10000 \
	    $(SRC)/tests/functional/run test_crash test_model test_syscall_faults test_qmp_random || rc=1; \
	CASES=20000000 $(SUB_MAKE) check-cpu || rc=1; \
	for t in check-boots check-libvirt check-asan check-tsan check-locks; do \
	    echo "== $$t"; $(SUB_MAKE) $$t || rc=1; \
	done; \
	$(SUB_MAKE) fuzz T=600 || rc=1; exit $$rc

# Debian's libvirt, as root, in namespaces of its own; RECORD=1 renews tests/functional/data.
RECORD ?=
check-libvirt: all
	@$(call run-if-there,$(SRC)/tests/functional/check-libvirt,$(if $(RECORD),--record))

check-asan:
	+@$(SUB_MAKE) B=$(B)-asan CONFIGURE_ARGS=--asan check-unit check-cpu

check-tsan:
	+@$(SUB_MAKE) B=$(B)-tsan CONFIGURE_ARGS=--tsan check-unit

check-locks:
	+@$(SUB_MAKE) B=$(B)-locks CONFIGURE_ARGS=--check-locks check-unit check-functional

lint:
	@cd $(SRC) && tools/lint

format:
	@cd $(SRC) && tools/list-sources | grep -v '\.def$$' | xargs clang-format -i

# What clients see of commands, types and properties; look at the difference before you commit it.
.PHONY: golden
golden: all
	@$(SRC)/tests/functional/golden.py --write

# Each fuzz program for T seconds.
fuzz:
	+@if command -v clang >/dev/null; then \
	    $(SUB_MAKE) B=$(B)-fuzz fuzz-run \
	        CONFIGURE_ARGS='--cc=clang --asan --cflags=-fsanitize=fuzzer-no-link'; \
	else echo "SKIPPED: fuzzing needs clang"; fi

.PHONY: fuzz-run
fuzz-run: fuzz-programs
	@for p in $(FUZZ_PROGRAMS); do \
	    mkdir -p $$p.corpus && $$p -max_total_time=$(T) $$p.corpus || exit 1; \
	done

bench: all
	@$(call run-if-there,$(SRC)/tools/run-bench)

run: all
	@$(call run-if-there,$(SRC)/tools/run-demo)

# --- the rest ---

BIN = $(DESTDIR)$(PREFIX)/bin
COMPAT = $(DESTDIR)$(PREFIX)/lib/rhea/compat

# Manual pages, completion and reference are what the programs say of themselves.
$(B)/docs/reference.md: $(B)/rhea $(TOOLS:%=$(B)/rhea-%) $(SRC)/tools/make-docs
	$(call quiet,DOCS)$(SRC)/tools/make-docs $(B) $(@D)
docs: $(B)/docs/reference.md

SHARE = $(DESTDIR)$(PREFIX)/share
COMPLETIONS = $(SHARE)/bash-completion/completions

install: all docs
	install -D $(B)/rhea $(BIN)/rhea
	for a in $(ARCHS); do ln -sf rhea $(BIN)/rhea-system-$$a || exit 1; done
	mkdir -p $(COMPAT)
	for t in $(TOOLS); do install -D $(B)/rhea-$$t $(BIN)/rhea-$$t && ln -sf ../../../bin/rhea-$$t $(COMPAT)/qemu-$$t || exit 1; done
	for a in $(ARCHS); do ln -sf ../../../bin/rhea $(COMPAT)/qemu-system-$$a || exit 1; done
	install -D -m 644 $(SRC)/LICENSE $(SHARE)/doc/rhea/LICENSE
	install -D -m 644 $(B)/docs/reference.md $(SHARE)/doc/rhea/reference.md
	for p in rhea $(TOOLS:%=rhea-%); do install -D -m 644 $(B)/docs/man1/$$p.1 $(SHARE)/man/man1/$$p.1 || exit 1; done
	for a in $(ARCHS); do ln -sf rhea.1 $(SHARE)/man/man1/rhea-system-$$a.1 || exit 1; done
	install -D -m 644 $(B)/docs/completion $(COMPLETIONS)/rhea
	for n in $(TOOLS:%=rhea-%) $(ARCHS:%=rhea-system-%); do ln -sf rhea $(COMPLETIONS)/$$n || exit 1; done

ifeq ($(abspath $(B)),$(CURDIR))
clean:
	rm -rf rhea rhea-* compat docs $(foreach f,$(MK_FILES),$(patsubst $(SRC)/%/files.mk,%,$(f)))
else
clean:
	rm -rf $(B) $(B)-asan $(B)-tsan $(B)-locks $(B)-fuzz
endif
distclean: clean
	rm -f $(B)/config.mk $(B)/config.h

help:
	@echo 'make                    build rhea and its names (in $(B))'
	@echo 'make run                install what is missing, build, boot the demo guest'
	@echo 'make check              build, lint and all tests'
	@echo 'make check-unit         unit tests and device benches'
	@echo 'make check-cpu          instruction tests'
	@echo 'make check-functional   whole guests'
	@echo 'make check-guest        bare-metal guests on both back ends'
	@echo 'make check-boots N=20   boot every kernel N times with 1, 2 and 4 processors'
	@echo 'make check-libvirt      Debian'\''s libvirt runs domains on it; as root'
	@echo 'make check-asan         unit and instruction tests under AddressSanitizer and UBSan'
	@echo 'make check-tsan         unit tests under ThreadSanitizer'
	@echo 'make check-locks        unit and functional tests with lock ranks checked'
	@echo 'make check-nightly      the same tests at lengths that take hours, and all of the above'
	@echo 'make lint               floors, banned calls, licence lines, sizes, format'
	@echo 'make format             reformat the sources'
	@echo 'make fuzz T=60          fuzz each target for T seconds'
	@echo 'make golden             write tests/golden anew'
	@echo 'make bench              speed'
	@echo 'make objs               compile only (with -k: as much as possible)'
	@echo 'make docs               manual pages, completion, reference: build/docs'
	@echo 'make install            to PREFIX (see ./configure --help), honours DESTDIR'
	@echo 'make clean              remove what was built'
	@echo 'V=1 shows commands; B=DIR builds in DIR; RUN="..." is put before test runners'
