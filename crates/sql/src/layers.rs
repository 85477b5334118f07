//! Where a `LAMBDA` view can be cut in two: at the ends of its windows. What has ended at the boundary or before comes from the
//! batch layer, the rest from the speed layer; so every row has to say of which window it is. And where the batch layer
//! reads: in the archives of the unbounded tables.

mod unwindowed;

use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::definition::{TableDefinition, TableName};
use mulgil_connect::lake::AUTO_COMPACTION;
use mulgil_dataflow::graph::Window;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::unwindowed::Unwindowed;
pub(crate) use self::unwindowed::{is_unwindowed, states_of};
use crate::catalog::{Catalog, Table};
use crate::plan::window::{CallWindow, WindowAssignNode};
use crate::plan::{Planner, Unscanned, planning_state};
use crate::problem::{Mistake, SqlError};

/// The namespace of archives.
pub const ARCHIVE: &str = "archive";

/// How often the rows of a table are put into its archive: each time is a version of it, and files.
const ARCHIVE_INTERVAL: &str = "30 s";

/// How the rows of a view say of which window they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// The column that says it.
    pub column: usize,
    /// What is between the column's value and the end of the window.
    to_end_ms: i64,
    /// Whether that is a moment within a piece of time that ends later: sessions leave no such piece.
    in_pieces: bool,
    /// How long after that a stream gives its rows at the latest, by event time.
    pub given_after_ms: i64,
    /// From the end of a window to that of the next.
    step_ms: i64,
    offset_ms: i64,
}

impl Layers {
    /// A column that is the end of the window, and any end may be the last.
    pub const fn by_end(column: usize) -> Self {
        Self { column, to_end_ms: 0, in_pieces: false, given_after_ms: 0, step_ms: 1, offset_ms: 0 }
    }

    /// When the window of a row has ended, by the value of its column; both in milliseconds since the epoch.
    pub fn end_of(&self, value_ms: i64) -> i64 {
        let time_ms = value_ms.saturating_add(self.to_end_ms);
        if self.in_pieces { self.aligned(time_ms).saturating_add(self.step_ms) } else { time_ms }
    }

    /// The last end of a window that is not after `time_ms`, in milliseconds since the epoch.
    pub fn aligned(&self, time_ms: i64) -> i64 {
        let since = time_ms.saturating_sub(self.offset_ms);
        since.div_euclid(self.step_ms).saturating_mul(self.step_ms).saturating_add(self.offset_ms)
    }

    /// How the rows of a plan say of which window they are.
    ///
    /// # Errors
    /// They do not, and why, and what to do.
    pub(crate) fn of(plan: &LogicalPlan, at: Location) -> Result<Self, Mistake> {
        let refused = |message: &str, remedy: &str| Err(Mistake::new(at, message).remedy(remedy));
        let mut found = None;
        for column in 0..plan.schema().fields().len() {
            match origin(plan, column) {
                Some((node, place)) if place == node.width() + 1 => found = Some((node, column, true)),
                Some((node, place)) if place == node.width() && found.is_none() => found = Some((node, column, false)),
                _ => {}
            }
        }
        let Some((node, column, is_end)) = found else {
            return refused(
                "LAMBDA cuts a view at the ends of its windows, and no column of this one is window_start or window_end of a \
                 TUMBLE, HOP or CUMULATE beneath aggregations alone",
                "select window_end, or use REFRESH_MODE = CONTINUOUS or KAPPA",
            );
        };
        let window = match &node.window {
            CallWindow::Aligned(window) => window,
            // Its first row is in its piece of time, and so is its last, a gap before its end.
            CallWindow::Session { gap_ms, max_ms: Some(max_ms), .. } => {
                let to_end_ms = if is_end { -gap_ms } else { 0 };
                // A row at a session's end would belong to it.
                let given_after_ms = gap_ms + 1;
                return Ok(Self { column, to_end_ms, in_pieces: true, given_after_ms, step_ms: *max_ms, offset_ms: 0 });
            }
            CallWindow::Session { max_ms: None, .. } => {
                return refused(
                    "a session may grow without bound, so no batch can say that it has ended",
                    "bound it with the option 'session-max' = '1 d': no session goes across a multiple of that length; or use \
                     REFRESH_MODE = CONTINUOUS or KAPPA",
                );
            }
        };
        let (step_ms, size_ms, offset_ms) = match *window {
            Window::Tumbling { size_ms, offset_ms } => (size_ms, Some(size_ms), offset_ms),
            // Ends lie a size behind beginnings.
            Window::Hopping { slide_ms, size_ms, offset_ms } => (slide_ms, Some(size_ms), offset_ms + size_ms),
            Window::Cumulating { step_ms, offset_ms, .. } => (step_ms, None, offset_ms),
        };
        let to_end_ms = match (is_end, size_ms) {
            (true, _) => 0,
            (false, Some(size_ms)) => size_ms,
            (false, None) => {
                return refused(
                    "the windows of CUMULATE that begin together end one after the other, and no column says when",
                    "select window_end too",
                );
            }
        };
        Ok(Self { column, to_end_ms, in_pieces: false, given_after_ms: 0, step_ms: step_ms.max(1), offset_ms })
    }
}

