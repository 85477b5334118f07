//! Views: keeps them up to date, and answers queries over them.
//!
//! [`views::Views`] runs one engine job for each `CONTINUOUS` view, into a result held in memory, and refreshes `FULL`
//! views in batch. [`run::run_statements`] runs SQL text in either mode.

pub mod run;
pub mod status;
pub mod views;
