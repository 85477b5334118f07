//! The result does not depend on how rows are split into batches, in which order threads run, how many there are, or how
//! much queues hold: thousands of random graphs and inputs on the deterministic executor, against a naive model.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mulgil_connect::sink::Sink;
use mulgil_connect::source::Source;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::graph::Graph;
use mulgil_dataflow::physical::{Exchange, PlanOptions, plan_with};
use mulgil_engine::deterministic::{Random, Script, Step, run};
use mulgil_engine::job::{Job, JobSummary};

use crate::graphs::{Builder, Event, event, lines, pass_on, rows};
use crate::memory::{self, MemorySink, MemorySinkHandle, MemorySource};

/// A multiset of rows, as text.
type Rows = BTreeMap<String, i64>;

/// What is computed over the tables `events` and `more`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `v` halved, where it is above 5.
    Stateless,
    /// Count and sum per key and 10 ms.
    PerKey,
    /// The same, of both tables together, without keys.
    OfUnion,
    /// The same per key and 40 ms, made of the results per 10 ms.
    Cascade,
    /// As `PerKey`, with partitions that fall asleep, and enough allowed lateness for what they bring later.
    Late,
    /// As `PerKey`, beside the rows themselves.
    TwoSinks,
    /// As `PerKey`, over rows that have parted and joined again: all of them, and those where `v` is above 5 once more.
    Diamond,
}

const SHAPES: [Shape; 7] =
    [Shape::Stateless, Shape::PerKey, Shape::OfUnion, Shape::Cascade, Shape::Late, Shape::TwoSinks, Shape::Diamond];

/// How far rows of one partition can be out of order.
const BOUND_MS: i64 = 7;

fn graph(shape: Shape) -> Graph {
    let mut builder = Builder::default();
    let source = builder.source("events");
    let events = builder.watermark(source, BOUND_MS);
    match shape {
        Shape::Stateless => {
            let node = builder.filter_greater(events, "v", 5);
            let node = builder.divide(node, 2);
            builder.sink(node, "results")
        }
        Shape::PerKey => {
            let node = builder.aggregate(events, &["key"], "ts", 10, 0);
            builder.sink(node, "results")
        }
        Shape::OfUnion => {
            let source = builder.source("more");
            let more = builder.watermark(source, BOUND_MS);
            let node = builder.union(vec![events, more]);
            let node = builder.aggregate(node, &[], "ts", 10, 0);
            builder.sink(node, "results")
        }
        Shape::Cascade => {
            let node = builder.aggregate(events, &["key"], "ts", 10, 0);
            let node = builder.aggregate(node, &["key"], "window_start", 40, 0);
            builder.sink(node, "results")
        }
        Shape::Late => {
            let node = builder.aggregate(events, &["key"], "ts", 10, 1_000_000);
            builder.sink(node, "results")
        }
        Shape::Diamond => {
            let some = builder.filter_greater(events, "v", 5);
            let all = builder.divide(events, 1);
            let node = builder.union(vec![some, all]);
            let node = builder.aggregate(node, &["key"], "ts", 10, 0);
            builder.sink(node, "results")
        }
        Shape::TwoSinks => {
            let node = builder.aggregate(events, &["key"], "ts", 10, 0);
            let mut more = Builder { graph: builder.sink(node, "results") };
            let node = more.filter_greater(events, "v", -1_000);
            more.sink(node, "rows")
        }
    }
}

/// The events of a partition: some keys, some nulls, times that go on with some disorder.
fn random_partition(random: &mut Random) -> Vec<Event> {
    let key_count = [1, 3, 1_000][random.below(3)];
    let start = random.below(500) as i64 - 250;
    let step = 1 + random.below(5) as i64;
    let length = random.below(60);
    (0..length as i64)
        .map(|n| {
            let key = (random.below(12) > 0).then(|| format!("k{}", random.below(key_count)));
            let ts = start + n * step - random.below(BOUND_MS as usize + 1) as i64;
            let v = (random.below(9) > 0).then(|| random.below(30) as i64 - 10);
            (key, (random.below(40) > 0).then_some(ts), v)
        })
        .collect()
}

fn random_steps(events: &[Event], may_sleep: bool, random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at((1 + random.below(20)).min(rest.len()));
        steps.push(Step::Rows(rows(batch)));
        if may_sleep && random.below(3) == 0 {
            steps.push(Step::Idle);
        }
        rest = others;
    }
    steps
}

