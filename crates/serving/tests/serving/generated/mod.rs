//! The engine's main test: random queries over random tables give the same rows in batch and as a stream.
//!
//! Queries are trees of filters, projections, aggregates with and without windows, windows over windows, joins of every
//! kind, sub-queries, set operations, ranks, `OVER` and `UNNEST`, each over any other. Each runs in batch (DataFusion) once
//! and as a stream (the engine's deterministic executor) many times: with other partitions, batches, parallelism, queue
//! bounds, orders of arrival and schedules. What a changelog adds up to and what a view makes of it must both be batch's
//! rows.
//!
//! A failing case is made smaller, to a part of its query and a few rows, and printed with its seed. Without more said the
//! seeds are always the same, so that a change is judged by what it changes; `MULGIL_SEED` runs from another one
//! (`MULGIL_SEED=$RANDOM` looks for what nobody has seen), `MULGIL_QUERIES` sets how many queries.

mod case;
mod queries;
mod relation;
mod rows;
mod scalar;
mod shrink;
mod timed;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mulgil_engine::deterministic::Random;

use self::case::{Case, Kept, Verdict};
use self::queries::Queries;
use self::relation::Relation;
use self::rows::Table;
use crate::fixture::{Project, text_rows};

/// Where a run begins; its first hundred queries hold one that once stood still.
const FIRST_SEED: u64 = 900_064;
/// Queries of a run.
const QUERIES: u64 = 160;
/// Queries over one set of tables.
const QUERIES_PER_SCHEMA: u64 = 8;
/// How often each runs as a stream. Each time is a case of its own: other batches, another order, another parallelism.
const RUNS_PER_QUERY: u64 = 20;

/// What was tried.
#[derive(Default)]
struct Tally {
    equal: u64,
    with_rows: u64,
    refused: BTreeMap<String, u64>,
    constructs: BTreeMap<&'static str, u64>,
    reports: Vec<String>,
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn random_query(tables: &[Table], is_final: bool, random: &mut Random) -> Relation {
    let tables: Vec<_> = tables.iter().map(|table| (table.name.clone(), table.columns.clone())).collect();
    let budget = 1 + random.below(5);
    let unread = (0..tables.len()).collect();
    Queries { random, tables: &tables, unread, names: 0, budget, is_final }.query()
}

/// `node 5 (distinct c1): its input ...` without the case's own names.
fn in_general(reason: &str) -> String {
    let general = reason.split_once("): ").map_or(reason, |(_, general)| general);
    general.chars().take(100).collect()
}

fn report(seed: u64, relation: &Relation, tables: &[Table], kept: &Kept, lateness_ms: u64, reason: &str) -> String {
    let mut text =
        format!("seed {seed} (MULGIL_SEED={seed} MULGIL_QUERIES=1), lateness {lateness_ms} ms\n{}\n", relation.sql());
    for table in tables.iter().filter(|table| relation.sql().contains(&table.name)) {
        let columns: Vec<String> = table.columns.iter().map(|c| format!("{} {:?}", c.name, c.data_type)).collect();
        text.push_str(&format!("{} ({})\n", table.name, columns.join(", ")));
        for row in text_rows(&[table.batch(&kept[&table.name])]) {
            text.push_str(&format!("  {}\n", row.join(" | ")));
        }
    }
    text + reason
}

/// Queries over one set of tables. A schema belongs to its seeds, so that a case can be run again alone.
async fn check_schema(project: &Project, seeds: std::ops::Range<u64>, tally: &Mutex<Tally>) {
    let mut random = Random::new(seeds.start / QUERIES_PER_SCHEMA);
    let tables: Vec<Table> = (0..3).map(|number| Table::random(number, &mut random)).collect();
    let catalog = project.catalog(&tables.iter().map(Table::ddl).collect::<String>());
    let kept: Kept = tables.iter().map(|table| (table.name.clone(), (0..table.row_count()).collect())).collect();
    for seed in seeds {
        if tally.lock().unwrap().reports.len() > 2 {
            return;
        }
        let mut random = Random::new(seed ^ 0x5eed);
        let lateness_ms = [0, 0, 1_000_000_000][random.below(3)];
        let relation = random_query(&tables, lateness_ms == 0, &mut random);
        let (connectors, runs) = (&project.connectors, RUNS_PER_QUERY);
        let case = Case { catalog: &catalog, connectors, tables: &tables, lateness_ms, seed, runs };
        let verdict = case.judge(&relation, &kept).await;
        let report = match verdict {
            Verdict::Differs(_) => {
                let (small, few, reason) = case.shrink(&relation, &kept).await;
                let reason =
                    if reason.is_empty() { "it fails no more when it is run again".to_owned() } else { reason };
                Some(report(seed, &small, &tables, &few, lateness_ms, &reason))
            }
            _ => None,
        };
        let mut tally = tally.lock().unwrap();
        match verdict {
            Verdict::Equal { rows } => {
                tally.equal += 1;
                tally.with_rows += u64::from(rows > 0);
                for construct in relation.constructs() {
                    *tally.constructs.entry(construct).or_default() += 1;
                }
            }
            Verdict::Refused(reason) => *tally.refused.entry(in_general(&reason)).or_default() += 1,
            Verdict::Differs(_) => tally.reports.extend(report),
        }
    }
}

/// A thread a core; each takes the next schema.
fn check_all(project: &Project, seeds: std::ops::Range<u64>) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = AtomicU64::new(seeds.start / QUERIES_PER_SCHEMA);
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        loop {
            let schema = next.fetch_add(1, Ordering::Relaxed) * QUERIES_PER_SCHEMA;
            let of_schema = schema.max(seeds.start)..(schema + QUERIES_PER_SCHEMA).min(seeds.end);
            if of_schema.is_empty() {
                return;
            }
            runtime.block_on(check_schema(project, of_schema, &tally));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(work);
        }
    });
    tally.into_inner().unwrap()
}

#[test]
fn random_queries_give_the_same_rows_in_batch_and_stream() {
    let first = from_environment("MULGIL_SEED", FIRST_SEED);
    let queries = from_environment("MULGIL_QUERIES", QUERIES);
    println!("first seed {first}, {queries} queries, {RUNS_PER_QUERY} runs of each");
    let began = std::time::Instant::now();
    let project = Project::new();
    let tally = check_all(&project, first..first + queries);
    let cases = tally.equal * RUNS_PER_QUERY;
    println!("{} queries equal, {} with rows: {cases} cases in {:?}", tally.equal, tally.with_rows, began.elapsed());
    println!("{:?}\nrefused: {:#?}", tally.constructs, tally.refused);
    assert!(tally.reports.is_empty(), "\n{}\n", tally.reports.join("\n\n"));
    if queries >= QUERIES {
        assert!(tally.equal * 2 > queries && tally.with_rows * 3 > tally.equal, "too much is refused or empty");
        assert!(tally.constructs.len() >= 24, "{:?}", tally.constructs);
    }
}
