//! Runs every file of `crates/sql/tests/slt/scripted`: what streams say step by step, where partitions give their rows,
//! fall idle and end in an order that is written down. A new case needs no Rust. Beside declarations there are
//!
//! * `TABLE t HAS 2 PARTITIONS`; else it has one;
//! * `PARTITION 0 OF t GIVES ('a', 1), ('b', 2)`, in one batch; `PARTITION 0 OF t IS IDLE`; `PARTITION 0 OF t ENDS`;
//! * `CLOCK 2000`: the machine's clock has come to so many milliseconds;
//!
//! each of which is worked off before the next; and queries (of a view by its name, or of a `SELECT`):
//!
//! * `CHANGES OF v`: all that has come out so far, with its kind; `ROWS OF v`: what that adds up to;
//! * `LATE ROWS OF v`: how many rows have been dropped as too late.
//!
//! The engine's deterministic executor runs them, in several orders of its own; the rows are the same with more subtasks.
//! Where all partitions have ended and no row was late, they are those of batch.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::physical::plan;
use mulgil_engine::deterministic::{Script, Step, run};
use mulgil_serving::run::collect;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::{Session, single_statement};
use mulgil_sql::statement::{StatementKind, parse_statements};
use mulgil_sql::stream::StreamPlan;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio::runtime::Handle;

use crate::changes::{added_up, difference};
use crate::fixture::{Project, sorted, text_rows};

const SEEDS: [u64; 4] = [1, 2, 3, 4];

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn refused(error: impl std::fmt::Display) -> Refused {
    Refused(error.to_string())
}

/// What a partition does in a turn.
#[derive(Clone)]
enum Deed {
    Gives(RecordBatch),
    IsIdle,
    Ends,
}

#[derive(Default)]
struct Told {
    /// By table and partition: deeds with their turns.
    partitions: BTreeMap<String, Vec<Vec<(usize, Deed)>>>,
    /// What the clock shows from a turn on.
    clock: Vec<(usize, i64)>,
    turn: usize,
}

struct Database {
    project: Project,
    catalog: Catalog,
    told: Told,
}

/// What has come out so far.
struct Given {
    batches: Vec<Batch>,
    late: u64,
    /// Whether all partitions have ended.
    is_over: bool,
}

impl Told {
    fn partition(&mut self, table: &str, number: usize) -> &mut Vec<(usize, Deed)> {
        let partitions = self.partitions.entry(table.to_owned()).or_default();
        partitions.resize_with(partitions.len().max(number + 1), Vec::new);
        &mut partitions[number]
    }

    /// The script of the tables that a plan reads; and whether all their partitions have ended.
    fn scripts(&self, plan: &StreamPlan) -> (HashMap<String, Script>, bool) {
        let mut is_over = true;
        let mut clock = self.clock.as_slice();
        let mut scripts = HashMap::new();
        for table in &plan.sources {
            let silent = vec![Vec::new()];
            let partitions = self.partitions.get(&table.to_string()).unwrap_or(&silent);
            let mut script = Vec::new();
            for deeds in partitions {
                let ends = deeds.iter().find(|(_, deed)| matches!(deed, Deed::Ends)).map(|(turn, _)| *turn);
                is_over &= ends.is_some();
                let mut steps: Vec<(usize, Option<Step>)> = deeds
                    .iter()
                    .map(|(turn, deed)| match deed {
                        Deed::Gives(rows) => (*turn, Some(Step::Rows(rows.clone()))),
                        Deed::IsIdle => (*turn, Some(Step::Idle)),
                        Deed::Ends => (*turn, None),
                    })
                    .collect();
                // The clock goes on with the first partition that is there to the end.
                if ends.is_none() {
                    steps.extend(clock.iter().map(|(turn, now_ms)| (*turn, Some(Step::Clock(*now_ms)))));
                    steps.push((self.turn + 1, None));
                    clock = &[];
                }
                steps.sort_by_key(|(turn, _)| *turn);
                script.push(
                    steps.into_iter().flat_map(|(turn, step)| [Some(Step::Turn(turn)), step]).flatten().collect(),
                );
            }
            scripts.insert(table.to_string(), script);
        }
        (scripts, is_over)
    }
}

impl Database {
    fn session(&self) -> Session {
        Session::new(Arc::new(self.catalog.clone()), Arc::clone(&self.project.connectors))
    }

    fn plan(&self, what: &str) -> Result<StreamPlan, Refused> {
        if what.starts_with("SELECT") {
            return self.session().stream_statement(&single_statement(what).map_err(refused)?, 0).map_err(refused);
        }
        self.session().stream_view(&TableName::parse(what)).map_err(refused)
    }

    fn given(&self, stream: &StreamPlan, sink: &str, parallelism: usize, seed: u64) -> Result<Given, Refused> {
        let (scripts, is_over) = self.told.scripts(stream);
        let physical = plan(&stream.graph, parallelism).map_err(refused)?;
        let mut outcome = run(&physical, &scripts, 1 << 20, seed).map_err(refused)?;
        let mut batches = outcome.batches.remove(sink).unwrap_or_default();
        if is_over {
            return Ok(Given { batches, late: outcome.summary.late_dropped, is_over });
        }
        let before = outcome.before_last_turn.unwrap_or_default();
        batches.truncate(before.batches.get(sink).copied().unwrap_or(0));
        Ok(Given { batches, late: before.late_dropped, is_over })
    }

