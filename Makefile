# Everything here does its own set-up, in .venv: it needs python3 (3.10 or newer, with venv), make and,
# to compile, gcc and Python.h (Debian: python3-dev). Nothing outside this directory is changed.
#
#   make help                            this text; the same without a target
#   make demo [INPUT=file] [JSON=file]   a cluster replicates lines of text; RAFTX_PURE=1: interpreted
#   make test                            linters, then the tests compiled and interpreted; nothing runs twice
#   make test-compiled, make test-pure   the tests of one mode; ARGS="-k name" goes to pytest
#                                        what does not depend on the mode is part of test-compiled;
#                                        JOBS=0: in one process, for --pdb and -s
#   make test-python PYTHON=python3.13   the compiled tests on another Python, with an environment of its own in build/
#   make test-fast                       what of the compiled mode is tested within two minutes
#   make test-debug [SANITIZE=1]         the tests on a debug build, which checks indexes and invariants in compiled code;
#                                        SANITIZE=1: and on one with address and undefined-behaviour sanitizers;
#                                        ARGS=--fast: native, storage and engine; ARGS="-k name" goes to pytest
#   make ubsan                           the tests on a build that reports undefined behaviour; ARGS=--fast: most of them
#   make valgrind                        the tests of native code under valgrind (five minutes): accesses, unset bytes, leaks
#   make lint                            ruff, mypy, cython-lint
#   make interaction FILES="..."         run etcd's interaction scripts on the core; likewise
#   make quorum FILES="...", make confchange FILES="..."
#   make parity [SEEDS=1..500]           random schedules on the core, on raft-rs and on etcd/raft, compared (needs Rust and Go)
#   make parity-rust, make parity-go     with one of them
#   make etcd-answers [SEQUENCES=2000]   random sequences of requests to the key-value server and to etcd 3.4, compared (needs etcd)
#   make mixed [SEEDS=1..500]            clusters of compiled and interpreted raftx and etcd/raft (needs Go)
#   make scenarios FILES="..."           run scenario files and print the results; ARGS=--compare: on raft-rs too (needs Rust)
#   make reach [SEEDS=1..300]            what those schedules reach of the core, and what they do not
#   make crash [ARGS="--states 100000"]  build the states that a power cut may leave of a member's directory, and open each
#   make damage                          damage directories of nodes, and report the effect of each damage
#   make bits                            turn every single bit of a member's files over, and report the effect of each
#   make faults                          let every operation of scripted runs of the storage fail once (EIO, ENOSPC, short writes)
#   make kill [ARGS="--writer 300"]      members as processes, killed at random moments: nothing acknowledged may be missing
#   make power [ARGS="--cycles 200"]     power cuts of an ext4 on a loop device (root, losetup, mkfs.ext4)
#   make churn [ARGS="--cycles 200"]     members come and go as processes, while members are killed
#   make syscalls [ARGS="--only errors"] system calls of members fail, or they are killed in them (strace)
#   make losses [ARGS="--runs 20"]       members as processes whose directories are wiped or set back: each must be recognised;
#                                        and the same of simulated ones, and of two histories that meet
#   make histories [ARGS="--seed 7"]     what clients see of members that are killed, stopped, cut off, added and removed,
#                                        judged for linearizability, by porcupine too where Go is there; pauses of leaders
#   make endurance [ARGS="--seconds 3600"]
#                                        members under load for an hour, with every fault there is: nothing lost, and memory,
#                                        descriptors and threads flat (root, ip, iptables, losetup)
#   make lock-pauses [ARGS="--seed 7"]   holders of a lock are stopped for longer than their lease, 200 times: old tokens are refused
#   make size [ARGS="--members 3"]       ten million entries through a node: memory and disk must not grow with them
#   make docs                            the documents as a site, in build/site
#   make wheels [ARGS="--python P"]      wheels for the Pythons of this machine, and the pure one, in dist/, each installed and tried
#   make readme [ARGS=--pure]            the README's quick start as printed, from a wheel in an empty environment
#   make mutants                         mistakes put into the core one by one, and which test finds each
#   make bench                           benchmarks, both modes side by side
#   make bench-peers [ROUNDS=5] [ONLY=raftx-tcp,hashicorp] [LEVELS=1,64] [SIZES=256] [SECONDS=2] [JSON=file] [PLOTS=directory]
#                                        a durable cluster beside etcd, hashicorp/raft, dragonboat, PySyncObj and the bare limits,
#                                        in rounds that take turns; builds or installs them in build/peers (needs Go; apt-get for etcd)
#   make bench-growth [ROUNDS=3] [ONLY=members,failover] [JSON=file]
#                                        the cluster with more members, threads and entries, after a kill, behind, idle
#   make bench-core                      the core beside raft-rs and etcd/raft (needs Rust and Go)
#   make instructions                    instructions of core operations against those on record (needs valgrind)
#   make fuzz [FRAMES=1000000]           frames that no honest member can have sent, for a running cluster
#   make fuzz SECONDS=60                 whatever comes from outside, chosen by coverage (atheris), so long for each way in
#                                        SANITIZE=1: each on a build with address and undefined-behaviour sanitizers
#   make cuts [ARGS="--seconds 3,10"]    silent cuts of the network in all lengths and ways: how soon members are back (root, ip, iptables)
#   make partial [ARGS="--seeds 100"]    simulated members that see only some of the others: who leads, how soon, what becomes of the term
#   make partial-links [ARGS="--runs 5"] the same of processes in network namespaces (root, ip, iptables)
#   make soak [SCHEDULES=100000]         random schedules of whole nodes, and of the core alone, under a checker
#   make build                           compile in place what changed
#   make clean                           remove what was built, .venv included
#
# RAFTX_BUILD=auto|compiled|pure is for demo and bench (default: auto); test, soak and build insist on compiled.

