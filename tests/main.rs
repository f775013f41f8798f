//! Integration tests: one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod architecture;
mod cli;
mod manifest;
mod views;
