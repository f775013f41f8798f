//! The thin binary: hands the command line to the library and returns its exit code.

use std::process::ExitCode;

/// Gives back what a look at a server has used, and takes less of the processor where much is small. See `.cargo/config.toml`.
#[cfg(all(target_os = "linux", any(target_env = "gnu", target_env = "musl")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    landfall::shell::cli::main(std::env::args_os())
}
