# SPDX-License-Identifier: GPL-2.0
# What people call; `make help` lists it. The kernel's build system reads
# Kbuild instead. Everything generated goes to build/ or to the cache.
#
#   KDIR=<tree>      the kernel to build for (default: the running one)
#   ENGINE=lio       the storage engine behind the target, or scst
#   SCST_DIR=<tree>  a built SCST tree, for ENGINE=scst
#   ARCH=arm64       what KDIR must be for; known by itself, as is CROSS_COMPILE=
#   RUSTC= BINDGEN=  other programs than those found in PATH
#   CC= / LLVM=1     another compiler than the kernel's own
#   OFED_DIR=<directory>  the RDMA headers of an OFED, with their Module.symvers
#   OFED=0           the kernel's RDMA headers, even if an OFED is installed
#   INSTALL_MOD_PATH=<dir>, INSTALL_MOD_STRIP=1   as in the kernel
#   KSERIES=7.2      in the lab: the kernel of another series
#   TRANSPORT=siw    in the lab: iWARP instead of RoCE; TRANSPORT=ib: InfiniBand
#   KERNEL=sanitized in the lab: the kernel that reports errors, not the stock one;
#                    arm64, arm64-16k: of that architecture; PEER_KERNEL=: the initiator's
#   V=1              show commands
#   K=<expression>   tests to run, as for pytest's -k: K='guest.acl or guest.reject'
#   ARGS=<options>   more for pytest: ARGS='-x --lf'
#   JOBS=3           how many tests run at a time

KDIR ?= /lib/modules/$(shell uname -r)/build
ENGINE ?= lio
export KDIR ENGINE SCST_DIR OFED OFED_DIR LLVM INSTALL_MOD_PATH INSTALL_MOD_STRIP KERNEL KSERIES
# cargo takes an empty RUSTC for the compiler's name.
$(foreach name,RUSTC BINDGEN,$(if $($(name)),$(eval export $(name))))
# Make has a CC of its own; only one that the user chose counts.
ifneq ($(filter command line environment,$(origin CC)),)
export CC
else
unexport CC
endif

# The kernel to build for in the lab; asked for only when needed.
LAB := scripts/lab/lab
lab_release = $(shell KERNEL=$(KERNEL) KSERIES=$(KSERIES) $(LAB) kernel)
lab_kdir = $(shell KERNEL=$(KERNEL) KSERIES=$(KSERIES) $(LAB) kernel --kdir)
lab_module = build/$(lab_release)/$(ENGINE)/ib_srpt.ko
lab_make = $(LAB) exec $(addprefix -b ,$(SCST_DIR) $(OFED_DIR)) -- make --no-print-directory -C $(CURDIR) \
	KDIR=$(lab_kdir) ENGINE=$(ENGINE) $(addprefix SCST_DIR=,$(SCST_DIR)) OFED=$(OFED) OFED_DIR=$(OFED_DIR)

# Where debhelper is: here, or in the lab.
deb_here = $(shell command -v dpkg-buildpackage >/dev/null && command -v dh_dkms >/dev/null || echo $(LAB) exec --) env

# Two workers with a pair of machines each, and one for what needs none.
JOBS ?= 3
PYTEST = $(LAB) pytest -n $(JOBS)
SELECTED = $(if $(K),-k '$(K)') $(ARGS)

RUSTFMT ?= rustfmt
CARGO ?= cargo
export CARGO_TARGET_DIR ?= $(CURDIR)/build/host
rust_sources = $(shell find src tests -name '*.rs' -not -path '*/build/*')

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

##@ Building

.PHONY: all
all: ## Build build/<kernel release>/<engine>/ib_srpt.ko
	+@scripts/kbuild modules

.PHONY: check
check: ## Say what is missing to build for KDIR, if anything
	@scripts/check-kdir

.PHONY: prepare-kdir
prepare-kdir: ## Generate the Rust metadata that KDIR lacks (make does it by itself)
	+@scripts/prepare-kdir

.PHONY: modules_install
modules_install: ## Install the built module in updates/ of its kernel
	@scripts/kbuild install

.PHONY: uninstall
uninstall: ## Remove the installed module; the distribution's is back then
	@scripts/kbuild uninstall

.PHONY: deb
deb: ## Build the package build/deb/ib-srpt-dkms_<version>-1_all.deb, in the lab if debhelper is not here
	@$(deb_here) scripts/deb/build

.PHONY: deb-source
deb-source: ## Build the Debian source package build/deb/ib-srpt_<version>-1.dsc (UPSTREAM=<address> for debian/watch)
	@$(deb_here) $(addprefix UPSTREAM=,$(UPSTREAM)) scripts/deb/build source

