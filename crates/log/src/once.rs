//! Appends with an id: the same id again appends nothing and gives the offsets of the first time, also after a crash.
//!
//! Such an append is one frame, and its id stands in the frame: so both are in the log or neither is. Which ids there are is
//! remembered in memory, and read from the frames of the last day with the first append after the log was opened: only headers
//! and ids are read.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use xxhash_rust::xxh3::Xxh3;

use crate::error::IoContext;
use crate::frame::{HEADER_BYTES, Header, ID_BYTES_MAX, encode_with_id};
use crate::partition::View;
use crate::segment::Segment;
use crate::topic::Topic;
use crate::{LogError, Record};

/// An id is remembered for so long: a day.
const WINDOW_MS: i64 = 24 * 3600 * 1000;
/// A topic remembers no more ids than this, the latest.
const IDS_MAX: usize = 300_000;
/// Behind the records: the fingerprint before the id, and the length behind it.
const FINGERPRINT_BYTES: usize = 8;

/// What an append with an id has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The partition in which the records are.
    pub partition: u32,
    /// Their offsets.
    pub offsets: Range<u64>,
    /// Whether they were there already.
    pub is_repeated: bool,
}

/// The ids of a topic's appends, once they have been read from its log.
#[derive(Debug, Default)]
pub(crate) struct AppendIds(OnceCell<Mutex<Recent>>);

/// The latest ids.
#[derive(Debug, Default)]
struct Recent {
    by_id: HashMap<String, Arc<OnceCell<Place>>>,
    /// The same ids, the oldest first.
    by_time: VecDeque<(i64, String)>,
}

/// Where the records of an append are.
#[derive(Clone, Debug)]
struct Place {
    partition: u32,
    offsets: Range<u64>,
    fingerprint: u64,
}

impl Topic {
    /// Appends the records as [`Topic::append`] does, unless an append with this id was made within the last day (and among the
    /// last 300,000 with ids of this topic): then it appends nothing and says where that one's records are. `now_ms` is the time, and
    /// that of the records. Needs tokio's runtime: an append that has begun is finished though the caller goes.
    ///
    /// # Errors
    /// The id was that of other records, or the records are too many for one frame (17 MiB).
    pub async fn append_once(
        &self,
        id: &str,
        partition: u32,
        records: Vec<Record>,
        now_ms: i64,
    ) -> Result<Once, LogError> {
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(LogError::AppendId);
        }
        let (topic, id) = (self.clone(), id.to_owned());
        let made = tokio::spawn(async move { topic.append_unless_there(id, partition, &records, now_ms).await });
        made.await.unwrap_or(Err(LogError::Closed))
    }

    async fn append_unless_there(
        self,
        id: String,
        partition: u32,
        records: &[Record],
        now_ms: i64,
    ) -> Result<Once, LogError> {
        let since_ms = now_ms.saturating_sub(WINDOW_MS);
        let read = || async {
            let topic = self.clone();
            let read = tokio::task::spawn_blocking(move || Recent::read(&topic, since_ms)).await;
            read.unwrap_or(Err(LogError::Closed)).map(Mutex::new)
        };
        let recent = self.state.ids.0.get_or_try_init(read).await?;
        let place = recent.lock().unwrap_or_else(PoisonError::into_inner).place(&id, now_ms);
        let fingerprint = fingerprint(records);
        let is_repeated = AtomicBool::new(true);
        // Of several with one id at a time, one appends and the others wait for it.
        let append = || async {
            is_repeated.store(false, Relaxed);
            let frame = encode_with_id(records, fingerprint, &id)?;
            let offsets = self.append_frames(partition, vec![frame]).await?;
            Ok(Place { partition, offsets, fingerprint })
        };
        let found = place.get_or_try_init(append).await?.clone();
        if found.fingerprint != fingerprint {
            return Err(LogError::AppendIdTaken { topic: self.name().to_owned(), id });
        }
        Ok(Once { partition: found.partition, offsets: found.offsets, is_repeated: is_repeated.into_inner() })
    }
}

/// A number that tells records from others; their times do not count.
fn fingerprint(records: &[Record]) -> u64 {
    let mut hash = Xxh3::new();
    for record in records {
        hash.update(&(record.value.len() as u64).to_le_bytes());
        hash.update(&record.value);
    }
    hash.digest()
}

