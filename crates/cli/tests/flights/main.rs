//! The bundled project, run as a new user runs it: through the built program only, on the real data of 2013.
//!
//! What is right is computed here a second time, straight from `flights.csv.gz` with plain Rust.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod backfill;
mod crash;
mod crash_stores;
mod guarantees;
mod kill;
mod left_out;
mod oracle;
mod program;
mod savepoints;
mod scripted;
mod year;
