//! How the partitions of a table are kept together in event time: options that every table has, whatever its connector.
//!
//! The engine does what they say; connectors never see them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::bad_rows::BadRowSample;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::lookup::Lookup;
use crate::options::{Options, refusal};
use crate::source::{PartitionReader, Position, Source};
use crate::wait::Waits;

const IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";
const ALIGNMENT_GROUP: &str = "scan.watermark.alignment.group";
const ALIGNMENT_DRIFT_MAX: &str = "scan.watermark.alignment.max-drift";
const OPTIONS: [&str; 3] = [IDLE_TIMEOUT, ALIGNMENT_GROUP, ALIGNMENT_DRIFT_MAX];

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeOptions {
    /// A partition of which nothing has come for so long is idle: it holds event time back no longer, until its next row.
    /// Only where an unbounded source is followed; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// Which partitions wait for each other.
    pub alignment: Option<Alignment>,
}

/// Partitions that wait for each other: none is read on while it is further ahead in event time than this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Tables of one group wait for each other; without a name, the partitions of the table alone do.
    pub group: Option<String>,
    /// How far a partition may be ahead of the active one that has come least far.
    pub drift_max: Duration,
}

impl TimeOptions {
    /// Takes the options out of a table's definition: the rest is its connector's.
    pub(crate) fn split(table: &TableDefinition) -> Result<(Self, Cow<'_, TableDefinition>), ConnectError> {
        if !table.options.keys().any(|name| OPTIONS.contains(&name.as_str())) {
            return Ok((Self::default(), Cow::Borrowed(table)));
        }
        let mut time_only = table.clone();
        time_only.options.retain(|name, _| OPTIONS.contains(&name.as_str()));
        let mut rest = table.clone();
        rest.options.retain(|name, _| !OPTIONS.contains(&name.as_str()));
        let options = Options::new(&time_only, &OPTIONS)?;
        let group = options.optional(ALIGNMENT_GROUP).map(str::to_owned);
        let drift_max = options.duration(ALIGNMENT_DRIFT_MAX)?;
        if group.is_some() && drift_max.is_none() {
            let reason = format!("'{ALIGNMENT_GROUP}' needs '{ALIGNMENT_DRIFT_MAX}', for example '1 min'");
            return Err(refusal(table, reason));
        }
        if table.watermark.is_none() && drift_max.is_some() {
            let reason = format!("'{ALIGNMENT_DRIFT_MAX}' needs event time; add WATERMARK FOR ... to the columns");
            return Err(refusal(table, reason));
        }
        let alignment = drift_max.map(|drift_max| Alignment { group, drift_max });
        Ok((Self { idle_timeout: options.duration(IDLE_TIMEOUT)?, alignment }, Cow::Owned(rest)))
    }
}

/// A connector's source, with the table's options of time.
pub(crate) struct TimedSource {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) time: TimeOptions,
}

#[async_trait]
impl Source for TimedSource {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }

    fn has_changes(&self) -> bool {
        self.source.has_changes()
    }

    fn replays(&self) -> bool {
        self.source.replays()
    }

    fn time_options(&self) -> TimeOptions {
        self.time.clone()
    }

    fn waits(&self) -> Option<Waits> {
        self.source.waits()
    }

    fn bad_rows(&self) -> Option<BadRowSample> {
        self.source.bad_rows()
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        self.source.partitions().await
    }

    fn comes_first(&self, partition: usize) -> bool {
        self.source.comes_first(partition)
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        self.source.open(partition, from, projection, follow).await
    }

    fn lookup(&self, keys: &[usize], projection: &[usize]) -> Option<Result<Arc<dyn Lookup>, ConnectError>> {
        self.source.lookup(keys, projection)
    }

    async fn state(&self) -> Result<Option<String>, ConnectError> {
        self.source.state().await
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.source.discovery_interval()
    }

    fn beginning(&self) -> Position {
        self.source.beginning()
    }

    async fn position_at(&self, partition: usize, time_ms: i64) -> Result<Option<Position>, ConnectError> {
        self.source.position_at(partition, time_ms).await
    }

    async fn acknowledge(&self, positions: &[(usize, Position)]) -> Result<(), ConnectError> {
        self.source.acknowledge(positions).await
    }

    fn renewed(&self) -> Option<Arc<dyn Source>> {
        let source = self.source.renewed()?;
        Some(Arc::new(TimedSource { source, time: self.time.clone() }))
    }
}
