//! The writer: one thread that linearises everything that changes the log.
//!
//! It takes what has gathered in its queue while the disk was busy, writes it all, syncs each partition once, and
//! answers everybody: so appenders that come at the same time share a sync (group commit).

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use crate::epochs::Epochs;
use crate::error::IoContext;
use crate::frame::EncodedFrame;
use crate::once::AppendIds;
use crate::partition::{PartitionWriter, sync_dir};
use crate::topic::{TopicState, Topics};
use crate::{LogError, Removed, TopicOptions};

/// A batch is closed when it has this many bytes, so that no appender waits for ever longer batches.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// The answer to an append: its offsets.
pub(crate) type Answer = oneshot::Sender<Result<Range<u64>, LogError>>;

/// What the writer can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Append frames to the partition with this index among all partitions of the log.
    Append { partition: usize, frames: Vec<EncodedFrame>, answer: Answer },
    /// Append what comes over `parts` as an epoch.
    Epoch {
        topic: Arc<TopicState>,
        writer: String,
        epoch: u64,
        parts: mpsc::Receiver<EpochPart>,
        answer: oneshot::Sender<Result<(), LogError>>,
    },
    /// Create a topic.
    CreateTopic { name: String, options: TopicOptions, answer: oneshot::Sender<Result<Arc<TopicState>, LogError>> },
    /// Remove old segments.
    EnforceRetention { now_ms: i64, answer: oneshot::Sender<Result<Removed, LogError>> },
}

/// What comes of an epoch.
#[derive(Debug)]
pub(crate) enum EpochPart {
    /// Frames for the partition with this index among all partitions of the log.
    Frames(usize, Vec<EncodedFrame>),
    /// That was all: commit it.
    End,
}

/// The state of the writer's thread.
pub(crate) struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    partitions: Vec<PartitionWriter>,
    topics: watch::Sender<Arc<Topics>>,
    syncs: Arc<AtomicU64>,
    /// Held as long as the thread lives: its lock keeps other processes out.
    lock: File,
}

/// An append that waits for its batch to be committed.
struct Waiting {
    frames: Vec<EncodedFrame>,
    answer: Answer,
}

impl Writer {
    /// Opens every topic of a folder.
    pub(crate) fn open(dir: PathBuf, segment_bytes: u64, lock: File, syncs: Arc<AtomicU64>) -> Result<Self, LogError> {
        let topics = watch::Sender::new(Arc::new(Topics::new()));
        let mut writer = Self { segment_bytes, partitions: Vec::new(), topics, syncs, dir, lock };
        for (name, options) in read_topics(&writer.dir)? {
            writer.add_topic(name, options)?;
        }
        Ok(writer)
    }

    pub(crate) fn topics(&self) -> watch::Receiver<Arc<Topics>> {
        self.topics.subscribe()
    }

