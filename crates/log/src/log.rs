//! The log as a whole: opening it, its topics, retention.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use crate::epochs::Epochs;
use crate::error::IoContext;
use crate::once::AppendIds;
use crate::partition::open_read_only;
use crate::topic::{TopicState, Topics};
use crate::writer::{Command, Writer, read_topics};
use crate::{LogError, LogOptions, Topic, TopicOptions};

/// A topic has at most this many partitions: each is a folder and an open file.
const PARTITIONS_MAX: u32 = 1024;
/// Topic names are names of folders.
const NAME_CHARS_MAX: usize = 200;

/// An open event log. Cloning it is cheap; when the last clone and the last [`Topic`] are gone, it is closed.
#[derive(Clone, Debug)]
pub struct EventLog {
    shared: Arc<Shared>,
}

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    dir: PathBuf,
    topics: watch::Receiver<Arc<Topics>>,
    /// The way to the writer; `None` when the log is open for reading only, and while it is being closed.
    commands: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
    syncs: Arc<AtomicU64>,
}

impl Shared {
    pub(crate) fn commands(&self) -> Result<&mpsc::Sender<Command>, LogError> {
        self.commands.as_ref().ok_or_else(|| LogError::ReadOnly { dir: self.dir.clone() })
    }
}

impl Drop for Shared {
    /// Ends the writer and waits for it, so that what has been sent is written and the log can be opened again.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(dir = %self.dir.display(), "the writer of the event log has panicked");
        }
    }
}

/// What retention has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl EventLog {
    /// Opens the log in a folder for reading and writing, creating it if there is none. Torn tails are cut off. One
    /// process can have a log open so at a time.
    pub fn open(dir: impl AsRef<Path>, options: LogOptions) -> Result<Self, LogError> {
        let dir = dir.as_ref().to_path_buf();
        fs::create_dir_all(&dir).during("create", &dir)?;
        let lock = lock(&dir)?;
        let syncs = Arc::new(AtomicU64::new(0));
        let writer = Writer::open(dir.clone(), options.segment_bytes, lock, Arc::clone(&syncs))?;
        let topics = writer.topics();
        let (commands, receiver) = mpsc::channel(options.queue_appends.max(1));
        let thread = std::thread::Builder::new().name("event-log".to_owned()).spawn(move || writer.run(receiver));
        let writer = Some(thread.during("start the writer of", &dir)?);
        Ok(Self { shared: Arc::new(Shared { dir, topics, commands: Some(commands), writer, syncs }) })
    }

    /// Opens the log in a folder for reading, beside a process that may be writing: shows what is there now.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self, LogError> {
        let dir = dir.as_ref().to_path_buf();
        let mut topics = Topics::new();
        for (name, options) in read_topics(&dir)? {
            let folders = (0..options.partitions).map(|number| dir.join(&name).join(number.to_string()));
            let epochs = Epochs::read(&dir.join(&name))?;
            let partitions = folders.zip(0..).map(|(folder, number)| open_read_only(&folder, epochs.committed(number)));
            let partitions = partitions.collect::<Result<_, _>>()?;
            let state = TopicState {
                name: name.clone(),
                options,
                first_partition: 0,
                partitions,
                epochs: Mutex::new(epochs),
                ids: AppendIds::default(),
            };
            topics.insert(name, Arc::new(state));
        }
        let topics = watch::Sender::new(Arc::new(topics)).subscribe();
        let syncs = Arc::new(AtomicU64::new(0));
        Ok(Self { shared: Arc::new(Shared { dir, topics, commands: None, writer: None, syncs }) })
    }

    /// The log's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Creates a topic. Blocks for a few file operations, within tokio's runtime too.
    pub fn create_topic(&self, name: &str, options: TopicOptions) -> Result<Topic, LogError> {
        check_name(name)?;
        check_options(name, &options)?;
        let name = name.to_owned();
        let state = self.ask(|answer| Command::CreateTopic { name, options, answer })?;
        Ok(Topic::new(state, Arc::clone(&self.shared)))
    }

    /// The topic of that name; created with `options` if there is none.
    pub fn topic_or_create(&self, name: &str, options: TopicOptions) -> Result<Topic, LogError> {
        match self.topic(name) {
            Err(LogError::UnknownTopic { .. }) => match self.create_topic(name, options) {
                // Somebody else was faster.
                Err(LogError::TopicExists { .. }) => self.topic(name),
                created => created,
            },
            found => found,
        }
    }

    /// The topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let topics = Arc::clone(&self.shared.topics.borrow());
        topics.values().map(|state| Topic::new(Arc::clone(state), Arc::clone(&self.shared))).collect()
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Result<Topic, LogError> {
        let state = self.shared.topics.borrow().get(name).map(Arc::clone);
        let state = state.ok_or_else(|| LogError::UnknownTopic { topic: name.to_owned() })?;
        Ok(Topic::new(state, Arc::clone(&self.shared)))
    }

    /// Removes the old segments that the topics' retention does not keep, as of `now_ms` (milliseconds since
    /// 1970-01-01T00:00Z). The segment that is being written stays, however old. Blocks for a few file operations,
    /// within tokio's runtime too.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<Removed, LogError> {
        self.ask(|answer| Command::EnforceRetention { now_ms, answer })
    }

    /// How many syncs have been made for appends since the log was opened; less than the appends when they share.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Asks the writer, without regard to the runtime the caller may be in.
    fn ask<T: Send>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Command + Send,
    ) -> Result<T, LogError> {
        let commands = self.shared.commands()?;
        // Waiting in a thread of its own, since tokio forbids it in its own threads.
        let asked = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let (answer, receiver) = oneshot::channel();
                commands.blocking_send(command(answer)).map_err(|_| LogError::Closed)?;
                receiver.blocking_recv().unwrap_or(Err(LogError::Closed))
            });
            waiting.join()
        });
        asked.unwrap_or(Err(LogError::Closed))
    }
}

fn lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).during("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(error).during("lock", &path),
    }
}

fn check_name(name: &str) -> Result<(), LogError> {
    let refuse = |reason| Err(LogError::TopicName { name: name.to_owned(), reason });
    if name.is_empty() || name.len() > NAME_CHARS_MAX {
        return refuse("it must have 1 to 200 characters");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return refuse("only letters, digits, _, - and . are allowed");
    }
    if name.starts_with('.') || name == "lock" {
        return refuse("it must not begin with a dot, nor be lock");
    }
    Ok(())
}

fn check_options(topic: &str, options: &TopicOptions) -> Result<(), LogError> {
    let refuse = |reason: String| Err(LogError::TopicOptions { topic: topic.to_owned(), reason });
    match options {
        TopicOptions { partitions, .. } if !(1..=PARTITIONS_MAX).contains(partitions) => {
            refuse(format!("{partitions} partitions are refused; give it 1 to {PARTITIONS_MAX}"))
        }
        TopicOptions { retention_ms: Some(retention_ms), .. } if *retention_ms < 0 => {
            refuse("its retention is negative; give a time in milliseconds, or none to keep everything".to_owned())
        }
        _ => Ok(()),
    }
}
