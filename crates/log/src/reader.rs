//! Reading a partition, from a place on, in order.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::IoContext;
use crate::frame::{HEADER_BYTES, Header};
use crate::partition::{PartitionHandle, View};
use crate::segment::Segment;
use crate::{Frame, LogError};

/// Reads this much at once when it looks for a place.
const SEEK_BYTES: usize = 128 << 10;

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// At this offset; one past the last is allowed.
    Offset(u64),
    /// At the first record whose timestamp is this or later, in milliseconds since 1970-01-01T00:00Z; after the last
    /// one if there is none.
    Time(i64),
}

/// Reads one partition. It blocks on files only, never for records: wait with [`crate::Topic::watch`].
#[derive(Debug)]
pub struct PartitionReader {
    topic: String,
    partition: u32,
    handle: PartitionHandle,
    next_offset: u64,
    open: Option<OpenSegment>,
}

/// A segment that is being read. Between two reads, `position` is where the frame with the next offset begins.
#[derive(Debug)]
struct OpenSegment {
    base_offset: u64,
    file: File,
    position: u64,
}

impl PartitionReader {
    pub(crate) fn new(topic: &str, partition: u32, handle: PartitionHandle, from: StartAt) -> Result<Self, LogError> {
        let view = Arc::clone(&handle.view.borrow());
        let mut reader = Self { topic: topic.to_owned(), partition, handle, next_offset: 0, open: None };
        reader.next_offset = match from {
            StartAt::Earliest => view.earliest_offset(),
            StartAt::Latest => view.next_offset(),
            StartAt::Offset(offset) => offset,
            StartAt::Time(timestamp_ms) => offset_of_time(&view, timestamp_ms)?,
        };
        reader.check_in_range(&view)?;
        Ok(reader)
    }

    /// The offset of the record that the next read begins with.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.next_offset
    }

    /// Reads frames from here on: at least one if there is one, else as many as fit into `max_bytes`. None when
    /// everything visible has been read. The first frame begins exactly at [`PartitionReader::offset`].
    ///
    /// Fails when retention has removed what comes next; after an error the reader stands where it stood.
    pub fn read(&mut self, max_bytes: usize) -> Result<Vec<Frame>, LogError> {
        let view = Arc::clone(&self.handle.view.borrow());
        if self.next_offset == view.next_offset() {
            return Ok(Vec::new());
        }
        self.check_in_range(&view)?;
        let Some(segment) = view.segment_of(self.next_offset) else { return Ok(Vec::new()) };
        let open = match self.open.take().filter(|open| open.base_offset == segment.base_offset) {
            Some(open) => open,
            None => OpenSegment::at_offset(segment, self.next_offset)?,
        };
        let open = self.open.insert(open);
        let (frames, read_bytes) = read_frames(&open.file, segment, open.position, max_bytes)?;
        open.position += read_bytes;
        let from = self.next_offset;
        self.next_offset = frames.last().map_or(from, Frame::next_offset);
        // Only the first frame can hold records before the place where reading starts.
        let cut = |frame: Frame| if frame.base_offset() < from { frame.starting_at(from) } else { frame };
        Ok(frames.into_iter().map(cut).collect())
    }

    fn check_in_range(&self, view: &View) -> Result<(), LogError> {
        let (earliest, next) = (view.earliest_offset(), view.next_offset());
        if (earliest..=next).contains(&self.next_offset) {
            return Ok(());
        }
        let (topic, partition, offset) = (self.topic.clone(), self.partition, self.next_offset);
        Err(LogError::OffsetOutOfRange { topic, partition, offset, earliest, next })
    }
}

impl OpenSegment {
    /// Opens a segment at the frame that holds an offset.
    fn at_offset(segment: &Segment, offset: u64) -> Result<Self, LogError> {
        let file = File::open(&segment.path).during("open", &segment.path)?;
        let mut position = segment.position_before(offset);
        loop {
            let (frames, _) = read_frames(&file, segment, position, SEEK_BYTES)?;
            for frame in &frames {
                if frame.next_offset() > offset {
                    return Ok(Self { base_offset: segment.base_offset, file, position });
                }
                position += (HEADER_BYTES + frame.bytes()) as u64;
            }
            if frames.is_empty() {
                let reason = format!("offset {offset} is missing");
                return Err(LogError::Damaged { path: segment.path.clone(), position, reason });
            }
        }
    }
}

/// The offset of the first record whose timestamp is not earlier; the next offset if there is none.
fn offset_of_time(view: &View, timestamp_ms: i64) -> Result<u64, LogError> {
    let holds = |segment: &&Segment| segment.length > 0 && segment.max_timestamp_ms >= timestamp_ms;
    let Some(segment) = view.segments().find(holds) else { return Ok(view.next_offset()) };
    let file = File::open(&segment.path).during("open", &segment.path)?;
    let mut position = segment.position_before_time(timestamp_ms);
    loop {
        let (frames, read_bytes) = read_frames(&file, segment, position, SEEK_BYTES)?;
        let mut records = frames.iter().flat_map(Frame::records);
        if let Some(found) = records.find(|record| record.timestamp_ms >= timestamp_ms) {
            return Ok(found.offset);
        }
        if frames.is_empty() {
            return Ok(segment.next_offset);
        }
        position += read_bytes;
    }
}

/// Reads and checks the frames at a position: at least one unless the segment ends here, else as many as fit into
/// `max_bytes`. Returns them and how many bytes they take.
fn read_frames(file: &File, segment: &Segment, position: u64, max_bytes: usize) -> Result<(Vec<Frame>, u64), LogError> {
    let remaining = usize::try_from(segment.length.saturating_sub(position)).unwrap_or(usize::MAX);
    if remaining == 0 {
        return Ok((Vec::new(), 0));
    }
    let mut buffer = read_bytes(file, segment, position, max_bytes.max(HEADER_BYTES).min(remaining))?;
    let damaged = |at: usize, reason: &str| LogError::Damaged {
        path: segment.path.clone(),
        position: position + at as u64,
        reason: reason.to_owned(),
    };
    let first = Header::read(&buffer).map_err(|reason| damaged(0, reason))?;
    if first.frame_bytes() > buffer.len() {
        if first.frame_bytes() > remaining {
            return Err(damaged(0, "the frame reaches beyond the end"));
        }
        buffer = read_bytes(file, segment, position, first.frame_bytes())?;
    }
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 0;
    while let Some(rest) = buffer.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
        let header = Header::read(rest).map_err(|reason| damaged(at, reason))?;
        if header.frame_bytes() > rest.len() {
            break;
        }
        header.verify(rest).map_err(|reason| damaged(at, reason))?;
        if frames.last().is_some_and(|before| before.next_offset() != header.base_offset) {
            return Err(damaged(at, "the offset does not follow the one before"));
        }
        frames.push(Frame::new(&header, &buffer.slice(at..)));
        at += header.frame_bytes();
    }
    Ok((frames, at as u64))
}

fn read_bytes(file: &File, segment: &Segment, position: u64, length: usize) -> Result<Bytes, LogError> {
    let mut buffer = BytesMut::zeroed(length);
    file.read_exact_at(&mut buffer, position).during("read", &segment.path)?;
    Ok(buffer.freeze())
}
