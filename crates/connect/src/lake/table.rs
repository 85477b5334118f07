//! A table of the lake, open: a handle to the one task that knows its latest version and makes its commits.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use deltalake_core::kernel::{Add, Snapshot};
use deltalake_core::logstore::{LogStore, LogStoreRef};
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableBuilder, ensure_table_uri};
use object_store::ObjectStore;
use tokio::sync::{mpsc, oneshot};

use super::commit::Committer;
use super::failure::failure;
use super::schema::LakeSchema;
use crate::error::ConnectError;
use crate::partition::PartitionValues;
use crate::transaction::EpochVersion;

/// Requests that may wait for the task; askers beyond wait for their turn.
const REQUESTS_WAITING_MAX: usize = 64;

/// A handle to a table. Cloning it is cheap.
#[derive(Clone)]
pub(super) struct LakeTable {
    /// The table's name, for messages.
    pub(super) name: Arc<str>,
    /// Its folder.
    pub(super) path: Arc<Path>,
    storage: Arc<dyn ObjectStore>,
    /// The way to the task. The task lives on the tokio runtime that first asked; when that is gone, another is started.
    requests: Arc<Mutex<Option<mpsc::Sender<Request>>>>,
    /// Held while rows are merged.
    pub(super) merging: Arc<tokio::sync::Mutex<()>>,
    /// Held while files are put together.
    pub(super) compacting: Arc<tokio::sync::Mutex<()>>,
    /// What the last reader saw: the next one has only to read what is new.
    known: Arc<tokio::sync::Mutex<Option<Arc<Snapshot>>>>,
}

/// A version of a table.
pub(super) struct LatestTable {
    /// Its storage.
    pub(super) log_store: LogStoreRef,
    /// Its schema and, once they are asked for, its files.
    pub(super) snapshot: Arc<Snapshot>,
}

/// Which of a table's files a commit takes out.
#[derive(Clone, Debug)]
pub(super) enum Replace {
    /// None: rows are added.
    Nothing,
    /// Those of one partition.
    Partition(PartitionValues),
    /// All.
    Table,
    /// These, if the table is still at that version.
    Files {
        /// The version that they are of.
        version: u64,
        /// Their paths below the table's folder.
        paths: HashSet<String>,
    },
    /// These, whose rows are in the new file as they were: all of them, or it is no commit.
    Together(HashSet<String>),
    /// Those that earlier attempts at the same append have put in.
    Appended(Appended),
}

/// An attempt at an append, which is in the table once.
#[derive(Clone, Debug)]
pub(super) struct Appended {
    /// The name of the append.
    pub(super) name: String,
    /// The number of the attempt.
    pub(super) attempt: u64,
    /// What the table said about the append when the attempt began.
    pub(super) known: Option<u64>,
}

impl Appended {
    /// The tag of a file that says which append has put it in.
    pub(super) const TAG: &str = "mulgil.append";
    /// Files of one append are counted up to this.
    const FILES_MAX: u64 = (1 << 20) - 1;

    /// The append's name in the table's log.
    pub(super) fn writer(name: &str) -> String {
        format!("mulgil/append/{name}")
    }

    /// What the table's log says when it is in: the attempt, and how many files it has put in. So files that another tool has put together
    /// anew, without their tag, are missed.
    pub(super) fn epoch(&self, files: usize) -> Epoch {
        let files = u64::try_from(files).unwrap_or(u64::MAX).min(Self::FILES_MAX);
        Epoch { writer: Self::writer(&self.name), number: (self.attempt << 20) | files }
    }

    /// The attempt of such a number.
    pub(super) fn attempt_of(number: u64) -> u64 {
        number >> 20
    }

    /// The files of such a number.
    pub(super) fn files_of(number: u64) -> u64 {
        number & Self::FILES_MAX
    }
}

/// New files, and what they take the place of.
#[derive(Debug)]
pub(super) struct Commit {
    /// The files that come in.
    pub(super) adds: Vec<Add>,
    /// The files that go out.
    pub(super) replace: Replace,
    /// The epoch that it is, which is committed once.
    pub(super) epoch: Option<Epoch>,
}

/// What a writer has written between two of its checkpoints.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    /// Its name in the table's log.
    pub(super) writer: String,
    /// The checkpoint.
    pub(super) number: u64,
}

/// What the task can be asked.
pub(super) enum Request {
    /// The table for writing, made if it does not exist.
    ForWriting(Arc<LakeSchema>, oneshot::Sender<Result<DeltaTable, ConnectError>>),
    /// The last epoch of a writer.
    LastEpoch(Arc<LakeSchema>, String, oneshot::Sender<Result<Option<u64>, ConnectError>>),
    /// A version, and the last epoch of a writer that it has.
    Version(Arc<LakeSchema>, String, oneshot::Sender<Result<EpochVersion, ConnectError>>),
    /// A commit; the answer is the version of the table that has it, or none where it rests on a version that is not the
    /// latest any more, or on files that are not there any more.
    Commit(Arc<LakeSchema>, Commit, oneshot::Sender<Result<Option<u64>, ConnectError>>),
}

