# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# One makefile, not recursive: what is built stands under $(BUILD), nothing else is written.
# `make help` says what there is. Sources are found by their place, so a new file needs no line here.

VERSION := 0.1.0

BUILD  ?= build
PREFIX ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC     := gcc
endif
CFLAGS ?= -O2 -g
OBJCOPY ?= objcopy
# SAN=address,undefined builds with sanitizers (give it a BUILD of its own); WERROR=1 makes warnings errors.
SAN    ?=
WERROR ?=
# How long `make fuzz` runs each fuzzer.
FUZZ_SECONDS ?= 60
# V=1 shows the commands as they are run.
V      ?=
# TESTS="frame link" makes `make check` run these suites only.
TESTS  ?=

BINDIR      := $(PREFIX)/bin
SBINDIR     := $(PREFIX)/sbin
LIBDIR      := $(PREFIX)/lib
INCLUDEDIR  := $(PREFIX)/include
PKGCONFIGDIR := $(LIBDIR)/pkgconfig
MANDIR      := $(PREFIX)/share/man
COMPLETIONDIR := $(PREFIX)/share/bash-completion/completions
UNITDIR     := $(PREFIX)/lib/systemd/system
SYSUSERSDIR := $(PREFIX)/lib/sysusers.d
CONFDIR     := /etc/rlockd

# ---------------------------------------------------------------------------------------- sources

