# `make help` lists the targets. Each brings what it needs where it may (as root on Debian), else says what to install.

# Queries are checked against .sqlx: whatever DATABASE_URL says, building reaches no database.
export SQLX_OFFLINE := true

# What people try first they also measure: hence release. PROFILE=dev builds in half the time.
PROFILE ?= release

.DEFAULT_GOAL := help
# Two cargos would only wait for each other.
.NOTPARALLEL:
.PHONY: help run test test-python test-node model bench bench-growth bench-docs capacity-docs instructions fmt lint sqlx clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start a server with a database of its own (PROFILE=dev builds sooner)
	@scripts/need-cc
	@scripts/need-postgres
	cargo run --locked --profile $(PROFILE) --bin jeton -- dev

# What a test says goes before where it stood: the name of the test tells that.
test: export RUST_BACKTRACE := 0
test: lint test-python test-node ## everything that a change must pass
	@scripts/need-postgres
	cargo test --locked --package jeton --package jeton-ordering
	@# By itself: the features of what it needs would have jeton built a second time.
	cargo test --locked --package jeton-model

test-python: ## run the Python example, PyJWT, Authlib and FastAPI against servers of their own
	@scripts/need-cc
	@scripts/test-python

test-node: ## run jose and Express against a server of its own
	@scripts/need-cc
	@scripts/test-node

model: ## explore the model of revocation: all of it, some minutes and some GB of memory
	@scripts/need-cc
	cargo run --locked --release --package jeton-model

bench: ## measure what is promised of speed, each beside its floor: about ten minutes
	@scripts/need-cc
	@scripts/need-postgres
	cargo bench --locked --bench suite

bench-growth: ## measure how costs grow, overload, and what disturbs: about half an hour
	@scripts/need-cc
	@scripts/need-postgres
	cargo bench --locked --bench suite -- growth overload disturbed losses

bench-docs: ## write docs/performance.md from what both found
	@scripts/need-cc
	cargo bench --locked --bench suite -- --document

instructions: ## count the instructions of the evaluator and the parser, and compare
	@scripts/need-cc
	@scripts/count-instructions

capacity-docs: ## write benches/figures.json and docs/capacity.md from what the bench found
	@scripts/need-cc
	@scripts/need-python
	scripts/write-figures
	cargo build --locked --bin jeton
	scripts/write-capacity-docs

fmt: ## format the sources
	@scripts/need-rust
	cargo fmt --all

lint: ## check format, lints and API definitions
	@scripts/need-cc
	@scripts/need-rust
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	scripts/buf lint proto

sqlx: ## write .sqlx anew, after a change of queries or migrations
	@scripts/need-cc
	@scripts/write-query-data

clean: ## remove what was built; a development server's data stays
	cargo clean