# Tests and benchmarks start Python by the hundred: it starts in half the time where it may keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
RAFTX_BUILD ?= auto
SCHEDULES ?= 100000
FRAMES ?= 1000000
SEEDS ?=
SANITIZE ?=
FILES ?=
ARGS ?=
# Most of the slow tests wait for something: two for each of two processors keep these busy.
JOBS ?= 3

# Processes that share the tests, file by file. JOBS=0: one, as a debugger needs it.
WORKERS := -n $(JOBS) --dist loadfile

# A stamp for each finished step. What pip is asked for stands in pyproject.toml, but for the build tools.
BUILD_TOOLS := 'setuptools>=77' 'Cython>=3.2'
SOURCES := setup.py $(shell find raftx -name '*.py' -o -name '*.pyx' -o -name '*.px[di]' -o -name '*.h')
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
NO_INDEX = { echo "make: pip could not install what $@ needs (its message is above)." >&2; \
	echo "make: without access to PyPI, point PIP_INDEX_URL or PIP_FIND_LINKS at a mirror." >&2; exit 1; }

# "" and "0" mean off, as in the package.
ifneq ($(filter-out 0,$(RAFTX_PURE)),)
READY := $(VENV)/.run
else
READY := $(VENV)/.built-$(RAFTX_BUILD)
endif

# Without them nothing is built.
ifneq ($(filter interaction quorum confchange scenarios,$(MAKECMDGOALS)),)
ifeq ($(strip $(FILES)),)
$(error say which scripts: make $(firstword $(MAKECMDGOALS)) FILES="...")
endif
endif

.PHONY: help demo test test-compiled test-pure test-python test-fast test-debug ubsan valgrind lint interaction quorum confchange scenarios parity parity-go parity-rust
.PHONY: docs wheels readme etcd-answers mixed reach crash damage bits faults kill churn power syscalls losses histories endurance lock-pauses size mutants bench bench-peers bench-growth bench-core instructions cuts partial partial-links fuzz soak build clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

demo: $(READY)
	@$(RUN) -m raftx demo $(if $(INPUT),'$(INPUT)') $(if $(JSON),--save '$(JSON)')

test: lint
	@$(MAKE) --no-print-directory test-compiled
	@$(MAKE) --no-print-directory test-pure

test-compiled: $(VENV)/.built-compiled $(VENV)/.dev
	RAFTX_PURE= RAFTX_REQUIRE_COMPILED=1 $(RUN) -m tests.tools.suite $(WORKERS) --impl=compiled $(ARGS)

