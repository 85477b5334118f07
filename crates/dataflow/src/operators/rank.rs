//! Ranking: the first rows of every partition in some order, kept up to date: top-N, and deduplication, which is top-1.
//!
//! `SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM t) WHERE rn <= n`. Over inserts
//! only, a partition keeps just the rows that are ranked: a row that falls out can never come back. Over a changelog it
//! keeps all rows, so that a retraction lets the next one move up. Changes are gathered for a turn: a partition that
//! changed many times says once how it is now. With the rank in the output, a new first row changes the rank of all
//! behind it; without, it is one row in and one row out.
//!
//! Ties are broken by the rows themselves, column by column, so that the result does not depend on the order of arrival.
//! Where the partition is a window, a partition's result is final when the watermark passes the window's end: it is given
//! out then, once, and forgotten. Any other partition is forgotten when no row has touched it for the time to live, if there
//! is one: what was given out stays, and its next row begins anew.

mod changes;
mod contest;
mod continuous;
mod ranking;
mod windowed;

use arrow::datatypes::{Schema, SchemaRef};

use std::sync::Arc;

pub use self::contest::Contest;
pub(crate) use self::contest::Referee;
pub use super::row_store::{OrderColumn, breaks_ties};
use crate::definition::{Distribution, LocalPart, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError};
use crate::time_to_live::TimeToLive;

/// How rows are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankFunction {
    /// 1, 2, 3, 4.
    RowNumber,
    /// Equals have the same rank: 1, 2, 2, 4.
    Rank,
    /// Equals have the same rank, and no rank is left out: 1, 2, 2, 3.
    DenseRank,
}

/// Keeps the first rows of every partition. Output columns: the input's, then, if asked for, the rank (64 bits, unsigned).
#[derive(Clone, Debug)]
pub struct RankDefinition {
    /// The input's columns.
    pub input: SchemaRef,
    /// The columns of the partition; none for one partition.
    pub partition: Vec<usize>,
    /// The order within.
    pub order: Vec<OrderColumn>,
    /// How rows are numbered.
    pub function: RankFunction,
    /// The largest rank that is kept: at least 1.
    pub limit: usize,
    /// Whether the rank is in the output.
    pub with_rank: bool,
    /// The partition's column that says which window it is, where it is one: then the output is inserts only.
    pub window: Option<WindowColumn>,
    /// How long a partition that no row touches is kept.
    pub time_to_live: Option<TimeToLive>,
}

/// A column by which the end of a row's window is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowColumn {
    /// Its index.
    pub column: usize,
    /// How far the window's end is behind the column's value.
    pub until_end_ms: i64,
}

impl RankDefinition {
    fn is_windowed(&self, input_is_updating: bool) -> bool {
        self.window.is_some() && !input_is_updating
    }

    /// After how long partitions are forgotten that nothing else ends.
    fn forgets(&self) -> Option<TimeToLive> {
        self.time_to_live.filter(|_| self.window.is_none() && !self.partition.is_empty())
    }
}

impl OperatorDefinition for RankDefinition {
    fn describe(&self) -> String {
        let function = match self.function {
            RankFunction::RowNumber => "row number",
            RankFunction::Rank => "rank",
            RankFunction::DenseRank => "dense rank",
        };
        let order: Vec<String> = self.order.iter().map(|by| by.describe(&self.input)).collect();
        let mut text = match self.limit {
            1 => "keep the first row".to_owned(),
            limit => format!("keep rows up to {function} {limit}"),
        };
        if !self.partition.is_empty() {
            text.push_str(&format!(" by {}", names(&self.input, &self.partition)));
        }
        if !order.is_empty() {
            text.push_str(&format!(", ordered by {}", order.join(", ")));
        }
        if self.with_rank {
            text.push_str(", with the rank");
        }
        if let Some(time_to_live) = self.forgets() {
            text.push_str(&format!(", forgetting partitions after {time_to_live}"));
        }
        text
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Keyed(self.partition.clone())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        Some(self.partition.clone())
    }

    fn is_updating(&self, inputs: &[bool]) -> bool {
        !self.is_windowed(inputs.contains(&true))
    }

    fn warning(&self) -> Option<String> {
        (self.window.is_none() && !self.partition.is_empty() && self.time_to_live.is_none()).then(|| {
            format!(
                "the operator that is to {} does so for ever; name a window's bounds in PARTITION BY if there are ever more \
                 partitions, or set 'state-ttl'",
                self.describe()
            )
        })
    }

    fn local_part(&self, input: &Port) -> Option<LocalPart> {
        let contest = self.contest().filter(|_| !input.is_updating)?;
        Some(LocalPart {
            before: contest::preselection(contest, self.describe()),
            schema: SchemaRef::clone(&input.schema),
            after: Arc::new(self.clone()),
        })
    }

    /// Dense ranks count different values, not rows. And rows of a window that may be too late must all be seen, to be
    /// counted.
    fn contest(&self) -> Option<Contest> {
        let is_judged = self.function != RankFunction::DenseRank && self.window.is_none();
        is_judged.then(|| Contest {
            partition: self.partition.clone(),
            order: self.order.clone(),
            limit: self.limit.max(1),
        })
    }

    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        let is_updating = inputs.iter().any(|port| port.is_updating);
        Ok(match self.window.filter(|_| self.is_windowed(is_updating)) {
            Some(window) => Box::new(windowed::WindowedRank::new(self.clone(), window, schema.clone())),
            None => Box::new(continuous::ContinuousRank::new(self, is_updating, schema.clone())?),
        })
    }
}

/// The names of some columns, for people.
pub(super) fn names(schema: &Schema, columns: &[usize]) -> String {
    let name = |column: &usize| schema.fields().get(*column).map_or("?", |field| field.name().as_str());
    columns.iter().map(name).collect::<Vec<&str>>().join(", ")
}
