//! Where the archive of a table ends and the table goes on: one moment of the stream that fills the archive. Who reads the archive at
//! the version of that moment, and then the table from the positions of that moment on, reads every row once.
//!
//! The stream's checkpoint says how far it had read the table, and under which epoch its rows went into the lake; the lake says which
//! version has that epoch and none behind it. What a generation is built from is noted with it, so that it is the same after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_connect::lake::partition_at;
use mulgil_connect::transaction::EpochVersion;
use mulgil_dataflow::graph::{Graph, LogicalOperator};
use mulgil_dataflow::watermark::InputState;
use mulgil_engine::checkpoint::{Positions, newest_positions};
use mulgil_engine::crash;
use mulgil_engine::job::JobHandle;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::Session;
use serde::{Deserialize, Serialize};

use super::cell::ViewCell;
use super::{ViewError, Views};
use crate::status::ViewState;

/// How often an archive that is being started is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How long whoever asks for a replay waits for an archive that is being started.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How many checkpoints may come between two looks, one after the other.
const LOOKS_MAX: usize = 100;

/// Where the archive of a table ends and the table goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArchiveCut {
    /// The archive's table.
    pub(crate) archive: String,
    /// The version of it that is read.
    pub(crate) version: u64,
    /// Where the partitions of the table go on.
    pub(crate) partitions: Vec<CutPartition>,
}

/// A partition of a table at the end of its archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CutPartition {
    /// Its name.
    pub(crate) partition: String,
    /// Everything before this is in the archive.
    pub(crate) position: u64,
    /// How far its event time had come, in milliseconds since the epoch.
    pub(crate) watermark: i64,
    /// Whether nothing had come of it for a while.
    pub(crate) is_idle: bool,
}

/// By table.
pub(crate) type ArchiveCuts = BTreeMap<String, ArchiveCut>;

/// What a generation reads before its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Archives {
    /// Nothing.
    #[default]
    None,
    /// The archives of its tables, as they are when it is first started.
    Wanted,
    /// These.
    Cut(ArchiveCuts),
}

/// What a generation that may run reads before its sources.
#[derive(Debug, Default)]
pub(crate) struct PastOfTables {
    is_wanted: bool,
    cuts: OnceLock<ArchiveCuts>,
}

impl PastOfTables {
    /// As it is noted.
    pub(crate) fn new(noted: Archives) -> Self {
        let is_wanted = noted == Archives::Wanted;
        let cuts = match noted {
            Archives::Cut(cuts) => OnceLock::from(cuts),
            Archives::None | Archives::Wanted => OnceLock::new(),
        };
        Self { is_wanted, cuts }
    }

    /// What is read of archives; `None` where that is nothing, or not decided yet.
    pub(crate) fn cuts(&self) -> Option<&ArchiveCuts> {
        self.cuts.get()
    }
}

impl ArchiveCut {
    fn new(archive: String, version: u64, positions: Positions) -> Self {
        let partitions = positions.partitions.into_iter().map(|start| CutPartition {
            partition: start.partition,
            position: start.position,
            watermark: start.time.watermark.0,
            is_idle: start.time.state == InputState::Idle,
        });
        Self { archive, version, partitions: partitions.collect() }
    }

    /// The name of the partition that the archive is for a job that reads it.
    pub(crate) fn partition_name(&self) -> String {
        partition_at(&self.archive, self.version)
    }
}

impl Views {
    /// Decides what a generation reads of archives, before it is started for the first time.
    pub(super) async fn cut_archives_if_wanted(&self, cell: &ViewCell) -> Result<(), ViewError> {
        let past = &cell.origin.archives;
        if !past.is_wanted || past.cuts().is_some() {
            return Ok(());
        }
        let slot = self.slot(&cell.view.name)?;
        let cuts = self.cut_archives(&cell.origin.catalog, &cell.view.name).await?;
        let _one_at_a_time = slot.turn.lock().await;
        let Some(mut noted) = slot.noted() else { return Ok(()) };
        let Some(building) = noted.building.as_mut().filter(|building| building.number == cell.origin.number) else {
            return Err(slot.refused("nobody wants this generation any more"));
        };
        building.archives = Archives::Cut(cuts.clone());
        self.note(slot, noted).await?;
        crash::point("after the end of the archives is noted");
        // Only who has the cell's turn comes here.
        let _ = past.cuts.set(cuts);
        Ok(())
    }

