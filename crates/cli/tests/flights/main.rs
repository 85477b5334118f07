//! The bundled project, run as a new user runs it: through the built program only, on the real data of 2013.
//!
//! What is right is computed here a second time, straight from `flights.csv.gz` with plain Rust.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod ab_test;
mod access;
mod again;
mod archived;
mod backfill;
mod called;
#[expect(dead_code, reason = "the tests of connect need more of it")]
#[path = "../../../connect/tests/connect/cluster.rs"]
mod cluster;
mod confirmed;
mod copies;
mod crash;
mod crash_runs;
mod crash_stores;
mod exports;
mod full;
mod grafana;
mod guarantees;
mod in_front;
mod kappa;
mod kill;
mod lambda;
mod lead;
mod left_out;
mod lint;
mod oracle;
mod own_tables;
mod program;
mod raw_files;
mod savepoints;
mod scripted;
mod sql_clients;
mod sql_house;
mod subscribe;
mod switches;
mod transfers;
mod workers;
mod year;
