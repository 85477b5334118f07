//! Frames: the unit in which records are written, checked and read.
//!
//! ```text
//!  0  magic              u32   tells a frame from anything else, versions the layout, and says whether it is of an epoch
//!  4  checksum           u32   CRC-32 of everything from byte 16 on
//!  8  base offset        u64   of the first record; not under the checksum, for the writer fills it in last, but
//!                              always the offset after the frame before
//! 16  length             u32   of the records in bytes
//! 20  count              u32   of the records, at least 1
//! 24  min timestamp      i64   milliseconds
//! 32  max timestamp      i64   milliseconds
//! 40  records                  each: timestamp - min, key length + 1 (0: no key), key, value length, value
//! ```
//!    ...                      in a frame that is a whole append with an id: a fingerprint u64, the id, and its length u8
//!
//! Fixed numbers are little-endian; those in records are LEB128.

use bytes::{Buf, Bytes};

use crate::{LogError, Record};

/// "MLG" and the version of the layout.
const MAGIC: u32 = u32::from_le_bytes(*b"MLG1");
/// The same of a frame that counts only if its epoch was committed: see [`crate::epochs`].
const EPOCH_MAGIC: u32 = u32::from_le_bytes(*b"MLE1");
/// The same of a frame that is a whole append with an id: see [`crate::once`].
const ID_MAGIC: u32 = u32::from_le_bytes(*b"MLO1");
/// An id has at most so many bytes.
pub(crate) const ID_BYTES_MAX: usize = 255;
/// The bytes before the records.
pub(crate) const HEADER_BYTES: usize = 40;
/// Where the checksum begins.
const CHECKED_FROM: usize = 16;
/// A record's key and value together may have this many bytes: 16 MiB. What is larger belongs into a file.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;
/// A frame is closed when it has grown to this: 1 MiB keeps reading steps small and headers rare.
const FRAME_BYTES_TARGET: usize = 1 << 20;
/// No frame is longer; a longer length is damage.
const FRAME_BYTES_MAX: usize = FRAME_BYTES_TARGET + RECORD_BYTES_MAX + 64;

/// A header that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whether it is of an epoch.
    pub(crate) is_epoch: bool,
    /// Whether an id stands behind the records.
    pub(crate) has_id: bool,
    checksum: u32,
    pub(crate) base_offset: u64,
    pub(crate) length: usize,
    pub(crate) count: u32,
    pub(crate) min_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
}

impl Header {
    /// Reads a header; `Err` says in what respect it is none.
    pub(crate) fn read(mut bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < HEADER_BYTES {
            return Err("the header is cut off");
        }
        let (is_epoch, has_id) = match bytes.get_u32_le() {
            MAGIC => (false, false),
            EPOCH_MAGIC => (true, false),
            ID_MAGIC => (false, true),
            _ => return Err("no frame begins here"),
        };
        let header = Self {
            is_epoch,
            has_id,
            checksum: bytes.get_u32_le(),
            base_offset: bytes.get_u64_le(),
            length: usize::try_from(bytes.get_u32_le()).unwrap_or(usize::MAX),
            count: bytes.get_u32_le(),
            min_timestamp_ms: bytes.get_i64_le(),
            max_timestamp_ms: bytes.get_i64_le(),
        };
        if header.length > FRAME_BYTES_MAX || header.count == 0 {
            return Err("the header is garbled");
        }
        Ok(header)
    }

    /// The bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.length
    }

    /// The offset after the last record; `None` beyond the end of all offsets, which only damage reaches.
    pub(crate) fn next_offset(&self) -> Option<u64> {
        self.base_offset.checked_add(self.count.into())
    }

    /// Checks the whole frame, header included.
    pub(crate) fn verify(&self, frame: &[u8]) -> Result<(), &'static str> {
        let checked = frame.get(CHECKED_FROM..self.frame_bytes()).ok_or("the frame is cut off")?;
        if crc32fast::hash(checked) == self.checksum { Ok(()) } else { Err("the checksum does not match") }
    }
}

/// A frame on its way to the writer, complete but for its base offset.
#[derive(Debug)]
pub(crate) struct EncodedFrame {
    bytes: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) max_timestamp_ms: i64,
}

