//! Sorts the rows of a batch by the slice of event time they belong to. Rows mostly come in the order of time: then each
//! slice is a stretch of the batch, and nothing is moved. Else one counting pass sorts them.

use std::ops::Range;

use arrow::array::{Array, Int64Array, UInt32Array};
use hashbrown::HashMap;

use crate::graph::Window;
use crate::window::Span;

/// Rows by slice.
#[derive(Debug)]
pub struct SlicedRows {
    /// The rows in the order of their slices, and within a slice as they came; `None` when that is how they stand.
    pub order: Option<UInt32Array>,
    /// The slices, in order of time, and which part of `order` (of the rows, where there is none) is theirs.
    pub slices: Vec<(Span, Range<usize>)>,
    /// How many rows have no time. They are in no slice.
    pub null_count: usize,
}

impl SlicedRows {
    /// Cuts rows with these event times into the slices of `window`.
    pub fn cut(times: &Int64Array, window: Window) -> Self {
        if let Some(slices) = stretches(times, window) {
            return Self { order: None, slices, null_count: 0 };
        }
        let mut numbering = Numbering::default();
        let numbers: Vec<u32> = if times.null_count() == 0 {
            times.values().iter().map(|time| numbering.number(*time, window)).collect()
        } else {
            times.iter().map(|time| time.map_or(NO_SLICE, |time| numbering.number(time, window))).collect()
        };
        let null_count = times.null_count();
        match numbering.slices.as_slice() {
            [] => Self { order: None, slices: Vec::new(), null_count },
            spans => {
                let (order, slices) = scatter(&numbers, spans);
                Self { order: Some(order), slices, null_count }
            }
        }
    }

    /// The rows of one slice, as indices into the batch.
    pub fn rows(&self, part: &Range<usize>) -> impl Iterator<Item = usize> {
        let (order, all) = match &self.order {
            Some(order) => (order.values().get(part.clone()).unwrap_or_default(), 0..0),
            None => (&[] as &[u32], part.clone()),
        };
        order.iter().map(|row| *row as usize).chain(all)
    }
}

/// How many rows are looked at together: few enough that a slice's end is found again quickly, enough to be vectorised.
const LOOK_ROWS: usize = 64;

/// The slices as stretches of the batch, where each begins behind the one before it.
fn stretches(times: &Int64Array, window: Window) -> Option<Vec<(Span, Range<usize>)>> {
    if times.null_count() > 0 {
        return None;
    }
    let mut slices: Vec<(Span, Range<usize>)> = Vec::new();
    let mut rest: &[i64] = times.values();
    while let Some(first) = rest.first() {
        let begin = times.len() - rest.len();
        let slice = window.slice_of(*first);
        if slices.last().is_some_and(|(last, _)| slice.start_ms < last.end_ms) {
            return None;
        }
        let row_count = stretch(rest, slice);
        if row_count == 0 {
            // At the end of time a slice has no room for its last moment.
            return None;
        }
        rest = rest.get(row_count..)?;
        slices.push((slice, begin..times.len() - rest.len()));
    }
    Some(slices)
}

/// How many of the first rows are in a slice.
fn stretch(times: &[i64], slice: Span) -> usize {
    let all_inside = |look: &[i64]| look.iter().fold(true, |all, time| all & slice.contains(*time));
    let whole = times.chunks(LOOK_ROWS).take_while(|look| all_inside(look)).map(<[i64]>::len).sum::<usize>();
    let rest = times.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|time| slice.contains(**time)).count()
}

/// The number of rows without a time.
const NO_SLICE: u32 = u32::MAX;

/// Numbers slices in the order in which they are first met. Rows next to each other are mostly in the same slice.
#[derive(Default)]
struct Numbering {
    slices: Vec<Span>,
    numbers: HashMap<i64, u32>,
    last: Option<(Span, u32)>,
}

impl Numbering {
    fn number(&mut self, time: i64, window: Window) -> u32 {
        if let Some((slice, number)) = self.last
            && slice.contains(time)
        {
            return number;
        }
        let slice = window.slice_of(time);
        let next = self.slices.len() as u32;
        let number = *self.numbers.entry(slice.start_ms).or_insert(next);
        if number == next {
            self.slices.push(slice);
        }
        self.last = Some((slice, number));
        number
    }
}