impl Recent {
    /// The ids in a topic's log.
    fn read(topic: &Topic, since_ms: i64) -> Result<Self, LogError> {
        let mut found = Vec::new();
        for (number, partition) in topic.state.partitions.iter().enumerate() {
            let view = Arc::clone(&partition.view.borrow());
            read_partition(&view, u32::try_from(number).unwrap_or(u32::MAX), since_ms, &mut found)?;
        }
        found.sort_by_key(|(timestamp_ms, ..)| *timestamp_ms);
        let mut recent = Self::default();
        for (timestamp_ms, id, place) in found {
            recent.add(timestamp_ms, id, Arc::new(OnceCell::new_with(Some(place))));
        }
        Ok(recent)
    }

    /// The place of an id: to be filled by whoever comes first.
    fn place(&mut self, id: &str, now_ms: i64) -> Arc<OnceCell<Place>> {
        let since_ms = now_ms.saturating_sub(WINDOW_MS);
        while self.by_time.len() > IDS_MAX || self.by_time.front().is_some_and(|(then_ms, _)| *then_ms < since_ms) {
            if let Some((_, old)) = self.by_time.pop_front() {
                self.by_id.remove(&old);
            }
        }
        if let Some(known) = self.by_id.get(id) {
            return Arc::clone(known);
        }
        let place = Arc::<OnceCell<Place>>::default();
        self.add(now_ms, id.to_owned(), Arc::clone(&place));
        place
    }

    fn add(&mut self, timestamp_ms: i64, id: String, place: Arc<OnceCell<Place>>) {
        self.by_time.push_back((timestamp_ms, id.clone()));
        self.by_id.insert(id, place);
    }
}

/// Finds the ids of a partition's frames, without reading their records.
fn read_partition(
    view: &View,
    partition: u32,
    since_ms: i64,
    found: &mut Vec<(i64, String, Place)>,
) -> Result<(), LogError> {
    for segment in view.segments().filter(|segment| segment.length > 0 && segment.max_timestamp_ms >= since_ms) {
        let file = match File::open(&segment.path) {
            // Retention has removed it meanwhile, and with it its ids.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.during("open", &segment.path)?,
        };
        let mut position = segment.position_before_time(since_ms);
        while position < segment.length {
            let header = read(&file, segment, position, HEADER_BYTES)?;
            let header = Header::read(&header).map_err(|reason| damaged(segment, position, reason))?;
            let end = position + header.frame_bytes() as u64;
            if header.has_id && header.max_timestamp_ms >= since_ms {
                let (id, fingerprint) = read_id(&file, segment, position, end)?;
                let offsets = header.base_offset..header.next_offset().unwrap_or(header.base_offset);
                found.push((header.max_timestamp_ms, id, Place { partition, offsets, fingerprint }));
            }
            position = end;
        }
    }
    Ok(())
}

/// The id at the end of a frame, and the fingerprint before it.
fn read_id(file: &File, segment: &Segment, position: u64, end: u64) -> Result<(String, u64), LogError> {
    let wrong = || damaged(segment, position, "its id is garbled");
    let tail_bytes = usize::try_from(end - position - HEADER_BYTES as u64).unwrap_or(usize::MAX);
    let tail_bytes = tail_bytes.min(FINGERPRINT_BYTES + ID_BYTES_MAX + 1);
    let tail = read(file, segment, end - tail_bytes as u64, tail_bytes)?;
    let (length, before) = tail.split_last().ok_or_else(wrong)?;
    let (before, id) = before.split_at_checked(before.len().wrapping_sub(*length as usize)).ok_or_else(wrong)?;
    let fingerprint = before.last_chunk::<FINGERPRINT_BYTES>().ok_or_else(wrong)?;
    let id = std::str::from_utf8(id).map_err(|_| wrong())?;
    Ok((id.to_owned(), u64::from_le_bytes(*fingerprint)))
}

fn read(file: &File, segment: &Segment, position: u64, length: usize) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, position).during("read", &segment.path)?;
    Ok(bytes)
}

fn damaged(segment: &Segment, position: u64, reason: &str) -> LogError {
    LogError::Damaged { path: segment.path.clone(), position, reason: reason.to_owned() }
}