/// What the model says `results` holds in the end, and `rows` if it is written.
fn expected(shape: Shape, events: &[Event], more: &[Event]) -> (Rows, Rows) {
    let per_window = |events: &[Event], keyed: bool, size: i64| {
        let mut windows: BTreeMap<(String, i64), (i64, Option<i64>)> = BTreeMap::new();
        for (key, ts, v) in events {
            let Some(ts) = ts else { continue };
            let key = if keyed { key.clone().unwrap_or("null".to_owned()) + " " } else { String::new() };
            let window = windows.entry((key, ts.div_euclid(size) * size)).or_default();
            window.0 += 1;
            window.1 = v.map_or(window.1, |v| Some(window.1.unwrap_or(0) + v));
        }
        windows
    };
    let null = || "null".to_owned();
    let text = |((key, start), (n, v)): ((String, i64), (i64, Option<i64>)), size: i64| {
        (format!("{key}{start} {} {n} {}", start + size, v.map_or_else(null, |v| v.to_string())), 1)
    };
    let mut all_rows = Rows::new();
    let results = match shape {
        Shape::Stateless => {
            let mut rows = Rows::new();
            for (key, ts, v) in events.iter().filter(|event| event.2.is_some_and(|v| v > 5)) {
                let ts = ts.map_or_else(null, |ts| ts.to_string());
                *rows.entry(format!("{} {ts} {}", key.clone().unwrap_or_else(null), v.unwrap() / 2)).or_default() += 1;
            }
            rows
        }
        Shape::PerKey | Shape::Late | Shape::TwoSinks => {
            per_window(events, true, 10).into_iter().map(|window| text(window, 10)).collect()
        }
        Shape::OfUnion => {
            let both: Vec<Event> = events.iter().chain(more).cloned().collect();
            per_window(&both, false, 10).into_iter().map(|window| text(window, 10)).collect()
        }
        Shape::Diamond => {
            let again = events.iter().filter(|event| event.2.is_some_and(|v| v > 5));
            let all: Vec<Event> = events.iter().chain(again).cloned().collect();
            per_window(&all, true, 10).into_iter().map(|window| text(window, 10)).collect()
        }
        Shape::Cascade => {
            // The second aggregation counts the windows of the first and sums their sums.
            let inner: Vec<Event> = per_window(events, true, 10)
                .into_iter()
                .map(|((key, start), (_, v))| (Some(key.trim_end().to_owned()), Some(start), v))
                .collect();
            per_window(&inner, true, 40).into_iter().map(|window| text(window, 40)).collect()
        }
    };
    if shape == Shape::TwoSinks {
        for (key, ts, v) in events.iter().filter(|event| event.2.is_some()) {
            let ts = ts.map_or_else(null, |ts| ts.to_string());
            *all_rows.entry(format!("{} {ts} {}", key.clone().unwrap_or_else(null), v.unwrap())).or_default() += 1;
        }
    }
    (results, all_rows)
}

/// The rows that are left when all changes are applied in order.
fn apply_changes(lines: Vec<String>) -> Rows {
    let mut rows = Rows::new();
    for line in lines {
        let (count, row) = match line.split_at_checked(3) {
            Some(("+I " | "+U ", row)) => (1, row),
            Some(("-U " | "-D ", row)) => (-1, row),
            _ => (1, line.as_str()),
        };
        let left = rows.entry(row.to_owned()).or_default();
        *left += count;
        assert!(*left >= 0, "{row} is taken back before it was given");
    }
    rows.retain(|_, count| *count != 0);
    rows
}

/// A random case: what is computed, how, and over which rows.
struct Case {
    shape: Shape,
    options: PlanOptions,
    queue_bytes_max: usize,
    tables: HashMap<String, Script>,
    events: Vec<Event>,
    more: Vec<Event>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let shape = SHAPES[random.below(SHAPES.len())];
        let options = PlanOptions { parallelism: 1 + random.below(8), rebalance: random.below(4) == 0 };
        let mut tables: HashMap<String, Script> = HashMap::new();
        let mut all: HashMap<&str, Vec<Event>> = HashMap::new();
        for table in ["events", "more"] {
            tables.insert(table.to_owned(), Script::new());
            for _ in 0..random.below(5) {
                let events = random_partition(random);
                let steps = random_steps(&events, shape == Shape::Late, random);
                tables.entry(table.to_owned()).or_default().push(steps);
                all.entry(table).or_default().extend(events);
            }
        }
        let events = all.remove("events").unwrap_or_default();
        let more = all.remove("more").unwrap_or_default();
        let queue_bytes_max = [1, 500, 5_000, 1 << 22][random.below(4)];
        Self { shape, options, queue_bytes_max, tables, events, more }
    }

    /// Compares what the sinks were given with what the model says.
    fn check(&self, given: &HashMap<String, Vec<Batch>>, summary: &JobSummary, seed: u64) {
        let Self { shape, options, queue_bytes_max, events, more, .. } = self;
        let context = format!("seed {seed}: {shape:?}, {options:?}, queues of {queue_bytes_max} bytes");
        let given = |table: &str| given.get(table).map(|batches| apply_changes(lines(batches))).unwrap_or_default();
        let (results, rows) = expected(*shape, events, more);
        assert_eq!(given("results"), results, "{context}");
        assert_eq!(given("rows"), rows, "{context}");
        assert_eq!(summary.late_dropped, 0, "{context}");
        let read: Vec<&Event> = events.iter().chain(more.iter().filter(|_| *shape == Shape::OfUnion)).collect();
        assert_eq!(summary.rows_in, read.len() as u64, "{context}");
        let is_untimed = |event: &&&Event| event.1.is_none();
        let untimed = match shape {
            Shape::Stateless => 0,
            Shape::Diamond => {
                let again = read.iter().filter(is_untimed).filter(|event| event.2.is_some_and(|v| v > 5));
                read.iter().filter(is_untimed).count() + again.count()
            }
            _ => read.iter().filter(is_untimed).count(),
        };
        assert_eq!(summary.null_event_times, untimed as u64, "{context}");
    }
}

