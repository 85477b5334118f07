//! Attempts of real tasks, with a dispatcher that only listens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod bench;
mod ending;
mod http;
mod memory;
mod secrets;
mod usage;
mod wait;
