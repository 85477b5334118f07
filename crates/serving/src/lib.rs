//! Views: keeps them up to date, and answers queries over them.
//!
//! [`views::Views`] runs one engine job for each `CONTINUOUS` view, into a [`result::ResultTable`] in memory, and
//! refreshes `FULL` views in batch. [`run::run_statements`] runs SQL text in either mode.

pub mod result;
pub mod run;
mod sink;
pub mod status;
pub mod views;
