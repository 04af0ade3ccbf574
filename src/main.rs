//! The `nearport` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    nearport::cli::main()
}
