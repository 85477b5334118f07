//! Tests of the engine: whole graphs, on real threads and on the deterministic executor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod alignment;
#[path = "../../../connect/tests/connect/bucket.rs"]
#[allow(dead_code, reason = "the options are for the tests of `connect`")]
mod bucket;
mod checkpoints;
mod clock;
mod endings;
mod equality;
mod flow;
mod full_disk;
mod graphs;
mod guarantees;
mod lookups;
mod memory;
mod observed;
mod parallelism;
mod remote;
mod savepoints;
mod time;
