//! Importers: what other workflow managers have as text becomes flows, with a report that hides nothing.
//!
//! Pure: text in, flows and findings out. [`crontab`], [`digdag`] and [`oozie`] read their files; [`recorded`] reads what the stubs
//! of Airflow and Luigi have recorded while the user's own Python ran the file.
//!
//! - Every construct that was met is a [`Finding`]: imported, approximated (with what is different), or missing (with what to do).
//! - A task that cannot be imported becomes one that fails and says so, so that what needs it never runs by accident.
//! - What is produced passes the checks of every flow file; a flow that does not is reported, not written.

pub mod crontab;
pub mod digdag;
mod draft;
pub mod oozie;
pub mod recorded;
mod report;
mod shell;
mod yaml;

pub use draft::{Draft, Import, ImportedFlow};
pub use report::{Coverage, Finding, Outcome};