# Without what does not depend on the mode: that is part of the compiled run.
test-pure: $(VENV)/.dev
	RAFTX_PURE=1 RAFTX_REQUIRE_COMPILED= $(RUN) -m tests.tools.suite $(WORKERS) -m 'not once' $(ARGS)

# Its modules lie beside those of other Pythons, and are made of the same C files.
test-python:
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d%s" % (*sys.version_info[:2], sys.abiflags))') && mkdir -p build \
		&& $(MAKE) --no-print-directory test-compiled VENV=build/python-$$version

test-fast: $(VENV)/.built-compiled $(VENV)/.dev
	RAFTX_PURE= RAFTX_REQUIRE_COMPILED=1 $(RUN) -m tests.tools.suite $(WORKERS) --impl=compiled -m 'not slow' $(ARGS)

# In a copy of the tree, build/debug or build/debug-sanitized: the build in place stays as it is.
test-debug: $(VENV)/.dev
	@$(RUN) -m tests.tools.debug $(if $(filter-out 0,$(SANITIZE)),--sanitize) $(ARGS)

# In a copy of the tree, build/ubsan; it takes the C files of the build in place where there are any.
ubsan: $(VENV)/.dev
	@$(RUN) -m tests.tools.ubsan $(ARGS)

valgrind: $(VENV)/.built-compiled $(VENV)/.dev
	@$(RUN) -m tests.tools.valgrind $(ARGS)

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m mypy --follow-imports=silent raftx/node/futures.py
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint raftx

# FILES is a list of scripts.
interaction quorum confchange: $(READY)
	@$(RUN) -m interop.$(if $(filter interaction,$@),$@,$@_scripts) $(FILES)

scenarios: $(READY)
	@$(RUN) -m interop.scenarios $(ARGS) $(FILES)

parity parity-go parity-rust: $(READY)
	@$(RUN) -m interop.parity $(addprefix --with ,$(or $(patsubst parity-%,%,$(filter-out parity,$@)),rust go)) \
		--seeds $(or $(SEEDS),1..500) $(ARGS)

etcd-answers: $(READY)
	@$(RUN) -m interop.etcd_kv --sequences $(or $(SEQUENCES),2000) $(ARGS)

mixed: $(READY)
	@$(RUN) -m interop.mixed --seeds $(or $(SEEDS),1..500) $(ARGS)

reach: $(VENV)/.dev
	@RAFTX_PURE=1 $(RUN) -m interop.reach --seeds $(or $(SEEDS),1..300) $(ARGS)

crash: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.crash_states $(ARGS)

damage: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.damage $(ARGS)

bits: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.bits $(ARGS)

faults: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.faults $(ARGS)

kill: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.kill $(ARGS)

churn: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.churn $(ARGS)

power: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.power_cuts $(ARGS)

syscalls: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.syscalls $(ARGS)

losses: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.memory_loss $(ARGS)
	@$(RUN) -m raftx.testing.nodes.forgetting --schedules 240
	@$(RUN) -m raftx.testing.nodes.contradicting --schedules 150

histories: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.histories $(ARGS)

endurance: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.endurance $(ARGS)

lock-pauses: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.lock_pauses $(ARGS)

size: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.size $(ARGS)

docs: $(VENV)/.run
	@echo "installing what makes the site into $(VENV)"
	@RAFTX_BUILD=pure $(PIP) install --no-build-isolation --editable '.[docs,service]' || $(NO_INDEX)
	@RAFTX_PURE=1 $(RUN) -m sphinx -q -W --keep-going -c docs/site . build/site
	@echo "build/site/index.html"

wheels: $(VENV)/.dev
	@$(RUN) -m tests.tools.wheels $(ARGS)

readme: $(VENV)/.dev
	@$(RUN) -m tests.tools.readme $(ARGS)

mutants: $(VENV)/.dev
	@RAFTX_PURE=1 $(RUN) -m tests.tools.mutants $(ARGS)

# The scripts of bench/ are those that can be run as such.
bench: $(READY) $(VENV)/.dev
	$(RUN) -m pytest bench -o python_files='bench_*.py test_*.py' --benchmark-group-by=func \
		--benchmark-columns=median,iqr,ops $(ARGS)
	@for script in bench/bench_*.py; do \
		grep -q '^if __name__ == "__main__"' "$$script" || continue; \
		echo "$(RUN) $$script"; $(RUN) "$$script" || exit 1; done

