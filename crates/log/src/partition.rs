//! One partition as its writer sees it: the segments, and the file at their end that grows.
//!
//! An append is written, synced if the topic wants it, and only then made visible, by publishing a new [`View`]. When
//! writing or syncing fails, the file is cut back to what was visible before.

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::IoContext;
use crate::frame::EncodedFrame;
use crate::segment::{Segment, base_offsets};
use crate::{Durability, LogError, Removed, TopicOptions};

/// What readers may see of a partition.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Segments that no longer change, by offset.
    pub(crate) sealed: Arc<Vec<Arc<Segment>>>,
    /// The segment at the end.
    pub(crate) active: Segment,
}

impl View {
    pub(crate) fn earliest_offset(&self) -> u64 {
        self.sealed.first().map_or(self.active.base_offset, |segment| segment.base_offset)
    }

    pub(crate) fn next_offset(&self) -> u64 {
        self.active.next_offset
    }

    /// The segments, by offset.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.sealed.iter().map(AsRef::as_ref).chain([&self.active])
    }

    /// The segment that holds an offset, or will.
    pub(crate) fn segment_of(&self, offset: u64) -> Option<&Segment> {
        if offset >= self.active.base_offset {
            return Some(&self.active);
        }
        let after = self.sealed.partition_point(|segment| segment.base_offset <= offset);
        self.sealed.get(after.checked_sub(1)?).map(AsRef::as_ref)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments().map(|segment| segment.length).sum()
    }
}

/// What readers hold of a partition.
#[derive(Clone, Debug)]
pub(crate) struct PartitionHandle {
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) next_offset: watch::Receiver<u64>,
}

/// The one who writes a partition.
#[derive(Debug)]
pub(crate) struct PartitionWriter {
    dir: PathBuf,
    durability: Durability,
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    segment_bytes: u64,
    sealed: Arc<Vec<Arc<Segment>>>,
    /// The segment at the end, as far as it is visible.
    active: Segment,
    file: File,
    /// The segment at the end, with what has been written but is not visible yet.
    pending: Option<Segment>,
    /// Whether the file may hold more than is visible, because cutting it back has failed.
    untidy: bool,
    view: watch::Sender<Arc<View>>,
    next_offset: watch::Sender<u64>,
    buffer: Vec<u8>,
}

