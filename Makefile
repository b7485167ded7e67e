# SPDX-License-Identifier: MIT
#
# The only make logic. Kbuild files state facts; this file acts on them: one
# non-recursive graph, so that -j is honest. `make help` lists the targets.
#
#   obj-y     objects of the library, and folders (ending in /) of them
#   static-y shared-y    objects of one form of the library alone; tests take the first
#   dir-y     folders that hold other facts
#   host-y    programs of the build; prog-y those of the user
#   fake-y    objects that replace the floor under the unit tests
#   unit-y stress-y conform-y rseq-y abort-y    test programs
#   apps-y golden-y                             test scripts
#   X-objs := a.o b.o       what program X is linked from, where not just X.o
#   CFLAGS_x.o LDLIBS_X     flags of one object, libraries of one program
#
# A fact ending in -1 counts as -y: obj-$(CONFIG_X) reads as in the kernel.
# Flavours of object, one folder of $(O) each: c/ the library, with the names
# malloc, free, ...; t/ the same code for tests, with ha_* names alone; u/ plain
# programs; h/ programs of the build, for the machine that builds.

MAKEFLAGS += -rR --no-print-directory
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

O	?= build
V	?= 0
PREFIX	?= /usr/local
LIBDIR	?= $(PREFIX)/lib
SYSCONFDIR ?= /etc
VERSION	:= 0.1.0

ARCH	?= $(shell uname -m)
SRCARCH	:= $(patsubst aarch64,arm64,$(ARCH))
ifeq ($(wildcard arch/$(SRCARCH)/Kbuild),)
$(error ARCH=$(ARCH): there is no arch/$(SRCARCH))
endif
ifneq ($(filter default undefined,$(origin CC)),)
CC	:= $(CROSS_COMPILE)gcc
endif
ifneq ($(filter default undefined,$(origin CXX)),)
CXX	:= $(CROSS_COMPILE)g++
endif
HOSTCC	?= gcc
# The cross prefix names Debian's library folder: aarch64-linux-gnu-.
PKGCONF	:= $(if $(CROSS_COMPILE),PKG_CONFIG_LIBDIR=/usr/lib/$(patsubst %-,%,$(CROSS_COMPILE))/pkgconfig )pkg-config

# ---- flags ------------------------------------------------------------------

configs	  := $(sort $(filter-out CONFIG_WERROR,$(filter CONFIG_%,$(.VARIABLES))))
sanflags  := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-sanitize=null \
	     -fno-omit-frame-pointer)
warnings  := -Wall -Wextra -Wno-unused-parameter $(if $(filter 1 y,$(CONFIG_WERROR)),-Werror)
cppflags  := -D_GNU_SOURCE -DHEAPARENA_VERSION='"$(VERSION)"' -I include -MMD -MP \
	     $(foreach c,$(configs),$(if $(filter 1 y,$($(c))),-D$(c)=1))
libflags  := -std=gnu11 -O2 -g $(warnings) -Wmissing-prototypes -Wstrict-prototypes \
	     -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-semantic-interposition \
	     -fno-strict-aliasing -fno-stack-protector -I arch/$(SRCARCH)/include \
	     -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
testflags := $(libflags) $(sanflags) -DCONFIG_FAULT_INJECTION=1 -iquote lib -iquote selftests -iquote .
userflags := -O2 -g $(warnings) -pthread -fno-builtin
hostflags := -std=gnu11 -O2 $(warnings)
# Options of the library's own, from the command line only: "check:off,limit:2G".
CFLAGS_conf.o := -DCONF_FILE='"$(SYSCONFDIR)/heaparena.conf"' \
	     $(if $(filter command,$(origin CONF)),-DCONF_BUILTIN='"$(CONF)"')
# Where ha finds the library that it is installed with, from its own folder where
# both are under PREFIX, so that the tree can move. Known to one object alone, which
# follows it: an installation elsewhere compiles nothing else anew.
libdir	 := $(if $(filter $(PREFIX)/%,$(LIBDIR)),../$(patsubst $(PREFIX)/%,%,$(LIBDIR)),$(LIBDIR))
$(O)/u/tools/ha/ha.o: cppflags += -DHA_LIBDIR='"$(libdir)"'
$(O)/u/tools/ha/ha.o: $(O)/.libdir
abortflags := -O0 -Wno-use-after-free -Wno-free-nonheap-object
# A sanitizer brings its own malloc: programs reach the library by its ha_* names.
ifneq ($(SANITIZE),)
userflags += $(sanflags) -include selftests/stress/ha_malloc.h
endif
# Asked at the time of use: the first `make check` installs pkg-config.
LIBS	= $(shell $(PKGCONF) --libs numa liburcu-bp) -lpthread -ldl
CHECK	= $(shell $(PKGCONF) --libs check)

