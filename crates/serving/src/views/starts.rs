//! Where a generation of a view begins to read: at the beginning of its sources, at a time, or behind the archives that it has
//! read first.

use mulgil_connect::definition::TableName;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};
use mulgil_engine::cut::{PartitionStart, Starts};
use mulgil_engine::job::Sources;
use mulgil_sql::problem::SqlError;

use super::archive_cut::ArchiveCut;
use super::cell::ViewCell;
use super::{ViewError, Views};

/// Nothing is known of time yet.
const NO_TIME: InputTime = InputTime { watermark: Watermark::UNKNOWN, state: InputState::Active };

impl ViewCell {
    /// Where reading begins, by table; tables that are not named, at their beginning. `sources` are the tables alone.
    pub(super) async fn starts(&self, sources: &Sources) -> Result<Starts, ViewError> {
        let cuts = self.origin.archives.cuts().into_iter().flatten();
        let mut starts: Starts = cuts.map(|(table, cut)| (table.clone(), behind(cut))).collect();
        let Some(from_ms) = self.origin.from_ms else { return Ok(starts) };
        let name = self.view.name.to_string();
        for (table, source) in sources {
            let refused = |reason: String| ViewError::Mode {
                name: name.clone(),
                mode: self.view.mode.to_string(),
                reason: format!("{table} cannot be read from a time on: {reason}"),
            };
            let partitions = source.partitions().await.map_err(|error| refused(error.to_string()))?;
            let mut begins = Vec::with_capacity(partitions.len());
            for (number, partition) in partitions.into_iter().enumerate() {
                let begin = source.position_at(number, from_ms).await.map_err(|error| refused(error.to_string()))?;
                let none = || refused("its connector keeps no times; leave --from out to read all of it".to_owned());
                begins.push(PartitionStart { partition, position: begin.ok_or_else(none)?, time: NO_TIME });
            }
            starts.insert(table.clone(), begins);
        }
        Ok(starts)
    }
}

/// The archive at its beginning, and the partitions of its table behind what it holds.
fn behind(cut: &ArchiveCut) -> Vec<PartitionStart> {
    let archive = PartitionStart { partition: cut.partition_name(), position: 0, time: NO_TIME };
    let partitions = cut.partitions.iter().map(|partition| PartitionStart {
        partition: partition.partition.clone(),
        position: partition.position,
        time: InputTime {
            watermark: Watermark(partition.watermark),
            state: if partition.is_idle { InputState::Idle } else { InputState::Active },
        },
    });
    std::iter::once(archive).chain(partitions).collect()
}

impl Views {
    /// The sources of a generation, with the archives that it reads before them.
    pub(super) fn with_archives(&self, cell: &ViewCell, mut sources: Sources) -> Result<Sources, ViewError> {
        let failed = |source: SqlError| ViewError::Sql { name: cell.view.name.to_string(), source };
        let catalog = &cell.origin.catalog;
        for (table, cut) in cell.origin.archives.cuts().into_iter().flatten() {
            let name = TableName::parse(table);
            let (Some(source), Some(known)) = (sources.get_mut(table), catalog.table(&name)) else { continue };
            let archive = catalog.archive_of(&name).map_err(failed)?.definition;
            let archived = self.shared.connectors.archived_source(&known.definition, (&archive, cut.version));
            *source = archived.map_err(|error| failed(error.into()))?;
        }
        Ok(sources)
    }
}
