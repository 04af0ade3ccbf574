# Thin over cargo: everything here can be typed as it stands.

.PHONY: run test lint bench matrix

run:
	cargo run --release -- serve

test:
	cargo test --workspace

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

bench:
	cargo bench --bench edge

matrix:
	cargo bench --bench matrix
