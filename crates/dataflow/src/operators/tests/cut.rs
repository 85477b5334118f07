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

/// How far time has come.
#[derive(Clone, Copy)]
struct Now {
    watermark: i64,
    clock_ms: i64,
}

/// The parts that a subtask has sealed, in this order.
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

    /// Starts from what subtasks sealed when time had come so far.
    fn restore(&self, stores: &[Store], now: Now, parallelism: usize) -> Running {
        let mut running = self.start(parallelism);
        let names: Vec<&String> = stores[0].iter().map(|(name, ..)| name).collect();
        for name in names {
            for (_, lies, rows) in stores.iter().flatten().filter(|(known, ..)| known == name) {
                let Lies::Keyed(columns) = lies else { panic!("all state here lies by key") };
                for (subtask, part) in scattered(Batch::append(rows.clone()), columns, parallelism) {
                    running.chains[subtask].restore(0, name, lies, part.rows).unwrap();
                }
            }
        }
        let mut out = Recorder::default();
        for chain in &mut running.chains {
            if now.watermark > i64::MIN {
                chain.resume(Watermark(now.watermark));
            }
            // The clock is not waited for long.
            if now.clock_ms > i64::MIN {
                chain.on_clock(now.clock_ms, &mut out).unwrap();
            }
        }
        assert!(out.batches.is_empty(), "nothing has happened");
        running
    }
}

fn scattered(batch: Batch, columns: &[usize], parallelism: usize) -> Vec<(usize, Batch)> {
    let scatter = HashScatter::new(&batch.rows.schema(), columns.to_vec(), parallelism).unwrap();
    scatter.scatter(batch).unwrap()
}

impl Running {
    /// What an event gives, in any order.
    fn run(&mut self, event: &Event) -> Vec<String> {
        let mut out = Recorder::default();
        match event {
            Event::Rows(batch) => {
                for (subtask, part) in scattered(batch.clone(), &self.keys, self.chains.len()) {
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

    /// Seals each subtask's state on top of what it has sealed before.
    fn seal_into(&mut self, stores: &mut Vec<Store>, whole: bool) {
        let mut out = Recorder::default();
        stores.resize_with(self.chains.len(), Store::new);
        for (chain, store) in self.chains.iter_mut().zip(stores) {
            chain.before_cut(&mut out).unwrap();
            let before = std::mem::take(store);
            for part in chain.seal(whole).unwrap().into_iter().flat_map(|(_, parts)| parts) {
                let known = before.iter().find(|(name, ..)| *name == part.name);
                store.push((part.name.to_string(), part.lies.clone(), merged(known.map(|(.., rows)| rows), &part)));
            }
        }
        assert!(out.batches.is_empty(), "a turn's end has given all out");
    }

    fn seal(&mut self) -> Vec<Store> {
        let mut stores = Vec::new();
        self.seal_into(&mut stores, true);
        stores
    }
}

/// What was sealed before, brought up to date.
fn merged(before: Option<&RecordBatch>, part: &StatePart) -> RecordBatch {
    let Extent::Changes { key_count, gone } = &part.extent else { return part.rows.to_batch().unwrap() };
    let rows = part.rows.to_batch().unwrap();
    let before = before.expect("changes come after a whole");
    let mut replaced = texts(gone, *key_count);
    replaced.extend(texts(&rows, *key_count));
    let stays = texts(before, *key_count).iter().map(|key| Some(!replaced.contains(key))).collect();
    let stays = arrow::compute::filter_record_batch(before, &stays).unwrap();
    concat_batches(&rows.schema(), [&stays, &rows]).unwrap()
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
fn contents(stores: &[Store]) -> BTreeMap<String, Vec<String>> {
    let mut contents: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, _, rows) in stores.iter().flatten() {
        contents.entry(name.clone()).or_default().extend(texts(rows, rows.num_columns()));
    }
    contents.values_mut().for_each(|rows| rows.sort());
    contents
}

/// Cuts a run of `events` after each of them. `forms` has two forms of one operator: what one sealed, the other restores.
/// Gives how many rows came out.
pub(in crate::operators) fn check_cuts(forms: [&Form<'_>; 2], events: &[Event]) -> usize {
    let mut whole = forms[0].start(1);
    let expected: Vec<Vec<String>> = events.iter().map(|event| whole.run(event)).collect();
    let (mut sealed_whole, mut sealed_by_bits) = (forms[0].start(3), forms[0].start(3));
    let mut by_bits = Vec::new();
    let mut now = Now { watermark: i64::MIN, clock_ms: i64::MIN };
    for (at, event) in events.iter().enumerate() {
        let all = sealed_whole.seal();
        sealed_by_bits.seal_into(&mut by_bits, at % 7 == 5);
        assert_eq!(contents(&all), contents(&by_bits), "before event {at}");
        for (form, stores, parallelism) in [(0, &all, 1), (1, &all, 3), (1, &by_bits, 1), (0, &by_bits, 3)] {
            let mut restored = forms[form].restore(stores, now, parallelism);
            let again = contents(&restored.seal());
            assert_eq!(again, contents(&all), "restored before event {at} into {parallelism}");
            for (offset, event) in events[at..].iter().enumerate() {
                let found = restored.run(event);
                assert_eq!(found, expected[at + offset], "cut before event {at} into {parallelism}, at +{offset}");
            }
        }
        // One that was restored goes on to seal what changes.
        if at % 5 == 3 {
            sealed_by_bits = forms[0].restore(&by_bits, now, 3);
        }
        match event {
            Event::Watermark(to) => now.watermark = *to,
            Event::Clock(to) => now.clock_ms = *to,
            Event::Rows(_) => {}
        }
        for running in [&mut sealed_whole, &mut sealed_by_bits] {
            assert_eq!(running.run(event), expected[at], "it goes on after it was sealed before event {at}");
        }
    }
    expected.iter().map(|lines| lines.len() - 1).sum()
}