bench-peers: $(VENV)/.built-compiled $(if $(PLOTS),$(VENV)/.plots)
	@$(RUN) -m bench.peers.run $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(LEVELS),--levels $(LEVELS)) \
		$(if $(SIZES),--sizes $(SIZES)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(JSON),--json '$(JSON)') \
		$(if $(PLOTS),--plots '$(PLOTS)') $(ARGS)

bench-growth: $(VENV)/.built-compiled
	@$(RUN) -m bench.growth.run $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json '$(JSON)') $(ARGS)

bench-core: $(VENV)/.built-compiled
	$(RUN) bench/core_compare.py $(ARGS)

instructions: $(VENV)/.built-compiled
	$(RUN) bench/instructions.py $(ARGS)

# SANITIZE=1: on the build of test-debug SANITIZE=1.
fuzz: $(VENV)/.built-compiled $(VENV)/.dev $(if $(SECONDS),$(VENV)/.atheris)
	@$(RUN) -m $(if $(filter-out 0,$(SANITIZE)),tests.tools.debug --sanitize --module )$(if $(SECONDS),tests.tools.coverage_fuzz --seconds $(SECONDS),tests.tools.frame_fuzz --frames $(FRAMES)) $(ARGS)

cuts: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.cuts $(ARGS)

partial: $(VENV)/.built-compiled
	@$(RUN) -m raftx.testing.nodes.partial --seeds 1000 $(ARGS)

partial-links: $(VENV)/.built-compiled
	@$(RUN) -m tests.tools.partial_links $(ARGS)

soak: $(VENV)/.built-compiled
	$(RUN) -m raftx.testing.nodes.soak --schedules $(SCHEDULES) $(ARGS)
	$(RUN) -m raftx.testing.soak --schedules $(SCHEDULES) $(ARGS)

build: $(VENV)/.built-compiled

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find raftx tests bench examples interop -name __pycache__ -prune -exec rm -rf {} +
	find raftx -name '*.so' -delete

$(VENV)/.made:
	@echo "setting up $(VENV): packages come from PyPI, and raftx is compiled; that takes a few minutes, once (four on two idle cores)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "make: $(PYTHON) is missing or older than 3.10; say which to use: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) \
		|| { echo "make: $(PYTHON) cannot make a venv (Debian: apt install python3-venv)" >&2; exit 1; }
	@touch $@

# raftx itself is installed as a pointer to this directory; nothing is compiled yet.
$(VENV)/.run: $(VENV)/.made pyproject.toml
	@echo "installing what raftx needs into $(VENV)"
	@$(PIP) install $(BUILD_TOOLS) || $(NO_INDEX)
	@RAFTX_BUILD=pure $(PIP) install --no-build-isolation --editable '.[cli]' || $(NO_INDEX)
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing the tools of developers into $(VENV)"
	@RAFTX_BUILD=pure $(PIP) install --no-build-isolation --editable '.[dev,bench]' || $(NO_INDEX)
	@touch $@

# What chooses inputs by coverage; it has wheels for Linux and macOS, and for Pythons up to 3.13.
$(VENV)/.atheris: $(VENV)/.dev
	@echo "installing atheris into $(VENV)"
	@$(PIP) install atheris || $(NO_INDEX)
	@touch $@

$(VENV)/.plots: $(VENV)/.run
	@echo "installing what draws plots into $(VENV)"
	@RAFTX_BUILD=pure $(PIP) install --no-build-isolation --editable '.[plots]' || $(NO_INDEX)
	@touch $@

# Each mode of building undoes the stamps of the others; a compiled tree is what auto hopes for.
$(VENV)/.built-%: $(VENV)/.run $(SOURCES)
	@echo "building raftx ($*): the first time takes a few minutes (four on two idle cores)"
	@rm -f $(VENV)/.built-*
	@RAFTX_BUILD=$* $(RUN) setup.py --quiet build_ext --inplace
	@touch $@ $(if $(filter compiled,$*),$(VENV)/.built-auto)
