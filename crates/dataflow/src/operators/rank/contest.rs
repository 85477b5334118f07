//! Who can be ranked at all: a row that enough others of its partition stand before, in its own batch, never can be.
//!
//! It is judged batch by batch and nothing is kept, so it may be done wherever rows are made: before an exchange, so that
//! fewer rows travel; in a join, before pairs are put together. Only what stands *strictly* before counts, by the asked
//! order and no further than the beginning of the sort key: whoever may be equal stays, for the ranking to decide. Where
//! hardly any row is left out, judging rests for a while.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use hashbrown::HashTable;

use crate::batch::{Batch, take_rows};
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::key::{EncodedKeys, KeyEncoder};
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::row_store::{OrderColumn, Prefix, SortKeys};
use crate::state::StatePart;

/// After how many rows it is judged whether judging pays.
const TRIAL_ROWS: usize = 50_000;
/// It pays when it leaves out one row of so many.
const LEFT_OUT_MIN: usize = 10;
/// How many rows pass unjudged before the next trial.
const REST_ROWS: usize = 500_000;

/// What a ranking over inserts only asks of its rows: to be among the first of their partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The columns of the partition.
    pub partition: Vec<usize>,
    /// The order within.
    pub order: Vec<OrderColumn>,
    /// How many are ranked.
    pub limit: usize,
}

impl Contest {
    /// The same contest over other rows: `source` says which of their columns each of its columns is.
    pub fn below(&self, source: impl Fn(usize) -> Option<usize>) -> Option<Self> {
        let order = self.order.iter().map(|by| Some(OrderColumn { column: source(by.column)?, ..*by }));
        Some(Self {
            partition: self.partition.iter().map(|column| source(*column)).collect::<Option<_>>()?,
            order: order.collect::<Option<_>>()?,
            limit: self.limit,
        })
    }

    /// The columns that it looks at.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.partition.iter().copied().chain(self.order.iter().map(|by| by.column))
    }
}

/// Judges the rows of a contest.
#[derive(Debug)]
pub(crate) struct Referee {
    contest: Contest,
    keys: KeyEncoder,
    sort_keys: SortKeys,
    /// Hash, first row and number of each partition of the batch at hand.
    index: HashTable<(u64, u32, u32)>,
    trial_rows: usize,
    trial_left_out: usize,
    resting_rows: usize,
}

impl Referee {
    /// For rows of `schema`.
    ///
    /// # Errors
    /// A column cannot be a key, or cannot be ordered.
    pub(crate) fn new(contest: Contest, schema: &Schema) -> Result<Self, ArrowError> {
        let type_of = |column: &usize| -> DataType {
            schema.fields().get(*column).map_or(DataType::Null, |field| field.data_type().clone())
        };
        Ok(Self {
            keys: KeyEncoder::new(contest.partition.iter().map(type_of))?,
            sort_keys: SortKeys::new(schema, contest.order.clone())?,
            contest,
            index: HashTable::new(),
            trial_rows: 0,
            trial_left_out: 0,
            resting_rows: 0,
        })
    }

    /// Whether the next rows, so many, pass unjudged.
    pub(crate) fn rests(&mut self, row_count: usize) -> bool {
        let rests = self.resting_rows > 0;
        self.resting_rows = self.resting_rows.saturating_sub(row_count);
        rests
    }

    /// The rows that can be ranked, in their order; `None` for all.
    pub(crate) fn judge(&mut self, rows: &RecordBatch) -> Result<Option<Vec<u32>>, ArrowError> {
        let row_count = rows.num_rows();
        let columns = self.contest.partition.iter().filter_map(|column| rows.columns().get(*column).cloned());
        let keys = self.keys.encode(&columns.collect::<Vec<_>>(), row_count)?;
        let (groups, sizes) = self.groups(&keys);
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let mut able = None;
        if largest as usize > self.contest.limit {
            let (prefixes, _) = self.sort_keys.of_rows(rows)?;
            let worst = worst_ranked(&groups, &sizes, &prefixes, self.contest.limit);
            let is_able = |row: &u32| {
                let worst = groups.get(*row as usize).and_then(|group| worst.get(*group as usize));
                worst.is_none_or(|worst| prefixes.get(*row as usize) <= Some(worst))
            };
            able = Some((0..row_count as u32).filter(is_able).collect::<Vec<u32>>());
        }
        let left_out = able.as_ref().map_or(0, |able| row_count - able.len());
        self.note(row_count, left_out);
        Ok(able.filter(|_| left_out > 0))
    }