# ---- the walk ---------------------------------------------------------------

define nl


endef
facts := obj static shared dir host prog fake unit stress conform rseq numa abort apps golden

# walk(folder): take its facts, then those of the folders it names. The folder is
# "" or ends in /; one that is absent has no facts.
define walk
$(foreach f,$(facts),$(f)-y :=$(nl)$(f)-1 :=$(nl))
-include $(1)Kbuild
$(foreach f,$(facts),all-$(f) += $$(addprefix $(1),$$(filter-out %/,$$($(f)-y) $$($(f)-1)))$(nl))
$$(foreach d,$$(filter %/,$$(obj-y) $$(obj-1) $$(dir-y) $$(dir-1)),$$(eval $$(call walk,$(1)$$(d))))
endef
$(foreach f,$(facts),$(eval all-$(f) :=))
$(eval $(call walk,))

# objs(flavour,program): the objects of a program, X-objs read beside its Kbuild
objs	 = $(addprefix $(O)/$(1)/,$(patsubst $(CURDIR)/%,%,$(abspath \
	   $(addprefix $(dir $(2)),$(or $($(notdir $(2))-objs),$(notdir $(2)).o)))))
core	 := $(addprefix $(O)/c/,$(all-obj))
statics	 := $(addprefix $(O)/c/,$(all-static))
shareds	 := $(addprefix $(O)/c/,$(all-shared))
tcore	 := $(addprefix $(O)/t/,$(all-obj) $(all-static))
fakes	 := $(addprefix $(O)/t/,$(all-fake))
public	 := $(all-stress) $(all-conform) $(all-rseq) $(all-numa) $(all-abort)
progs	 := $(addprefix $(O)/,$(notdir $(all-prog)))
# What is linked from a list that they hold has to follow them.
kbuilds	 := $(filter %Kbuild,$(MAKEFILE_LIST))
mksize	 := $(O)/h/mksizeclasses

