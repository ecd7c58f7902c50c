# Two commands do all set-up themselves, on a Debian-like machine with Rust:
#   make demo   the main job, on embedded scripted backends
#   make test   everything that CI checks
# A third wants valgrind for its last part:
#   make bench  times of what runs for each event, and the instructions that it takes
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Where Debian puts it. `make test` installs it when it is missing.
export CHATMUX_CHROMIUM ?= /usr/bin/chromium
# Passed to the demo, e.g. make demo DEMO="--seconds 20 --port 8080"
DEMO ?=

.PHONY: help demo test bench setup setup-test fmt lint doc unit

help:
	@grep -E '^#   make' Makefile | sed 's/^# *//'

demo: setup
	cargo run --quiet -- demo $(DEMO)

test: setup-test fmt lint unit doc

bench: setup
	cargo bench --bench hot
	cargo bench --bench instructions

setup:
	@.ci/setup build

setup-test:
	@.ci/setup build test

fmt:
	cargo fmt --check

lint:
	cargo clippy --all-targets -- -D warnings
	cargo clippy --no-default-features --lib --bins -- -D warnings

unit:
	cargo test

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
