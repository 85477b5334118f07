//! Everything durable about flows: versions, runs, tasks, attempts, events, backfills.
//!
//! The scheduler's loop is the only writer; it hands over a batch of [`write::Write`]s, which are stored in one
//! transaction or not at all. Every status change is a compare-and-set and brings its event row with it. Readers see
//! the committed state through [`read`]'s shapes. [`sqlite::SqliteHistory`] is the embedded store, for one machine;
//! [`postgres::PostgresHistory`] is the one for two or more servers. [`History`] is what a store has to do, and one suite of tests says
//! whether it does (`tests/history/`).

pub mod asked;
pub mod call;
mod error;
mod event;
mod history;
pub mod listing;
pub mod lock;
pub mod outbox;
pub mod postgres;
mod question;
pub mod read;
mod reading;
pub mod retention;
mod row;
pub mod sqlite;
pub mod worked;
pub mod write;
pub mod written;

pub use error::HistoryError;
pub use history::History;
