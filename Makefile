# Bessemer's few targets. CI and people use the same ones; every target but help and clean first makes sure, by
# integration/scripts/setup, that what it needs is installed.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# A toolchain that setup had to fetch comes first; without one the directory does not exist and the path is harmless.
# The sbin directories hold sfdisk, mke2fs and depmod, which need no root.
export PATH := $(CURDIR)/build/toolchain/bin:$(PATH):/usr/sbin:/sbin
export GOTOOLCHAIN := local
# A packager's flags for C, or else Go's own, and SQLite syncs a file's data without its times (docs/adr/0285). The flag is
# there once, however deep one make runs another. integration/servers has it too.
FDATASYNC := -DHAVE_FDATASYNC=1
override CGO_CFLAGS := $(or $(strip $(filter-out $(FDATASYNC),$(CGO_CFLAGS))),-O2 -g) $(FDATASYNC)
export CGO_CFLAGS

GO       := go
TOOLS    := -modfile=integration/tools/go.mod
RECORD   := $(GO) run ./integration/safetyreport
# How long the tests of one package with the build tag vm may take.
VM_LIMIT := 25m
# Of the packages with that tag, those whose tests run programs and wait for the most part. They run beside each other.
WAITING  := ./integration/clients ./integration/crash
# The others, with virtual machines; one package at a time: a machine without KVM takes both cores of a small host.
MACHINES  = $(filter-out $(WAITING),$(shell grep -rl --include='*_test.go' '^//go:build vm' integration | xargs -n1 dirname | sort -u | sed 's,^,./,'))

.PHONY: help setup build test compare check vm ramdisk demo bench docs nightly safety-report mutants clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup: ## install what is missing (apt as root or with sudo), or name it
	@integration/scripts/setup

build: setup ## build the server, the agent and the Redfish emulator into build/
	@mkdir -p build
	$(GO) build -trimpath -o build/bessemer ./server
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o build/bessemer-agent ./agent
	CGO_ENABLED=0 $(GO) build -trimpath -o build/redfish-emulator ./integration/cmd/redfish-emulator

test: setup ## run everything: vet, unit and simulation tests with -race, the comparison with Ironic, virtual machines
	$(GO) vet -trimpath ./...
	$(RECORD) -record build/test/unit.json -- -race -vet=off -p 3 ./...
	@$(MAKE) --no-print-directory compare
	@$(MAKE) --no-print-directory vm

vm: setup ## run the tests of real programs together: clients, kills, virtual machines
	$(RECORD) -record build/test/waiting.json -- -trimpath -tags vm -p 2 -count=1 -timeout $(VM_LIMIT) $(WAITING)
	$(RECORD) -record build/test/vm.json -- -trimpath -tags vm -p 1 -count=1 -timeout $(VM_LIMIT) $(MACHINES)

compare: setup ## send the same requests to Debian's Ironic and to this server; fails where a difference is not listed
	$(RECORD) -record build/test/compare.json -- -trimpath -tags ironic -run LikeIronic -count=1 -timeout 10m ./integration/differential -args -differences $(CURDIR)/build/differences.txt

check: setup ## format, vet, linters, floors, generated pages, licences, vulnerabilities
	@integration/scripts/check

ramdisk: build ## build the ramdisk and the boot ISO into build/ramdisk
	build/bessemer ramdisk build --output build/ramdisk

demo: setup ## take two emulated servers from enroll to a booted operating system (KEEP=1 leaves the server running)
	@$(GO) build -trimpath -o build/tools/demo ./integration/cmd/demo && exec build/tools/demo

bench: setup ## run the benchmarks and write docs/benchmarks
	@integration/scripts/setup bench
	$(GO) run ./integration/bench

docs: setup ## write the generated reference pages anew
	$(GO) run ./docs/gen

nightly: setup ## the long jobs: fuzz targets for FUZZTIME (10m), KILLS (1000) kills, the simulation for SIMTIME (8h), make mutants, make check, make test
	@integration/scripts/nightly

safety-report: setup ## print each safety number, how many tests carry it and their last result (V=1: each test)
	@$(RECORD) $(if $(V),-v)

mutants: setup ## remove each check of the guards in turn; a test must fail each time
	$(GO) run ./integration/mutants

clean: ## remove everything that was built
	@chmod -R u+w build 2>/dev/null || true
	rm -rf build
