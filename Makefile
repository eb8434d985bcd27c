# `make help` lists the targets. Every target first installs what is missing (scripts/setup).
.DEFAULT_GOAL := help
.PHONY: help setup experiment simtest simbench regression instrument planes startup claims calibrate scale cli report compare test test-fast check format lock clean distclean

PYTHON := .venv/bin/python
TOPO ?= single

# A misspelt variable would silently change what is measured.
KNOWN := TOPO WORLD SEEDS WORKERS QUICK N M SERVERS SEED CAPTURE FAMILY STRIP TAGS CONTROL DATAPLANE WIRE PEERS SERIES SOAK CLIENTS GROUP NETWORK RUN RUN_A RUN_B ARGS
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
KNOWN += MODEL TOPOLOGIES WAYS SIZES ENGINE SCHEDULER
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS SHELL,$(GIVEN))
$(if $(UNKNOWN),$(error exit 2: unknown variable $(UNKNOWN); expected: $(KNOWN)))

# So would one that no target of the command takes (a test holds these lists and the recipes together).
OF_NETWORKS := TOPO N M SERVERS FAMILY STRIP TAGS CONTROL DATAPLANE
takes-help :=
takes-setup :=
takes-check :=
takes-format :=
takes-lock :=
takes-clean :=
takes-distclean :=
takes-experiment := $(OF_NETWORKS) WORLD QUICK WIRE SEED CAPTURE PEERS ARGS
takes-cli := $(OF_NETWORKS) ARGS
takes-simtest := SEEDS WORKERS ARGS
takes-simbench := QUICK ARGS
takes-claims := QUICK ARGS
takes-regression := ARGS
takes-test := ARGS
takes-test-fast := ARGS
takes-instrument := QUICK SERIES ARGS
takes-ladder := QUICK SEED ARGS
takes-ns3 := QUICK SEED ARGS
takes-calibrate := QUICK SEED ARGS
takes-planes := QUICK SOAK SEED ARGS
takes-startup := QUICK N CONTROL SEED ARGS
takes-sweep := MODEL SEEDS TOPOLOGIES WAYS SIZES GROUP SERVERS DATAPLANE WORKERS ENGINE SCHEDULER ARGS
takes-scale := CLIENTS GROUP SERVERS NETWORK DATAPLANE QUICK SEED ARGS
takes-report := RUN
takes-compare := RUN_A RUN_B
GOALS := $(or $(MAKECMDGOALS),help)
TAKEN := $(foreach goal,$(GOALS),$(takes-$(goal)))
ALL_THERE := $(if $(filter undefined,$(foreach goal,$(GOALS),$(origin takes-$(goal)))),,yes)
UNHEEDED := $(if $(ALL_THERE),$(filter-out $(TAKEN) MAKEFLAGS SHELL,$(GIVEN)))
$(if $(UNHEEDED),$(error exit 2: make $(GOALS): $(UNHEEDED): expected $(if $(TAKEN),some of $(TAKEN),no variables)))

