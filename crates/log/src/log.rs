//! The log as a whole: opening it, its topics, retention.

use std::path::Path;

use crate::{LogError, LogOptions, Topic, TopicOptions};

/// An open event log. Cloning it is cheap; when the last clone and the last [`Topic`] are gone, it is closed.
#[derive(Clone, Debug)]
pub struct EventLog {}

/// What retention has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl EventLog {
    /// Opens the log in a folder for reading and writing, creating it if there is none. Torn tails are cut off. One
    /// process can have a log open so at a time.
    pub fn open(dir: impl AsRef<Path>, options: LogOptions) -> Result<Self, LogError> {
        let _ = (dir.as_ref(), options);
        Ok(Self {})
    }

    /// Opens the log in a folder for reading, beside a process that may be writing: shows what is there now.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self, LogError> {
        let _ = dir.as_ref();
        Ok(Self {})
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, options: TopicOptions) -> Result<Topic, LogError> {
        let _ = options;
        Err(LogError::UnknownTopic { topic: name.to_owned() })
    }

    /// The topic of that name; created with `options` if there is none.
    pub fn topic_or_create(&self, name: &str, options: TopicOptions) -> Result<Topic, LogError> {
        self.topic(name).or_else(|_| self.create_topic(name, options))
    }

    /// The topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        Vec::new()
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Result<Topic, LogError> {
        Err(LogError::UnknownTopic { topic: name.to_owned() })
    }

    /// Removes the old segments that the topics' retention does not keep, as of `now_ms` (milliseconds since
    /// 1970-01-01T00:00Z). The segment that is being written stays, however old.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<Removed, LogError> {
        let _ = now_ms;
        Ok(Removed::default())
    }
}
