//! What a project's SQL files declare: tables and views, checked, each with the place where it stands.
//!
//! A broken declaration stops only itself and the views that read it; the rest of the project stays usable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::{TableDefinition, TableName};

use crate::check;
use crate::function::{Function, Functions};
use crate::options::StreamOptions;
use crate::problem::{Mistake, SqlProblem};
use crate::statement::{QueryText, RefreshMode, Statement, StatementKind, parse_all};

/// A checked table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its definition, with the types of computed columns filled in.
    pub definition: TableDefinition,
    /// The file that declares it.
    pub file: PathBuf,
    /// The line on which its statement begins.
    pub line: u64,
    /// The statement.
    pub text: String,
    pub(crate) places: crate::statement::TablePlaces,
}

/// A checked view.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: TableName,
    /// How it is kept up to date.
    pub mode: RefreshMode,
    /// How old its result may be.
    pub freshness: Option<Duration>,
    /// The column of time by which its parts can be refreshed alone: `PARTITIONED BY`.
    pub partitioned_by: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// How it runs as a stream, where its options say so.
    pub stream: StreamOptions,
    /// How long from one checkpoint of its job to the next: option `checkpoint-interval`; ten seconds where nothing is said.
    pub checkpoint_interval: Option<Duration>,
    /// How long the cut of a checkpoint may drain: option `checkpoint-timeout`; a minute where nothing is said.
    pub checkpoint_timeout: Option<Duration>,
    /// Whether every row of the unbounded tables that it reads is kept in the lake, and read from there when it is built anew: option
    /// `archive`.
    pub archive: bool,
    /// How many subtasks each stage of its job has: option `parallelism`.
    pub parallelism: Option<usize>,
    /// `LAMBDA`: how long the speed layer keeps windows that batch has spoken of: option `speed-retention`.
    pub speed_retention: Option<Duration>,
    /// `LAMBDA` without windows: how long the pieces of event time are that its layers are cut into: option `pane`; a minute where
    /// nothing is said.
    pub pane: Option<Duration>,
    /// The most rows that its result may hold in memory: option `rows-max`.
    pub rows_max: usize,
    /// The table that is replaced by its rows with every refresh, or as often as its freshness says: option `export`.
    pub export: Option<TableName>,
    /// Its columns.
    pub schema: SchemaRef,
    /// Tables and views that it reads directly.
    pub reads: Vec<TableName>,
    /// The file that declares it.
    pub file: PathBuf,
    /// The line on which its statement begins.
    pub line: u64,
    /// The statement.
    pub text: String,
    /// The `SELECT` alone.
    pub query_text: String,
    pub(crate) query: QueryText,
}

/// How long a pane is where nothing is said, in milliseconds.
const PANE_MS: i64 = 60_000;

impl View {
    /// How long a pane is, in milliseconds.
    pub(crate) fn pane_ms(&self) -> i64 {
        self.pane.map_or(PANE_MS, |pane| i64::try_from(pane.as_millis()).unwrap_or(i64::MAX).max(1))
    }

    /// The same view, kept up to date in another way.
    #[must_use]
    pub fn in_mode(&self, mode: RefreshMode) -> Self {
        Self { mode, ..self.clone() }
    }
}

/// The tables and views of a project.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub(crate) tables: BTreeMap<TableName, Arc<Table>>,
    pub(crate) views: BTreeMap<TableName, Arc<View>>,
    /// Functions that the program has brought along.
    pub(crate) functions: Functions,
    /// Declared, but wrong.
    pub(crate) broken: BTreeMap<TableName, SqlProblem>,
}

impl Catalog {
    /// By table with a primary key: that, by the indices of its columns.
    pub(crate) fn primary_keys(&self) -> HashMap<String, Vec<usize>> {
        let place = |table: &Table, name: &String| table.definition.columns.iter().position(|c| c.name == *name);
        let key = |table: &Table| {
            table.definition.primary_key.iter().map(|name| place(table, name)).collect::<Option<Vec<_>>>()
        };
        let keys = self.tables.iter().filter_map(|(name, table)| Some((name.to_string(), key(table)?)));
        keys.filter(|(_, key)| !key.is_empty()).collect()
    }
}

/// A declaration that is read, but not checked yet.
struct Declared {
    file: PathBuf,
    statement: Statement,
}

