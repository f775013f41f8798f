//! The thin binary: hands the command line to the library and returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    landfall::cli::main(std::env::args_os())
}
