//! Nexmark: an online auction as a stream of persons, auctions and bids, and 23 questions about it.
//!
//! [`event`] says what event `n` is, [`files`] writes events as Parquet files, [`query`] holds the questions, [`check`]
//! answers each as a stream and in batch and compares, [`speed`] measures.

pub mod check;
pub mod event;
pub mod files;
pub mod multiset;
pub mod query;
mod random;
pub mod speed;
pub mod tables;
mod words;
