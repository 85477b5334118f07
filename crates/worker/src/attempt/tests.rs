//! Attempts of real tasks, with a dispatcher that only listens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bench;
mod ending;
mod http;
mod secrets;
mod usage;
mod wait;
