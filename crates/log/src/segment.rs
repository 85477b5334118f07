//! Segments: files of frames, named after their first offset, and the sparse index into each.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};

use crate::LogError;
use crate::error::IoContext;
use crate::frame::{HEADER_BYTES, Header};

/// The index has one entry in so many bytes of frames: finding a place reads no more than this in vain.
const INDEX_STEP_BYTES: u64 = 64 << 10;
/// "MLI" and the version of the layout.
const INDEX_MAGIC: u32 = u32::from_le_bytes(*b"MLI1");

/// A frame's place, and what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Of the frame's first record.
    pub(crate) offset: u64,
    /// Of the frame, in bytes.
    pub(crate) position: u64,
    /// The latest timestamp in the segment before this frame.
    pub(crate) max_timestamp_before_ms: i64,
}

/// What is known about a segment: all that is in it up to `length` is complete and acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) base_offset: u64,
    pub(crate) next_offset: u64,
    pub(crate) length: u64,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) index: Arc<Vec<IndexEntry>>,
}

impl Segment {
    /// An empty segment that begins at an offset.
    pub(crate) fn empty(dir: &Path, base_offset: u64) -> Self {
        Self {
            path: dir.join(format!("{base_offset:020}.log")),
            base_offset,
            next_offset: base_offset,
            length: 0,
            max_timestamp_ms: i64::MIN,
            index: Arc::new(Vec::new()),
        }
    }

    /// Takes note of a frame at the end.
    pub(crate) fn add_frame(&mut self, frame_bytes: usize, count: u32, max_timestamp_ms: i64) {
        let is_due = self.index.last().is_none_or(|last| self.length - last.position >= INDEX_STEP_BYTES);
        if is_due {
            let (offset, position) = (self.next_offset, self.length);
            let entry = IndexEntry { offset, position, max_timestamp_before_ms: self.max_timestamp_ms };
            Arc::make_mut(&mut self.index).push(entry);
        }
        self.length += frame_bytes as u64;
        self.next_offset += u64::from(count);
        self.max_timestamp_ms = self.max_timestamp_ms.max(max_timestamp_ms);
    }

    /// The last indexed position whose frame begins at or before `offset`.
    pub(crate) fn position_before(&self, offset: u64) -> u64 {
        let after = self.index.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |entry| entry.position)
    }

    /// An indexed position before which every timestamp is earlier than `timestamp_ms`: the last such.
    pub(crate) fn position_before_time(&self, timestamp_ms: i64) -> u64 {
        let after = self.index.partition_point(|entry| entry.max_timestamp_before_ms < timestamp_ms);
        after.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |entry| entry.position)
    }

    /// Reads a segment from its file, frame by frame, up to the first that is not whole, or of an epoch that reaches beyond
    /// `committed`. Says what is wrong with that one, `None` if the file ends well.
    pub(crate) fn scan(dir: &Path, base_offset: u64, committed: u64) -> Result<(Self, Option<&'static str>), LogError> {
        let mut segment = Self::empty(dir, base_offset);
        let path = segment.path.clone();
        let file = File::open(&path).during("open", &path)?;
        let file_bytes = file.metadata().during("read", &path)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut frame = Vec::new();
        while segment.length < file_bytes {
            let remaining = usize::try_from(file_bytes - segment.length).unwrap_or(usize::MAX);
            frame.resize(HEADER_BYTES.min(remaining), 0);
            file.read_exact(&mut frame).during("read", &path)?;
            let header = match Header::read(&frame) {
                Ok(header) if header.frame_bytes() > remaining => return Ok((segment, Some("the frame is cut off"))),
                Ok(header) => header,
                Err(reason) => return Ok((segment, Some(reason))),
            };
            frame.resize(header.frame_bytes(), 0);
            file.read_exact(frame.get_mut(HEADER_BYTES..).unwrap_or_default()).during("read", &path)?;
            if let Err(reason) = header.verify(&frame) {
                return Ok((segment, Some(reason)));
            }
            if header.base_offset != segment.next_offset || header.next_offset().is_none() {
                return Ok((segment, Some("the offset does not follow the one before")));
            }
            if header.is_epoch && header.next_offset().is_none_or(|next| next > committed) {
                return Ok((segment, Some("its epoch was not committed")));
            }
            segment.add_frame(frame.len(), header.count, header.max_timestamp_ms);
        }
        Ok((segment, None))
    }

    /// A segment that is no longer written: from its index file if that is whole, else by reading it all.
    pub(crate) fn open_sealed(dir: &Path, base_offset: u64) -> Result<Self, LogError> {
        if let Some(segment) = Self::read_index(dir, base_offset) {
            return Ok(segment);
        }
        // What comes behind a segment is written only when all that is in it counts.
        match Self::scan(dir, base_offset, u64::MAX)? {
            (segment, None) => Ok(segment),
            (segment, Some(reason)) => {
                Err(LogError::Damaged { path: segment.path, position: segment.length, reason: reason.to_owned() })
            }
        }
    }

    fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    /// Writes the index file. It can be made again from the segment, so it is not synced.
    pub(crate) fn write_index(&self) -> Result<(), LogError> {
        let mut bytes = Vec::with_capacity(40 + self.index.len() * 24);
        bytes.put_u32_le(INDEX_MAGIC);
        bytes.put_u64_le(self.length);
        bytes.put_u64_le(self.next_offset);
        bytes.put_i64_le(self.max_timestamp_ms);
        for entry in self.index.iter() {
            bytes.put_u64_le(entry.offset);
            bytes.put_u64_le(entry.position);
            bytes.put_i64_le(entry.max_timestamp_before_ms);
        }
        bytes.put_u32_le(crc32fast::hash(&bytes));
        let path = self.index_path();
        fs::write(&path, bytes).during("write", &path)
    }

    /// The segment as its index file says, if that is whole and fits the file.
    fn read_index(dir: &Path, base_offset: u64) -> Option<Self> {
        let mut segment = Self::empty(dir, base_offset);
        let bytes = fs::read(segment.index_path()).ok()?;
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if crc32fast::hash(content) != u32::from_le_bytes(checksum.try_into().ok()?) {
            return None;
        }
        let mut content = content;
        if content.len() < 28 || content.get_u32_le() != INDEX_MAGIC {
            return None;
        }
        segment.length = content.get_u64_le();
        segment.next_offset = content.get_u64_le();
        segment.max_timestamp_ms = content.get_i64_le();
        let mut index = Vec::with_capacity(content.len() / 24);
        while content.len() >= 24 {
            let (offset, position) = (content.get_u64_le(), content.get_u64_le());
            index.push(IndexEntry { offset, position, max_timestamp_before_ms: content.get_i64_le() });
        }
        segment.index = Arc::new(index);
        let file_bytes = fs::metadata(&segment.path).ok()?.len();
        (file_bytes == segment.length).then_some(segment)
    }

    /// Removes the files.
    pub(crate) fn remove(&self) -> Result<(), LogError> {
        let index = self.index_path();
        match fs::remove_file(&index) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).during("remove", &index),
            _ => fs::remove_file(&self.path).during("remove", &self.path),
        }
    }
}

/// The base offsets of the segments in a folder, ascending.
pub(crate) fn base_offsets(dir: &Path) -> Result<Vec<u64>, LogError> {
    let mut offsets = Vec::new();
    for entry in fs::read_dir(dir).during("list", dir)? {
        let name = entry.during("list", dir)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).filter(|number| number.len() == 20);
        offsets.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    offsets.sort_unstable();
    Ok(offsets)
}
