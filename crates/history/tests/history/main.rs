//! The stores of the history: one suite over all of them, and what only PostgreSQL has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod asked;
mod backfilling;
mod calls;
#[expect(dead_code, reason = "the tests of connect need more of it")]
#[path = "../../../connect/tests/connect/cluster.rs"]
mod cluster;
mod cut;
mod leading;
mod listing;
mod lost_answers;
mod outbox;
mod retention;
mod sample;
mod store;
mod suite;
mod worked;
mod written;
