//! A table with its past: first the archive that holds what the table had, as it was at a version, then the table itself. The archive
//! is the first partition; the others are the table's own, and keep their names and positions.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::bad_rows::BadRowSample;
use crate::error::ConnectError;
use crate::source::{PartitionReader, Position, Source};
use crate::time::TimeOptions;
use crate::wait::Waits;

/// See the module.
pub(crate) struct ArchivedSource {
    /// What the table had: one partition that ends.
    pub(crate) archive: Arc<dyn Source>,
    /// The table.
    pub(crate) table: Arc<dyn Source>,
}

#[async_trait]
impl Source for ArchivedSource {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn is_bounded(&self) -> bool {
        self.table.is_bounded()
    }

    fn has_changes(&self) -> bool {
        self.table.has_changes()
    }

    fn replays(&self) -> bool {
        self.table.replays()
    }

    fn time_options(&self) -> TimeOptions {
        self.table.time_options()
    }

    fn waits(&self) -> Option<Waits> {
        self.table.waits()
    }

    fn bad_rows(&self) -> Option<BadRowSample> {
        self.table.bad_rows()
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        let mut partitions = self.archive.partitions().await?;
        partitions.extend(self.table.partitions().await?);
        Ok(partitions)
    }

    fn comes_first(&self, partition: usize) -> bool {
        partition == 0
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        match partition.checked_sub(1) {
            None => self.archive.open(0, from, projection, false).await,
            Some(own) => self.table.open(own, from, projection, follow).await,
        }
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.table.discovery_interval()
    }

    fn beginning(&self) -> Position {
        self.table.beginning()
    }

    async fn position_at(&self, partition: usize, time_ms: i64) -> Result<Option<Position>, ConnectError> {
        match partition.checked_sub(1) {
            None => Ok(None),
            Some(own) => self.table.position_at(own, time_ms).await,
        }
    }

    async fn acknowledge(&self, positions: &[(usize, Position)]) -> Result<(), ConnectError> {
        let own = positions.iter().filter_map(|(partition, position)| Some((partition.checked_sub(1)?, *position)));
        self.table.acknowledge(&own.collect::<Vec<_>>()).await
    }

    fn renewed(&self) -> Option<Arc<dyn Source>> {
        let table = self.table.renewed()?;
        Some(Arc::new(Self { archive: Arc::clone(&self.archive), table }))
    }
}