    /// What has come out so far: the same changes in every order, and the same rows on several threads.
    async fn given_in_every_order(&self, what: &str) -> Result<Given, Refused> {
        let stream = self.plan(what)?;
        let sink = if what.starts_with("SELECT") { "result" } else { what };
        let given = self.given(&stream, sink, 1, SEEDS[0])?;
        let rows = sorted(added_up(&given.batches).map_err(Refused)?);
        for seed in SEEDS {
            let again = self.given(&stream, sink, 1, seed)?;
            assert_eq!(changes(&again.batches), changes(&given.batches), "seed {seed}: {what}");
            for parallelism in [2, 3] {
                let parallel = self.given(&stream, sink, parallelism, seed)?;
                let found = sorted(added_up(&parallel.batches).map_err(Refused)?);
                let context = format!("seed {seed}, parallelism {parallelism}: {what}");
                assert!(found == rows, "{context}: {}", difference(&rows, &found));
                assert_eq!(parallel.late, given.late, "{context}");
            }
        }
        if given.is_over && given.late == 0 {
            let select = if what.starts_with("SELECT") { what.to_owned() } else { format!("SELECT * FROM {what}") };
            let expected = sorted(self.project.batch(&self.catalog, &select).await);
            assert!(rows == expected, "batch, {what}: {}", difference(&expected, &rows));
        }
        Ok(given)
    }

    /// Rows of a table, as `VALUES` has them.
    async fn rows_of(&self, table: &str, values: &str) -> Result<RecordBatch, Refused> {
        let known = self.catalog.table(&TableName::parse(table));
        let schema = known.ok_or_else(|| Refused(format!("there is no table {table}")))?.definition.physical_schema();
        let result = self.session().query(&format!("SELECT * FROM (VALUES {values})")).await.map_err(refused)?;
        let (_, batches) = collect(result).await.map_err(refused)?;
        let rows = arrow::compute::concat_batches(batches[0].schema_ref(), &batches).map_err(refused)?;
        let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
        RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>().map_err(refused)?).map_err(refused)
    }

    /// Notes what a partition does; `None` for what is no such statement.
    async fn tell(&mut self, sql: &str) -> Result<Option<()>, Refused> {
        let words: Vec<&str> = sql.split_whitespace().collect();
        let number = |text: &str| text.parse::<usize>().map_err(refused);
        let (table, partition, deed) = match words.as_slice() {
            ["TABLE", table, "HAS", count, "PARTITIONS"] => {
                self.told.partition(table, number(count)? - 1);
                return Ok(Some(()));
            }
            ["CLOCK", now_ms] => {
                self.told.turn += 1;
                self.told.clock.push((self.told.turn, i64::try_from(number(now_ms)?).map_err(refused)?));
                return Ok(Some(()));
            }
            ["PARTITION", partition, "OF", table, "IS", "IDLE"] => (*table, number(partition)?, Deed::IsIdle),
            ["PARTITION", partition, "OF", table, "ENDS"] => (*table, number(partition)?, Deed::Ends),
            ["PARTITION", partition, "OF", table, "GIVES", ..] => {
                let values = sql.split_once("GIVES").map(|(_, values)| values).unwrap_or_default();
                let insert = format!("INSERT INTO {table} VALUES {values}");
                self.project.run(&self.catalog, &insert, &Default::default()).await.map_err(refused)?;
                (*table, number(partition)?, Deed::Gives(self.rows_of(table, values).await?))
            }
            _ => return Ok(None),
        };
        self.told.turn += 1;
        let turn = self.told.turn;
        self.told.partition(table, partition).push((turn, deed));
        Ok(Some(()))
    }

    async fn answer(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let of = |kind: &str| sql.strip_prefix(kind).map(str::trim);
        let rows = if let Some(what) = of("CHANGES OF") {
            changes(&self.given_in_every_order(what).await?.batches)
        } else if let Some(what) = of("LATE ROWS OF") {
            vec![vec![self.given_in_every_order(what).await?.late.to_string()]]
        } else if let Some(what) = of("ROWS OF") {
            added_up(&self.given_in_every_order(what).await?.batches).map_err(Refused)?
        } else if self.tell(sql).await?.is_some() {
            return Ok(DBOutput::StatementComplete(0));
        } else {
            let (statements, problems) = parse_statements(Path::new("test.sql"), sql);
            problems.into_iter().next().map_or(Ok(()), |problem| Err(refused(problem)))?;
            for statement in &statements {
                if !matches!(statement.kind, StatementKind::CreateTable(_) | StatementKind::CreateView(_)) {
                    return Err(Refused(format!("not known in a script: {sql}")));
                }
                let declared = self.catalog.declare(statement, Path::new("test.sql"), &self.project.connectors);
                declared.map_err(refused)?;
            }
            return Ok(DBOutput::StatementComplete(0));
        };
        let types = vec![DefaultColumnType::Any; rows.first().map_or(0, Vec::len)];
        Ok(DBOutput::Rows { types, rows })
    }
}

/// All changes, each behind its kind.
fn changes(batches: &[Batch]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for batch in batches {
        for (row, cells) in text_rows(std::slice::from_ref(&batch.rows)).into_iter().enumerate() {
            let kind = batch.kinds.as_ref().map_or(0, |kinds| kinds.value(row));
            let kind = ["+I", "-U", "+U", "-D"][usize::from(kind)].to_owned();
            lines.push(std::iter::once(kind).chain(cells).collect());
        }
    }
    lines
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        // The compiler cannot see that this future is Send (rust-lang/rust#110338), so it stays on this thread.
        tokio::task::block_in_place(|| Handle::current().block_on(self.answer(sql.trim())))
    }

    async fn shutdown(&mut self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_say_what_is_written_step_by_step() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/tests/slt/scripted");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    for file in files {
        let mut runner = Runner::new(async || {
            Ok(Database { project: Project::new(), catalog: Catalog::default(), told: Told::default() })
        });
        if let Err(error) = runner.run_file_async(&file).await {
            failures.push(error.display(false).to_string());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