.PHONY: clean
clean: ## Remove what was built for kernels
	rm -rf $(filter-out build/host build/initiator build/lab,$(wildcard build/*))

.PHONY: distclean
distclean: ## Remove everything that was generated here (the cache stays)
	rm -rf build

##@ Source code

.PHONY: fmt
fmt: ## Format the Rust code
	@$(RUSTFMT) --edition 2021 $(rust_sources)

.PHONY: fmt-check
fmt-check: ## Check the format of the Rust code
	@$(RUSTFMT) --edition 2021 --check $(rust_sources)

.PHONY: clippy
clippy: ## Run the kernel's lints on the module (warnings are errors)
	+@scripts/kbuild clippy

.PHONY: style
style: fmt-check ## Check the rules of the house: format, comments, layers, sizes
	@scripts/check-style

.PHONY: layers
layers: ## Draw the layers of src/ into docs/layers.dot and .svg (needs graphviz)
	@scripts/layers.py --dot >docs/layers.dot
	@dot -Tsvg -odocs/layers.svg docs/layers.dot

##@ Tests

.PHONY: host-test
host-test: ## Test the protocol code on this machine, without a kernel
	$(CARGO) test --workspace

.PHONY: model
model: ## Explore the driver in many orders of events (MODEL_BOUND=large: further)
	RUSTC_BOOTSTRAP=srpt_model $(CARGO) run --locked --manifest-path tests/model/Cargo.toml

.PHONY: fuzz
fuzz: ## Fuzz the protocol code, in the lab (FUZZ_SECONDS=600 per target)
	$(LAB) exec $(if $(FUZZ_SECONDS),-e FUZZ_SECONDS=$(FUZZ_SECONDS)) -- tests/fuzz/run $(FUZZ_TARGETS)

.PHONY: coverage
coverage: ## Print how much of the protocol code is tested, in the lab
	$(LAB) exec -- tests/coverage

.PHONY: top-test
top-test: ## Test srpt-top, with made-up counters
	@$(LAB) pytest tests/top $(SELECTED)

.PHONY: docs-test
docs-test: ## Test the documents: commands, links, what they say of the source
	@$(LAB) pytest tests/docs $(SELECTED)

.PHONY: build-test
build-test: ## Test what the build says about unsuitable kernels and tools
	@tests/build/run

.PHONY: demo
demo: ## Show the target at work between two virtual machines
	@$(LAB) python scripts/demo

.PHONY: test
test: ## Run all tests, or some (K=guest.login; KSERIES=7.2: on that kernel)
	@$(PYTEST) $(SELECTED)

.PHONY: quick
quick: ## Run all tests that need neither virtual machines nor random input
	@$(PYTEST) -m 'not guest and not fuzz and not kernel' $(SELECTED)

.PHONY: conformance
conformance: ## Print what the target answers, scenario by scenario (TARGET=stock: the C driver)
	@$(LAB) pytest -n 2 -k 'guest.conformance$(if $(K), and ($(K)))' $(ARGS)

.PHONY: fuzz-guest
fuzz-guest: ## Send random requests to the module (FUZZ_COUNT=500000 FUZZ_SEED=1)
	@FUZZ_COUNT=$${FUZZ_COUNT:-50000} FUZZ_SEED=$${FUZZ_SEED:-$$(($$(date +%s) / 86400))} $(LAB) pytest -k guest.fuzz -rP $(ARGS)

.PHONY: test-sanitized
test-sanitized: ## Run the guest tests on a kernel that reports wrong accesses, locks, leaks
	@KERNEL=sanitized $(LAB) pytest -n 2 $(SELECTED)

.PHONY: test-install
test-install: ## Install the package on a machine with systemd, reboot, upgrade, remove (BUILD=0: nothing is built or booted)
	@$(LAB) python tests/install/run $(if $(filter 0,$(BUILD)),--no-build)

.PHONY: faults
faults: ## Cause every fault that the lab can cause, for hours; write docs/faults.md (K=: some; OF=: of earlier runs; CUTS=100 SEED=1 WALK=600 LUNS=all)
	@$(if $(K),K='$(K)') $(LAB) tests-python tests/bench/faults

.PHONY: soak
soak: ## Run faults and load in random order for HOURS (1), each round on one pair of machines (SEED=1; K=: some)
	@HOURS=$${HOURS:-1} $(if $(K),K='$(K)') $(LAB) tests-python tests/bench/faults

.PHONY: bench
bench: lab-module ## Measure what commands cost, beside the C driver (CELL=read-4k-32: one cell)
	@$(if $(CELL),CELL='$(CELL)') $(LAB) tests-python tests/bench/run

.PHONY: bench-limits
bench-limits: ## Compare what commands cost with tests/bench/limits.toml
	@$(LAB) pytest -k bench.limits -rP

.PHONY: shell
shell: lab-module ## Open a shell in a virtual machine with the module loaded
	$(LAB) shell --module $(lab_module)

##@ The lab: a Debian 13 root file system and virtual machines with its kernel

.PHONY: lab-root
lab-root: ## Make the root file system, if it is not there yet
	$(LAB) root

.PHONY: lab-module
lab-module: ## Build the module in the lab, for the lab's kernel
	@$(lab_make) all

.PHONY: lab-initiator
lab-initiator: ## Build build/initiator/release/initiator in the lab
	@$(LAB) exec -- tests/initiator/build

.PHONY: lab-kernel
lab-kernel: ## Build the kernel of KERNEL=sanitized, if it is not there yet
	KERNEL=sanitized $(LAB) kernel

.PHONY: lab-check
lab-check: ## make check in the lab
	@$(lab_make) check

.PHONY: lab-clippy
lab-clippy: ## make clippy in the lab
	@$(lab_make) clippy

.PHONY: lab-style
lab-style: ## make style in the lab
	@$(lab_make) style

.PHONY: lab-selftest
lab-selftest: ## Show that the lab notices failures
	$(LAB) selftest

.PHONY: lab-clean
lab-clean: ## Remove saved consoles and outdated things in the cache
	$(LAB) clean

##@ This list

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z_-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Options: K=<expression> ARGS=<of pytest> JOBS=3 KDIR=<kernel tree> ENGINE=lio|scst SCST_DIR=<built SCST> OFED_DIR= OFED=0 RUSTC= BINDGEN= CC= LLVM=1 V=1 (see the Makefile)'