DAEMON_SRC := $(sort $(wildcard daemon/*.c daemon/*/*.c))
CLIENT_SRC := $(sort $(wildcard proto/client*.c))
RLOCK_SRC  := $(sort $(wildcard proto/rlock*.c))
PROTO_SRC  := $(sort $(filter-out $(CLIENT_SRC) $(RLOCK_SRC),$(wildcard proto/*.c)))
LIB_SRC    := $(wildcard tests/lib/*.c)
SUITE_SRC  := $(foreach dir,unit lua system,$(sort $(wildcard tests/$(dir)/test_*.c)))
FUZZERS    := $(sort $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
SIM_SRC    := $(sort $(wildcard tests/sim/*.c))
PRELOADS   := $(sort $(patsubst tests/programs/preload_%.c,%,$(wildcard tests/programs/preload_*.c)))
SOAK_SRC   := $(sort $(wildcard tests/soak/*.c))
BENCH_SRC  := $(sort $(wildcard tests/bench/*.c))
LUA_SRC    := $(sort $(wildcard lua/*.lua))
MAN_SRC    := $(sort $(wildcard proto/*.[1-8] conf/*.[1-8] daemon/*.[1-8]))
SCRIPTS    := .ci/run conf/rlock.bash-completion $(sort $(wildcard tests/*/*.sh))
ALL_C      := $(sort $(wildcard daemon/*.[ch] daemon/*/*.[ch] proto/*.[ch] tests/*.[ch] tests/*/*.[ch]))

Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-5s %s\n' $(1) $@)
obj  = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# Where a manual page goes: its section is the end of its name.
man_path      = $(MANDIR)/man$(patsubst .%,%,$(suffix $(1)))/$(notdir $(1))
INSTALLED_MAN = $(foreach page,$(MAN_SRC),$(DESTDIR)$(call man_path,$(page)))

# Everything of the daemon but main(): what the tests and the benchmarks link.
INNER_OBJ := $(call obj,$(filter-out daemon/main.c,$(DAEMON_SRC)) $(PROTO_SRC))
LUA_H     := $(patsubst lua/%.lua,$(BUILD)/gen/%.lua.h,$(LUA_SRC))
# The simulator: the core, the store and the scripts, in a world without libuv, hiredis and clocks.
SIM_OBJ   := $(call obj,$(wildcard daemon/core/*.c) $(SIM_SRC) \
    $(filter-out daemon/base/clock.c daemon/base/log.c,$(wildcard daemon/base/*.c)) \
    $(filter-out $(addprefix daemon/redis/,dial.c hello.c link.c resp.c wire.c),$(wildcard daemon/redis/*.c)))
BENCH_BIN := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))
# The client library's objects are compiled a second time, position-independent and hidden by default.
PIC_OBJ   := $(patsubst %.c,$(BUILD)/pic/%.o,$(CLIENT_SRC) proto/frame.c proto/print.c proto/rpc.c)
SONAME    := librlock.so.0

PRODUCTS := $(BUILD)/rlockd
PRODUCTS += $(if $(CLIENT_SRC),$(BUILD)/librlock.a $(BUILD)/librlock.so $(BUILD)/rlock-uninstalled.pc)
PRODUCTS += $(if $(RLOCK_SRC),$(BUILD)/rlock)

# ------------------------------------------------------------------------------------------ flags

PACKAGES      := libuv hiredis jansson uuid libsystemd libxxhash inih
TEST_PACKAGES := check lua5.1

# pkg-config is asked once, when the first file is compiled: `make deps` must work without it.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PACKAGES)))$(PKG_LIBS)
TEST_CFLAGS = $(eval TEST_CFLAGS := $$(shell pkg-config --cflags $(TEST_PACKAGES)))$(TEST_CFLAGS)
SIM_LIBS   = $(eval SIM_LIBS := $$(shell pkg-config --libs lua5.1 uuid libxxhash))$(SIM_LIBS)
TEST_LIBS  = $(eval TEST_LIBS := $$(shell pkg-config --libs $(TEST_PACKAGES)))$(TEST_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wformat=2 -Wconversion -Wno-sign-conversion $(if $(WERROR),-Werror)
ifeq ($(SAN),)
HARDEN  := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE
LINKING := -pie -Wl,-z,relro,-z,now
else
HARDEN  := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -fPIE
LINKING := -pie -fsanitize=$(SAN)
endif

ALL_CPPFLAGS = -D_GNU_SOURCE -DRLOCKD_VERSION='"$(VERSION)"' -I. -I$(BUILD) $(CPPFLAGS)
ALL_CFLAGS   = -std=gnu11 $(CFLAGS) $(WARNINGS) $(HARDEN)
COMPILE      = $(CC) $(ALL_CPPFLAGS) $(PKG_CFLAGS) $(if $(filter tests/%,$<),$(TEST_CFLAGS)) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
LINK         = $(CC) $(CFLAGS) $(HARDEN) $(LINKING) $(LDFLAGS) -o $@ $(filter %.o %.a,$^)

# ---------------------------------------------------------------------------------------- targets

.PHONY: all run demo check deps install uninstall bench sim mutants fuzz soak lint format coverage clean help FORCE \
        run-built demo-built check-built runner
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
.DEFAULT_GOAL := all

all: $(PRODUCTS) ## build the daemon (and, as far as they exist, the client library and the command line)

run: deps ## install what is missing, build, run the daemon with a Redis of its own until Ctrl-C
	@+$(MAKE) --no-print-directory run-built

check: deps ## install what is missing, build, run every test (TESTS="frame link": only these suites)
	@+$(MAKE) --no-print-directory check-built

deps: ## install the packages that are missing (Debian, Ubuntu), or name them
	@tests/lib/deps.sh

# A second make, so that pkg-config is asked after the packages are there.
run-built: all
	@exec tests/lib/run.sh $(BUILD)

demo-built: all
	@exec tests/lib/demo.sh $(BUILD)

check-built: all runner $(BUILD)/sim $(FUZZERS:%=$(BUILD)/fuzz/replay_%) $(PRELOADS:%=$(BUILD)/preload/%.so)
	@RLOCK_BUILD=$(BUILD) $(BUILD)/runner $(TESTS)

runner: $(BUILD)/runner

lint: $(INNER_OBJ) ## layers, options, examples, formatting, shellcheck, manual pages, clang-tidy
	@tests/lint/layers.sh $(BUILD)/obj
	@tests/lint/options.sh
	@tests/lint/examples.sh
	clang-format --dry-run -Werror $(ALL_C)
	shellcheck $(SCRIPTS)
	mandoc -T lint -W warning $(MAN_SRC)
	printf '%s\n' $(filter %.c,$(filter-out tests/%,$(ALL_C))) | \
	  xargs -P 2 -I FILE clang-tidy --quiet FILE -- -std=gnu11 $(ALL_CPPFLAGS) $(PKG_CFLAGS) 2>/dev/null

format: ## rewrite all C files as .clang-format says
	clang-format -i $(ALL_C)

ifneq ($(BENCH_SRC),)
bench: all $(BENCH_BIN) ## measure
	@RLOCK_BUILD=$(BUILD) tests/bench/run.sh
else
bench:
	@echo "bench: tests/bench/ is not part of this version yet" >&2; exit 2
endif

demo: deps ## install what is missing, build, play a scene with a Redis of its own; it ends by itself
	@+$(MAKE) --no-print-directory demo-built

# STEPS: virtual seconds with faults. With a SEED, that one world is told as it goes; with SEEDS as well, so
# many from there on; without, fresh ones.
SEEDS ?= $(if $(SEED),1,1000)
STEPS ?= 60
sim: $(BUILD)/sim ## the core in simulated worlds (SEED=7 STEPS=60 tells one, SEEDS=1000 runs that many)
	@$(BUILD)/sim $(if $(SEED),-s $(SEED)) -n $(SEEDS) -t $(STEPS) $(if $(SEED),$(if $(filter 1,$(SEEDS)),-v))

mutants: ## breaks the core on purpose, in many ways, and shows that the simulator finds each
	@tests/lib/deps.sh patch
	@tests/sim/mutants.sh $(BUILD) $(MUTANTS)

fuzz: $(FUZZERS:%=$(BUILD)/fuzz/%) ## random input at each parser and at the core, FUZZ_SECONDS=60 each (needs clang)
	@set -e; for name in $(FUZZERS); do mkdir -p $(BUILD)/fuzz/found/$$name; \
	  $(BUILD)/fuzz/$$name -max_total_time=$(FUZZ_SECONDS) -max_len=4096 \
	    $$(test -e tests/fuzz/dict/$$name && echo -dict=tests/fuzz/dict/$$name) -print_final_stats=1 -verbosity=0 \
	    -artifact_prefix=$(BUILD)/fuzz/$$name- $(BUILD)/fuzz/found/$$name tests/fuzz/corpus/$$name; done

MINUTES ?= 1
soak: all $(BUILD)/soak ## real processes, killed and stopped at random, while locks go on (MINUTES=30, SEED=7)
	@$(BUILD)/soak -m $(MINUTES) $(if $(SEED),-s $(SEED)) $(BUILD)/rlockd

coverage: ## which lines and branches the tests reach (needs lcov)
	@tests/lib/deps.sh lcov
	@+CK_TIMEOUT_MULTIPLIER=5 $(MAKE) --no-print-directory BUILD=$(BUILD)/cov \
	  CFLAGS='-O0 -g --coverage -fprofile-update=atomic -DCOVERAGE' \
	  OBJCOPY=: LDFLAGS=-Wl,-z,muldefs check-built # gcov's own names must stay visible in librlock.a
	@tests/lib/coverage.sh $(BUILD)/cov

install: all ## install below $(DESTDIR)$(PREFIX); an existing configuration file is left alone
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(CONFDIR)
	install -m 755 $(BUILD)/rlockd $(DESTDIR)$(SBINDIR)/rlockd
	test -e $(DESTDIR)$(CONFDIR)/rlockd.conf || install -m 644 conf/rlockd.conf $(DESTDIR)$(CONFDIR)/rlockd.conf
	sed 's|@SBINDIR@|$(SBINDIR)|' systemd/rlockd.service > $(BUILD)/gen/rlockd.service
	install -m 644 $(BUILD)/gen/rlockd.service $(DESTDIR)$(UNITDIR)/rlockd.service
	install -m 644 systemd/rlockd.sysusers $(DESTDIR)$(SYSUSERSDIR)/rlockd.conf
	$(foreach page,$(MAN_SRC),install -D -m 644 $(page) $(DESTDIR)$(call man_path,$(page)) &&) true
ifneq ($(CLIENT_SRC),)
	install -d $(DESTDIR)$(PKGCONFIGDIR) $(DESTDIR)$(INCLUDEDIR)
	install -m 644 $(BUILD)/librlock.a $(BUILD)/$(SONAME) $(DESTDIR)$(LIBDIR)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/librlock.so
	install -m 644 proto/rlock.h $(DESTDIR)$(INCLUDEDIR)/rlock.h
	$(call rlock_pc,$(PREFIX),$(LIBDIR),$(INCLUDEDIR)) > $(BUILD)/gen/rlock.pc
	install -m 644 $(BUILD)/gen/rlock.pc $(DESTDIR)$(PKGCONFIGDIR)/rlock.pc
endif
ifneq ($(RLOCK_SRC),)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(COMPLETIONDIR)
	install -m 755 $(BUILD)/rlock $(DESTDIR)$(BINDIR)/rlock
	install -m 644 conf/rlock.bash-completion $(DESTDIR)$(COMPLETIONDIR)/rlock
endif

uninstall: ## remove what install put there, but not the configuration
	rm -f $(DESTDIR)$(SBINDIR)/rlockd $(DESTDIR)$(UNITDIR)/rlockd.service $(DESTDIR)$(SYSUSERSDIR)/rlockd.conf \
	      $(DESTDIR)$(LIBDIR)/librlock.a $(DESTDIR)$(LIBDIR)/librlock.so $(DESTDIR)$(LIBDIR)/$(SONAME) \
	      $(DESTDIR)$(INCLUDEDIR)/rlock.h $(DESTDIR)$(PKGCONFIGDIR)/rlock.pc \
	      $(INSTALLED_MAN) \
	      $(DESTDIR)$(BINDIR)/rlock $(DESTDIR)$(COMPLETIONDIR)/rlock

clean: ## remove $(BUILD)
	rm -rf $(BUILD)

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# ------------------------------------------------------------------------------------------ rules

$(BUILD)/rlockd: $(call obj,daemon/main.c) $(INNER_OBJ)
	$(call say,LINK)
	$(Q)$(LINK) $(PKG_LIBS)

$(BUILD)/runner: $(call obj,tests/runner.c tests/sim/redis_model.c tests/sim/redis_lua.c $(LIB_SRC) $(SUITE_SRC)) $(INNER_OBJ) $(if $(CLIENT_SRC),$(BUILD)/librlock.a)
	$(call say,LINK)
	$(Q)$(LINK) $(TEST_LIBS) $(PKG_LIBS) -lutil

$(BUILD)/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(INNER_OBJ)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(PKG_LIBS)

$(BUILD)/fuzz/replay_client: $(BUILD)/librlock.a

# What tests put before the C library of a process. Without sanitizers: it is loaded before they are there.
$(BUILD)/preload/%.so: tests/programs/preload_%.c tests/lib/clock_page.h tests/lib/fault_page.h
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) -D_GNU_SOURCE -I. -std=gnu11 -O1 -g $(WARNINGS) $(if $(SAN),-DWITHOUT_MEMORY) -fPIC -shared -o $@ $< -ldl

# All sources at once, since all of them are to be instrumented.
$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(INNER_OBJ)
	@mkdir -p $(@D)
	$(call say,FUZZ)
	$(Q)clang $(ALL_CPPFLAGS) $(PKG_CFLAGS) -std=gnu11 -g -O1 $(WARNINGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=all -o $@ $< $(filter-out daemon/main.c,$(DAEMON_SRC)) $(PROTO_SRC) $(CLIENT_SRC) $(PKG_LIBS)

$(BUILD)/sim: $(SIM_OBJ)
	$(call say,LINK)
	$(Q)$(LINK) $(SIM_LIBS)

$(BUILD)/soak: $(call obj,$(SOAK_SRC))
	$(call say,LINK)
	$(Q)$(LINK) -lhiredis -ljansson

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(INNER_OBJ)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(PKG_LIBS)

# One object, in which only what rlock.h shows is global: an archive has no other way to hide a name.
$(BUILD)/librlock.a: $(PIC_OBJ)
	$(call say,AR)
	$(Q)$(LD) -r -o $(BUILD)/pic/librlock.o $^ && $(OBJCOPY) --localize-hidden $(BUILD)/pic/librlock.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(BUILD)/pic/librlock.o

$(BUILD)/$(SONAME): $(PIC_OBJ) proto/rlock.map
	$(call say,LINK)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=proto/rlock.map $(if $(SAN),,-Wl,-z,defs) \
	    $(CFLAGS) $(filter-out -fPIE,$(HARDEN)) $(filter-out -pie,$(LINKING)) $(LDFLAGS) -o $@ $(PIC_OBJ) -ljansson

$(BUILD)/librlock.so: $(BUILD)/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

# $(call rlock_pc,PREFIX,LIBDIR,INCLUDEDIR): the library as pkg-config is to describe it.
rlock_pc = sed -e 's|@PREFIX@|$(1)|' -e 's|@LIBDIR@|$(2)|' -e 's|@INCLUDEDIR@|$(3)|' -e 's|@VERSION@|$(VERSION)|' \
           proto/rlock.pc.in

# PKG_CONFIG_PATH=build is enough to compile against the library where it was built.
$(BUILD)/rlock-uninstalled.pc: proto/rlock.pc.in $(BUILD)/gen/flags
	$(Q)$(call rlock_pc,$(CURDIR),$(abspath $(BUILD)),$(CURDIR)/proto) > $@

$(BUILD)/rlock: $(call obj,$(RLOCK_SRC)) $(BUILD)/librlock.a
	$(call say,LINK)
	$(Q)$(LINK) -ljansson

$(BUILD)/obj/%.o: %.c $(BUILD)/gen/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE)

$(BUILD)/pic/%.o: %.c $(BUILD)/gen/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) -fPIC -fvisibility=hidden

# A script as a C string, without comments and blank lines: they are for readers, not for Redis.
$(BUILD)/gen/%.lua.h: lua/%.lua
	@mkdir -p $(@D)
	$(call say,LUA)
	$(Q)sed -e '/^ *--/d' -e '/^$$/d' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/' $< > $@

# Rewritten only when their content changes, so that only then something is built again.
update = mkdir -p $(@D) && { cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }

$(BUILD)/gen/suites.h: FORCE
	@mkdir -p $(@D) && printf 'SUITE(%s)\n' $(patsubst test_%,%,$(basename $(notdir $(SUITE_SRC)))) > $@.new
	@$(update)

$(BUILD)/gen/flags: FORCE
	@mkdir -p $(@D) && echo '$(subst ','\'',$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS))' > $@.new
	@$(update)

$(call obj,daemon/redis/script.c): $(LUA_H)
$(call obj,tests/runner.c): $(BUILD)/gen/suites.h

-include $(shell find $(BUILD)/obj $(BUILD)/pic -name '*.d' 2>/dev/null)
