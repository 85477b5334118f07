//! A case: a query, rows for its tables, and how they come; what both modes make of it; and how a failing one is made
//! smaller.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::batch::{Batch, RowKind};
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::deterministic::{Random, Script, Step, run};
use mulgil_serving::result::ResultTable;
use mulgil_serving::run::collect;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::{Session, ViewSnapshots, single_statement};
use mulgil_sql::stream::StreamPlan;

use super::relation::Relation;
use super::rows::Table;
use crate::fixture::{sorted, text_rows};

/// How often each query runs as a stream, each time with other batches, another parallelism and another schedule.
pub(crate) const RUNS_PER_QUERY: u64 = 8;

/// What a query over some rows came to.
pub(crate) enum Verdict {
    Equal {
        rows: usize,
    },
    /// The query cannot run as a stream, and says so.
    Refused(String),
    Differs(String),
}

/// Rows by table: what is kept of each while a failing case is made smaller.
pub(crate) type Kept = BTreeMap<String, Vec<usize>>;

pub(crate) struct Case<'a> {
    pub(crate) catalog: &'a Arc<Catalog>,
    pub(crate) connectors: &'a Arc<Connectors>,
    pub(crate) tables: &'a [Table],
    pub(crate) lateness_ms: u64,
    pub(crate) seed: u64,
}

/// The stored results of the views, which batch reads.
pub(crate) struct Stored(HashMap<String, Arc<dyn TableProvider>>);

impl ViewSnapshots for Stored {
    fn snapshot(&self, view: &TableName) -> Option<Arc<dyn TableProvider>> {
        self.0.get(&view.name).cloned()
    }
}

impl Stored {
    pub(crate) fn new(tables: &[Table], kept: &Kept) -> Arc<Self> {
        let store = |table: &Table| {
            let rows = table.batch(&kept[&table.name]);
            let stored = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
            (table.name.clone(), Arc::new(stored) as Arc<dyn TableProvider>)
        };
        Arc::new(Self(tables.iter().map(store).collect()))
    }
}

impl Case<'_> {
    /// Runs the query in batch once and as a stream several times.
    pub(crate) async fn judge(&self, relation: &Relation, kept: &Kept) -> Verdict {
        let sql = relation.sql();
        let session = Session::new(Arc::clone(self.catalog), Arc::clone(self.connectors))
            .with_view_snapshots(Stored::new(self.tables, kept));
        let expected = match session.query(&sql).await {
            Ok(result) => collect(result).await,
            Err(error) => return Verdict::Differs(format!("batch refuses the generated text: {error}")),
        };
        let expected = match expected {
            Ok((_, batches)) => sorted(text_rows(&batches)),
            Err(error) => return Verdict::Differs(format!("batch fails: {error}")),
        };
        let plan = match session.stream_statement(&single_statement(&sql).unwrap(), self.lateness_ms) {
            Ok(plan) => plan,
            Err(error) => return Verdict::Refused(error.to_string()),
        };
        for round in 0..RUNS_PER_QUERY {
            let mut random = Random::new(self.seed.wrapping_mul(31).wrapping_add(round));
            let options = PlanOptions { parallelism: 1 + random.below(8), rebalance: false };
            // What comes after a pause may be late: windows then correct themselves, and joins by time may not.
            let may_sleep = self.lateness_ms > 0 && relation.constructs().iter().all(|construct| is_patient(construct));
            let run = AssertUnwindSafe(|| self.stream(&plan, kept, options, may_sleep, &mut random));
            let streamed = catch_unwind(run);
            match streamed {
                Err(_) => return Verdict::Differs(format!("the engine panics, {options:?}")),
                Ok(Err(Failure::Refused(reason))) => return Verdict::Refused(reason),
                Ok(Err(Failure::Failed(reason))) => return Verdict::Differs(format!("{reason}, {options:?}")),
                Ok(Ok(found)) if found != expected => {
                    return Verdict::Differs(format!("{}\n{options:?}", difference(&expected, &found)));
                }
                Ok(Ok(_)) => {}
            }
        }
        Verdict::Equal { rows: expected.len() }
    }

    fn stream(
        &self,
        plan: &StreamPlan,
        kept: &Kept,
        options: PlanOptions,
        may_sleep: bool,
        random: &mut Random,
    ) -> Result<Vec<Vec<String>>, Failure> {
        let physical = plan_with(&plan.graph, options).map_err(|error| Failure::Refused(error.to_string()))?;
        let mut scripts = HashMap::new();
        for node in &plan.graph.nodes {
            let LogicalOperator::Source { table, projection } = &node.operator else { continue };
            let source = self.tables.iter().find(|known| known.source() == *table).unwrap();
            let script = script(source, &kept[&source.name], projection, may_sleep, random);
            scripts.insert(table.clone(), script);
        }
        let queue_bytes_max = [1, 500, 1 << 20][random.below(3)];
        let outcome = run(&physical, &scripts, queue_bytes_max, random.next_u64());
        let mut outcome = outcome.map_err(|error| Failure::Failed(error.to_string()))?;
        if outcome.summary.late_dropped > 0 {
            return Err(Failure::Failed(format!("{} rows are late", outcome.summary.late_dropped)));
        }
        let batches = outcome.batches.remove("result").unwrap_or_default();
        let added_up = added_up(&batches)?;
        let table = ResultTable::new(plan.schema.clone(), plan.key.clone(), plan.is_updating, usize::MAX).unwrap();
        table.apply(&batches).map_err(|error| Failure::Failed(error.to_string()))?;
        let found = sorted(text_rows(&table.snapshot().unwrap().batches));
        if found != added_up {
            let difference = difference(&added_up, &found);
            return Err(Failure::Failed(format!("the changelog is no changelog of the result's key: {difference}")));
        }
        Ok(found)
    }

    /// The smallest part of the query over the fewest rows that still fails.
    pub(crate) async fn shrink(&self, relation: &Relation, kept: &Kept) -> (Relation, Kept, String) {
        let (mut relation, mut kept) = (relation.clone(), kept.clone());
        let mut reason = String::new();
        while let Some((part, why)) = self.failing_part(&relation, &kept).await {
            (relation, reason) = (part, why);
        }
        let mut size = kept.values().map(Vec::len).max().unwrap_or(0).div_ceil(2);
        while size > 0 {
            let mut is_smaller = false;
            for table in self.tables {
                let mut at = 0;
                while at < kept[&table.name].len() {
                    let mut fewer = kept.clone();
                    let rows = fewer.get_mut(&table.name).unwrap();
                    rows.drain(at..(at + size).min(rows.len()));
                    if let Verdict::Differs(why) = self.judge(&relation, &fewer).await {
                        (kept, reason, is_smaller) = (fewer, why, true);
                    } else {
                        at += size;
                    }
                }
            }
            if !is_smaller {
                size /= 2;
            }
        }
        (relation, kept, reason)
    }

    async fn failing_part(&self, relation: &Relation, kept: &Kept) -> Option<(Relation, String)> {
        for part in relation.parts() {
            if let Verdict::Differs(why) = self.judge(part, kept).await {
                return Some((part.clone(), why));
            }
        }
        None
    }
}

