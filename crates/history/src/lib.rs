//! Everything durable about flows: versions, runs, tasks, attempts, events, backfills.
//!
//! The scheduler's loop is the only writer; it hands over a batch of [`write::Write`]s, which are stored in one
//! transaction or not at all. Every status change is a compare-and-set and brings its event row with it. Readers see
//! the committed state through [`read`]'s shapes. [`sqlite::SqliteHistory`] is the embedded store; [`History`] is what
//! another store has to do.

mod error;
mod history;
pub mod read;
pub mod sqlite;
pub mod write;

pub use error::HistoryError;
pub use history::History;