impl PartitionWriter {
    /// Opens the partition in a folder, creating it if there is none, and cuts off what is not whole at its end.
    /// Records of epochs count up to `committed`.
    pub(crate) fn open(
        dir: PathBuf,
        options: &TopicOptions,
        segment_bytes: u64,
        committed: u64,
    ) -> Result<Self, LogError> {
        fs::create_dir_all(&dir).during("create", &dir)?;
        let (sealed, active, tail) = read_segments(&dir, committed)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&active.path);
        let file = file.during("open", &active.path)?;
        if let Some(reason) = tail {
            let file_bytes = file.metadata().during("read", &active.path)?.len();
            let (path, kept, cut) = (active.path.display(), active.length, file_bytes.saturating_sub(active.length));
            tracing::warn!(%path, kept, cut, reason, "cut a torn tail off the event log");
            file.set_len(active.length).during("truncate", &active.path)?;
        }
        file.sync_all().during("sync", &active.path)?;
        sync_dir(&dir)?;
        let sealed = Arc::new(sealed);
        let view = watch::Sender::new(Arc::new(View { sealed: Arc::clone(&sealed), active: active.clone() }));
        Ok(Self {
            dir,
            durability: options.durability,
            retention_ms: options.retention_ms,
            retention_bytes: options.retention_bytes,
            segment_bytes,
            sealed,
            next_offset: watch::Sender::new(active.next_offset),
            active,
            file,
            pending: None,
            untidy: false,
            view,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn handle(&self) -> PartitionHandle {
        PartitionHandle { view: self.view.subscribe(), next_offset: self.next_offset.subscribe() }
    }

    /// Writes frames behind what has been written; [`PartitionWriter::commit`] makes them visible.
    ///
    /// Returns the offsets of each append. On an error, nothing written since the last commit remains.
    pub(crate) fn write(&mut self, appends: &mut [Vec<EncodedFrame>]) -> Result<Vec<Range<u64>>, LogError> {
        self.prepare()?;
        let mut pending = self.active.clone();
        let mut offsets = Vec::with_capacity(appends.len());
        self.buffer.clear();
        for frames in appends {
            let first = pending.next_offset;
            for frame in frames {
                self.buffer.extend_from_slice(frame.placed(pending.next_offset));
                pending.add_frame(frame.len(), frame.count, frame.max_timestamp_ms);
            }
            offsets.push(first..pending.next_offset);
        }
        let written = self.file.write_all_at(&self.buffer, self.active.length).during("write", &self.active.path);
        // A burst must not keep its memory for ever.
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        match written {
            Ok(()) => {
                self.pending = Some(pending);
                Ok(offsets)
            }
            Err(error) => {
                self.cut_back();
                Err(error)
            }
        }
    }

    /// Writes frames of an epoch behind what has been written. They become visible with [`PartitionWriter::show`], which comes
    /// before anything else is written; on an error, nothing written since remains.
    pub(crate) fn extend(&mut self, frames: &mut [EncodedFrame]) -> Result<(), LogError> {
        if self.pending.is_none() {
            self.prepare()?;
        }
        let mut pending = self.pending.take().unwrap_or_else(|| self.active.clone());
        let from = pending.length;
        self.buffer.clear();
        for frame in frames {
            self.buffer.extend_from_slice(frame.placed(pending.next_offset));
            pending.add_frame(frame.len(), frame.count, frame.max_timestamp_ms);
        }
        let written = self.file.write_all_at(&self.buffer, from).during("write", &self.active.path);
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.pending = Some(pending);
        written.inspect_err(|_| self.cut_back())
    }

    /// The offset behind all that has been written, visible or not.
    pub(crate) fn written_to(&self) -> u64 {
        self.pending.as_ref().unwrap_or(&self.active).next_offset
    }

    /// Brings what was written to disk, whatever the topic's durability is.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        if self.pending.is_none() {
            return Ok(());
        }
        self.file.sync_data().during("sync", &self.active.path)
    }

