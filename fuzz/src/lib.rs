//! What is fuzzed: everything that reads bytes which somebody else may have written. Each function takes any bytes, and must
//! not panic; errors are fine, as long as they are errors.
//!
//! `make fuzz` runs each for a while, guided by coverage (see `fuzz/run`); `cargo test` goes through the corpus.
#![allow(clippy::expect_used, reason = "a test program: what cannot be set up ends it")]

pub mod checkpoint;
pub mod definitions;
pub mod files;
pub mod project;
pub mod records;
pub mod registry;
pub mod segments;
