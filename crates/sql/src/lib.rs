//! SQL text to a logical plan, to a batch plan (DataFusion) or a dataflow graph.
//!
//! [`catalog::Catalog`] holds what a project's files declare, checked, with the place of every mistake.
//! [`session::Session`] runs statements over it in batch, and plans them for the stream: one logical plan, two
//! executions. The dialect is Flink's ([`statement`]); functions are DataFusion's.

pub mod catalog;
mod check;
mod ddl;
mod dialect;
mod duration;
pub mod frame;
pub mod function;
mod insert;
pub mod layers;
pub mod mode_text;
mod opened_scans;
pub mod options;
pub mod past;
mod plan;
pub mod point_query;
mod prepared;
pub mod problem;
pub mod session;
pub mod size;
pub mod statement;
pub mod stream;
pub mod system;
mod text;
mod types;
pub mod wanted;