# Values stand between single quotes in commands, so that one of their own would end them; ARGS is the shell's.
QUOTE := '
QUOTED := $(strip $(foreach name,$(filter-out ARGS,$(KNOWN)),$(if $(findstring $(QUOTE),$($(name))),$(name))))
$(if $(QUOTED),$(error exit 2: $(QUOTED): expected a value without a single quote))
# $(call odd,MARK): something if MARK stands in ARGS an odd number of times.
odd = $(filter %1 %3 %5 %7 %9,$(words $(filter $(1),$(subst $(1), $(1) ,$(ARGS)))))
$(if $(call odd,$(QUOTE))$(call odd,"),$(error exit 2: ARGS: expected quotes in pairs))

# Variables that are on or off; nothing is off.
FLAGS := QUICK CAPTURE SOAK
ON := 1 yes true on
OFF := 0 no false off
UNCLEAR := $(strip $(foreach name,$(FLAGS),$(if $(filter-out $(ON) $(OFF),$($(name)))$(word 2,$($(name))),$(name)=$($(name)))))
$(if $(UNCLEAR),$(error exit 2: $(UNCLEAR): expected one of $(ON), or of $(OFF)))
# $(call flag,NAME,--name): the flag when the variable NAME is on.
flag = $(if $(filter $(ON),$($(1))),$(2))
# $(call option,NAME,--name): the option and its value when the variable NAME is set.
option = $(if $($(1)),$(2) '$($(1))')

NETWORK_OPTIONS = --topo '$(TOPO)' $(call option,N,--clients) $(call option,M,--terminals) \
	$(call option,SERVERS,--servers) \
	$(call option,FAMILY,--family) $(call option,STRIP,--strip) $(call option,TAGS,--hop-tags) \
	$(call option,CONTROL,--control) $(call option,DATAPLANE,--dataplane)
RUN_OPTIONS = $(call flag,QUICK,--quick) $(call option,WIRE,--wire) $(call option,SEED,--seed) $(call flag,CAPTURE,--capture) \
	$(call option,PEERS,--peers)

RUN_OPTIONS += $(call option,WORLD,--world)
SIMULATED := $(filter simulator,$(WORLD))
# A file's tests stay together: they share networks and runs. Half of their time they wait for processes.
PROCESSES := --numprocesses $(shell cores=$$(nproc); echo $$((cores < 4 ? cores + 1 : 4))) --dist loadfile

help: ## this list
	@echo 'blindrelay: a layer-2 VPN whose relay never decrypts'
	@echo
	@sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## /\1	/p' Makefile | while IFS='	' read -r target text; do \
		printf '  make %-12s %s\n' "$$target" "$$text"; done
	@echo
	@echo 'Variables: TOPO=single, or file.graphml  QUICK=1 (within 90 s)  N=clients  M=terminals on each LAN  SEED=number'
	@echo '           SERVERS=VPN servers (multiserver, cascade)'
	@echo '           CAPTURE=1  FAMILY=6|4  STRIP=keep|patent  WIRE=segmented|whole  RUN=folder'
	@echo '           RUN_A=folder RUN_B=folder (compare: two runs of one kind)'
	@echo '           WORLD=simulator (experiment: the same in a world of events, without root)'
	@echo '           TAGS=off|required (whether relays want a keyed tag on each datagram)'
	@echo '           DATAPLANE=socket|batch|kernel (default: the best sockets that the machine has; scale: whose costs)'
	@echo '           PEERS=openvpn,tinc,fastd,n2n,softether or all (single: other VPNs measured beside ours)'
	@echo '           SEEDS=500 (simtest: so many scripts of faults)  WORKERS=2 (in so many processes)'
	@echo '           MODEL=scale|world  TOPOLOGIES=sndlib/germany50  WAYS=single,cascade  SIZES=1000,10000 (sweep: combined, SEEDS too)'
	@echo '           ENGINE=process|dask  SCHEDULER=tcp://host:port (sweep: with dask on a cluster)'
	@echo '           CONTROL=tls|ike (what protects registration; ike: by strongSwan)'
	@echo '           SERIES=20 (instrument: so many comparisons of the relay with itself)'
	@echo '           CLIENTS=1000000  GROUP=clients of a group  NETWORK=backbone/world, or file.graphml (scale)'
	@echo '           ARGS="more arguments" (of what the target runs: make claims ARGS=E2, make scale ARGS=--help)'
	@echo 'Switches:  QUICK, CAPTURE, SOAK: on with 1, yes, true or on; off with 0, no, false, off or nothing'
	@echo 'Failures:  make always ends with 2; the line "exit N: reason" tells the code: 1 an invariant or a'
	@echo '           test failed, 2 usage or configuration, 3 this machine cannot. For the code itself:'
	@echo '           scripts/setup && scripts/run --root -m experiments run --topo single --quick'

setup: ## installs what is missing: Debian packages and .venv
	@scripts/setup

experiment: ## builds the topology, checks and measures, writes results/TOPO/... (several servers in full: 8 minutes)
	@scripts/setup $(if $(SIMULATED),--python,$(call option,PEERS,--peers))
	@scripts/run $(if $(SIMULATED),,--root) -m experiments run $(NETWORK_OPTIONS) $(RUN_OPTIONS) $(ARGS)

simtest: ## searches scripts of faults in the simulator: SEEDS=500 of them
	@scripts/setup --python
	@scripts/run -m experiments.simtest $(call option,SEEDS,--scripts) $(call option,WORKERS,--workers) $(ARGS)

simbench: ## measures the simulator: frames a second, and 1,000 clients (QUICK=1: 200)
	@scripts/setup --python
	@scripts/run -m experiments simbench $(call flag,QUICK,--quick) $(ARGS)

regression: ## runs every topology QUICK, compares exact counts, writes results/regression.xml (JUnit)
	@scripts/setup
	@scripts/run --root -m experiments regression $(ARGS)

instrument: ## checks what load is measured with: fit or not fit, and why
	@scripts/setup
	@scripts/run --root -m experiments instrument $(call flag,QUICK,--quick) $(call option,SERIES,--series) $(ARGS)

.PHONY: ladder
ladder: ## what each thing that a server does for a frame costs, rung by rung (13 minutes; QUICK=1: 3)
	@scripts/setup
	@scripts/run --root -m experiments ladder $(call flag,QUICK,--quick) $(call option,SEED,--seed) $(ARGS)

planes: ## measures the data planes, beside plain forwarding and others' hubs; SOAK=1: a long stream through each instead
	@scripts/setup --peers openvpn,softether
	@scripts/run --root -m experiments planes $(call flag,QUICK,--quick) $(call flag,SOAK,--soak) $(call option,SEED,--seed) $(ARGS)

startup: ## measures how soon clients are in their group, by TLS and by IKE; N=64, CONTROL=tls
	@scripts/setup
	@scripts/run --root -m experiments startup $(call flag,QUICK,--quick) $(call option,N,--clients) $(call option,CONTROL,--control) $(call option,SEED,--seed) $(ARGS)

claims: ## runs what shows each of the patent's claims and judges it: CLAIMS.md
	@scripts/setup
	@scripts/run --root -m experiments claims $(call flag,QUICK,--quick) $(ARGS)

.PHONY: ns3
ns3: ## compares our queues in arrays with ns-3: the same answers, and what they take
	@scripts/setup --ns3
	@scripts/run -m experiments ns3 $(call flag,QUICK,--quick) $(call option,SEED,--seed) $(ARGS)

.PHONY: sweep
sweep: ## works out all combinations of seeds, topologies, ways and sizes, each once; goes on where it was ended
	@scripts/setup --python
	@scripts/run -m experiments sweep $(call option,MODEL,--model) $(call option,SEEDS,--seeds) \
		$(call option,TOPOLOGIES,--topology) $(call option,WAYS,--way) $(call option,SIZES,--clients) \
		$(call option,GROUP,--group) $(call option,SERVERS,--servers) $(call option,DATAPLANE,--dataplane) \
		$(call option,WORKERS,--workers) $(call option,ENGINE,--engine) $(call option,SCHEDULER,--scheduler) $(ARGS)

calibrate: ## fits processor costs of all data planes, and checks them on what was left out (12 minutes; QUICK=1: 90 s)
	@scripts/setup
	@scripts/run --root -m experiments calibrate $(call flag,QUICK,--quick) $(call option,SEED,--seed) $(ARGS)

scale: ## works out what servers and links of a network with CLIENTS=1000000 carry, for each way
	@scripts/setup --python
	@scripts/run -m experiments scale $(call option,CLIENTS,--clients) $(call option,GROUP,--group-size) \
		$(call option,SERVERS,--servers) $(call option,NETWORK,--network) $(call option,DATAPLANE,--dataplane) \
		$(call flag,QUICK,--quick) $(call option,SEED,--seed) $(ARGS)

cli: ## opens the topology with Mininet's command line
	@scripts/setup
	@scripts/run --root -m experiments cli $(NETWORK_OPTIONS) $(ARGS)

report: ## one page over all of results/reference; RUN=folder: that run's report and pictures anew
	@scripts/setup --python
	@scripts/run -m experiments report $(if $(filter-out all,$(RUN)),'$(RUN)')

compare: ## sets RUN_A and RUN_B side by side: do intervals overlap, are counts equal
	@scripts/setup --python
	@scripts/run -m experiments compare $(foreach run,RUN_A RUN_B,'$(or $($(run)),$(error exit 2: $(run): expected a folder of a run))')

test: ## all tests, those in network namespaces and in a browser too
	@scripts/setup --tests
	@scripts/run --root -m pytest --require-emulated $(PROCESSES) $(ARGS)

test-fast: ## the tests that need no root
	@scripts/setup --python
	@scripts/run -m pytest -m 'not emulated' $(PROCESSES) $(ARGS)

check: ## style, types and who imports whom
	@scripts/setup --python
	@scripts/run -m ruff check
	@scripts/run -m ruff format --check
	@scripts/run -m mypy
	@scripts/run -m pytest --quiet tests/test_layering.py

format: ## formats the code and mends what ruff can mend
	@scripts/setup --python
	@$(PYTHON) -m ruff check --fix --quiet || true
	@$(PYTHON) -m ruff format

lock: ## resolves requirements.in into requirements.lock
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && python3 -m venv "$$folder" && \
		"$$folder/bin/python" -m pip install --quiet uv && \
		"$$folder/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.10 \
			--generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
			--output-file requirements.lock requirements.in

clean: ## removes caches, the runs (not results/reference), programs of killed relays (as root)
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .setup.log build dist
	@if [ -x $(PYTHON) ] && [ "$$(id -u)" = 0 ]; then $(PYTHON) -m nodes.kernel; fi
	@if [ -d results ]; then find results -mindepth 1 -maxdepth 1 ! -name reference ! -name README.md -exec rm -rf {} +; fi

distclean: clean ## removes the virtual environment too
	@rm -rf .venv nodes/kernel/relay.bpf.o