/// Whether late rows change its results, however late they are.
fn is_patient(construct: &str) -> bool {
    !construct.contains("JOIN") && !construct.contains("EXISTS")
}

enum Failure {
    Refused(String),
    Failed(String),
}

/// The rows that are left when every change counts once, by its sign.
fn added_up(batches: &[Batch]) -> Result<Vec<Vec<String>>, Failure> {
    let mut counts: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for batch in batches {
        for (row, cells) in text_rows(std::slice::from_ref(&batch.rows)).into_iter().enumerate() {
            let kind = batch.kinds.as_ref().map_or(RowKind::Insert as u8, |kinds| kinds.value(row));
            let is_taken_back = kind == RowKind::UpdateBefore as u8 || kind == RowKind::Delete as u8;
            *counts.entry(cells).or_default() += if is_taken_back { -1 } else { 1 };
        }
    }
    let mut rows = Vec::new();
    for (cells, count) in counts {
        let count = usize::try_from(count).map_err(|_| {
            Failure::Failed(format!("{} is taken back {} times more than it was given", cells.join(" "), -count))
        })?;
        rows.extend(std::iter::repeat_n(cells, count));
    }
    Ok(rows)
}

fn difference(expected: &[Vec<String>], found: &[Vec<String>]) -> String {
    let mut counts: BTreeMap<&Vec<String>, i64> = BTreeMap::new();
    expected.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    found.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    let lines = counts.iter().filter(|(_, count)| **count != 0).take(12);
    let line = |(row, count): (&&Vec<String>, &i64)| {
        let (what, count) = if *count > 0 { ("missing", *count) } else { ("too many", -count) };
        format!("  {what} {count} x {}", row.join(" | "))
    };
    format!(
        "{} rows expected, {} found:\n{}",
        expected.len(),
        found.len(),
        lines.map(line).collect::<Vec<_>>().join("\n")
    )
}

/// Cuts rows into partitions, and those into batches; with pauses where rows may be late.
fn script(table: &Table, kept: &[usize], projection: &[usize], may_sleep: bool, random: &mut Random) -> Script {
    let mut partitions = vec![Vec::new(); 1 + random.below(4)];
    for row in kept {
        let partition = random.below(partitions.len());
        partitions[partition].push(*row);
    }
    let cut = |rows: Vec<usize>| {
        let mut steps = Vec::new();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + random.below(rest.len().min(25)));
            steps.push(Step::Rows(table.batch(now).project(projection).unwrap()));
            if may_sleep && random.below(5) == 0 {
                steps.push(Step::Idle);
            }
            rest = later;
        }
        steps
    };
    partitions.into_iter().map(cut).collect()
}

/// A batch of columns.
pub(crate) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}
