//! The engine's main test: random queries over random tables give the same rows in batch and as a stream.
//!
//! Queries are trees of filters, projections, distinct, aggregates with and without windows, joins of every kind, semi and
//! anti joins, unions and top-N, each over any other. Each runs in batch (DataFusion) once and as a stream (the
//! engine's deterministic executor) several times: with other partitions, batches, parallelism, queue bounds, orders of
//! arrival and schedules. What a changelog adds up to and what a view makes of it must both be batch's rows.
//!
//! A failing case is made smaller, to a part of its query and a few rows, and printed with its seed. `MULGIL_SEED` runs
//! from a seed, `MULGIL_CASES` sets how many queries.

mod case;
mod relation;
mod rows;
mod scalar;

use std::collections::BTreeMap;

use mulgil_engine::deterministic::Random;

use self::case::{Case, Kept, RUNS_PER_QUERY, Verdict};
use self::relation::{Queries, Relation};
use self::rows::Table;
use crate::fixture::{Project, text_rows};

/// Queries of a run; each is [`RUNS_PER_QUERY`] cases.
const QUERIES: u64 = 250;
/// Queries over one set of tables.
const QUERIES_PER_SCHEMA: u64 = 10;

/// What was tried.
#[derive(Default)]
struct Tally {
    equal: u64,
    with_rows: u64,
    refused: BTreeMap<String, u64>,
    constructs: BTreeMap<&'static str, u64>,
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn random_query(tables: &[Table], random: &mut Random) -> Relation {
    let tables = tables.iter().map(|table| (table.name.clone(), table.columns.clone())).collect();
    let depth = 1 + random.below(4);
    Queries { random, tables, names: 0 }.query(depth)
}

/// `node 5 (distinct c1): its input ...` without the case's own names.
fn in_general(reason: &str) -> String {
    reason.split_once("): ").map_or(reason, |(_, general)| general).to_owned()
}

fn report(seed: u64, relation: &Relation, tables: &[Table], kept: &Kept, lateness_ms: u64, reason: &str) -> String {
    let mut text =
        format!("seed {seed} (MULGIL_SEED={seed} MULGIL_CASES=1), lateness {lateness_ms} ms\n{}\n", relation.sql());
    for table in tables.iter().filter(|table| relation.sql().contains(&table.name)) {
        let columns: Vec<String> = table.columns.iter().map(|c| format!("{} {:?}", c.name, c.data_type)).collect();
        text.push_str(&format!("{} ({})\n", table.name, columns.join(", ")));
        for row in text_rows(&[table.batch(&kept[&table.name])]) {
            text.push_str(&format!("  {}\n", row.join(" | ")));
        }
    }
    text + reason
}

/// Queries over one set of tables; the reports of those that fail.
async fn check_schema(first_seed: u64, seeds: std::ops::Range<u64>, tally: &mut Tally) -> Vec<String> {
    let mut random = Random::new(first_seed);
    let tables: Vec<Table> = (0..3).map(|number| Table::random(number, &mut random)).collect();
    let project = Project::new();
    let catalog = project.catalog(&tables.iter().map(Table::ddl).collect::<String>());
    let kept: Kept = tables.iter().map(|table| (table.name.clone(), (0..table.row_count()).collect())).collect();
    let mut reports = Vec::new();
    for seed in seeds {
        let mut random = Random::new(seed ^ 0x5eed);
        let relation = random_query(&tables, &mut random);
        let lateness_ms = [0, 0, 1_000_000_000][random.below(3)];
        let case = Case { catalog: &catalog, connectors: &project.connectors, tables: &tables, lateness_ms, seed };
        match case.judge(&relation, &kept).await {
            Verdict::Equal { rows } => {
                tally.equal += 1;
                tally.with_rows += u64::from(rows > 0);
                relation
                    .constructs()
                    .into_iter()
                    .for_each(|construct| *tally.constructs.entry(construct).or_default() += 1);
            }
            Verdict::Refused(reason) => *tally.refused.entry(in_general(&reason)).or_default() += 1,
            Verdict::Differs(_) => {
                let (small, few, reason) = case.shrink(&relation, &kept).await;
                let reason =
                    if reason.is_empty() { "it fails no more when it is run again".to_owned() } else { reason };
                reports.push(report(seed, &small, &tables, &few, lateness_ms, &reason));
            }
        }
    }
    reports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_queries_give_the_same_rows_in_batch_and_stream() {
    let first = from_environment("MULGIL_SEED", u64::from(std::process::id()) * 1_000);
    let queries = from_environment("MULGIL_CASES", QUERIES);
    println!("first seed {first}, {queries} queries, {RUNS_PER_QUERY} runs of each");
    let began = std::time::Instant::now();
    let (mut tally, mut reports) = (Tally::default(), Vec::new());
    let mut seed = first;
    while seed < first + queries && reports.len() < 3 {
        // A schema belongs to its seeds, so that a case can be run again alone.
        let schema = seed / QUERIES_PER_SCHEMA * QUERIES_PER_SCHEMA;
        let end = (schema + QUERIES_PER_SCHEMA).min(first + queries);
        reports.extend(check_schema(schema, seed..end, &mut tally).await);
        seed = end;
    }
    println!("{} equal, {} of them with rows, in {:?}", tally.equal, tally.with_rows, began.elapsed());
    println!("{:?}\nrefused: {:#?}", tally.constructs, tally.refused);
    assert!(reports.is_empty(), "\n{}\n", reports.join("\n\n"));
    if queries >= QUERIES {
        assert!(tally.equal * 2 > queries && tally.with_rows * 2 > tally.equal, "too much is refused or empty");
        assert!(tally.constructs.values().filter(|count| **count > 3).count() >= 12, "{:?}", tally.constructs);
    }
}