impl EncodedFrame {
    /// The frame with its base offset filled in.
    pub(crate) fn placed(&mut self, base_offset: u64) -> &[u8] {
        if let Some(place) = self.bytes.get_mut(8..CHECKED_FROM) {
            place.copy_from_slice(&base_offset.to_le_bytes());
        }
        &self.bytes
    }

    /// Fills in the magic number, the length and the checksum.
    fn seal(&mut self, magic: u32) {
        let length = u32::try_from(self.bytes.len() - HEADER_BYTES).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(CHECKED_FROM..CHECKED_FROM + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        let checksum = crc32fast::hash(self.bytes.get(CHECKED_FROM..).unwrap_or_default());
        let front = u64::from(checksum) << 32 | u64::from(magic);
        if let Some(place) = self.bytes.get_mut(..8) {
            place.copy_from_slice(&front.to_le_bytes());
        }
    }

    /// The same frame as part of an epoch.
    pub(crate) fn of_epoch(mut self) -> Self {
        if let Some(place) = self.bytes.get_mut(..4) {
            place.copy_from_slice(&EPOCH_MAGIC.to_le_bytes());
        }
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Packs records into as few frames as their sizes allow.
pub(crate) fn encode(records: &[Record]) -> Result<Vec<EncodedFrame>, LogError> {
    let mut frames = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(frame_records(rest)?);
        frames.push(encode_one(now));
        rest = later;
    }
    Ok(frames)
}

/// Packs records and an id into one frame, which is in the log as a whole or not at all.
pub(crate) fn encode_with_id(records: &[Record], fingerprint: u64, id: &str) -> Result<EncodedFrame, LogError> {
    let mut frame = encode_one(records);
    frame.bytes.extend_from_slice(&fingerprint.to_le_bytes());
    frame.bytes.extend_from_slice(id.as_bytes());
    frame.bytes.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
    let size = frame.bytes.len() - HEADER_BYTES;
    if size > FRAME_BYTES_MAX {
        return Err(LogError::AppendTooLarge { size, limit: FRAME_BYTES_MAX });
    }
    frame.seal(ID_MAGIC);
    Ok(frame)
}

/// How many of the records fit into one frame; at least one.
fn frame_records(records: &[Record]) -> Result<usize, LogError> {
    let mut bytes = 0;
    for (index, record) in records.iter().enumerate() {
        let size = record.key.as_ref().map_or(0, Bytes::len) + record.value.len();
        if size > RECORD_BYTES_MAX {
            return Err(LogError::RecordTooLarge { size, limit: RECORD_BYTES_MAX });
        }
        if index > 0 && bytes + size > FRAME_BYTES_TARGET {
            return Ok(index);
        }
        // The numbers before key and value take 3 bytes at least, which bounds the count of empty records too.
        bytes += size + 3;
    }
    Ok(records.len())
}

fn encode_one(records: &[Record]) -> EncodedFrame {
    let timestamps = records.iter().map(|record| record.timestamp_ms);
    let (min, max) = timestamps.fold((i64::MAX, i64::MIN), |(min, max), t| (min.min(t), max.max(t)));
    let payload: usize = records.iter().map(|r| r.key.as_ref().map_or(0, Bytes::len) + r.value.len() + 16).sum();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload);
    bytes.resize(HEADER_BYTES, 0);
    for record in records {
        // Wraps for timestamps at both ends of all time, and wraps back when read.
        put_number(&mut bytes, record.timestamp_ms.wrapping_sub(min).cast_unsigned());
        let key_length = record.key.as_ref().map_or(0, |key| key.len() as u64 + 1);
        put_number(&mut bytes, key_length);
        bytes.extend_from_slice(record.key.as_deref().unwrap_or_default());
        put_number(&mut bytes, record.value.len() as u64);
        bytes.extend_from_slice(&record.value);
    }
    let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&[0; 20]);
    header.extend_from_slice(&count.to_le_bytes());
    header.extend_from_slice(&min.to_le_bytes());
    header.extend_from_slice(&max.to_le_bytes());
    bytes.splice(..HEADER_BYTES, header);
    let mut frame = EncodedFrame { bytes, count, max_timestamp_ms: max };
    frame.seal(MAGIC);
    frame
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off the front; `None` when it is cut off or too long.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
