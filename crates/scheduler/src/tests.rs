//! The loop with everything real: SQLite on disk, a worker, shell processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod backfill;
mod branches;
mod calls;
mod cancel;
mod disk;
mod fixture;
mod foretell;
mod items;
mod keys;
mod kill;
mod landing;
mod python;
mod retention;
mod runs;
mod schedule;
mod simulation;
mod telling;
mod time_limit;
mod waiting;