impl Declared {
    fn table_name(&self) -> Option<TableName> {
        match &self.statement.kind {
            StatementKind::CreateTable(table) => Some(table.definition.name.clone()),
            _ => None,
        }
    }
}

impl Catalog {
    /// The same tables and views with other options: `change` gives the text in place of one, where it is another.
    pub fn with_options(catalog: &Arc<Self>, change: impl Fn(&str) -> Option<String>) -> Arc<Self> {
        let mut changed: Option<Self> = None;
        for (name, table) in &catalog.tables {
            let options = table.definition.options.iter();
            let options: Vec<_> = options.filter_map(|(option, text)| Some((option.clone(), change(text)?))).collect();
            if !options.is_empty() {
                let mut table = Table::clone(table);
                table.definition.options.extend(options);
                changed.get_or_insert_with(|| Self::clone(catalog)).tables.insert(name.clone(), Arc::new(table));
            }
        }
        changed.map_or_else(|| Arc::clone(catalog), Arc::new)
    }

    /// Makes a function known to every statement that is checked or run from now on. It takes precedence over a function
    /// of the same name.
    pub fn register(&mut self, function: Function) {
        self.functions.register(function);
    }

    /// Reads and checks the files' declarations, in any order. Connectors are not asked: see [`Catalog::load_checked`].
    pub fn load(files: &[(PathBuf, String)]) -> (Catalog, Vec<SqlProblem>) {
        Self::load_with(files, None, [])
    }

    /// As [`Catalog::load`]; each table's connector and options are checked too, and no system is touched.
    pub fn load_checked(files: &[(PathBuf, String)], connectors: &Connectors) -> (Catalog, Vec<SqlProblem>) {
        Self::load_with(files, Some(connectors), [])
    }

    /// As [`Catalog::load_checked`], or as [`Catalog::load`] without connectors; views may call `functions`.
    pub fn load_with(
        files: &[(PathBuf, String)],
        connectors: Option<&Connectors>,
        functions: impl IntoIterator<Item = Function>,
    ) -> (Catalog, Vec<SqlProblem>) {
        let mut catalog = Catalog::default();
        functions.into_iter().for_each(|function| catalog.register(function));
        catalog.filled(files, connectors)
    }

    /// With the files' declarations, as far as they are right; and what is wrong.
    pub(crate) fn filled(
        mut self,
        files: &[(PathBuf, String)],
        connectors: Option<&Connectors>,
    ) -> (Catalog, Vec<SqlProblem>) {
        let mut problems = Vec::new();
        let mut views: BTreeMap<TableName, Declared> = BTreeMap::new();
        for (file, text) in files {
            let (statements, mistakes) = parse_all(text);
            for (name, mistake) in mistakes {
                self.reject(name, mistake.in_file(file), &mut problems);
            }
            for statement in statements {
                let declared = Declared { file: file.clone(), statement };
                match self.place_of(&views, &declared) {
                    Err(problem) => problems.push(problem),
                    Ok(Some(view)) => drop(views.insert(view, declared)),
                    Ok(None) => {
                        if let Err(problem) = self.add_table(&declared, connectors) {
                            self.reject(declared.table_name(), problem, &mut problems);
                        }
                    }
                }
            }
        }
        self.add_views(views, &mut problems);
        problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        (self, problems)
    }

    /// This catalog with another definition of a view.
    pub fn with_view(&self, view: Arc<View>) -> Self {
        let mut catalog = self.clone();
        catalog.views.insert(view.name.clone(), view);
        catalog
    }

    /// The name of a view, or nothing for a table; or what is wrong about the statement standing here.
    fn place_of(
        &self,
        views: &BTreeMap<TableName, Declared>,
        declared: &Declared,
    ) -> Result<Option<TableName>, SqlProblem> {
        let (name, at, is_view) = match &declared.statement.kind {
            StatementKind::CreateTable(table) => (&table.definition.name, table.places.name, false),
            StatementKind::CreateView(view) => (&view.name, view.name_at, true),
            _ => {
                return Err(Mistake::new(declared.statement.at, "a project's SQL file declares tables and views only")
                    .remedy("run INSERT and SELECT with `mulgil sql`, or as a task of a flow")
                    .in_file(&declared.file));
            }
        };
        let first = self
            .tables
            .get(name)
            .map(|table| (&table.file, table.line))
            .or_else(|| views.get(name).map(|view| (&view.file, view.statement.line())));
        match first {
            None => Ok(is_view.then(|| name.clone())),
            Some((file, line)) => Err(Mistake::new(at, format!("{name} is already declared"))
                .remedy(format!("rename it, or remove the one at {}:{line}", file.display()))
                .in_file(&declared.file)),
        }
    }

