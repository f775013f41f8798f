//! The thin binary: parses flags, calls the library, returns the exit code.

fn main() {}
