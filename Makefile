# Thin over cargo: everything here can be typed as it stands.

.PHONY: run test lint bench attacks matrix tuning

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

# Users during a handshake flood, and beside clients that never read.
attacks:
	cargo bench --bench edge -- --only flood,slow

matrix:
	cargo bench --bench matrix

tuning:
	cargo bench --bench matrix -- --tuning
