//! A folder of files at the end of a stream. Each writer writes files of its own, one a partition at a time, in
//! [`Staging`]; a file is *closed* when it has grown large or old enough, and *published* by a rename.
//!
//! With checkpoints, that happens when the checkpoint which covers its rows is durable: exactly once. Files are closed at every
//! checkpoint; with `'sink.rolling-policy.rollover-interval'`, CSV and JSON files stay open over checkpoints until they are so
//! old or large. The checkpoint then names up to where they were synced, and a restart cuts them there and publishes them.
//! Without checkpoints, each commit publishes all.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::time::Watermark;

use super::marking::Marking;
use super::rolling::Rolling;
use super::row_file::RowFile;
use super::staging::{Published, Staging};
use super::target::{extension, partition_name};
use super::writer::{FilesWriter, blocking};
use crate::error::ConnectError;
use crate::partition::PartitionValues;
use crate::sink::{Delivery, Sink, SinkWriter, inserts};

/// A folder of files that streams write.
pub(crate) struct FolderSink {
    writer: FilesWriter,
    rolling: Rolling,
    marking: Option<Marking>,
    /// The staging of the job that makes checkpoints, once it has begun.
    job: OnceLock<Staging>,
    shared: Arc<Shared>,
}

/// What the writers of a sink that makes no checkpoints know of each other.
#[derive(Default)]
struct Shared {
    published: Mutex<Published>,
    watermarks: Mutex<HashMap<usize, Watermark>>,
}

/// What a writer says at a checkpoint.
#[derive(Clone, Debug, PartialEq)]
enum Staged {
    /// A file is to be published.
    Closed(String),
    /// A file goes on, and is whole up to there.
    Open(String, u64),
    /// How far event time has come at a writer.
    Watermark(usize, Watermark),
}

impl Staged {
    fn to_text(&self) -> String {
        match self {
            Self::Closed(name) => format!("closed {name}"),
            Self::Open(name, length) => format!("open {length} {name}"),
            Self::Watermark(writer, watermark) => format!("watermark {writer} {}", watermark.0),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ')?;
        match word {
            "closed" => Some(Self::Closed(rest.to_owned())),
            "open" => {
                rest.split_once(' ').and_then(|(length, name)| Some(Self::Open(name.to_owned(), length.parse().ok()?)))
            }
            "watermark" => {
                let (writer, watermark) = rest.split_once(' ')?;
                Some(Self::Watermark(writer.parse().ok()?, Watermark(watermark.parse().ok()?)))
            }
            _ => None,
        }
    }
}

impl FolderSink {
    /// For the folder that `writer` writes.
    pub(super) fn new(writer: FilesWriter, rolling: Rolling, marking: Option<Marking>) -> Self {
        Self { writer, rolling, marking, job: OnceLock::new(), shared: Arc::default() }
    }

    fn parse(&self, staged: &[String]) -> Result<Vec<Staged>, ConnectError> {
        let unknown = |text: &String| {
            self.writer.files.refusal(format!("the checkpoint names {text:?}, which is not a file of this version"))
        };
        staged.iter().map(|text| Staged::parse(text).ok_or_else(|| unknown(text))).collect()
    }
}

#[async_trait]
impl Sink for FolderSink {
    fn accepts_changes(&self) -> bool {
        false
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        let own = Staging::new(&self.writer.files, &format!("{}-{subtask}", unique()));
        let job = self.job.get().cloned();
        lock(&self.shared.watermarks).insert(subtask, Watermark::UNKNOWN);
        Ok(Box::new(FolderWriter {
            writer: self.writer.clone(),
            rolling: self.rolling,
            marking: self.marking.clone(),
            has_checkpoints: job.is_some(),
            staging: job.unwrap_or(own),
            number: subtask,
            prefix: format!("part-{}-{subtask}", unique()),
            shared: Arc::clone(&self.shared),
            files: Open::default(),
        }))
    }

    async fn begin(&self, job: &str, last: Option<(u64, &[String])>) -> Result<(), ConnectError> {
        let staging = self.job.get_or_init(|| Staging::new(&self.writer.files, job)).clone();
        let number = last.map_or(0, |(number, _)| number);
        let noted = staging.clone();
        let published = blocking(move || noted.published()).await?;
        if let Some(ahead) = published.filter(|published| last.is_none() || published.checkpoint > number) {
            return Err(self.writer.files.refusal(format!(
                "it has the rows of checkpoint {} of {job}, which is gone: going on would write rows twice; empty the folder, \
                 and what is hidden in it, or write to another",
                ahead.checkpoint
            )));
        }
        let Some((number, staged)) = last else { return blocking(move || staging.clear()).await };
        self.publish(number, staged).await?;
        let staged = self.parse(staged)?;
        blocking(move || {
            go_on(&staging, &staged)?;
            staging.clear()
        })
        .await
    }

