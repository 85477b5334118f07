//! A table of PostgreSQL as a bounded input: its rows as of the moment in which its parts are asked for.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio_postgres::{Client, RowStream};

use super::PostgresTable;
use super::cells::RowBuilder;
use super::lookup::{Parameter, PostgresLookup};
use super::parts::{Part, Parts, STRETCH_BLOCKS};
use crate::error::ConnectError;
use crate::lookup::Lookup;
use crate::source::{PartitionReader, Position, Read, Source};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// A table, read once or looked up.
pub(super) struct PostgresSource {
    table: PostgresTable,
    /// As they were asked for last.
    parts: Mutex<Option<Parts>>,
}

impl PostgresSource {
    pub(super) fn new(table: PostgresTable) -> Self {
        Self { table, parts: Mutex::default() }
    }

    /// A part, and the connection over which it is read.
    async fn begin(&self, number: usize) -> Result<(Part, Client), ConnectError> {
        let mut parts = self.parts.lock().await;
        let parts = match &mut *parts {
            Some(parts) => parts,
            none => none.insert(self.table.parts().await?),
        };
        let part = parts.parts.get(number).cloned();
        let part = part.ok_or_else(|| self.table.database.refusal(format!("it has no part {number} now")))?;
        let client = self.table.database.connect().await?;
        if let Some(snapshot) = &parts.snapshot {
            let begin =
                format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'");
            let begun = client.batch_execute(&begin).await;
            begun.map_err(|error| self.table.database.failed("read from", &error))?;
        }
        if let Some(opened) = parts.opened.get_mut(number) {
            *opened = true;
        }
        if parts.opened.iter().all(|opened| *opened) {
            // Everybody has the snapshot. A part that is opened once more is another reading.
            parts.holder = None;
        }
        Ok((part, client))
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        let parts = self.table.parts().await?;
        let count = parts.parts.len();
        let name = |number: usize| {
            let part = if count > 1 { format!(" {number} of {count}") } else { String::new() };
            format!("{} {}{part}", self.table.database.place(), self.table.quoted_name)
        };
        *self.parts.lock().await = Some(parts);
        Ok((0..count).map(name).collect())
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        // Whoever opens a part a second time, or a reading that is over, wants the table as it is now.
        let is_over = |parts: &Parts| parts.holder.is_none() && parts.opened.iter().all(|opened| *opened);
        self.parts.lock().await.take_if(|parts| is_over(parts));
        let (part, client) = self.begin(partition).await?;
        let builder = RowBuilder::new(Arc::new(self.table.schema.project(projection)?));
        let select = self.table.select(projection)?;
        let is_placed = matches!(part, Part::Blocks { .. });
        let (table, condition) = (self.table.relation(), self.table.condition.clone());
        let statements = Statements { select, table, condition, part, from, next: 0 };
        let position = if is_placed { from } else { 0 };
        let table = self.table.clone();
        Ok(Box::new(PostgresReader { table, client, statements, rows: None, builder, position, from, is_placed }))
    }

    fn lookup(&self, keys: &[usize], projection: &[usize]) -> Option<Result<Arc<dyn Lookup>, ConnectError>> {
        let lookup = PostgresLookup::new(self.table.clone(), keys, projection);
        Some(lookup.map(|lookup| Arc::new(lookup) as Arc<dyn Lookup>))
    }
}

/// The statements that read a part, one after the other.
#[derive(Clone)]
struct Statements {
    /// `SELECT columns`, without the table.
    select: String,
    table: String,
    /// Which rows are wanted.
    condition: Option<String>,
    part: Part,
    from: Position,
    /// How many there have been.
    next: u64,
}

impl Statements {
    fn next(&mut self) -> Option<String> {
        let Self { select, table, .. } = self;
        let and = self.condition.as_ref().map_or(String::new(), |condition| format!(" AND {condition}"));
        let (first, step, end) = match &self.part {
            Part::Whole if self.next == 0 => {
                self.next = 1;
                return Some(format!("{select} FROM {table} WHERE true{and}"));
            }
            Part::Rows(condition) if self.next == 0 => {
                self.next = 1;
                return Some(format!("{select} FROM {table} WHERE ({condition}){and}"));
            }
            Part::Whole | Part::Rows(_) => return None,
            Part::Blocks { first, step, end } => (*first, *step, *end),
        };
        let select = select.replacen("SELECT ", "SELECT ctid, ", 1).trim_end_matches([',', ' ']).to_owned();
        loop {
            let stretch = first + step * self.next;
            let (low, high) = (stretch * STRETCH_BLOCKS, (stretch + 1) * STRETCH_BLOCKS);
            // A table without a block has no row.
            if low >= end {
                return None;
            }
            self.next += 1;
            let (block, row) = (self.from >> 16, self.from & 0xFFFF);
            if block >= high {
                continue;
            }
            // The last block that a place can have is one less than the most.
            let upper = if high < u64::from(u32::MAX) { format!(" AND ctid < '({high},0)'") } else { String::new() };
            let lower = if block >= low && self.from > 0 {
                format!("ctid > '({block},{row})'")
            } else {
                format!("ctid >= '({low},0)'")
            };
            return Some(format!("{select} FROM {table} WHERE {lower}{upper}{and}"));
        }
    }
}

struct PostgresReader {
    table: PostgresTable,
    client: Client,
    statements: Statements,
    /// What the statement gives that was asked last.
    rows: Option<Pin<Box<RowStream>>>,
    /// Rows that have come and were not given out yet: what is here outlives a dropped `next`.
    builder: RowBuilder,
    position: Position,
    /// Rows up to here have been read before.
    from: Position,
    /// Whether a position is a row's place, which is the first column then.
    is_placed: bool,
}

impl PostgresReader {
    fn give_out(&mut self) -> Result<Read, ConnectError> {
        let rows = self.builder.finish().map_err(|reason| self.table.database.refusal(reason))?;
        Ok(Read::Rows(rows, self.position))
    }

    fn take(&mut self, row: &tokio_postgres::Row) -> Result<(), String> {
        if self.is_placed {
            self.position = RowBuilder::place(row)?;
            return self.builder.push(row, 1);
        }
        self.position += 1;
        if self.position > self.from { self.builder.push(row, 0) } else { Ok(()) }
    }
}

#[async_trait]
impl PartitionReader for PostgresReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            if self.builder.row_count() >= BATCH_ROWS {
                return self.give_out();
            }
            let Some(rows) = &mut self.rows else {
                // Dropped while it waits, it would ask the same again.
                let mut statements = self.statements.clone();
                let Some(statement) = statements.next() else {
                    return if self.builder.row_count() > 0 { self.give_out() } else { Ok(Read::End) };
                };
                let rows = self.client.query_typed_raw(&statement, Vec::<Parameter>::new()).await;
                let rows = rows.map_err(|error| self.table.database.failed("read from", &error))?;
                self.rows = Some(Box::pin(rows));
                self.statements = statements;
                continue;
            };
            match rows.next().await {
                Some(row) => {
                    let row = row.map_err(|error| self.table.database.failed("read from", &error))?;
                    self.take(&row).map_err(|reason| self.table.database.refusal(reason))?;
                }
                None => self.rows = None,
            }
        }
    }
}
