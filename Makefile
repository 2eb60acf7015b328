# `make help` lists the targets. Each brings what it needs where it may (as root on Debian), else says what to install.

# Queries are checked against .sqlx: whatever DATABASE_URL says, building reaches no database.
export SQLX_OFFLINE := true

# Builds in a third of the time of a release build, and shares its dependencies with `make test`. Who measures says
# PROFILE=release.
PROFILE ?= dev

.DEFAULT_GOAL := help
# Two cargos would only wait for each other.
.NOTPARALLEL:
RUNS ?= 10
LOOPS ?= 2

.PHONY: help run check test test-busy faults attacks test-python test-go test-typescript test-java test-node conformance stubs model bench bench-growth bench-docs capacity-docs measure-search bench-clients instructions reference fmt lint sqlx clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start a server with a database of its own (PROFILE=release: as fast as it can be)
	@scripts/need-cc
	@scripts/need-postgres
	@scripts/say-building $(PROFILE)
	cargo run --locked --profile $(PROFILE) --bin jeton -- dev

check: ## format, lint, unit tests and the rules of the sources: first and fast, with Rust alone
	@scripts/need-cc
	@scripts/need-rust
	@scripts/check

test: ## run everything that a change must pass
	@scripts/need-cc
	@scripts/test

test-busy: ## the Rust suite ten times beside two busy loops (RUNS=, LOOPS=)
	@scripts/need-cc
	@scripts/need-rust
	@scripts/need-postgres
	@scripts/test-busy $(RUNS) $(LOOPS)

# SEED=… has it again as it was.
faults: export JETON_FAULTS_SEED := $(or $(SEED),$(shell date +%s))
faults: ## break the database under servers in every way the tests know, by a seed (SEED=): minutes, as root
	@scripts/need-cc
	@scripts/need-postgres
	@scripts/need-pgbouncer
	@echo "to have it again: make faults SEED=$$JETON_FAULTS_SEED"
	cargo test --locked --package jeton --test it database:: -- --include-ignored --nocapture

attacks: ## attack the listeners; check and print the memory, and the effect on others (PROFILE=release)
	@scripts/need-cc
	@scripts/need-postgres
	cargo test --locked --profile $(if $(filter dev,$(PROFILE)),test,$(PROFILE)) --test it attacks:: -- --include-ignored --nocapture --test-threads=1

test-python: ## check the Python client; run its README, the example, PyJWT, Authlib and FastAPI against servers
	@scripts/need-cc
	@scripts/test-python

test-go: ## check the Go client; run its README against a server
	@scripts/need-cc
	@scripts/test-go

test-typescript: ## check the TypeScript client, the code of its README included
	@scripts/test-typescript

test-java: ## check the Java client, the code of its README included
	@scripts/need-cc
	@clients/java/check

test-node: ## run jose, Express and openid-client against a server of its own
	@scripts/need-cc
	@scripts/test-node

conformance: ## run every client against the scenarios of clients/conformance (ONLY=language, SCENARIO=part of a name)
	@scripts/need-cc
	@scripts/test-clients $(if $(ONLY),--only $(ONLY)) $(if $(SCENARIO),--scenario $(SCENARIO))

stubs: ## generate the stubs of the clients that are here, as clients/*/buf.gen.yaml say
	@scripts/generate-stubs

model: ## explore the whole model of revocation: some minutes and some GB of memory
	@scripts/need-cc
	cargo run --locked --release --package jeton-model

bench: ## measure the promises of speed, each beside its floor: about ten minutes
	@scripts/need-cc
	@scripts/need-postgres
	cargo build --locked --release --bin jeton
	cargo bench --locked --package jeton-bench --bench suite

bench-growth: ## measure the growth of costs, overload, and disturbances: about half an hour
	@scripts/need-cc
	@scripts/need-postgres
	cargo build --locked --release --bin jeton
	cargo bench --locked --package jeton-bench --bench suite -- growth overload disturbed losses

bench-docs: ## write docs/performance.md from the results of both
	@scripts/need-cc
	cargo bench --locked --package jeton-bench --bench suite -- --document

bench-clients: ## measure the client libraries beside empty calls of gRPC (ONLY=a directory of clients/): minutes
	@scripts/need-cc
	@scripts/need-postgres
	@scripts/bench-clients $(ONLY)

measure-search: ## measure how long `jeton revoke --from` takes for a log of 1 GiB, and its memory
	@scripts/need-cc
	@scripts/need-python
	cargo build --locked --release --bin jeton
	scripts/measure-search

instructions: ## count the instructions of the evaluator and the parser, and compare
	@scripts/need-cc
	@scripts/count-instructions

capacity-docs: ## write crates/jeton-bench/figures.json and docs/capacity.md from the results of the bench
	@scripts/need-cc
	@scripts/need-python
	scripts/write-figures
	cargo build --locked --package jeton-bench --bin capacity
	scripts/write-capacity-docs

reference: ## write docs/reference/cli.md and docs/configuration.md from the parser
	@scripts/need-cc
	JETON_WRITE_REFERENCE=1 cargo test --locked --workspace --test it -- reference::

fmt: ## format the sources
	@scripts/need-rust
	cargo fmt --all

lint: ## check format, lints and API definitions
	@scripts/need-cc
	@scripts/need-rust
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	scripts/check-definitions

sqlx: ## write .sqlx again, after a change of queries or migrations
	@scripts/need-cc
	@scripts/need-postgres
	@scripts/write-query-data

clean: ## remove build outputs; a development server's data stays
	cargo clean
