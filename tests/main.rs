//! Integration tests: one binary.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so by panicking")]

mod architecture;
mod bounds;
mod cli;
mod conformance;
mod convergence;
mod docker;
mod documents;
mod fleet;
mod git;
mod hosts;
mod manifest;
mod notify;
mod packages;
mod planner;
mod quickstart;
mod ssh;
mod support;
mod tls;
mod transcript;
mod views;
mod web;