/// Counting sort of rows by slice; `spans` are the slices by number.
fn scatter(numbers: &[u32], spans: &[Span]) -> (UInt32Array, Vec<(Span, Range<usize>)>) {
    let mut counts = vec![0_usize; spans.len()];
    for number in numbers {
        if let Some(count) = counts.get_mut(*number as usize) {
            *count += 1;
        }
    }
    let mut by_time: Vec<usize> = (0..spans.len()).collect();
    by_time.sort_unstable_by_key(|number| spans.get(*number));

    let mut slices = Vec::with_capacity(spans.len());
    let mut next = vec![0_usize; spans.len()];
    let mut begin = 0;
    for number in by_time {
        if let (Some(span), Some(count), Some(next)) = (spans.get(number), counts.get(number), next.get_mut(number)) {
            slices.push((*span, begin..begin + count));
            *next = begin;
            begin += count;
        }
    }
    let mut order = vec![0_u32; begin];
    for (row, number) in numbers.iter().enumerate() {
        if let Some(next) = next.get_mut(*number as usize) {
            if let Some(place) = order.get_mut(*next) {
                *place = row as u32;
            }
            *next += 1;
        }
    }
    (UInt32Array::from(order), slices)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    const TEN: Window = Window::Tumbling { size_ms: 10, offset_ms: 0 };

    fn cut(times: Vec<Option<i64>>) -> (Vec<(i64, Vec<usize>)>, usize, bool) {
        let sliced = SlicedRows::cut(&Int64Array::from(times), TEN);
        let slices = sliced.slices.iter().map(|(span, part)| (span.start_ms, sliced.rows(part).collect())).collect();
        (slices, sliced.null_count, sliced.order.is_some())
    }

    #[test]
    fn rows_of_one_slice_stay_where_they_are() {
        assert_eq!(cut(vec![Some(3), Some(1), Some(9)]), (vec![(0, vec![0, 1, 2])], 0, false));
    }

    #[test]
    fn rows_in_the_order_of_their_slices_stay_where_they_are() {
        assert_eq!(
            cut(vec![Some(3), Some(1), Some(12), Some(10), Some(35)]),
            (vec![(0, vec![0, 1]), (10, vec![2, 3]), (30, vec![4])], 0, false)
        );
        let sliced = SlicedRows::cut(&Int64Array::from_iter_values((-1_000..2_000).map(|row| row / 15)), TEN);
        assert!(sliced.order.is_none());
        let rows: usize = sliced.slices.iter().map(|(_, part)| part.len()).sum();
        assert_eq!((rows, sliced.slices.len()), (3_000, 21));
        for (span, part) in &sliced.slices {
            assert!(sliced.rows(part).all(|row| span.contains((row as i64 - 1_000) / 15)), "{span:?} {part:?}");
        }
    }

    #[test]
    fn a_slice_that_comes_back_is_sorted() {
        let times = (0..200).map(|row| Some(if row == 199 { 0 } else { row / 10 }));
        let (slices, _, is_sorted) = cut(times.collect());
        assert!(is_sorted);
        assert_eq!(slices.iter().map(|(start, rows)| (*start, rows.len())).collect::<Vec<_>>(), [(0, 101), (10, 99)]);
        assert_eq!(slices[0].1.last(), Some(&199));
    }

    #[test]
    fn rows_of_many_slices_are_sorted_by_slice_and_else_stay_in_order() {
        let times = vec![Some(12), Some(3), None, Some(-1), Some(15), Some(0)];
        assert_eq!(cut(times), (vec![(-10, vec![3]), (0, vec![1, 5]), (10, vec![0, 4])], 1, true));
    }

    #[test]
    fn a_null_beside_one_slice_is_left_out() {
        assert_eq!(cut(vec![None, Some(3)]), (vec![(0, vec![1])], 1, true));
        assert_eq!(cut(vec![None, None]), (vec![], 2, false));
        assert_eq!(cut(vec![]), (vec![], 0, false));
    }
}
