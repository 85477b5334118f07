//! Cuts: an operator that is sealed at any point of a script, and restored into any number of instances, goes on as if
//! nothing had happened; and what it has sealed bit by bit is what it would seal as a whole.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Recorder;
use crate::batch::{Batch, RowKind};
use crate::chain::{Chain, Link};
use crate::operator::Operator;
use crate::scatter::HashScatter;
use crate::state::{Extent, Lies, StatePart};
use crate::time::Watermark;

/// What comes to an operator.
#[derive(Clone, Debug)]
pub(in crate::operators) enum Event {
    Rows(Batch),
    Watermark(i64),
    Clock(i64),
}

/// An operator as it runs with some parallelism.
pub(in crate::operators) struct Form<'a> {
    /// The links of one of its subtasks; the last has the state.
    pub(in crate::operators) make: &'a dyn Fn(usize) -> Vec<Box<dyn Operator>>,
    /// The columns of its input by which rows go to subtasks.
    pub(in crate::operators) keys: Vec<usize>,
}

/// The parts that have been sealed, in this order.
type Store = Vec<(String, Lies, RecordBatch)>;

struct Running {
    chains: Vec<Chain>,
    keys: Vec<usize>,
}

impl Form<'_> {
    fn start(&self, parallelism: usize) -> Running {
        let chain = |_| {
            let mut operators = (self.make)(parallelism);
            let last = operators.len() - 1;
            let link = |(number, operator)| Link {
                name: "operator".to_owned(),
                node: (number == last).then_some(0),
                operator,
                late_rows_to: [None; 2],
            };
            Chain::new(operators.drain(..).enumerate().map(link).collect())
        };
        Running { chains: (0..parallelism).map(chain).collect(), keys: self.keys.clone() }
    }

    /// Starts from what was sealed when event time had come to `watermark`.
    fn restore(&self, store: &Store, watermark: i64, parallelism: usize) -> Running {
        let mut running = self.start(parallelism);
        for (name, lies, rows) in store {
            let Lies::Keyed(columns) = lies else { panic!("all state here lies by key") };
            for (subtask, part) in scattered(rows, columns, parallelism) {
                running.chains[subtask].restore(0, name, part.rows).unwrap();
            }
        }
        if watermark > i64::MIN {
            running.chains.iter_mut().for_each(|chain| chain.resume(Watermark(watermark)));
        }
        running
    }
}

fn scattered(rows: &RecordBatch, columns: &[usize], parallelism: usize) -> Vec<(usize, Batch)> {
    scattered_batch(Batch::append(rows.clone()), columns, parallelism)
}

fn scattered_batch(batch: Batch, columns: &[usize], parallelism: usize) -> Vec<(usize, Batch)> {
    let scatter = HashScatter::new(&batch.rows.schema(), columns.to_vec(), parallelism).unwrap();
    scatter.scatter(batch).unwrap()
}

impl Running {
    /// What an event gives, in any order.
    fn run(&mut self, event: &Event) -> Vec<String> {
        let mut out = Recorder::default();
        match event {
            Event::Rows(batch) => {
                for (subtask, part) in scattered_batch(batch.clone(), &self.keys, self.chains.len()) {
                    self.chains[subtask].process(0, part, &mut out).unwrap();
                }
            }
            Event::Watermark(watermark) => {
                for chain in &mut self.chains {
                    chain.on_watermark(Watermark(*watermark), &mut out).unwrap();
                }
            }
            Event::Clock(now_ms) => self.chains.iter_mut().for_each(|chain| chain.on_clock(*now_ms, &mut out).unwrap()),
        }
        self.chains.iter_mut().for_each(|chain| chain.flush(&mut out).unwrap());
        let mut lines: Vec<String> = out.batches.iter().flat_map(lines).collect();
        lines.push(format!("{} dropped, {} updated", out.dropped, out.updated));
        lines.sort();
        lines
    }

    fn seal_into(&mut self, store: &mut Store, whole: bool) {
        let mut out = Recorder::default();
        let mut sealed: Vec<(String, Vec<StatePart>)> = Vec::new();
        for chain in &mut self.chains {
            chain.before_cut(&mut out).unwrap();
            for (_, parts) in chain.seal(whole).unwrap() {
                for part in parts {
                    match sealed.iter_mut().find(|(name, _)| *name == part.name) {
                        Some((_, parts)) => parts.push(part),
                        None => sealed.push((part.name.to_string(), vec![part])),
                    }
                }
            }
        }
        assert!(out.batches.is_empty(), "a turn's end has given all out");
        let before = std::mem::take(store);
        for (name, parts) in sealed {
            let adds = matches!(parts[0].extent, Extent::Changes { .. });
            let before = before.iter().find(|(known, ..)| *known == name).filter(|_| adds);
            let rows = merged(before.map(|(.., rows)| rows), &parts);
            store.push((name, parts[0].lies.clone(), rows));
        }
    }
}