    async fn publish(&self, number: u64, staged: &[String]) -> Result<(), ConnectError> {
        let reason = "it was told of a checkpoint before its job began; this is a defect, please report it";
        let staging = self.job.get().cloned().ok_or_else(|| self.writer.files.refusal(reason))?;
        let staged = self.parse(staged)?;
        let (marking, files) = (self.marking.clone(), self.writer.files.clone());
        blocking(move || {
            let published = staging.published()?.unwrap_or_default();
            if published.checkpoint >= number {
                return Ok(());
            }
            let next = publish(&staging, published, number, &staged, marking.as_ref());
            let next = next.map_err(|error| match error {
                // Its rows are neither staged nor in the table.
                ConnectError::File { action: "publish", path, source } if source.kind() == ErrorKind::NotFound => {
                    files.refusal(format!("checkpoint {number} names {}, which is gone", path.display()))
                }
                other => other,
            })?;
            staging.note(&next)
        })
        .await
    }
}

/// Publishes the files that were open at the last checkpoint, with the rows that it covers: no writer goes on with them.
fn go_on(staging: &Staging, staged: &[Staged]) -> Result<(), ConnectError> {
    let mut published = staging.published()?.unwrap_or_default();
    for staged in staged {
        if let Staged::Open(name, length) = staged {
            staging.cut(name, *length)?;
            staging.publish(std::iter::once(name.as_str()))?;
            published.unmarked.insert(folder_of(name));
        }
    }
    staging.note(&published)
}

/// The folder of a file, within the table's.
fn folder_of(name: &str) -> String {
    name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}

/// Makes closed files part of the table, and marks what is complete.
fn publish(
    staging: &Staging,
    mut published: Published,
    number: u64,
    staged: &[Staged],
    marking: Option<&Marking>,
) -> Result<Published, ConnectError> {
    let closed = staged.iter().filter_map(|staged| match staged {
        Staged::Closed(name) => Some(name.as_str()),
        Staged::Open(..) | Staged::Watermark(..) => None,
    });
    staging.publish(closed.clone())?;
    published.checkpoint = number;
    let Some(marking) = marking else { return Ok(published) };
    published.unmarked.extend(closed.map(folder_of));
    // A writer that has spoken twice counts with what it said last.
    let watermarks: HashMap<usize, Watermark> = staged
        .iter()
        .filter_map(|staged| match staged {
            Staged::Watermark(writer, watermark) => Some((*writer, *watermark)),
            Staged::Closed(_) | Staged::Open(..) => None,
        })
        .collect();
    let watermark = watermarks.into_values().min().unwrap_or(Watermark::UNKNOWN);
    let is_open = |folder_name: &str| {
        staged.iter().any(|staged| matches!(staged, Staged::Open(name, _) if folder_of(name) == folder_name))
    };
    let complete: Vec<String> = published.unmarked.iter().filter(|name| !is_open(name)).cloned().collect();
    for name in complete {
        if marking.is_complete(&name, watermark) {
            staging.mark(&name, &marking.marker)?;
            published.unmarked.remove(&name);
        }
    }
    if watermark == Watermark::END {
        staging.mark("", &marking.marker)?;
    }
    Ok(published)
}

/// Files being written, by partition, and those that are closed and not said yet.
#[derive(Default)]
struct Open {
    files: BTreeMap<PartitionValues, OpenFile>,
    closed: Vec<String>,
    count: u64,
}

struct OpenFile {
    name: String,
    began: Instant,
    rows: RowFile,
}

struct FolderWriter {
    writer: FilesWriter,
    rolling: Rolling,
    marking: Option<Marking>,
    has_checkpoints: bool,
    staging: Staging,
    number: usize,
    /// What the names of its files begin with: no other writer's do.
    prefix: String,
    shared: Arc<Shared>,
    files: Open,
}

impl FolderWriter {
    /// Works on the files where that holds up no other task.
    async fn with_files<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Open, &Place) -> Result<T, ConnectError> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let mut files = std::mem::take(&mut self.files);
        let place = Place {
            table: self.writer.files.clone(),
            staging: self.staging.clone(),
            rolling: self.rolling,
            prefix: self.prefix.clone(),
        };
        let (files, done) = blocking(move || {
            let done = work(&mut files, &place);
            Ok((files, done))
        })
        .await?;
        self.files = files;
        done
    }

    fn watermark(&self) -> Watermark {
        lock(&self.shared.watermarks).get(&self.number).copied().unwrap_or(Watermark::UNKNOWN)
    }
}

