//! When a file that a stream writes is closed and the next one begun: `sink.rolling-policy.*`.

use std::time::Duration;

use crate::error::ConnectError;
use crate::options::Options;

/// The options.
pub(super) const OPTIONS: [&str; 2] = ["sink.rolling-policy.file-size", "sink.rolling-policy.rollover-interval"];

/// A file is closed when it has grown to this, where nothing is said.
const FILE_BYTES: u64 = 128 << 20;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rolling {
    file_bytes: u64,
    /// How long a file may stay open; without it, it is closed at each checkpoint.
    interval: Option<Duration>,
}

impl Rolling {
    /// Reads the options.
    pub(super) fn new(options: &Options<'_>) -> Result<Self, ConnectError> {
        let file_bytes = options.bytes("sink.rolling-policy.file-size")?.unwrap_or(FILE_BYTES);
        let interval = options.duration("sink.rolling-policy.rollover-interval")?;
        Ok(Self { file_bytes: file_bytes.max(1), interval })
    }

    /// Whether a file of this size and age is to be closed.
    pub(super) fn is_due(&self, bytes: u64, age: Duration) -> bool {
        bytes >= self.file_bytes || self.interval.is_some_and(|interval| age >= interval)
    }

    /// Whether it stays open over a checkpoint.
    pub(super) fn stays_open(&self, bytes: u64, age: Duration) -> bool {
        self.interval.is_some() && !self.is_due(bytes, age)
    }
}
