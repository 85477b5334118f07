//! The parts in which a table is read side by side, all as of one moment.
//!
//! A connection holds a transaction open and exports its snapshot; each part is read in a transaction of its own that begins with that
//! snapshot. The parts of a table are its blocks, dealt out in stretches, or ranges of a column of whole numbers. What has no
//! blocks of its own (a view, a partitioned or foreign table) is one part.

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::PostgresTable;
use super::quoted;
use crate::error::ConnectError;
use crate::options::Options;

/// Blocks of a stretch: 32 MB. Fixed, so that a position means the same in a table that has grown.
pub(super) const STRETCH_BLOCKS: u64 = 4096;
/// Parts of a table that is larger than a stretch, where it does not say.
const PARTS: usize = 4;
/// The first version that finds a range of blocks without reading the others.
const FIRST_WITH_BLOCK_RANGES: i32 = 140_000;
/// A snapshot is given up when nobody has read with it for so long.
const KEPT: &str = "24h";

/// `scan.partition.*`.
#[derive(Clone, Debug, Default)]
pub(super) struct PartOptions {
    column: Option<String>,
    count: Option<usize>,
    lower: Option<i64>,
    upper: Option<i64>,
}

/// A part of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it; a position counts rows.
    Whole,
    /// Every so manieth stretch of its blocks, from this one on; a position is a row's place.
    Blocks {
        first: u64,
        step: u64,
        /// Blocks that the table had.
        end: u64,
    },
    /// The rows for which a condition is true; a position counts them.
    Rows(String),
}

/// The parts of a table as of one moment.
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    /// By what name others begin with the same snapshot; `None` where there is one part.
    pub(super) snapshot: Option<String>,
    /// Keeps the snapshot.
    pub(super) holder: Option<Client>,
    /// Parts that have been opened.
    pub(super) opened: Vec<bool>,
}

impl PartOptions {
    pub(super) const NAMES: [&'static str; 4] =
        ["scan.partition.column", "scan.partition.num", "scan.partition.lower-bound", "scan.partition.upper-bound"];

    pub(super) fn new(options: &Options<'_>, schema: &arrow::datatypes::Schema) -> Result<Self, ConnectError> {
        let [column, count, lower, upper] = Self::NAMES;
        let made = Self {
            column: options.optional(column).map(str::to_owned),
            count: options.number(count)?,
            lower: options.number(lower)?,
            upper: options.number(upper)?,
        };
        if made.count == Some(0) {
            return Err(options.refusal(format!("'{count}' must be at least 1")));
        }
        let is_bounded = made.lower.is_some() || made.upper.is_some();
        match &made.column {
            Some(name) => {
                let is_whole = schema.field_with_name(name).is_ok_and(|field| field.data_type().is_integer());
                if !is_whole {
                    let reason = format!(
                        "'{column}' = '{name}' must be a column of whole numbers; leave it out, and the table is read by its blocks"
                    );
                    return Err(options.refusal(reason));
                }
                if made.lower.zip(made.upper).is_some_and(|(lower, upper)| lower > upper) {
                    return Err(options.refusal(format!("'{lower}' is greater than '{upper}'")));
                }
            }
            None if is_bounded => return Err(options.refusal(format!("'{lower}' and '{upper}' need '{column}'"))),
            None => {}
        }
        Ok(made)
    }
}

impl PostgresTable {
    /// How the table can be read now.
    pub(super) async fn parts(&self) -> Result<Parts, ConnectError> {
        let client = self.database.connect().await?;
        let failed = |error: tokio_postgres::Error| self.database.failed("read from", &error);
        let begin = format!(
            "SET idle_in_transaction_session_timeout = '{KEPT}'; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        );
        client.batch_execute(&begin).await.map_err(failed)?;
        let parts = match &self.part_options.column {
            Some(column) => self.column_parts(&client, column).await?,
            None => self.block_parts(&client).await?,
        };
        let opened = vec![false; parts.len()];
        if parts.len() < 2 {
            return Ok(Parts { parts, snapshot: None, holder: None, opened });
        }
        let snapshot = client.query_typed("SELECT pg_export_snapshot()", &[]).await.map_err(failed)?;
        let snapshot = snapshot.first().map(|row| row.get::<_, String>(0));
        Ok(Parts { parts, snapshot, holder: Some(client), opened })
    }

    async fn block_parts(&self, client: &Client) -> Result<Vec<Part>, ConnectError> {
        let statement = "SELECT relkind IN ('r', 'm') AND current_setting('server_version_num')::int4 >= $2, \
                         pg_relation_size(oid) / current_setting('block_size')::int8 FROM pg_class WHERE oid = to_regclass($1)";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&self.quoted_name, Type::TEXT), (&FIRST_WITH_BLOCK_RANGES, Type::INT4)];
        if self.query.is_some() {
            return Ok(vec![Part::Whole]);
        }
        let found = client.query_typed(statement, &parameters).await;
        let found = found.map_err(|error| self.database.failed("read from", &error))?;
        // What is not there is said by the statement that reads it.
        let Some(row) = found.first().filter(|row| row.get(0)) else { return Ok(vec![Part::Whole]) };
        let end = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
        let default = if end > STRETCH_BLOCKS { PARTS } else { 1 };
        let count = self.part_options.count.unwrap_or(default) as u64;
        Ok((0..count).map(|first| Part::Blocks { first, step: count, end }).collect())
    }

    async fn column_parts(&self, client: &Client, column: &str) -> Result<Vec<Part>, ConnectError> {
        let PartOptions { count, lower, upper, .. } = self.part_options;
        let count = i128::try_from(count.unwrap_or(PARTS)).unwrap_or(1);
        let name = quoted(column);
        let (lower, upper) = match (lower, upper) {
            (Some(lower), Some(upper)) => (lower, upper),
            (lower, upper) => {
                let statement = format!("SELECT min({name})::int8, max({name})::int8 FROM {}", self.relation());
                let found = client.query_typed(&statement, &[]).await;
                let found = found.map_err(|error| self.database.failed("read from", &error))?;
                let bound = |place: usize| found.first().and_then(|row| row.get::<_, Option<i64>>(place)).unwrap_or(0);
                (lower.unwrap_or_else(|| bound(0)), upper.unwrap_or_else(|| bound(1)))
            }
        };
        let (lower, upper) = (i128::from(lower), i128::from(upper));
        let start = |part: i128| lower + (upper - lower + 1) * part / count;
        // The first part and the last take what is beyond the bounds too, and the first what is NULL.
        let part = |part: i128| {
            let (from, to) = (start(part), start(part + 1));
            let condition = match (part == 0, part + 1 == count) {
                (true, true) => "true".to_owned(),
                (true, false) => format!("{name} < {to} OR {name} IS NULL"),
                (false, true) => format!("{name} >= {from}"),
                (false, false) => format!("{name} >= {from} AND {name} < {to}"),
            };
            Part::Rows(condition)
        };
        Ok((0..count).map(part).collect())
    }
}