# Objects depend on the flags they were built with, wherever those came from.
# A header that is looked for, and may come later, counts as one.
flagtext := $(CC) $(wildcard /usr/include/sys/sdt.h /usr/include/*/sys/sdt.h) $(cppflags) $(testflags) $(userflags) $(foreach v,$(sort \
	    $(filter CFLAGS_% LDLIBS_%,$(.VARIABLES))),$(v)=$($(v)))
ifneq ($(filter-out help clean deps,$(or $(MAKECMDGOALS),all)),)
ifneq ($(file <$(O)/.flags),$(flagtext))
$(shell mkdir -p $(O))
$(file >$(O)/.flags,$(flagtext))
endif
ifneq ($(file <$(O)/.libdir),$(libdir))
$(shell mkdir -p $(O))
$(file >$(O)/.libdir,$(libdir))
endif
endif

# ---- rules ------------------------------------------------------------------

Q	:= $(if $(filter 1,$(V)),,@)
# By make itself, as it reads the recipe: programs for this take longer than some objects.
say	 = $(if $(made-$(@D)),,$(shell mkdir -p $(@D))$(eval made-$(@D) := y))$(if $(Q),$(info \
	   $()  $(1)	$(or $(2),$(@:$(O)/%=%))))
cflags	 = $(cppflags) $(1) $(CFLAGS_$(@F))

kinds	:= unit stress conform rseq numa abort apps golden
.PHONY: all libs tests check demo bench bench-quick bench-rss bench-sim vmtest install uninstall deb debcheck clean help deps sizeclasses \
	sizecheck headercheck layercheck man $(kinds:%=tests-%)
all: libs $(progs)
libs: $(addprefix $(O)/,libheaparena.so.1 libheaparena.so libheaparena.a)
tests: $(kinds:%=tests-%)
$(foreach k,$(kinds),$(eval tests-$(k): $(O)/tests.list $(addprefix $(O)/,$(filter-out %.sh,$(all-$(k))))))

# compile(flavour,extension,label,command)
define compile
$(O)/$(1)/%.o: %.$(2) $(O)/.flags
	$$(call say,$(3),$$<)
	$(Q)$(4) -c -o $$@ $$<
endef
libcc	:= $(CC) $$(call cflags,$$(libflags) -DCONFIG_INTERPOSE=1)
testcc	:= $(CC) $$(call cflags,$$(testflags))
$(eval $(call compile,c,c,CC,$(libcc)))
$(eval $(call compile,c,S,AS,$(libcc)))
$(eval $(call compile,t,c,CC[T],$(testcc)))
$(eval $(call compile,t,S,AS[T],$(testcc)))
$(eval $(call compile,u,c,CC[U],$(CC) -std=gnu11 $$(call cflags,$$(userflags))))
$(eval $(call compile,u,cc,CXX,$(CXX) -std=gnu++17 $$(call cflags,$$(userflags))))
$(eval $(call compile,h,c,CC[H],$(HOSTCC) $$(call cflags,$$(hostflags))))

$(O)/libheaparena.so.1: $(core) $(shareds) lib/heaparena.map $(kbuilds)
	$(call say,LD)
	$(Q)$(CC) -shared -o $@ $(core) $(shareds) -Wl,-soname,$(@F) -Wl,--version-script=lib/heaparena.map \
		-static-libgcc -Wl,-z,relro,-z,now,-z,nodelete,-z,defs -Wl,--as-needed $(LIBS)
$(O)/libheaparena.so: $(O)/libheaparena.so.1
	$(call say,LN)
	$(Q)ln -sf $(<F) $@
# One object, its inner names made local: a static link takes the whole allocator
# or nothing of it, and meets no name but the public ones.
$(O)/c/heaparena.o: $(core) $(statics) $(kbuilds)
	$(call say,LD)
	$(Q)$(CROSS_COMPILE)ld -r -o $@ $(core) $(statics) && $(CROSS_COMPILE)objcopy --localize-hidden $@
$(O)/libheaparena.a: $(O)/c/heaparena.o
$(O)/libheaparena-test.a: $(tcore) $(kbuilds)
$(O)/libheaparena.a $(O)/libheaparena-test.a:
	$(call say,AR)
	$(Q)rm -f $@ && $(CROSS_COMPILE)ar rcs $@ $(filter %.o,$^)

# Programs, by what stands under them: the test build of the library, or nothing.
define link
$(1): $(2)
	$$(call say,LD)
	$(Q)$(3) -o $$@ $(2) $(4) $$(LDLIBS_$$(@F))
endef
testlib := $(O)/libheaparena-test.a
userlib := $(if $(SANITIZE),$(testlib))
$(foreach p,$(all-unit),$(eval $(call link,$(O)/$(p),$(call objs,t,$(p)) $(fakes) $(testlib),\
	$(CC) $(sanflags),$$(CHECK) $$(LIBS))))
$(foreach p,$(public),$(eval $(call link,$(O)/$(p),$(call objs,u,$(p)) $(userlib),\
	$(CC) $(sanflags) -pthread,-lm $(if $(SANITIZE),$$(LIBS)) -ldl)))
$(foreach p,$(all-prog),$(eval $(call link,$(O)/$(notdir $(p)),$(call objs,u,$(p)),$(CC) -pthread,)))
# What is measured from inside: on the test build, like the unit tests.
cpusim-objs := cpusim.o ../../selftests/fake/cpus.o
inside	 := page_find cpusim
$(foreach p,$(inside),$(eval $(call link,$(O)/$(p),$(call objs,t,tools/bench/$(p)) $(testlib),\
	$(CC) $(sanflags) -pthread,$$(LIBS))))
$(foreach p,$(all-host),$(eval $(call link,$(O)/h/$(notdir $(p)),$(call objs,h,$(p)),$(HOSTCC),)))
$(foreach p,$(all-abort),$(eval $(call objs,u,$(p)): userflags += $(abortflags)))

$(O)/tests.list: $(kbuilds)
	@mkdir -p $(@D)
	$(Q)printf '%s\n' $(all-unit) $(public) $(all-apps) $(all-golden) >$@

# ---- targets ----------------------------------------------------------------

run	 = HA_BUILD=$(abspath $(O)) HA_LIB=$(abspath $(O))/libheaparena.so.1 MAKE="$(MAKE)"
remake	 = $(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$$(nproc))

#: all          the libraries and the ha command (default)
#: check        install what is missing, build, run every test
check:
	@tools/scripts/deps build run apps peers arm64
	@$(run) tools/scripts/run-tests $(TESTS:%='%')
#: demo         redis with and without the library, side by side
demo:
	@tools/scripts/deps build run
	@$(remake) all
	@$(run) tools/scripts/demo
#: bench        this library and its peers in alternation, under 40 minutes; tables,
#:              build/bench.json, charts in build/bench (BENCHFLAGS='--only replace',
#:              PEERS='NAME=path.so' for further ones)
#: bench-quick  the main part of it, under 3 minutes
bench bench-quick:
	@tools/scripts/deps build run peers programs
	@$(remake) all $(inside:%=$(O)/%)
	@tools/bench/run --build $(O) $(if $(filter bench-quick,$@),--quick) $(BENCHFLAGS)
#: bench-rss    resident memory over time, four pictures in build/bench-rss; ten minutes
bench-rss:
	@tools/scripts/deps build run peers
	@$(remake) all
	@tools/bench/rss --build $(O) $(BENCHFLAGS)
#: bench-sim    256 CPUs on 8 nodes, simulated: memory in caches, lines handed over
bench-sim:
	@tools/scripts/deps build run
	@$(remake) $(O)/cpusim
	@tools/bench/run --build $(O) --sim
#: vmtest       tests on real kernels in virtual machines (VM='ROW...' picks some)
vmtest:
	@tools/scripts/deps build arm64 vm
	@MAKE="$(MAKE)" tools/vm/run --build $(O) $(VM:%='%')
#: deps         install what building needs
deps:
	@tools/scripts/deps build
#: tests        build the test programs; in check, TESTS='unit/*' picks some
#: sizeclasses  write lib/sizeclasses.[ch] anew from tools/mksizeclasses
sizeclasses: $(mksize)
	$(mksize) --header >lib/sizeclasses.h
	$(mksize) --source >lib/sizeclasses.c
sizecheck: $(mksize)
	@$(mksize) --header | cmp - lib/sizeclasses.h
	@$(mksize) --source | cmp - lib/sizeclasses.c
#: headercheck  compile every header alone
headercheck: $(O)/.flags
	@CC="$(CC)" CXX="$(CXX)" SRCARCH=$(SRCARCH) tools/scripts/headercheck
#: layercheck   hold the includes of lib/ against the table in lib/README.md
layercheck:
	@tools/scripts/layercheck
#: man          manual pages of the functions, from heaparena.h
man: $(O)/man/.done
$(O)/man/.done: include/heaparena/heaparena.h tools/man/kdoc2man tools/man/heaparena.3.in
	$(call say,MAN)
	$(Q)tools/man/kdoc2man $< $(@D) $(VERSION) tools/man/heaparena.3.in && touch $@
#: install      DESTDIR= PREFIX= LIBDIR= apply; uninstall removes the same
inst	 = @O='$(O)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' \
	   VERSION=$(VERSION) PROGS='$(notdir $(progs))' tools/scripts/install
install: all man
	$(inst) put
uninstall: man
	$(inst) remove
#: deb          Debian packages, in build/deb; debcheck installs them in a system of
#:              its own and removes them, which takes a minute and the network
deb: all man
	@tools/scripts/deps deb
	@O='$(O)' VERSION=$(VERSION) CROSS_COMPILE=$(CROSS_COMPILE) MAKE="$(MAKE)" \
		DEB_ARCH=$(patsubst x86_64,amd64,$(SRCARCH)) tools/package/deb/mkdeb $(O)/deb
debcheck:
	@tools/scripts/deps build deb debcheck
	@$(remake) deb
	@tools/package/deb/debcheck $(O)/deb
#: clean        remove the output folder
clean:
	rm -rf $(O)

help:
	@sed -n 's/^#: /  /p' Makefile
	@echo
	@echo '  O=DIR output folder; V=1 whole commands; ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-'
	@echo '  CONF="key:value,..." options built in; SYSCONFDIR=/etc where heaparena.conf is;'
	@echo '  CONFIG_NO_CONF_FILE=1, CONFIG_NO_PROBES=1 do without that file, without probes;'
	@echo '  CONFIG_DEBUG=1 assertions; CONFIG_WERROR=1; SANITIZE=address,undefined or thread'
	@echo '  (tests only). Give each of these combinations an O= of its own.'

-include $(shell find $(O)/c $(O)/t $(O)/u $(O)/h -name '*.d' 2>/dev/null)