    /// Where the archives of a view's tables end now, of those that it reads as streams; nothing, where it is not to be built from them.
    ///
    /// # Errors
    /// The view cannot be planned; an archive does not run, or can make no checkpoint.
    pub(super) async fn cut_archives(
        &self,
        catalog: &Arc<Catalog>,
        view: &TableName,
    ) -> Result<ArchiveCuts, ViewError> {
        let mut cuts = ArchiveCuts::new();
        if !self.slot(view)?.view.archive {
            return Ok(cuts);
        }
        let failed = |source| ViewError::Sql { name: view.to_string(), source };
        let session = Session::new(Arc::clone(catalog), Arc::clone(&self.shared.connectors));
        let graph = session.stream_view(view).map_err(failed)?.graph;
        for table in catalog.tables_of(view) {
            let name = &table.definition.name;
            if !is_streamed(&graph, name) {
                continue;
            }
            if let Some(archive) = self.archive_of(catalog, view, &table)? {
                let cut = self.cut_archive(&archive).await.map_err(|reason| ViewError::Result {
                    name: view.to_string(),
                    reason: format!(
                        "the past of {name} is in {}, which cannot be read: {reason}; mend that, or, with REFRESH_MODE = KAPPA, read the \
                         log alone: `mulgil view replay {view} --from TIME`",
                        archive.view.name
                    ),
                })?;
                cuts.insert(name.to_string(), cut);
            }
        }
        Ok(cuts)
    }

    async fn cut_archive(&self, archive: &ViewCell) -> Result<ArchiveCut, String> {
        let job = tokio::time::timeout(START_PATIENCE, Self::running(archive)).await;
        let job = job.map_err(|_| "it is still being started".to_owned())??;
        let none = || "it makes no checkpoints".to_owned();
        let folder = self.checkpoints_of(&archive.view, archive.origin.number).ok_or_else(none)?.folder;
        let table = archive.origin.archive.as_ref().ok_or_else(none)?;
        let sink = self.shared.connectors.sink(table).map_err(|error| error.to_string())?;
        let lake = sink.transaction().ok_or_else(none)?;
        for _ in 0..LOOKS_MAX {
            job.make_checkpoint().await?;
            let folder = folder.clone();
            let read = tokio::task::spawn_blocking(move || newest_positions(&folder)).await;
            let positions = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            let positions = positions.ok_or_else(none)?;
            let at = lake.version(&archive.view.name.to_string()).await.map_err(|error| error.to_string())?;
            let at = at.ok_or_else(none)?;
            if meet(&positions, at) {
                return Ok(ArchiveCut::new(table.name.to_string(), at.version, positions));
            }
        }
        Err("its checkpoints come too fast to look at one".to_owned())
    }

    /// The job of an archive, once it runs.
    async fn running(archive: &ViewCell) -> Result<JobHandle, String> {
        loop {
            if let Some(job) = archive.job().filter(|_| archive.is_running()) {
                return Ok(job);
            }
            let status = archive.status();
            if status.state == ViewState::Failed {
                return Err(status.error.unwrap_or_else(|| "it has failed".to_owned()));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Whether a table is read as a stream, and is not looked up: what is looked up is read as it is.
fn is_streamed(graph: &Graph, table: &TableName) -> bool {
    let is_it = |name: &str| TableName::parse(name) == *table;
    let is_read = graph.nodes.iter().any(|node| match &node.operator {
        LogicalOperator::Source { table, .. } => is_it(table),
        _ => false,
    });
    let is_looked_up = graph.nodes.iter().any(|node| match &node.operator {
        LogicalOperator::Apply(definition) => definition.looks_up().is_some_and(|read| is_it(&read.table)),
        _ => false,
    });
    is_read && !is_looked_up
}

/// Whether a version of the lake has the rows of a checkpoint, and none that came behind it.
fn meet(positions: &Positions, at: EpochVersion) -> bool {
    match at.epoch {
        Some(epoch) if epoch == positions.epoch => true,
        Some(epoch) => epoch < positions.epoch && !positions.has_rows,
        None => !positions.has_rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_and_a_table_meet_where_the_lake_has_the_checkpoint_and_nothing_behind_it() {
        let positions = |epoch, has_rows| Positions { epoch, has_rows, partitions: Vec::new() };
        let at = |epoch| EpochVersion { version: 3, epoch };
        assert!(meet(&positions(7, true), at(Some(7))));
        assert!(meet(&positions(7, false), at(Some(5))), "nothing came between");
        assert!(meet(&positions(1, false), at(None)));
        assert!(!meet(&positions(7, true), at(Some(6))), "its rows are not in yet");
        assert!(!meet(&positions(7, true), at(None)));
        assert!(!meet(&positions(7, false), at(Some(8))), "the next one is in already");
        assert!(!meet(&positions(7, true), at(Some(8))));
    }
}
