//! The dataflow model, as pure values and synchronous operators.
//!
//! A query is a [`graph::Graph`] of logical operators over Arrow batches. [`physical::plan`] cuts it into stages joined
//! by exchanges. This crate knows what an operator *is* (keys, windows, watermarks, state) and how it computes; it reads
//! no clock, opens no file, spawns no task and knows no tokio. Threads, queues and checkpoints belong to `engine`; SQL
//! belongs to `sql`, which supplies the [`expression::Expression`]s and [`aggregate::AggregateFunction`]s that appear in
//! a graph.

pub mod aggregate;
pub mod batch;
pub mod chain;
pub mod coalesce;
pub mod definition;
mod encoding;
pub mod explain;
pub mod expression;
pub mod graph;
pub mod group;
pub mod key;
pub mod native;
pub mod operator;
pub mod operators;
pub mod physical;
pub mod restart;
pub mod scatter;
pub mod slice;
pub mod spill;
pub mod state;
pub mod time;
pub mod time_to_live;
pub mod trigger;
pub mod watermark;
pub mod window;
pub mod window_function;
