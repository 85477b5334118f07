//! Tests of the connectors on real files, a real event log and a real lake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod avro;
mod bad_input;
mod broker;
#[allow(dead_code, reason = "kills are for the tests of `engine`")]
mod bucket;
mod cluster;
mod compaction;
mod dead_letters;
mod debezium;
mod definitions;
mod epochs;
mod files;
mod flights;
mod http;
mod influx;
mod kafka;
mod kafka_epochs;
mod lake;
mod lake_changes;
mod lake_failures;
mod made_up;
mod merges;
mod objects;
mod postgres;
mod postgres_writes;
mod project;
mod receiver;
mod sinks;
mod staged;
mod topic;
mod watching;
mod writes;
