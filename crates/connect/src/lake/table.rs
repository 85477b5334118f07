//! A table of the lake, open: a handle to the one task that knows its latest version and makes its commits.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use deltalake_core::DeltaTable;
use deltalake_core::kernel::Add;
use object_store::ObjectStore;
use tokio::sync::{mpsc, oneshot};

use super::commit::Committer;
use super::schema::LakeSchema;
use crate::error::ConnectError;
use crate::partition::PartitionValues;

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
}

/// New files, and what they take the place of.
#[derive(Debug)]
pub(super) struct Commit {
    /// The files that come in.
    pub(super) adds: Vec<Add>,
    /// The files that go out.
    pub(super) replace: Replace,
}

/// What the task can be asked.
pub(super) enum Request {
    /// The table as it is now, if it exists.
    Latest(oneshot::Sender<Result<Option<DeltaTable>, ConnectError>>),
    /// The table for writing, made if it does not exist.
    ForWriting(Arc<LakeSchema>, oneshot::Sender<Result<DeltaTable, ConnectError>>),
    /// A commit; the answer is the version of the table that has it.
    Commit(Arc<LakeSchema>, Commit, oneshot::Sender<Result<u64, ConnectError>>),
}

impl LakeTable {
    /// A handle to the table in that folder.
    pub(super) fn new(name: String, path: PathBuf, storage: Arc<dyn ObjectStore>) -> Self {
        Self { name: name.into(), path: path.into(), storage, requests: Arc::default() }
    }

    /// The table as it is now; `None` if it does not exist.
    pub(super) async fn latest(&self, schema: &LakeSchema) -> Result<Option<DeltaTable>, ConnectError> {
        let table = self.ask(Request::Latest).await?;
        if let Some(state) = table.as_ref().and_then(|table| table.state.as_ref()) {
            schema.check(state)?;
        }
        Ok(table)
    }

    /// The table for writing files; it is made if it does not exist.
    pub(super) async fn for_writing(&self, schema: &Arc<LakeSchema>) -> Result<DeltaTable, ConnectError> {
        let schema = Arc::clone(schema);
        self.ask(|answer| Request::ForWriting(schema, answer)).await
    }

    /// Makes files part of the table.
    pub(super) async fn commit(&self, schema: &Arc<LakeSchema>, commit: Commit) -> Result<u64, ConnectError> {
        let schema = Arc::clone(schema);
        self.ask(|answer| Request::Commit(schema, commit, answer)).await
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
            Request::Latest(answer) => drop(answer.send(committer.latest().await)),
            Request::ForWriting(schema, answer) => drop(answer.send(committer.for_writing(&schema).await)),
            Request::Commit(schema, commit, answer) => drop(answer.send(committer.commit(&schema, commit).await)),
        }
    }
}