/// Where and how a writer writes.
struct Place {
    table: super::Files,
    staging: Staging,
    rolling: Rolling,
    prefix: String,
}

impl Place {
    fn write(
        &self,
        open: &mut Open,
        values: PartitionValues,
        rows: &arrow::array::RecordBatch,
    ) -> Result<(), ConnectError> {
        let file = match open.files.remove(&values) {
            Some(file) => file,
            None => self.create(open, &values)?,
        };
        let mut file = file;
        file.rows.write(rows).map_err(|source| self.failed("write", &file.name, source))?;
        if self.rolling.is_due(file.rows.bytes(), file.began.elapsed()) {
            self.close(open, file)?;
        } else {
            open.files.insert(values, file);
        }
        Ok(())
    }

    fn create(&self, open: &mut Open, values: &PartitionValues) -> Result<OpenFile, ConnectError> {
        let folder = partition_name(&self.table.partitioned_by, values);
        let name = format!("{folder}{}-{}.{}", self.prefix, open.count, extension(&self.table));
        open.count += 1;
        let file = self.staging.create(&name)?;
        let rows = RowFile::new(file, &self.table).map_err(|source| self.failed("write", &name, source))?;
        Ok(OpenFile { name, began: Instant::now(), rows })
    }

    fn close(&self, open: &mut Open, file: OpenFile) -> Result<(), ConnectError> {
        file.rows.finish().map_err(|source| self.failed("write", &file.name, source))?;
        self.staging.close(&file.name)?;
        open.closed.push(file.name);
        Ok(())
    }

    /// Closes what is not to stay open, and says all.
    fn seal(&self, open: &mut Open, is_last: bool) -> Result<Vec<Staged>, ConnectError> {
        let mut staged = Vec::new();
        for (values, mut file) in std::mem::take(&mut open.files) {
            let stays = !is_last && self.rolling.stays_open(file.rows.bytes(), file.began.elapsed());
            if stays && self.staging.is_local() && RowFile::goes_on(&self.table.format) {
                let length = file.rows.sync().map_err(|source| self.failed("sync", &file.name, source))?;
                staged.push(Staged::Open(file.name.clone(), length));
                open.files.insert(values, file);
            } else {
                self.close(open, file)?;
            }
        }
        staged.extend(std::mem::take(&mut open.closed).into_iter().map(Staged::Closed));
        Ok(staged)
    }

    fn failed(&self, action: &'static str, name: &str, source: std::io::Error) -> ConnectError {
        ConnectError::File { action, path: self.staging.path(name), source }
    }
}

#[async_trait]
impl SinkWriter for FolderWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let rows = inserts(&self.writer.files.table, &batch)?;
        let parts = self.writer.parts(rows, None)?;
        self.with_files(move |open, place| {
            parts.into_iter().try_for_each(|(values, rows)| place.write(open, values, &rows))
        })
        .await
    }

    async fn on_watermark(&mut self, watermark: Watermark) -> Result<(), ConnectError> {
        lock(&self.shared.watermarks).insert(self.number, watermark);
        Ok(())
    }

    async fn seal(&mut self, number: u64) -> Result<Vec<String>, ConnectError> {
        let is_last = number == u64::MAX;
        let mut staged = self.with_files(move |open, place| place.seal(open, is_last)).await?;
        if self.marking.is_some() {
            staged.push(Staged::Watermark(self.number, self.watermark()));
        }
        Ok(staged.iter().map(Staged::to_text).collect())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        if self.has_checkpoints {
            // They publish.
            return Ok(());
        }
        let mut staged = self.with_files(|open, place| place.seal(open, true)).await?;
        let watermarks = lock(&self.shared.watermarks).clone();
        staged.extend(watermarks.into_iter().map(|(writer, watermark)| Staged::Watermark(writer, watermark)));
        let (staging, marking, shared) = (self.staging.clone(), self.marking.clone(), Arc::clone(&self.shared));
        blocking(move || {
            let mut published = lock(&shared.published);
            *published = publish(&staging, published.clone(), 0, &staged, marking.as_ref())?;
            Ok(())
        })
        .await
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        if self.has_checkpoints {
            return;
        }
        if self.staging.is_local() {
            return self.staging.remove();
        }
        // Calls that wait are not for this thread; where the runtime is going down, what is hidden stays hidden.
        let staging = self.staging.clone();
        let _ = tokio::runtime::Handle::try_current().map(|io| io.spawn_blocking(move || staging.remove()));
    }
}

/// A word that no other writer has, here or in another run.
fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{now:x}-{}", std::process::id())
}

/// Nothing in these panics half way.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
