//! One query over the same rows in both modes. By convention a view `v` holds the rows of the table `v_source`: batch reads
//! the view's stored rows, the stream reads the table, on the engine's deterministic executor.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::physical::{PhysicalGraph, PlanOptions, plan_with};
use mulgil_dataflow::spill::{InMemory, StateBudget, StateMemory};
use mulgil_engine::deterministic::{Outcome, Random, Script, Step, run_cut, run_within};
use mulgil_serving::result::ResultTable;
use mulgil_serving::run::collect;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::{Session, ViewSnapshots};
use mulgil_sql::stream::StreamPlan;

use crate::changes::{added_up, difference};
use crate::fixture::{sorted, text_rows};

/// The rows of each view, in order of arrival.
pub(crate) type Rows = HashMap<String, RecordBatch>;

/// The stored results of the views, which batch reads.
struct Stored(HashMap<String, Arc<dyn TableProvider>>);

impl ViewSnapshots for Stored {
    fn snapshot(&self, view: &TableName) -> Option<Arc<dyn TableProvider>> {
        self.0.get(&view.name).cloned()
    }
}

/// The statements that declare view `v` and its table `v_source`.
pub(crate) fn declaration(view: &str, columns: &str) -> String {
    format!(
        "CREATE TABLE {view}_source ({columns}, WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
         WITH ('connector' = 'log', 'topic' = '{view}_source', 'format' = 'json');
         CREATE MATERIALIZED TABLE {view} REFRESH_MODE = CONTINUOUS AS SELECT * FROM {view}_source;\n"
    )
}

/// A session in which the views hold these rows.
pub(crate) fn session_over(catalog: &Arc<Catalog>, connectors: &Arc<Connectors>, rows: &Rows) -> Session {
    let store = |(name, rows): (&String, &RecordBatch)| {
        let stored = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
        (name.clone(), Arc::new(stored) as Arc<dyn TableProvider>)
    };
    let stored = Stored(rows.iter().map(store).collect());
    Session::new(Arc::clone(catalog), Arc::clone(connectors)).with_view_snapshots(Arc::new(stored))
}

/// What batch makes of a query.
pub(crate) async fn in_batch(session: &Session, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let result = session.query(sql).await.map_err(|error| format!("batch refuses the text: {error}"))?;
    let (_, batches) = collect(result).await.map_err(|error| format!("batch fails: {error}"))?;
    Ok(sorted(text_rows(&batches)))
}

/// What one run of the stream makes of it: cut into partitions and batches as `random` will have it, with pauses if the
/// query can bear rows that are late.
pub(crate) fn as_stream(
    plan: &StreamPlan,
    rows: &Rows,
    options: PlanOptions,
    may_pause: bool,
    random: &mut Random,
) -> Result<Vec<Vec<String>>, String> {
    let planned = |parallelism: usize| {
        let options = PlanOptions { parallelism, ..options };
        plan_with(&plan.graph, options).map_err(|error| error.to_string())
    };
    let mut graphs = vec![planned(options.parallelism)?];
    // A crash now and then, after which the query goes on from a cut with another parallelism.
    if random.below(3) == 0 {
        graphs.push(planned(1 + random.below(8))?);
        graphs.push(planned(1)?);
    }
    let mut scripts = HashMap::new();
    for node in &plan.graph.nodes {
        let table = match &node.operator {
            LogicalOperator::Source { table, .. } => Some(table.clone()),
            LogicalOperator::Apply(definition) => definition.looks_up().map(|read| read.table),
            _ => None,
        };
        let Some(table) = table.filter(|table| !scripts.contains_key(table)) else { continue };
        let view = table.strip_suffix("_source").unwrap();
        let script = random_script(&rows[view], may_pause, random);
        scripts.insert(table, script);
    }
    let queue_bytes_max = [1, 500, 1 << 20][random.below(3)];
    let memory = random_memory(random);
    let bounds = (queue_bytes_max, memory.as_ref());
    let mut outcome = match graphs.as_slice() {
        [only] => run_within(only, &scripts, bounds, random.next_u64()).map_err(|error| error.to_string())?,
        several => run_with_cuts(several, &scripts, bounds, random.next_u64())?,
    };
    if outcome.summary.late_dropped > 0 {
        return Err(format!("{} rows are late", outcome.summary.late_dropped));
    }
    let batches = outcome.batches.remove("result").unwrap_or_default();
    let added_up = added_up(&batches)?;
    let table = ResultTable::new(plan.schema.clone(), plan.key.clone(), plan.is_updating, usize::MAX).unwrap();
    // Handed over in pieces of any size.
    let mut rest = batches.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(1 + random.below(rest.len()));
        table.apply(now).map_err(|error| error.to_string())?;
        rest = later;
    }
    let found = sorted(text_rows(&table.snapshot().unwrap().batches));
    if found != added_up {
        let difference = difference(&added_up, &found);
        return Err(format!("the changelog is no changelog of the result's key: {difference}"));
    }
    Ok(found)
}

/// A run that is cut again and again.
fn run_with_cuts(
    graphs: &[PhysicalGraph],
    scripts: &HashMap<String, Script>,
    bounds: (usize, Option<&StateMemory>),
    seed: u64,
) -> Result<Outcome, String> {
    let result = run_cut(graphs, scripts, bounds, seed);
    result.map(|(outcome, _)| outcome).map_err(|error| format!("with cuts: {error}"))
}

/// Memory for state: in some cases so little that operators put it away, all or some, sooner or later.
fn random_memory(random: &mut Random) -> Option<StateMemory> {
    let limit_bytes = [None, None, Some(0), Some(3_000), Some(50_000)][random.below(5)]?;
    Some(StateMemory { budget: StateBudget::new(limit_bytes), store: Arc::new(InMemory) })
}

/// Cuts rows into partitions, and those into batches: rows next to each other go the same way for a while.
pub(crate) fn random_script(rows: &RecordBatch, may_pause: bool, random: &mut Random) -> Script {
    let mut partitions = vec![Vec::new(); 1 + random.below(4)];
    let longest = [1, 6, 40][random.below(3)];
    let mut at = 0;
    while at < rows.num_rows() {
        let count = (1 + random.below(longest)).min(rows.num_rows() - at);
        let partition = random.below(partitions.len());
        partitions[partition].push(Step::Rows(rows.slice(at, count)));
        // Rows of a partition that was idle may be late.
        if may_pause && random.below(5) == 0 {
            partitions[partition].push(Step::Idle);
        }
        // For what goes by the machine's clock.
        if random.below(8) == 0 {
            partitions[partition].push(Step::Clock(i64::try_from(random.below(60_000)).unwrap()));
        }
        at += count;
    }
    partitions
}