impl LakeTable {
    /// A handle to the table in that folder.
    pub(super) fn new(name: String, path: PathBuf, storage: Arc<dyn ObjectStore>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            storage,
            requests: Arc::default(),
            merging: Arc::default(),
            compacting: Arc::default(),
            known: Arc::default(),
        }
    }

    /// The table as it is now, to be read; `None` if it does not exist.
    pub(super) async fn latest(&self, schema: &LakeSchema) -> Result<Option<LatestTable>, ConnectError> {
        if !exists(&self.path).await {
            return Ok(None);
        }
        let latest = self.load().await.map_err(|error| failure(&self.name, &self.path, "read the table", &error))?;
        schema.check(&latest.snapshot.schema(), latest.snapshot.metadata().partition_columns())?;
        Ok(Some(latest))
    }

    /// The whole table, its files and what it has taken out too.
    pub(super) async fn loaded(&self) -> Result<DeltaTable, ConnectError> {
        let loaded = async {
            let mut table = DeltaTable::new(log_store(&self.path, &self.storage)?);
            table.load().await.map(|()| table)
        };
        loaded.await.map_err(|error| failure(&self.name, &self.path, "read the table", &error))
    }

    async fn load(&self) -> DeltaResult<LatestTable> {
        let log_store = log_store(&self.path, &self.storage)?;
        let mut known = self.known.lock().await;
        let updated = match known.take() {
            Some(snapshot) => snapshot.update(log_store.engine(None), None).await.ok(),
            None => None,
        };
        // One that cannot be updated may be of a table that was made anew since.
        let snapshot = match updated {
            Some(snapshot) => snapshot,
            None => Arc::new(Snapshot::try_new(&log_store, None).await?),
        };
        *known = Some(Arc::clone(&snapshot));
        Ok(LatestTable { log_store, snapshot })
    }

    /// The table for writing files; it is made if it does not exist.
    pub(super) async fn for_writing(&self, schema: &Arc<LakeSchema>) -> Result<DeltaTable, ConnectError> {
        let schema = Arc::clone(schema);
        self.ask(|answer| Request::ForWriting(schema, answer)).await
    }

    /// Makes files part of the table. `None` where they rest on a version that is not the latest any more.
    pub(super) async fn commit(&self, schema: &Arc<LakeSchema>, commit: Commit) -> Result<Option<u64>, ConnectError> {
        let schema = Arc::clone(schema);
        self.ask(|answer| Request::Commit(schema, commit, answer)).await
    }

    /// The last epoch of `writer` that is in the table.
    pub(super) async fn last_epoch(
        &self,
        schema: &Arc<LakeSchema>,
        writer: String,
    ) -> Result<Option<u64>, ConnectError> {
        let schema = Arc::clone(schema);
        self.ask(|answer| Request::LastEpoch(schema, writer, answer)).await
    }

    /// A version that has the epochs of `writer` up to one, and none behind it.
    pub(super) async fn version_of(
        &self,
        schema: &Arc<LakeSchema>,
        writer: String,
    ) -> Result<EpochVersion, ConnectError> {
        let schema = Arc::clone(schema);
        self.ask(|answer| Request::Version(schema, writer, answer)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, ConnectError>>) -> Request,
    ) -> Result<T, ConnectError> {
        let (answer, answered) = oneshot::channel();
        let gone = || ConnectError::Lake {
            table: self.name.to_string(),
            reason: "the task that writes it has stopped; run it again".to_owned(),
        };
        self.requests().send(request(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// The way to a living task.
    fn requests(&self) -> mpsc::Sender<Request> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        match &*requests {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => {
                let (sender, receiver) = mpsc::channel(REQUESTS_WAITING_MAX);
                let committer =
                    Committer::new(Arc::clone(&self.name), Arc::clone(&self.path), Arc::clone(&self.storage));
                tokio::spawn(serve(committer, receiver));
                *requests = Some(sender.clone());
                sender
            }
        }
    }
}

/// The task: one request after the other. It ends with the last handle.
async fn serve(mut committer: Committer, mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        // An asker that has gone away needs no answer.
        match request {
            Request::ForWriting(schema, answer) => drop(answer.send(committer.for_writing(&schema).await)),
            Request::LastEpoch(schema, writer, answer) => {
                drop(answer.send(committer.last_epoch(&schema, &writer).await));
            }
            Request::Version(schema, writer, answer) => {
                drop(answer.send(committer.version_of(&schema, &writer).await));
            }
            Request::Commit(schema, commit, answer) => drop(answer.send(committer.commit(&schema, commit).await)),
        }
    }
}

/// Whether there is a table in the folder.
pub(super) async fn exists(path: &Path) -> bool {
    tokio::fs::try_exists(path.join("_delta_log")).await.unwrap_or(false)
}

/// The log of the table in the folder, which is made if it does not exist.
pub(super) fn log_store(path: &Path, storage: &Arc<dyn ObjectStore>) -> DeltaResult<LogStoreRef> {
    let url = ensure_table_uri(path.to_string_lossy())?;
    let builder = DeltaTableBuilder::from_url(url.clone())?;
    builder.with_storage_backend(Arc::clone(storage), url).build_storage()
}
