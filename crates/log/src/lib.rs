//! The embedded event log: topics of partitions of records, each with an offset, kept in our own segment files.
//!
//! ```text
//! <dir>/lock                                  one process writes; any may read
//! <dir>/<topic>/topic.json                    partitions, retention, durability
//! <dir>/<topic>/epochs.json                   which epoch of each writer is in
//! <dir>/<topic>/<partition>/<base offset>.log      frames of records: append only
//! <dir>/<topic>/<partition>/<base offset>.index    sparse: offset and time to position; rebuilt when it is missing
//! ```
//!
//! One writer thread linearises every append, so that appenders that ask for [`Durability::Fsync`] at the same time
//! share one sync. A record is visible to readers when it is acknowledged, and not before. What was acknowledged under
//! `Fsync` survives the loss of the process and of power; a torn tail is cut off when the log is opened.
//!
//! The log reads no clock: records carry the timestamps their writers give them, and
//! [`EventLog::enforce_retention`] is told the time.

mod epochs;
mod error;
mod frame;
mod log;
mod once;
mod options;
mod partition;
mod reader;
mod record;
mod segment;
mod topic;
mod writer;

pub use error::LogError;
pub use log::{EventLog, Removed};
pub use once::Once;
pub use options::{Durability, LogOptions, TopicOptions};
pub use reader::{PartitionReader, StartAt};
pub use record::{Frame, Record, RecordRef, Records};
pub use topic::{Appended, EpochAppend, Topic};