    /// Works until all handles are gone.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = commands.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Append { partition, frames, answer } => {
                    next = self.append_batch(partition, Waiting { frames, answer }, &mut commands);
                }
                // A receiver that is gone does not want to know.
                Command::Epoch { topic, writer, epoch, parts, answer } => {
                    let _ = answer.send(self.append_epoch(&topic, (&writer, epoch), parts));
                }
                Command::CreateTopic { name, options, answer } => {
                    let _ = answer.send(self.create_topic(name, options));
                }
                Command::EnforceRetention { now_ms, answer } => {
                    let _ = answer.send(self.enforce_retention(now_ms));
                }
            }
            next = next.or_else(|| commands.blocking_recv());
        }
    }

    /// Commits a first append together with those that wait behind it. Returns the command that ended the batch.
    fn append_batch(
        &mut self,
        partition: usize,
        first: Waiting,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Option<Command> {
        let mut bytes: usize = first.frames.iter().map(EncodedFrame::len).sum();
        let mut batch: Vec<(usize, Vec<Waiting>)> = vec![(partition, vec![first])];
        let mut after = None;
        while bytes < BATCH_BYTES_MAX {
            match commands.try_recv() {
                Ok(Command::Append { partition, frames, answer }) => {
                    bytes += frames.iter().map(EncodedFrame::len).sum::<usize>();
                    let waiting = Waiting { frames, answer };
                    match batch.iter_mut().find(|(other, _)| *other == partition) {
                        Some((_, appends)) => appends.push(waiting),
                        None => batch.push((partition, vec![waiting])),
                    }
                }
                Ok(command) => {
                    after = Some(command);
                    break;
                }
                Err(_) => break,
            }
        }
        for (partition, appends) in batch {
            self.commit(partition, appends);
        }
        after
    }

    fn commit(&mut self, partition: usize, appends: Vec<Waiting>) {
        let (mut frames, answers): (Vec<_>, Vec<_>) = appends.into_iter().map(|w| (w.frames, w.answer)).unzip();
        let Some(partition) = self.partitions.get_mut(partition) else { return };
        let result = partition.write(&mut frames).and_then(|offsets| {
            if partition.syncs() {
                self.syncs.fetch_add(1, Ordering::Relaxed);
            }
            partition.commit().map(|()| offsets)
        });
        match result {
            Ok(offsets) => answers.into_iter().zip(offsets).for_each(|(answer, range)| drop(answer.send(Ok(range)))),
            Err(error) => {
                tracing::error!(%error, appends = answers.len(), "appends to the event log failed");
                answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
            }
        }
    }

    /// Appends an epoch as a whole, or nothing of it.
    fn append_epoch(
        &mut self,
        topic: &TopicState,
        (writer, epoch): (&str, u64),
        mut parts: mpsc::Receiver<EpochPart>,
    ) -> Result<(), LogError> {
        let end = topic.first_partition + topic.partitions.len();
        let result = loop {
            match parts.blocking_recv() {
                Some(EpochPart::Frames(partition, mut frames)) => {
                    let Some(partition) = self.partitions.get_mut(partition) else { continue };
                    if let Err(error) = partition.extend(&mut frames) {
                        break Err(error);
                    }
                }
                Some(EpochPart::End) => break Ok(true),
                // Its appender has gone.
                None => break Ok(false),
            }
        };
        let Some(partitions) = self.partitions.get_mut(topic.first_partition..end) else { return Ok(()) };
        let noted = match result {
            Ok(true) => note_epoch(&self.dir.join(&topic.name), topic, (writer, epoch), partitions),
            Ok(false) => Err(LogError::Closed),
            Err(error) => Err(error),
        };
        if noted.is_err() {
            partitions.iter_mut().for_each(PartitionWriter::take_back);
            return noted;
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        partitions.iter_mut().for_each(PartitionWriter::show);
        // The epoch is in. Should this fail, then whoever is told may find it gone after a loss of power, and asks first.
        Epochs::sync(&self.dir.join(&topic.name))
    }

    fn create_topic(&mut self, name: String, options: TopicOptions) -> Result<Arc<TopicState>, LogError> {
        if self.topics.borrow().contains_key(&name) {
            return Err(LogError::TopicExists { topic: name });
        }
        let dir = self.dir.join(&name);
        fs::create_dir_all(&dir).during("create", &dir)?;
        let state = self.add_topic(name, options)?;
        // The topic exists once its settings do: a crash before leaves a folder that nobody looks at.
        match write_settings(&dir, &state.options).and_then(|()| sync_dir(&self.dir)) {
            Ok(()) => Ok(state),
            Err(error) => {
                self.topics.send_modify(|topics| drop(Arc::make_mut(topics).remove(&state.name)));
                Err(error)
            }
        }
    }

    fn add_topic(&mut self, name: String, options: TopicOptions) -> Result<Arc<TopicState>, LogError> {
        let first_partition = self.partitions.len();
        let epochs = Epochs::read(&self.dir.join(&name))?;
        let mut opened = Vec::new();
        for number in 0..options.partitions {
            let dir = self.dir.join(&name).join(number.to_string());
            opened.push(PartitionWriter::open(dir, &options, self.segment_bytes, epochs.committed(number))?);
        }
        let handles = opened.iter().map(PartitionWriter::handle).collect();
        self.partitions.extend(opened);
        let epochs = Mutex::new(epochs);
        let state = Arc::new(TopicState {
            name,
            options,
            first_partition,
            partitions: handles,
            epochs,
            ids: AppendIds::default(),
        });
        self.topics.send_modify(|topics| {
            Arc::make_mut(topics).insert(state.name.clone(), Arc::clone(&state));
        });
        Ok(state)
    }

    fn enforce_retention(&mut self, now_ms: i64) -> Result<Removed, LogError> {
        let mut total = Removed::default();
        for partition in &mut self.partitions {
            let removed = partition.enforce_retention(now_ms)?;
            total.segments += removed.segments;
            total.bytes += removed.bytes;
        }
        Ok(total)
    }
}

/// Brings what was written of an epoch to disk, and then the note of it, which counts.
fn note_epoch(
    dir: &Path,
    topic: &TopicState,
    (writer, epoch): (&str, u64),
    partitions: &[PartitionWriter],
) -> Result<(), LogError> {
    partitions.iter().try_for_each(PartitionWriter::sync)?;
    let mut epochs = topic.epochs.lock().unwrap_or_else(PoisonError::into_inner);
    let mut next = epochs.clone();
    next.last.insert(writer.to_owned(), epoch);
    next.committed = partitions.iter().map(PartitionWriter::written_to).collect();
    next.write(dir)?;
    *epochs = next;
    Ok(())
}

impl Drop for Writer {
    /// Gives the lock up, rather than leaving that to the closing of the file: a child process that is just being
    /// started has the file open too, for a moment. A failure leaves it to the closing after all.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

const SETTINGS: &str = "topic.json";

/// The topics of a folder and their settings, by name. A folder without settings is no topic.
pub(crate) fn read_topics(dir: &Path) -> Result<Vec<(String, TopicOptions)>, LogError> {
    let mut topics = Vec::new();
    for entry in fs::read_dir(dir).during("list", dir)? {
        let entry = entry.during("list", dir)?;
        let path = entry.path().join(SETTINGS);
        let Ok(name) = entry.file_name().into_string() else { continue };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                continue;
            }
            Err(error) => return Err(error).during("read", &path),
        };
        let options = serde_json::from_slice(&text);
        let options = options.map_err(|error| LogError::Damaged { path, position: 0, reason: error.to_string() })?;
        topics.push((name, options));
    }
    topics.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(topics)
}

/// Writes a topic's settings so that they are there as a whole or not at all.
fn write_settings(dir: &Path, options: &TopicOptions) -> Result<(), LogError> {
    let (part, path) = (dir.join("topic.json.part"), dir.join(SETTINGS));
    let text = serde_json::to_vec_pretty(options).unwrap_or_default();
    fs::write(&part, text).during("write", &part)?;
    File::open(&part).and_then(|file| file.sync_all()).during("sync", &part)?;
    fs::rename(&part, &path).during("rename", &path)?;
    sync_dir(dir)
}
