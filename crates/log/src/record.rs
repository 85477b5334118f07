//! Records as they are given, and as they come back.

use bytes::Bytes;

use crate::frame::{HEADER_BYTES, Header, take_number};

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
    next_offset: u64,
    min_timestamp_ms: i64,
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
    /// The frame of a header and its bytes, header included, both checked.
    pub(crate) fn new(header: &Header, frame: &Bytes) -> Self {
        Self {
            base_offset: header.base_offset,
            next_offset: header.next_offset().unwrap_or(header.base_offset),
            min_timestamp_ms: header.min_timestamp_ms,
            records: frame.slice(HEADER_BYTES..header.frame_bytes()),
        }
    }

    /// The frame without the records before `offset`.
    pub(crate) fn starting_at(mut self, offset: u64) -> Self {
        let mut records = self.records();
        while records.offset < offset && records.next().is_some() {}
        let (rest, base_offset) = (records.rest, records.offset);
        self.records = self.records.slice_ref(rest);
        self.base_offset = base_offset;
        self
    }

    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> u64 {
        self.base_offset
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The bytes that the records take, keys and values with their lengths and timestamps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// The records, in the order of their offsets.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records {
            rest: &self.records,
            offset: self.base_offset,
            end: self.next_offset,
            min_timestamp_ms: self.min_timestamp_ms,
        }
    }

    /// A part of this frame, such as a key or a value, as bytes that own a share of the buffer.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.records.slice_ref(part)
    }
}

/// The records of a frame.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    offset: u64,
    end: u64,
    min_timestamp_ms: i64,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        if self.offset >= self.end {
            return None;
        }
        // The checksum has been verified, so what cannot be decoded was never written by us; it ends the frame.
        let since_min = take_number(&mut self.rest)?;
        let key = match take_number(&mut self.rest)?.checked_sub(1) {
            None => None,
            Some(length) => Some(take_bytes(&mut self.rest, length)?),
        };
        let value_length = take_number(&mut self.rest)?;
        let value = take_bytes(&mut self.rest, value_length)?;
        let offset = self.offset;
        self.offset += 1;
        let timestamp_ms = self.min_timestamp_ms.wrapping_add(since_min.cast_signed());
        Some(RecordRef { offset, timestamp_ms, key, value })
    }
}

fn take_bytes<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}
