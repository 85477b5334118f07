//! Mulgil's own history and state as tables: `mulgil.runs` and its neighbours, so that questions about operation are SQL too.
//!
//! Rows are made when they are read. What may be long comes page by page, and what a query says of its time, run, flow and status
//! is asked of the history itself.

mod attempts;
mod backfills;
mod checkpoints;
mod events;
mod flows;
mod runs;
mod tasks;
mod views;
mod watermarks;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use jiff::Timestamp;
use mulgil_connect::definition::TableName;
use mulgil_history::HistoryError;
use mulgil_history::listing::Selection;
use mulgil_sched::id::RunId;
use mulgil_sql::system::{System, SystemRows, SystemTables};
use mulgil_sql::wanted::Wanted;

use crate::cells::{Column, batch, schema};
use crate::node::Node;

/// The schema in which these tables are.
pub(crate) const SCHEMA: &str = "mulgil";

/// Rows of a page, and so of a batch.
const PAGE_ROWS: u32 = 1_000;

/// A table.
struct OwnTable {
    name: &'static str,
    schema: fn() -> SchemaRef,
    rows: fn(Node, &Wanted) -> SystemRows,
}

macro_rules! own_tables {
    ($($name:ident),+) => {
        [$(OwnTable { name: stringify!($name), schema: || schema($name::COLUMNS), rows: $name::rows }),+]
    };
}

const TABLES: [OwnTable; 9] =
    own_tables![attempts, backfills, checkpoints, events, flows, runs, tasks, views, watermarks];

/// The tables of a server.
pub(crate) struct OwnTables {
    node: Node,
}

impl OwnTables {
    /// The tables, to be read in the name of `node`.
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    /// What a session needs to read them.
    pub(crate) fn system(node: Node) -> Arc<System> {
        Arc::new(System::new(Arc::new(Self::new(node)), []))
    }

    /// All of them, with their columns.
    pub(crate) fn all() -> impl Iterator<Item = (TableName, SchemaRef)> {
        let name = |table: &OwnTable| TableName { namespace: SCHEMA.to_owned(), name: table.name.to_owned() };
        TABLES.iter().map(move |table| (name(table), (table.schema)()))
    }
}

fn find(name: &TableName) -> Option<&'static OwnTable> {
    TABLES.iter().find(|table| name.namespace == SCHEMA && name.name == table.name)
}

impl SystemTables for OwnTables {
    fn schema(&self, table: &TableName) -> Option<SchemaRef> {
        find(table).map(|table| (table.schema)())
    }

    fn rows(&self, table: &TableName, wanted: &Wanted) -> SystemRows {
        match find(table) {
            Some(table) => (table.rows)(self.node.clone(), wanted),
            None => futures::stream::iter([Err(format!("there is no table {table}"))]).boxed(),
        }
    }
}

/// What a query wants of a table of the history; `time` is the column by whose time it is asked.
fn selection(wanted: &Wanted, time: &str) -> Selection {
    let moment = |micros: Option<i64>| Timestamp::from_microsecond(micros?).ok();
    Selection {
        run: wanted.number("run").map(RunId),
        flow: wanted.text("flow").map(str::to_owned),
        status: wanted.text("status").map(str::to_owned),
        from: moment(wanted.least(time)),
        to: moment(wanted.most(time)),
    }
}

/// Rows page by page: a page is asked for when the one before it has been read. `place` is where the page behind a row begins.
fn pages<R, P, A>(
    columns: &'static [Column<R>],
    ask: impl Fn(Option<P>) -> A + Send + 'static,
    place: fn(&R) -> P,
) -> SystemRows
where
    R: Send + Sync + 'static,
    P: Send + 'static,
    A: Future<Output = Result<Vec<R>, HistoryError>> + Send + 'static,
{
    let next = move |page: Option<Option<P>>| {
        let asked = page.map(&ask);
        async move {
            let Some(asked) = asked else { return Ok::<_, String>(None) };
            let rows = asked.await.map_err(|error| error.to_string())?;
            let Some(last) = rows.last() else { return Ok(None) };
            let next = (rows.len() >= PAGE_ROWS as usize).then(|| Some(place(last)));
            Ok(Some((batch(columns, &rows)?, next)))
        }
    };
    futures::stream::try_unfold(Some(None), next).boxed()
}

/// Rows that are few enough to be had at once.
fn at_once<R: Send + Sync + 'static>(
    columns: &'static [Column<R>],
    rows: impl Future<Output = Result<Vec<R>, HistoryError>> + Send + 'static,
) -> SystemRows {
    let all = async move { batch(columns, &rows.await.map_err(|error| error.to_string())?) };
    futures::stream::once(all).boxed()
}