fn check(seed: u64) {
    let mut random = Random::new(seed);
    let case = Case::random(&mut random);
    let physical = plan_with(&graph(case.shape), case.options).unwrap();
    let outcome = run(&physical, &case.tables, case.queue_bytes_max, random.next_u64()).unwrap();
    case.check(&outcome.batches, &outcome.summary, seed);
}

/// The same on real threads, which sleep and wake: a lost wake-up would hang.
#[tokio::test(flavor = "multi_thread")]
async fn threads_give_the_same_results() {
    for seed in 10_000..10_300 {
        let case = Case::random(&mut Random::new(seed));
        let source = |table: &str| -> Arc<dyn Source> {
            let step = |step: &Step| match step {
                Step::Rows(rows) => memory::Step::Rows(rows.clone()),
                Step::Idle => memory::Step::Idle,
                Step::Changes(_) | Step::Clock(_) | Step::Turn(_) => {
                    panic!("threads have a clock and an order of their own")
                }
            };
            let partitions = case.tables[table].iter().map(|steps| steps.iter().map(step).collect());
            MemorySource::new(partitions.collect())
        };
        let tables = ["results", "rows"];
        let written = tables.map(|table| (table.to_owned(), Arc::new(MemorySink::default())));
        let sink = |sink: &Arc<MemorySink>| -> Arc<dyn Sink> { Arc::new(MemorySinkHandle(sink.clone())) };
        let sinks = written.iter().map(|(table, memory)| (table.clone(), sink(memory))).collect();
        let sources = ["events", "more"].map(|table| (table.to_owned(), source(table)));
        let mut options = memory::options(case.options.parallelism);
        options.queue_bytes_max = case.queue_bytes_max;
        let io = tokio::runtime::Handle::current();
        let job = Job::start(graph(case.shape), options, sources.into(), sinks, &io).await.unwrap();
        let summary = memory::within(&format!("the end of seed {seed}"), job.join()).await.unwrap();
        let given = written.map(|(table, sink)| (table, sink.batches.lock().unwrap().clone()));
        case.check(&given.into(), &summary, seed);
    }
}

#[test]
fn results_do_not_depend_on_splits_order_parallelism_or_queues() {
    (0..3_000).for_each(check);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut random = Random::new(7);
    let steps = (0..3).map(|_| random_steps(&random_partition(&mut Random::new(3)), false, &mut random)).collect();
    let tables = HashMap::from([("events".to_owned(), steps)]);
    let options = PlanOptions { parallelism: 3, rebalance: true };
    let physical = plan_with(&graph(Shape::PerKey), options).unwrap();
    let lines_of = |seed| lines(&run(&physical, &tables, 500, seed).unwrap().batches["results"]);
    assert_eq!(lines_of(1), lines_of(1));
    assert!((2..20).any(|seed| lines_of(seed) != lines_of(1)), "other seeds take other ways");
}

#[test]
fn queues_are_bounded_in_bytes() {
    let mut random = Random::new(1);
    let events: Vec<Event> = (0..20_000).map(|n| (Some(format!("k{n}")), Some(n), Some(n))).collect();
    let steps: Vec<Step> = events.chunks(100).map(|batch| Step::Rows(rows(batch))).collect();
    let tables = HashMap::from([("events".to_owned(), vec![steps.clone(), steps])]);
    let options = PlanOptions { parallelism: 2, rebalance: true };
    let physical = plan_with(&graph(Shape::Stateless), options).unwrap();
    let outcome = run(&physical, &tables, 20_000, random.next_u64()).unwrap();
    // The bound, and what each of two senders makes of one turn's slivers.
    assert!(outcome.queued_bytes_peak < 20_000 + 2 * 100_000, "{}", outcome.queued_bytes_peak);
    assert!(outcome.queued_bytes_peak >= 20_000, "the bound is reached: {}", outcome.queued_bytes_peak);
}

#[test]
fn a_broadcast_gives_every_subtask_every_row() {
    let mut physical = plan_with(&pass_on(), PlanOptions { parallelism: 3, rebalance: true }).unwrap();
    assert_eq!(physical.edges[0].exchange, Exchange::RoundRobin);
    physical.edges[0].exchange = Exchange::Broadcast;
    let steps = vec![Step::Rows(rows(&[event("a", 1, 1), event("b", 2, 2)]))];
    let tables = HashMap::from([("events".to_owned(), vec![steps])]);
    let outcome = run(&physical, &tables, 1_000, 1).unwrap();
    let mut given = lines(&outcome.batches["results"]);
    given.sort();
    assert_eq!(given, ["a 1 1", "a 1 1", "a 1 1", "b 2 2", "b 2 2", "b 2 2"]);
}