/// What was sealed before, brought up to date.
fn merged(before: Option<&RecordBatch>, parts: &[StatePart]) -> RecordBatch {
    let mut batches = Vec::new();
    if let Some(before) = before {
        let mut replaced: Vec<String> = Vec::new();
        let mut width = 0;
        for part in parts {
            let Extent::Changes { key_count, gone } = &part.extent else { panic!("changes of one, all of another") };
            width = *key_count;
            replaced.extend(texts(gone, width).into_iter().chain(texts(&part.rows, width)));
        }
        let stays = texts(before, width).iter().map(|key| Some(!replaced.contains(key))).collect();
        batches.push(arrow::compute::filter_record_batch(before, &stays).unwrap());
    }
    batches.extend(parts.iter().map(|part| part.rows.clone()));
    concat_batches(&parts[0].rows.schema(), &batches).unwrap()
}

/// The first columns of each row as text.
fn texts(rows: &RecordBatch, width: usize) -> Vec<String> {
    let options = FormatOptions::new().with_null("null");
    let formatters = rows.columns().iter().take(width).map(|column| ArrayFormatter::try_new(column, &options).unwrap());
    let formatters: Vec<ArrayFormatter> = formatters.collect();
    let text = |row: usize| formatters.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ");
    (0..rows.num_rows()).map(text).collect()
}

fn lines(batch: &Batch) -> Vec<String> {
    let kind = |row: usize| batch.kinds.as_ref().map_or(RowKind::Insert as u8, |kinds| kinds.value(row));
    let texts = texts(&batch.rows, batch.rows.num_columns());
    texts.into_iter().enumerate().map(|(row, text)| format!("{} {text}", kind(row))).collect()
}

/// The rows of each part, in order.
fn contents(store: &Store) -> BTreeMap<String, Vec<String>> {
    let sorted = |rows: &RecordBatch| {
        let mut rows = texts(rows, rows.num_columns());
        rows.sort();
        rows
    };
    store.iter().map(|(name, _, rows)| (name.clone(), sorted(rows))).collect()
}

/// Cuts a run of `events` after each of them. `forms` has two forms of one operator: what one sealed, the other restores.
/// Gives how many rows came out.
pub(in crate::operators) fn check_cuts(forms: [&Form<'_>; 2], events: &[Event]) -> usize {
    let mut whole = forms[0].start(1);
    let expected: Vec<Vec<String>> = events.iter().map(|event| whole.run(event)).collect();
    let (mut sealed_whole, mut sealed_by_bits) = (forms[0].start(3), forms[0].start(3));
    let mut by_bits = Store::new();
    let mut watermark = i64::MIN;
    for (at, event) in events.iter().enumerate() {
        let mut all = Store::new();
        sealed_whole.seal_into(&mut all, true);
        sealed_by_bits.seal_into(&mut by_bits, at % 7 == 5);
        assert_eq!(contents(&all), contents(&by_bits), "before event {at}");
        for (form, store, parallelism) in [(0, &all, 1), (1, &all, 3), (1, &by_bits, 1), (0, &by_bits, 3)] {
            let mut restored = forms[form].restore(store, watermark, parallelism);
            // What was restored can be sealed again, and goes on.
            let mut again = Store::new();
            restored.seal_into(&mut again, true);
            assert_eq!(contents(&again), contents(&all), "restored before event {at} into {parallelism}");
            for (offset, event) in events[at..].iter().enumerate() {
                let found = restored.run(event);
                assert_eq!(found, expected[at + offset], "cut before event {at} into {parallelism}, at +{offset}");
            }
        }
        if let Event::Watermark(to) = event {
            watermark = *to;
        }
        for running in [&mut sealed_whole, &mut sealed_by_bits] {
            assert_eq!(running.run(event), expected[at], "it goes on after it was sealed before event {at}");
        }
    }
    expected.iter().map(|lines| lines.len() - 1).sum()
}
