//! Reading a partition, from a place on, in order.

use crate::{Frame, LogError};

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// At this offset; one past the last is allowed.
    Offset(u64),
    /// At the first record whose timestamp is this or later, in milliseconds since 1970-01-01T00:00Z.
    Time(i64),
}

/// Reads one partition. It blocks on files only, never for records: wait with [`crate::Topic::watch`].
#[derive(Debug)]
pub struct PartitionReader {
    next_offset: u64,
}

impl PartitionReader {
    /// The offset of the record that the next read begins with.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.next_offset
    }

    /// Reads frames from here on: at least one if there is one, else as many as fit into `max_bytes`. None when
    /// everything visible has been read. The first frame begins exactly at [`PartitionReader::offset`].
    pub fn read(&mut self, max_bytes: usize) -> Result<Vec<Frame>, LogError> {
        let _ = max_bytes;
        Ok(Vec::new())
    }
}
