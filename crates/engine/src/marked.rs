//! At most once for sinks that cannot commit with a checkpoint: the rows of an epoch are marked as given before they are
//! given. A crash in between loses them; none is ever given twice.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::Sink;
use mulgil_connect::transaction::Transaction;
use mulgil_dataflow::batch::Batch;

use crate::crash;

/// A sink that is given each epoch once, at most.
pub(crate) struct MarkedSink {
    pub(crate) sink: Arc<dyn Sink>,
    /// The file with the number of the last epoch that it was given, or was to be given.
    pub(crate) mark: PathBuf,
}

impl MarkedSink {
    fn failed(&self, action: &'static str, source: std::io::Error) -> ConnectError {
        ConnectError::File { action, path: self.mark.clone(), source }
    }

    fn set_mark(&self, epoch: u64) -> std::io::Result<()> {
        let part = self.mark.with_extension("part");
        let mut file = File::create(&part)?;
        file.write_all(epoch.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, &self.mark)?;
        self.mark.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

#[async_trait]
impl Transaction for MarkedSink {
    async fn last_epoch(&self, _pipeline: &str) -> Result<Option<u64>, ConnectError> {
        match fs::read_to_string(&self.mark) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| {
                let reason = format!("'{text}' is no number of an epoch; remove the file to give out what comes next");
                ConnectError::Path { path: self.mark.clone(), reason }
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    async fn apply(
        &self,
        _pipeline: &str,
        epoch: u64,
        mut rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let mut writer = self.sink.writer(0).await?;
        self.set_mark(epoch).map_err(|error| self.failed("write", error))?;
        crash::point("after the mark, before its rows");
        while let Some(batch) = rows.next().await {
            writer.write(batch?).await?;
        }
        writer.commit().await
    }
}