    /// The partition of each row, numbered in the order in which they first come, and how many rows each has.
    fn groups(&mut self, keys: &EncodedKeys) -> (Vec<u32>, Vec<u32>) {
        self.index.clear();
        let mut groups = Vec::with_capacity(keys.hashes().len());
        let mut sizes: Vec<u32> = Vec::new();
        for (row, hash) in keys.hashes().iter().enumerate() {
            let same =
                |(other, first, _): &(u64, u32, u32)| other == hash && keys.row(*first as usize) == keys.row(row);
            let entry = self.index.entry(*hash, same, |(hash, _, _)| *hash);
            let group = entry.or_insert_with(|| (*hash, row as u32, sizes.len() as u32)).get().2;
            match sizes.get_mut(group as usize) {
                Some(size) => *size += 1,
                None => sizes.push(1),
            }
            groups.push(group);
        }
        (groups, sizes)
    }

    fn note(&mut self, row_count: usize, left_out: usize) {
        self.trial_rows += row_count;
        self.trial_left_out += left_out;
        if self.trial_rows >= TRIAL_ROWS {
            let pays = self.trial_left_out * LEFT_OUT_MIN >= self.trial_rows;
            self.resting_rows = if pays { 0 } else { REST_ROWS };
            (self.trial_rows, self.trial_left_out) = (0, 0);
        }
    }
}

/// By partition: the last sort key that can be ranked. The greatest of all where the partition has no more than `limit`
/// rows.
fn worst_ranked(groups: &[u32], sizes: &[u32], prefixes: &[Prefix], limit: usize) -> Vec<Prefix> {
    let mut worst = vec![[u64::MAX; 2]; sizes.len()];
    if limit == 1 {
        for (group, prefix) in groups.iter().zip(prefixes) {
            if let Some(best) = worst.get_mut(*group as usize) {
                *best = (*best).min(*prefix);
            }
        }
        return worst;
    }
    let mut next: Vec<usize> = Vec::with_capacity(sizes.len());
    let mut begin = 0;
    for size in sizes {
        next.push(begin);
        begin += *size as usize;
    }
    let mut by_group = vec![[0; 2]; groups.len()];
    for (group, prefix) in groups.iter().zip(prefixes) {
        if let Some(next) = next.get_mut(*group as usize) {
            if let Some(place) = by_group.get_mut(*next) {
                *place = *prefix;
            }
            *next += 1;
        }
    }
    let mut rest = by_group.as_mut_slice();
    for (worst, size) in worst.iter_mut().zip(sizes) {
        let (own, others) = rest.split_at_mut((*size as usize).min(rest.len()));
        if own.len() > limit {
            *worst = *own.select_nth_unstable(limit - 1).1;
        }
        rest = others;
    }
    worst
}

/// Leaves rows out before they travel to where they are ranked.
#[derive(Debug)]
pub(super) struct Preselection {
    pub(super) contest: Contest,
    pub(super) ranking: String,
}

impl OperatorDefinition for Preselection {
    fn describe(&self) -> String {
        format!("pre-{}", self.ranking)
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Any
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(Preselect { referee: Referee::new(self.contest.clone(), schema)? }))
    }
}

struct Preselect {
    referee: Referee,
}

impl Operator for Preselect {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let able = if self.referee.rests(batch.num_rows()) { None } else { self.referee.judge(&batch.rows)? };
        out.emit(match able {
            Some(able) => Batch::append(take_rows(&batch.rows, &UInt32Array::from(able))?),
            None => batch,
        });
        Ok(())
    }

    /// What it remembers only saves work.
    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}

