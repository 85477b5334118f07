//! Runs a dataflow graph here: stages, worker threads, exchanges, watermarks.
//!
//! The way of a row: a *reader task* on tokio takes it from a source partition and puts it, in a batch, into a queue
//! bounded in bytes; a *worker thread* takes it through the operators of a stage and, over further queues, through the
//! stages behind it; a *writer task* on tokio takes it from the last queue to the sink. A full queue stops whoever
//! fills it, up to the source. Watermarks travel in the same queues, behind the rows they speak of.
//!
//! [`job::Job::start`] is the entry; [`deterministic`] runs the same stages on one thread, in an order chosen by a seed.

mod acknowledge;
mod alignment;
mod bell;
pub mod checkpoint;
mod checkpointer;
mod clock;
mod coordinator;
pub mod crash;
pub mod cut;
pub mod deterministic;
mod discovery;
pub mod error;
mod first;
pub mod job;
mod latency;
mod lookup;
mod marked;
mod memory;
mod metrics;
pub mod outside;
pub mod pace;
mod queue;
mod reader;
mod route;
pub mod savepoint;
mod spool;
pub mod state_files;
pub mod status;
mod tasklet;
mod throughput;
mod view;
mod wiring;
mod worker;
mod writer;
