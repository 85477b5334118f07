//! What can go wrong with the log: where, and what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A failed operation on the log. Cheap to clone, because one failed write answers many appenders.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused: the disk is full, a permission is missing, a device is gone. Nothing of a failed
    /// append is visible, and the log goes on when the cause is gone.
    #[error("event log failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `read`, `write`, `sync`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's word.
        source: Arc<std::io::Error>,
    },
    /// Another process has the log open for writing.
    #[error("event log {} is in use by another process; stop it, or open the log for reading only", dir.display())]
    Locked {
        /// The log's folder.
        dir: PathBuf,
    },
    /// The log was opened for reading only.
    #[error("event log {} is open for reading only", dir.display())]
    ReadOnly {
        /// The log's folder.
        dir: PathBuf,
    },
    /// The name cannot be a topic's.
    #[error("topic name {name:?} is refused: {reason}")]
    TopicName {
        /// The name.
        name: String,
        /// What is wrong with it, and what is allowed.
        reason: &'static str,
    },
    /// The options of a topic make no sense.
    #[error("topic {topic}: {reason}")]
    TopicOptions {
        /// The topic.
        topic: String,
        /// What is wrong, and what to write instead.
        reason: String,
    },
    /// There is a topic of that name already.
    #[error("topic {topic} exists already")]
    TopicExists {
        /// The topic.
        topic: String,
    },
    /// There is no topic of that name.
    #[error("there is no topic {topic}; create it first")]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// The topic has fewer partitions.
    #[error("topic {topic} has {partitions} partitions, so there is no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
        /// How many there are, counted from 0.
        partitions: u32,
    },
    /// A record is larger than a frame can be.
    #[error("a record of {size} bytes is larger than the limit of {limit} bytes; split it, or store a reference to it")]
    RecordTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// An append with an id is larger than a frame can be.
    #[error("an append of {size} bytes is larger than the limit of {limit} bytes for one with an id; split it")]
    AppendTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The id cannot be an append's.
    #[error("the id of an append must have 1 to 255 bytes")]
    AppendId,
    /// The id was that of an append of other records.
    #[error("topic {topic}: an append of other records had the id {id:?}; give each append an id of its own")]
    AppendIdTaken {
        /// The topic.
        topic: String,
        /// The id.
        id: String,
    },
    /// The offset is not there: retention has removed it, or it does not exist yet.
    #[error(
        "topic {topic}, partition {partition}: offset {offset} is outside {earliest}..={next}; start at the earliest offset"
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: u64,
        /// The first offset there is.
        earliest: u64,
        /// The offset that the next record will get.
        next: u64,
    },
    /// A file does not hold what was written: the disk or another program has changed it.
    #[error("event log file {} is damaged at byte {position}: {reason}; restore it from a copy, or remove it to lose its records", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The byte.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The writer thread has ended, because the log was closed.
    #[error("event log is closed")]
    Closed,
}

/// Says what was being done when the operating system refused.
pub(crate) trait IoContext<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, LogError>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, LogError> {
        self.map_err(|error| LogError::Io { action, path: path.to_owned(), source: Arc::new(error) })
    }
}