    /// Makes what was written visible.
    pub(crate) fn show(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.active = pending;
            self.publish();
        }
    }

    /// Takes back what was written and is not visible.
    pub(crate) fn take_back(&mut self) {
        if self.pending.is_some() {
            self.cut_back();
        }
    }

    /// Whether [`PartitionWriter::commit`] will sync.
    pub(crate) fn syncs(&self) -> bool {
        self.durability == Durability::Fsync
    }

    /// Makes what was written as durable as the topic wants, and then visible. On an error, none of it remains.
    pub(crate) fn commit(&mut self) -> Result<(), LogError> {
        if self.syncs()
            && let Err(error) = self.sync()
        {
            // What a failed sync has left on disk is unknown, so it must go.
            self.take_back();
            return Err(error);
        }
        self.show();
        Ok(())
    }

    /// Brings the file into a state in which it can be written: tidy, and not too large.
    fn prepare(&mut self) -> Result<(), LogError> {
        if self.untidy {
            self.file.set_len(self.active.length).during("truncate", &self.active.path)?;
            self.untidy = false;
        }
        if self.active.length >= self.segment_bytes {
            self.roll()?;
        }
        Ok(())
    }

    fn cut_back(&mut self) {
        self.pending = None;
        self.untidy = self.file.set_len(self.active.length).is_err();
    }

    /// Seals the active segment, whatever the topic's durability, and begins a new one.
    fn roll(&mut self) -> Result<(), LogError> {
        self.file.sync_all().during("sync", &self.active.path)?;
        let next = Segment::empty(&self.dir, self.active.next_offset);
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&next.path);
        let file = file.during("create", &next.path)?;
        sync_dir(&self.dir)?;
        if let Err(error) = self.active.write_index() {
            tracing::warn!(%error, "the index of an event log segment will be made again when the log is opened");
        }
        let sealed = std::mem::replace(&mut self.active, next);
        self.file = file;
        Arc::make_mut(&mut self.sealed).push(Arc::new(sealed));
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let view = View { sealed: Arc::clone(&self.sealed), active: self.active.clone() };
        self.view.send_replace(Arc::new(view));
        // After the view, so that whoever wakes up finds the records.
        self.next_offset.send_if_modified(|next| {
            let changed = *next != self.active.next_offset;
            *next = self.active.next_offset;
            changed
        });
    }

    /// Removes the oldest sealed segments that the topic's retention does not keep.
    pub(crate) fn enforce_retention(&mut self, now_ms: i64) -> Result<Removed, LogError> {
        let mut bytes: u64 = self.active.length + self.sealed.iter().map(|segment| segment.length).sum::<u64>();
        let oldest_ms = self.retention_ms.map(|retention_ms| now_ms.saturating_sub(retention_ms));
        let mut expired = Vec::new();
        for segment in self.sealed.iter() {
            let is_old = oldest_ms.is_some_and(|oldest_ms| segment.max_timestamp_ms < oldest_ms);
            let is_excess = self.retention_bytes.is_some_and(|limit| bytes > limit);
            if !is_old && !is_excess {
                break;
            }
            bytes -= segment.length;
            expired.push(Arc::clone(segment));
        }
        if expired.is_empty() {
            return Ok(Removed::default());
        }
        Arc::make_mut(&mut self.sealed).drain(..expired.len());
        // Nobody shall look for a file that is about to go.
        self.publish();
        let mut removed = Removed::default();
        for segment in expired {
            segment.remove()?;
            removed.segments += 1;
            removed.bytes += segment.length;
        }
        Ok(removed)
    }
}

/// How much of its buffer a writer keeps between batches.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// How often a folder is listed again that changes while it is read.
const READ_ATTEMPTS_MAX: usize = 5;

/// What there is to read of a partition that another process may be writing; records of epochs up to `committed`.
pub(crate) fn open_read_only(dir: &Path, committed: u64) -> Result<PartitionHandle, LogError> {
    // Its retention may remove a segment between the listing and the reading; the next listing does not have it.
    let mut segments = read_segments(dir, committed);
    for _ in 0..READ_ATTEMPTS_MAX {
        match segments {
            Err(LogError::Io { ref source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                segments = read_segments(dir, committed);
            }
            _ => break,
        }
    }
    let (sealed, active, _) = segments?;
    let next_offset = watch::Sender::new(active.next_offset);
    let view = watch::Sender::new(Arc::new(View { sealed: Arc::new(sealed), active }));
    Ok(PartitionHandle { view: view.subscribe(), next_offset: next_offset.subscribe() })
}

type Segments = (Vec<Arc<Segment>>, Segment, Option<&'static str>);

/// The sealed segments, the active one, and what is wrong with its tail.
fn read_segments(dir: &Path, committed: u64) -> Result<Segments, LogError> {
    let mut bases = base_offsets(dir)?;
    let Some(last) = bases.pop() else { return Ok((Vec::new(), Segment::empty(dir, 0), None)) };
    let mut sealed: Vec<Arc<Segment>> = Vec::new();
    for base in bases {
        let segment = Segment::open_sealed(dir, base)?;
        check_follows(sealed.last(), &segment)?;
        sealed.push(Arc::new(segment));
    }
    let (active, tail) = Segment::scan(dir, last, committed)?;
    check_follows(sealed.last(), &active)?;
    Ok((sealed, active, tail))
}

fn check_follows(before: Option<&Arc<Segment>>, segment: &Segment) -> Result<(), LogError> {
    match before {
        Some(before) if before.next_offset != segment.base_offset => {
            let reason = format!("offsets {} to {} are missing before it", before.next_offset, segment.base_offset);
            Err(LogError::Damaged { path: segment.path.clone(), position: 0, reason })
        }
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|dir| dir.sync_all()).during("sync", dir)
}