/// The window call that a column comes from unchanged, and its place there: through projections, conditions and the keys of
/// aggregations.
fn origin(plan: &LogicalPlan, column: usize) -> Option<(&WindowAssignNode, usize)> {
    let through = |expression: &Expr, input: &LogicalPlan| match strip(expression) {
        Expr::Column(column) => input.schema().maybe_index_of_column(column),
        _ => None,
    };
    match plan {
        LogicalPlan::Projection(node) => origin(&node.input, through(node.expr.get(column)?, &node.input)?),
        LogicalPlan::Aggregate(node) => origin(&node.input, through(node.group_expr.get(column)?, &node.input)?),
        LogicalPlan::Filter(node) => origin(&node.input, column),
        LogicalPlan::SubqueryAlias(node) => origin(&node.input, column),
        LogicalPlan::Extension(node) => {
            let node = node.node.as_any().downcast_ref::<WindowAssignNode>()?;
            Some((node, column))
        }
        _ => None,
    }
}

fn strip(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => strip(&alias.expr),
        other => other,
    }
}

/// An archive: a table in the lake that holds every row of another.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The archive's table.
    pub definition: TableDefinition,
    /// A catalog in which a view of the archive's name gives the rows of the other.
    pub filled_by: Arc<Catalog>,
}

impl Catalog {
    /// How the rows of a view say of which window they are; of a view without windows, how its states say of which pane.
    ///
    /// # Errors
    /// They do not.
    pub fn layers(&self, view: &TableName) -> Result<(Layers, Option<Arc<Unwindowed>>), SqlError> {
        let Some(view) = self.view(view) else {
            let mistake = Mistake::new(Location { line: 1, column: 1 }, format!("unknown view {view}"));
            return Err(mistake.in_file(std::path::Path::new(crate::session::QUERY_FILE)).into());
        };
        let at = Location { line: view.line, column: 1 };
        let planner = Planner::new(self, planning_state(), &Unscanned, &view.stream);
        let layers = planner.query(&view.query, at).and_then(|plan| {
            if !is_unwindowed(&plan) {
                return Ok((Layers::of(&plan, at)?, None));
            }
            let unwindowed = Unwindowed::of(plan, view, &self.functions, at)?;
            Ok((Unwindowed::layers_of(view.pane_ms()), Some(Arc::new(unwindowed))))
        });
        layers.map_err(|mistake| mistake.in_file(&view.file).into())
    }

    /// The tables that a view reads, directly or through other views.
    pub fn tables_of(&self, view: &TableName) -> Vec<Arc<Table>> {
        self.needed_by(view).iter().filter_map(|(name, _)| self.table(name)).map(Arc::clone).collect()
    }

    /// The archive of a table.
    ///
    /// # Errors
    /// Its rows cannot be kept: it gives changes.
    pub fn archive_of(&self, table: &TableName) -> Result<Archive, SqlError> {
        let wrong = |message: String| -> SqlError {
            let mistake = Mistake::new(Location { line: 1, column: 1 }, message);
            mistake.in_file(std::path::Path::new(crate::session::QUERY_FILE)).into()
        };
        let found = self.table(table).ok_or_else(|| wrong(format!("unknown table {table}")))?;
        if found.definition.has_changes() {
            return Err(wrong(format!(
                "{table} gives changes, and an archive keeps rows; use REFRESH_MODE = CONTINUOUS, without the option 'archive'"
            )));
        }
        let definition = archive_definition(&found.definition);
        let columns: Vec<String> =
            definition.physical_schema().fields().iter().map(|field| quoted(field.name())).collect();
        let text = format!(
            "CREATE MATERIALIZED TABLE {} WITH ('checkpoint-interval' = '{ARCHIVE_INTERVAL}') REFRESH_MODE = CONTINUOUS AS SELECT {} FROM {}",
            written(&definition.name),
            columns.join(", "),
            written(table)
        );
        let statement = crate::session::single_statement(&text)?;
        let mut filled_by = self.clone();
        filled_by.add_view(&statement, &found.file)?;
        Ok(Archive { definition, filled_by: Arc::new(filled_by) })
    }

    /// This catalog with archives in place of their tables.
    #[must_use]
    pub fn reading_archives(&self, tables: &[TableName]) -> Self {
        let mut catalog = self.clone();
        for name in tables {
            let Some(table) = self.table(name) else { continue };
            let archive = Arc::new(Table { definition: archive_definition(&table.definition), ..Table::clone(table) });
            catalog.tables.insert(archive.definition.name.clone(), Arc::clone(&archive));
            catalog.tables.insert(name.clone(), archive);
        }
        catalog
    }
}

/// The same columns, in the lake.
fn archive_definition(table: &TableDefinition) -> TableDefinition {
    let TableName { namespace, name } = &table.name;
    let name = match namespace.as_str() {
        TableName::DEFAULT_NAMESPACE => name.clone(),
        namespace => format!("{namespace}_{name}"),
    };
    let mut columns = table.columns.clone();
    for column in &mut columns {
        // What a system says about its rows is kept with them.
        column.metadata = None;
    }
    TableDefinition {
        name: TableName { namespace: ARCHIVE.to_owned(), name },
        columns,
        watermark: table.watermark.clone(),
        partitioned_by: Vec::new(),
        primary_key: Vec::new(),
        options: BTreeMap::from(
            [("connector", "delta"), (AUTO_COMPACTION, "true")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
    }
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn written(name: &TableName) -> String {
    match name.namespace.as_str() {
        TableName::DEFAULT_NAMESPACE => quoted(&name.name),
        namespace => format!("{}.{}", quoted(namespace), quoted(&name.name)),
    }
}
