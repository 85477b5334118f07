//! Where a generation has to come to before it takes over: to where the live one's job is; or, beside a stored result, to the
//! ends of its sources, as those are when somebody looks: what was computed before is of no longer a prefix.

use mulgil_connect::definition::TableName;
use mulgil_connect::source::{Position, Source, has_reached};
use mulgil_engine::status::{JobStatus, PartitionState, PartitionStatus};

use super::cell::ViewCell;
use super::slot::{Build, partition_of, same_partition};
use super::{ViewError, Views};
use crate::run::sources;
use crate::status::ViewState;

/// Later than any row.
const LATEST_MS: i64 = i64::MAX;

/// The ends of all sources of a view.
#[derive(Debug, Default)]
pub(crate) struct Goal {
    /// `None` before somebody has looked.
    marks: Option<Vec<Mark>>,
}

/// The end of a partition.
#[derive(Debug)]
struct Mark {
    table: String,
    partition: String,
    /// `None` where the source does not say.
    position: Option<Position>,
    /// Nothing is in it, and it holds event time back until it rests.
    is_to_rest: bool,
}

impl Goal {
    /// One that nothing has reached.
    pub(crate) const fn unknown() -> Self {
        Self { marks: None }
    }

    /// Tables, partitions and positions, as far as those are known.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (&str, &str, Position)> {
        let marks = self.marks.iter().flatten();
        marks.filter_map(|mark| Some((mark.table.as_str(), mark.partition.as_str(), mark.position?)))
    }

    fn is_reached(&self, own: &JobStatus) -> bool {
        let Some(marks) = &self.marks else { return false };
        marks.iter().all(|mark| match partition_of(own, &mark.table, &mark.partition) {
            Some(own) if own.state == PartitionState::Finished => true,
            Some(own) if mark.is_to_rest && own.state == PartitionState::Active => false,
            Some(own) => match mark.position {
                Some(position) => has_reached(own.position, position),
                None => own.state == PartitionState::Idle || own.lag_rows == Some(0),
            },
            // One that is looked up, or that had been read to its end.
            None => true,
        })
    }
}

impl Views {
    /// The ends of all that a build reads, as those are now.
    pub(super) async fn goal_of(&self, build: &ViewCell) -> Result<Goal, ViewError> {
        let name = &build.view.name;
        let failed = |source| ViewError::Sql { name: name.to_string(), source };
        let session = self.session_of(build);
        let plan = session.stream_view(name).map_err(failed)?;
        let mut marks = Vec::new();
        for (table, source) in sources(&session, &plan).map_err(failed)? {
            add_ends(&mut marks, &table, source.as_ref()).await.map_err(|error| failed(error.into()))?;
        }
        Ok(Goal { marks: Some(marks) })
    }
}

async fn add_ends(
    marks: &mut Vec<Mark>,
    table: &str,
    source: &dyn Source,
) -> Result<(), mulgil_connect::error::ConnectError> {
    let idles = source.time_options().idle_timeout.is_some();
    for (number, partition) in source.partitions().await?.into_iter().enumerate() {
        let position = if source.is_bounded() { None } else { source.position_at(number, LATEST_MS).await? };
        let is_empty = position.is_some_and(|position| has_reached(source.beginning(), position));
        marks.push(Mark { table: table.to_owned(), partition, position, is_to_rest: idles && is_empty });
    }
    Ok(())
}

impl Build {
    /// Whether it is where the live generation is.
    pub(super) fn has_caught_up(&self, live: &ViewCell) -> bool {
        let runs = matches!(self.cell.status().state, ViewState::Running | ViewState::Ready);
        let Some(own) = self.cell.job().filter(|_| runs) else { return false };
        if !self.has_read_archives(&own.status()) {
            return false;
        }
        match live.job() {
            Some(job) => self.has_reached(live, &job.status(), &own.status()),
            // One that answers nothing, and never will by itself, is not waited for.
            None => live.has_failed() && live.keeps_stream() || self.goal().is_reached(&own.status()),
        }
    }

    /// Whether the job of the build is as far as the live one was.
    pub(super) fn has_reached(&self, live: &ViewCell, wanted: &JobStatus, own: &JobStatus) -> bool {
        let as_far = |wanted: &PartitionStatus| match same_partition(own, wanted) {
            Some(own) if own.state == PartitionState::Finished => true,
            Some(own) => {
                let rests = wanted.state == PartitionState::Idle && own.state == PartitionState::Active;
                has_reached(own.position, wanted.position) && !(rests && self.has_same_table(live, &wanted.table))
            }
            // A table that it does not read any more, or a partition that was gone when it began.
            None => !own.partitions.iter().any(|own| own.table == wanted.table) || self.misses(wanted),
        };
        self.has_read_archives(own) && wanted.partitions.iter().all(as_far)
    }

    /// Whether the archives have been read that come before its sources.
    fn has_read_archives(&self, own: &JobStatus) -> bool {
        own.partitions.iter().all(|own| own.state == PartitionState::Finished || !self.is_archive(own))
    }

    /// Whether a table is declared for the build as for the live one: else other partitions may rest, or none.
    fn has_same_table(&self, live: &ViewCell, table: &str) -> bool {
        let name = TableName::parse(table);
        let text = |cell: &ViewCell| cell.origin.catalog.table(&name).map(|table| table.text.clone());
        text(live) == text(&self.cell)
    }
}
