# wp: `make` builds the library and the tool; `make help` lists the rest.
#
# Sources are found by their folder, so a new file needs no line here. Every kind of build has a
# folder of its own: build, build-address, build-thread, build-undefined, build-clang, or BUILD=dir.

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
CXXFLAGS   ?= $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2) -g
WERROR     ?= -Werror
CLANG      := $(findstring clang,$(CXX))
BUILD      ?= build$(if $(SAN),-$(SAN))$(if $(CLANG),-clang)
JOBS       ?= $(shell nproc)
MAKEFLAGS  += -j$(JOBS) --no-print-directory
Q          := $(if $(V),,@)

# SAN=address brings the checks for undefined behaviour along. SAN=fuzzer is for `make fuzz`.
SAN_ALL   := $(SAN:address=address,undefined)
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN_ALL:fuzzer=fuzzer-no-link,address,undefined) \
               -fno-sanitize-recover=all)
FLAGS     := -std=c++20 -pthread -I. -Wall -Wextra $(WERROR) $(if $(CLANG),-Wthread-safety) \
             $(SAN_FLAGS) $(CPPFLAGS) $(CXXFLAGS)
LIBS      := -lsqlite3 -lcurl -lcrypto -lzstd
VERSION   := $(shell sed -n 's/^.define WP_VERSION_[A-Z]* //p' wp.h | paste -sd.)
SONAME    := libwp.so.$(firstword $(subst ., ,$(VERSION)))