    fn reject(&mut self, name: Option<TableName>, problem: SqlProblem, problems: &mut Vec<SqlProblem>) {
        if let Some(name) = name {
            self.broken.insert(name, problem.clone());
        }
        problems.push(problem);
    }

    fn add_table(&mut self, declared: &Declared, connectors: Option<&Connectors>) -> Result<(), SqlProblem> {
        let StatementKind::CreateTable(declaration) = &declared.statement.kind else { return Ok(()) };
        let table = check::table(declaration, &declared.statement, &declared.file)
            .and_then(|table| match connectors {
                Some(connectors) => check::connector(&table, connectors).map(|()| table),
                None => Ok(table),
            })
            .map_err(|mistake| mistake.in_file(&declared.file))?;
        self.tables.insert(declaration.definition.name.clone(), Arc::new(table));
        Ok(())
    }

    /// Adds views, those first that others read.
    fn add_views(&mut self, mut waiting: BTreeMap<TableName, Declared>, problems: &mut Vec<SqlProblem>) {
        while !waiting.is_empty() {
            let ready = waiting.iter().find(|(name, declared)| {
                check::names_read(declared_query(declared))
                    .iter()
                    .all(|read| *read == **name || !waiting.contains_key(read))
            });
            let Some(name) = ready.map(|(name, _)| name.clone()) else {
                self.reject_circle(waiting, problems);
                return;
            };
            let Some(declared) = waiting.remove(&name) else { return };
            if let Err(problem) = self.add_view(&declared.statement, &declared.file) {
                self.reject(Some(name), problem, problems);
            }
        }
    }

    fn reject_circle(&mut self, waiting: BTreeMap<TableName, Declared>, problems: &mut Vec<SqlProblem>) {
        let names: Vec<String> = waiting.keys().map(ToString::to_string).collect();
        for (name, declared) in waiting {
            let problem = Mistake::new(declared.statement.at, format!("view {name} is part of a circle of views"))
                .remedy(format!("of these, one must not read another: {}", names.join(", ")))
                .in_file(&declared.file);
            self.reject(Some(name), problem, problems);
        }
    }

    pub(crate) fn add_view(&mut self, statement: &Statement, file: &Path) -> Result<(), SqlProblem> {
        let StatementKind::CreateView(declaration) = &statement.kind else { return Ok(()) };
        let view = check::view(self, declaration, statement, file).map_err(|mistake| mistake.in_file(file))?;
        self.views.insert(view.name.clone(), Arc::new(view));
        Ok(())
    }

    /// Adds the table or view that a `CREATE` statement declares, and gives its name; other statements change nothing.
    /// A declaration of the same name is replaced.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    pub fn declare(
        &mut self,
        statement: &Statement,
        file: &Path,
        connectors: &Connectors,
    ) -> Result<String, SqlProblem> {
        let declared = Declared { file: file.to_owned(), statement: statement.clone() };
        let name = match &statement.kind {
            StatementKind::CreateTable(declaration) => {
                self.add_table(&declared, Some(connectors))?;
                self.views.remove(&declaration.definition.name);
                &declaration.definition.name
            }
            StatementKind::CreateView(declaration) => {
                self.add_view(statement, file)?;
                self.tables.remove(&declaration.name);
                &declaration.name
            }
            _ => return Ok(String::new()),
        };
        self.broken.remove(name);
        Ok(name.to_string())
    }

    /// The tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// The views, by name.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.values()
    }

    /// A table.
    pub fn table(&self, name: &TableName) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }

    /// A view.
    pub fn view(&self, name: &TableName) -> Option<&Arc<View>> {
        self.views.get(name)
    }

    /// What is wrong with a table or view that is declared, but not usable.
    pub fn problem(&self, name: &TableName) -> Option<&SqlProblem> {
        self.broken.get(name)
    }

    /// All names that a query may read.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.tables.keys().chain(self.views.keys()).map(ToString::to_string).collect()
    }
}

fn declared_query(declared: &Declared) -> Option<&QueryText> {
    match &declared.statement.kind {
        StatementKind::CreateView(view) => Some(&view.query),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