/// What a local part of a ranking is: see [`Contest`].
pub(super) fn preselection(contest: Contest, ranking: String) -> Arc<dyn OperatorDefinition> {
    Arc::new(Preselection { contest, ranking })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn order(column: usize, descending: bool) -> OrderColumn {
        OrderColumn { column, descending, nulls_first: false }
    }

    fn rows(values: &[(Option<i64>, Option<i64>, &str)]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(values.iter().map(|row| row.0).collect::<Int64Array>());
        let numbers: ArrayRef = Arc::new(values.iter().map(|row| row.1).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new(values.iter().map(|row| Some(row.2)).collect::<StringArray>());
        RecordBatch::try_from_iter([("key", keys), ("number", numbers), ("text", texts)]).unwrap()
    }

    #[test]
    fn a_row_stays_unless_enough_of_its_partition_stand_strictly_before_it() {
        let first = crate::operators::tests::first_seed();
        for seed in first..first + 300 {
            let mut state = seed;
            let mut below = |bound: i64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as i64 % bound
            };
            let texts = ["a", "a long text whose end", "a long text whose end decides", "b"];
            let mut value = |bound: i64| Some(below(bound)).filter(|value| *value > 0);
            let values: Vec<_> =
                (0..120).map(|_| (value(6), value(9), texts[value(5).unwrap_or(0) as usize % 4])).collect();
            let limit = 1 + value(4).unwrap_or(0) as usize;
            let by = [vec![order(1, true)], vec![order(1, false), order(2, true)], vec![order(2, false)]];
            let by = by[value(4).unwrap_or(0) as usize % 3].clone();
            let rows = rows(&values);
            let contest = Contest { partition: vec![0], order: by.clone(), limit };
            let able = Referee::new(contest, &rows.schema()).unwrap().judge(&rows).unwrap();
            let able = able.unwrap_or_else(|| (0..120).collect());
            let before = |one: usize, other: usize| {
                let compared = by.iter().map(|by| {
                    let (column, options) = (
                        rows.column(by.column),
                        arrow::compute::SortOptions { descending: by.descending, nulls_first: by.nulls_first },
                    );
                    arrow::array::make_comparator(column, column, options).unwrap()(one, other)
                });
                compared.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).is_lt()
            };
            for row in 0..values.len() {
                let ahead = (0..values.len()).filter(|other| values[*other].0 == values[row].0 && before(*other, row));
                let (ahead, stays) = (ahead.count(), able.contains(&(row as u32)));
                // Long texts may be taken for equals, so a row may stay without need, but never go without need.
                assert!(stays || ahead >= limit, "seed {seed}: row {row} was left out");
                assert!(!stays || ahead < limit || by.iter().any(|by| by.column == 2), "seed {seed}: row {row} stayed");
            }
        }
    }

    #[test]
    fn judging_rests_where_it_leaves_nothing_out() {
        let contest = Contest { partition: vec![0], order: vec![order(1, false)], limit: 1 };
        let different: Vec<_> = (0..TRIAL_ROWS as i64).map(|n| (Some(n), Some(n), "")).collect();
        let equal: Vec<_> = (0..100).map(|n| (Some(1), Some(n), "")).collect();
        let mut referee = Referee::new(contest, &rows(&equal).schema()).unwrap();
        assert_eq!(referee.judge(&rows(&equal)).unwrap(), Some(vec![0]));
        assert!(!referee.rests(100));
        assert_eq!(referee.judge(&rows(&different)).unwrap(), None);
        assert!(referee.rests(REST_ROWS - 1) && referee.rests(1) && !referee.rests(1), "it rests, and tries again");
    }

    #[test]
    fn a_contest_follows_its_columns() {
        let contest = Contest { partition: vec![2], order: vec![order(5, true)], limit: 3 };
        let below = contest.below(|column| [None, None, Some(7), None, None, Some(0)][column]);
        assert_eq!(below, Some(Contest { partition: vec![7], order: vec![order(0, true)], limit: 3 }));
        assert_eq!(contest.below(|column| (column == 5).then_some(0)), None);
    }
}
