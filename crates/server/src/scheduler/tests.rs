//! The loop with everything real: SQLite on disk, a worker, shell processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod backfill;
mod branches;
mod cancel;
mod disk;
mod fixture;
mod items;
mod kill;
mod python;
mod runs;
mod schedule;
mod simulation;
mod waiting;