LIB_SRCS    := $(wildcard wp.cpp engine/*.cpp stores/*.cpp platform/*.cpp meta_sqlite/*.cpp \
                 s3_minimal/*.cpp)
CLI_SRCS    := $(wildcard cli/*.cpp)
FUZZ_SRCS   := $(wildcard tests/fuzz/*.cpp)
# The tests replay the fuzzers' corpus.
TEST_SRCS   := $(wildcard tests/*.cpp) $(filter-out tests/fuzz/main.cpp,$(FUZZ_SRCS))
BENCH_SRCS  := $(wildcard bench/*.cpp)
SOAK_SRCS   := $(wildcard tests/soak/*.cpp tests/sim*.cpp) tests/fiber.cpp
SOAK_SRCS   := $(filter-out %_test.cpp,$(SOAK_SRCS))
CRASH_SRCS  := $(wildcard tests/crash/*.cpp)
SAMPLE_SRCS := $(wildcard samples/*.cpp)
# Programs that the shell tests run.
HELPER_SRCS := $(wildcard tests/helpers/*.cpp)
objs         = $(1:%.cpp=$(BUILD)/obj/%.o)
LIB_OBJS    := $(call objs,$(LIB_SRCS))
SAMPLES     := $(SAMPLE_SRCS:%.cpp=$(BUILD)/%)
HELPERS     := $(HELPER_SRCS:tests/%.cpp=$(BUILD)/%)
FORMATTED   := $(wildcard *.h *.cpp */*.h */*.cpp tests/fuzz/*.h tests/fuzz/*.cpp \
                 tests/helpers/*.cpp tests/soak/*.h tests/soak/*.cpp tests/crash/*.h tests/crash/*.cpp)

.PHONY: all samples everything demo test unit coverage fuzz soak mutants model bench install format \
        check-format clean help FORCE
.DELETE_ON_ERROR:

all: $(BUILD)/libwp.a $(BUILD)/libwp.so $(if $(CLI_SRCS),$(BUILD)/wp)

samples: $(SAMPLES)

help:
	@echo "make               the library and the tool, in $(BUILD)/"
	@echo "make demo          logs of this machine through a kill -9 and back, with sizes and prices"
	@echo "make test          everything that is tested; the last line counts it"
	@echo "make unit          of that, only the C++ tests"
	@echo "make coverage      which lines and branches they reach; fails below 95 % of the lines"
	@echo "make fuzz          each decoder against made-up input; SECONDS=60 for each, TARGETS=..."
	@echo "make soak          the simulation with ever new seeds; SECONDS=60, or as long as you like"
	@echo "make mutants       deliberate bugs, and how soon the simulation finds each (BUGS=...)"
	@echo "make model         the protocol, in every order of events (docs/MODEL.md); LARGE=1 for more"
	@echo "make bench         measurements; ARGS=... goes to the program"
	@echo "make samples       the programs of samples/, in $(BUILD)/samples/"
	@echo "make install       to PREFIX=$(PREFIX), under DESTDIR=$(DESTDIR)"
	@echo "make format        clang-format over all sources; check-format only looks"
	@echo "make clean         removes every build folder"
	@echo
	@echo "SAN=address|thread|undefined   with that sanitizer   CXX=clang++-14   with that compiler"
	@echo "JOBS=1  one thing at a time    V=1  shows commands   WERROR=  warnings do not stop it"

# ---- compiling and linking

# Texts that change only when what they say does: whoever depends on them is then made anew.
$(BUILD)/flags: TEXT = $(CXX) $(FLAGS) $(LDFLAGS)
$(BUILD)/sources: TEXT = $(LIB_SRCS) $(CLI_SRCS) $(TEST_SRCS) $(BENCH_SRCS)
$(BUILD)/flags $(BUILD)/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(TEXT)' | cmp -s - $@ || echo '$(TEXT)' > $@

# What the library shows to programs is what wp.h marks with WP_API.
$(LIB_OBJS): private MORE := -fPIC -fvisibility=hidden -fvisibility-inlines-hidden
# EDGES=1: the soak tells which of the engine's branches it went through.
ifdef EDGES
$(filter $(BUILD)/obj/engine/%,$(LIB_OBJS)): private MORE += -fsanitize-coverage=inline-8bit-counters
endif
$(BUILD)/obj/%.o: %.cpp $(BUILD)/flags | $(BUILD)/deps-build $(if $(CLANG),$(BUILD)/deps-check) \
                  $(if $(filter fuzzer,$(SAN)),$(BUILD)/deps-fuzz)
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	$(Q)$(CXX) $(FLAGS) $(MORE) -MMD -MP -c $< -o $@
# Most of the time to build goes into the tests, and their own code needs no speed.
$(call objs,$(filter %_test.cpp,$(TEST_SRCS))): private MORE := -O0
$(call objs,$(TEST_SRCS)): | $(BUILD)/deps-test

$(BUILD)/libwp.a: $(LIB_OBJS) $(BUILD)/sources
	@echo "  AR    $@"
	@rm -f $@
	$(Q)$(AR) rcs $@ $(LIB_OBJS)

$(BUILD)/libwp.so: $(LIB_OBJS) tools/wp.map $(BUILD)/sources
	@echo "  LINK  $@"
	$(Q)$(CXX) $(FLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) $(if $(SAN),,-Wl,-z,defs) \
	  -Wl,--version-script=tools/wp.map $(LIB_OBJS) $(LIBS) -o $@
	@ln -sf $(@F) $(@D)/$(SONAME)

PROGRAMS := $(BUILD)/wp $(BUILD)/tests $(BUILD)/bench $(BUILD)/soak \
            $(BUILD)/crash $(BUILD)/mutant_tests
$(BUILD)/wp: $(call objs,$(CLI_SRCS))
$(BUILD)/tests: $(call objs,$(TEST_SRCS))
$(BUILD)/bench: $(call objs,$(BENCH_SRCS))
$(BUILD)/soak: $(call objs,$(SOAK_SRCS))
$(BUILD)/crash: $(call objs,$(CRASH_SRCS))
# What of the tests `make mutants` needs.
$(BUILD)/mutant_tests: $(call objs,tests/main.cpp tests/directory_crash_test.cpp \
                         tests/moving_ground_test.cpp tests/ledger_test.cpp tests/test_root.cpp \
                         tests/store_contract.cpp tests/s3_objects.cpp \
                         $(filter-out tests/soak/%,$(SOAK_SRCS)))
everything: all samples $(PROGRAMS) $(HELPERS)
# The tests bring a TLS server of their own.
$(BUILD)/tests: private LIBS += -lssl
$(PROGRAMS): $(BUILD)/libwp.a $(BUILD)/sources
	@echo "  LINK  $@"
	$(Q)$(CXX) $(FLAGS) $(LDFLAGS) $(filter %.o,$^) $< $(LIBS) -o $@

# libFuzzer brings its own main(). What the targets share with the tests needs no doctest.
$(BUILD)/fuzz: $(call objs,$(FUZZ_SRCS) tests/format_samples.cpp tests/sim_store.cpp \
                 tests/sim_runtime.cpp tests/fiber.cpp) $(BUILD)/libwp.a
	@echo "  LINK  $@"
	$(Q)$(CXX) $(FLAGS) -fsanitize=fuzzer $(LDFLAGS) $^ $(LIBS) -o $@

# Linked with the shared library, so that they also show that it exports what wp.h promises.
$(SAMPLES): $(BUILD)/samples/%: $(BUILD)/obj/samples/%.o $(BUILD)/libwp.so
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CXX) $(FLAGS) $(LDFLAGS) $< -L$(BUILD) -lwp -Wl,-rpath,'$$ORIGIN/..' -o $@

$(HELPERS): $(BUILD)/helpers/%: $(BUILD)/obj/tests/helpers/%.o $(BUILD)/libwp.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CXX) $(FLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

-include $(patsubst %.cpp,$(BUILD)/obj/%.d,$(LIB_SRCS) $(CLI_SRCS) $(TEST_SRCS) $(BENCH_SRCS) \
           $(SAMPLE_SRCS) $(HELPER_SRCS) $(SOAK_SRCS) $(CRASH_SRCS) tests/fuzz/main.cpp)

# Debian packages that are missing. `make install` names them but installs none.
$(BUILD)/deps-%: tools/deps.sh
	@mkdir -p $(@D)
	@tools/deps.sh $(if $(filter install,$(MAKECMDGOALS)),--check) $*
	@touch $@
$(BUILD)/deps-test $(BUILD)/deps-check $(BUILD)/deps-fuzz $(BUILD)/deps-servers: | $(BUILD)/deps-build

# ---- using what was built

demo: $(BUILD)/wp
	@samples/demo.sh $(BUILD)/wp

test: all samples $(HELPERS) $(BUILD)/tests $(BUILD)/soak $(BUILD)/crash | $(BUILD)/deps-test $(BUILD)/deps-servers
	@tests/run.sh $(BUILD)

unit: $(BUILD)/tests
	@tests/run.sh $(BUILD) unit

# The counters are of this run alone. Long loops are cut to a tenth: they reach nothing new.
# g++, whose gcov it is.
COVERED := BUILD=build-coverage CXX=g++ CXXFLAGS="--coverage -O0 -fprofile-update=atomic"
coverage:
	@$(MAKE) $(COVERED) build-coverage/tests
	@find build-coverage -name '*.gcda' -delete
	@WP_TEST_SCALE=$${WP_TEST_SCALE:-10} tests/run.sh build-coverage unit
	@tools/coverage.py build-coverage

SECONDS ?= 60
fuzz:
	@$(MAKE) SAN=fuzzer CXX=clang++-14 BUILD=build-fuzz build-fuzz/fuzz
	@tests/fuzz/run.sh build-fuzz/fuzz $(SECONDS) $(TARGETS)

soak:
	@$(MAKE) EDGES=1 CXX=clang++-14 BUILD=build-soak build-soak/soak
	@build-soak/soak for $(SECONDS) $(FIRST)

# The engine with deliberate bugs, and how soon each is found (docs/PROOF.md).
mutants:
	@$(MAKE) BUILD=build-bugs CPPFLAGS=-DWP_BUGS build-bugs/soak build-bugs/mutant_tests
	@build-bugs/soak mutants $(BUGS)

model: | $(BUILD)/deps-model
	@model/run.sh $(BUILD)/model

bench: $(BUILD)/bench
	@$(BUILD)/bench $(ARGS)

FILL = sed -e 's|@VERSION@|$(VERSION)|g' -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' \
  -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@LIBS@|$(LIBS) -pthread|g' -e 's|@SONAME@|$(SONAME)|g' \
  -e 's|@INCLUDE_FROM_HERE@|'"$$(realpath -m --relative-to=$(LIBDIR)/cmake/wp $(INCLUDEDIR))"'|g'
TO = $(DESTDIR)$(1)

install: all
	install -d $(call TO,$(INCLUDEDIR)) $(call TO,$(BINDIR)) $(call TO,$(LIBDIR))/pkgconfig \
	  $(call TO,$(LIBDIR))/cmake/wp
	install -m 644 wp.h $(call TO,$(INCLUDEDIR))/wp.h
	install -m 755 $(BUILD)/wp $(call TO,$(BINDIR))/wp
	install -m 644 $(BUILD)/libwp.a $(call TO,$(LIBDIR))/libwp.a
	install -m 755 $(BUILD)/libwp.so $(call TO,$(LIBDIR))/libwp.so.$(VERSION)
	ln -sf libwp.so.$(VERSION) $(call TO,$(LIBDIR))/$(SONAME)
	ln -sf $(SONAME) $(call TO,$(LIBDIR))/libwp.so
	@$(FILL) tools/wp.pc.in > $(call TO,$(LIBDIR))/pkgconfig/wp.pc
	@$(FILL) tools/wpConfig.cmake.in > $(call TO,$(LIBDIR))/cmake/wp/wpConfig.cmake
	@$(FILL) tools/wpConfigVersion.cmake.in > $(call TO,$(LIBDIR))/cmake/wp/wpConfigVersion.cmake

format: | $(BUILD)/deps-check
	@clang-format-14 -i $(FORMATTED)

check-format: | $(BUILD)/deps-check
	@bad=; for f in $(FORMATTED); do clang-format-14 $$f | cmp -s - $$f || bad="$$bad $$f"; done; \
	  [ -z "$$bad" ] || { echo "not formatted (make format does it):$$bad"; exit 1; }

clean:
	rm -rf build build-*
