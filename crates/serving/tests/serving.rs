//! The one test binary of `serving`: statements in both modes, equality of batch and stream, and the life of views.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "serving/archived.rs"]
mod archived;
#[path = "serving/bad_input.rs"]
mod bad_input;
#[path = "serving/beyond_memory.rs"]
mod beyond_memory;
#[path = "../../connect/tests/connect/broker.rs"]
#[allow(dead_code, reason = "passwords and pauses are for the tests of `connect`")]
mod broker;
#[path = "../../connect/tests/connect/bucket.rs"]
#[allow(dead_code, reason = "kills are for the tests of `engine`")]
mod bucket;
#[path = "serving/changelog.rs"]
mod changelog;
#[path = "serving/changes.rs"]
mod changes;
#[path = "../../connect/tests/connect/cluster.rs"]
#[allow(dead_code, reason = "TLS is for the tests of `connect`")]
mod cluster;
#[path = "serving/early.rs"]
mod early;
#[path = "serving/events.rs"]
mod events;
#[path = "serving/exports.rs"]
mod exports;
#[path = "serving/fixture.rs"]
mod fixture;
#[path = "serving/flights.rs"]
mod flights;
#[path = "serving/forgetting.rs"]
mod forgetting;
#[path = "serving/formats.rs"]
mod formats;
#[path = "serving/frames.rs"]
mod frames;
#[path = "serving/full.rs"]
mod full;
#[path = "serving/functions.rs"]
mod functions;
#[path = "serving/generated/mod.rs"]
mod generated;
#[path = "serving/guarantees.rs"]
mod guarantees;
#[path = "serving/joins.rs"]
mod joins;
#[path = "serving/kafka.rs"]
mod kafka;
#[path = "serving/kappa.rs"]
mod kappa;
#[path = "serving/lake.rs"]
mod lake;
#[path = "serving/lambda.rs"]
mod lambda;
#[path = "serving/late_rows.rs"]
mod late_rows;
#[path = "serving/lookups.rs"]
mod lookups;
#[path = "serving/modes.rs"]
mod modes;
#[path = "serving/over.rs"]
mod over;
#[path = "serving/point_queries.rs"]
mod point_queries;
#[path = "serving/postgres.rs"]
mod postgres;
#[path = "serving/property.rs"]
mod property;
#[path = "serving/ranks.rs"]
mod ranks;
#[path = "../../connect/tests/connect/receiver.rs"]
#[allow(dead_code, reason = "some of it is for the tests of `connect`")]
mod receiver;
#[path = "serving/remote_notes.rs"]
mod remote_notes;
#[path = "serving/restarts.rs"]
mod restarts;
#[path = "serving/rolling.rs"]
mod rolling;
#[path = "serving/scalar_functions.rs"]
mod scalar_functions;
#[path = "serving/scripted.rs"]
mod scripted;
#[path = "serving/slt.rs"]
mod slt;
#[path = "serving/subscriptions.rs"]
mod subscriptions;
#[path = "serving/switches.rs"]
mod switches;
#[path = "serving/system_tables.rs"]
mod system_tables;
#[path = "serving/unwindowed.rs"]
mod unwindowed;
#[path = "serving/views.rs"]
mod views;
#[path = "serving/webhooks.rs"]
mod webhooks;
#[path = "serving/windows.rs"]
mod windows;
#[path = "serving/year.rs"]
mod year;
