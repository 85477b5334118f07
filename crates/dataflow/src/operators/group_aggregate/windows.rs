//! Groups that are windows of a changelog: when they give their results, and when they are forgotten.
//!
//! A group of which no row has passed the end of its window yet waits: what it would give, nobody asked for. It gives its
//! result when the watermark passes the end, and corrects it when a change comes later. Where changes are known to come in
//! time, a window is closed when the watermark has passed its end by the allowed lateness: it is forgotten, and a change
//! that comes for it nevertheless is dropped and counted.
//!
//! Group numbers are given to other groups when theirs are forgotten; so a number found under the end of a window counts
//! only while its group still has that end.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};

use crate::batch::Batch;
use crate::operator::{OperatorError, Output};
use crate::operators::late::{Lateness, report_late};
use crate::time::{EventTimeMs, Watermark, event_times};
use crate::trigger::Trigger;

/// How the groups of a rolling aggregation are windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupWindows {
    /// The key that says which window it is: a timestamp.
    pub key: usize,
    /// From that to the window's end.
    pub until_end_ms: i64,
    /// Whether a group gives nothing before its window has ended.
    pub waits: bool,
    /// How long after its end a window can still change; `None` where it always can.
    pub closes_after_ms: Option<u64>,
}

impl GroupWindows {
    /// Whether a group gives one result, and that is final.
    pub(super) fn gives_once(&self) -> bool {
        self.waits && self.closes_after_ms == Some(0)
    }
}

/// As `explain` appends it.
impl fmt::Display for GroupWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.waits {
            f.write_str(", when the window has ended")?;
        }
        match self.closes_after_ms {
            Some(lateness_ms) => write!(f, "{}", Trigger::allowing(lateness_ms)),
            None => f.write_str(", corrected by later changes"),
        }
    }
}

/// In place of a window's end: the group is not there.
const NOWHERE: EventTimeMs = EventTimeMs::MAX;

/// The windows of the groups that are there.
pub(super) struct OpenWindows {
    definition: GroupWindows,
    watermark: Watermark,
    /// By group: the end of its window.
    ends: Vec<EventTimeMs>,
    /// By group: whether it has something to give when its window ends.
    has_news: Vec<bool>,
    /// The groups with news, by end.
    waiting: BTreeMap<EventTimeMs, Vec<usize>>,
    /// All groups by end, where windows close.
    open: BTreeMap<EventTimeMs, Vec<usize>>,
}

impl OpenWindows {
    pub(super) fn new(definition: GroupWindows) -> Self {
        Self {
            definition,
            watermark: Watermark::UNKNOWN,
            ends: Vec::new(),
            has_news: Vec::new(),
            waiting: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    fn ends_of(&self, keys: &[ArrayRef]) -> Result<Int64Array, OperatorError> {
        let missing = || OperatorError::Unsupported("the window is not among the keys".to_owned());
        let times = event_times(keys.get(self.definition.key).ok_or_else(missing)?)?;
        Ok(times.unary(|time| time.saturating_add(self.definition.until_end_ms).min(NOWHERE - 1)))
    }

    /// The changes of windows that are not closed; the others are counted.
    pub(super) fn in_time(
        &self,
        keys: &[ArrayRef],
        batch: Batch,
        out: &mut dyn Output,
    ) -> Result<Batch, OperatorError> {
        let Some(lateness_ms) = self.definition.closes_after_ms else { return Ok(batch) };
        let ends = self.ends_of(keys)?;
        let trigger = Trigger::allowing(lateness_ms);
        let (late, kept): (Vec<u32>, Vec<u32>) =
            (0..batch.num_rows() as u32).partition(|row| trigger.is_over(ends.value(*row as usize), self.watermark));
        let Some(oldest) = late.iter().map(|row| ends.value(*row as usize)).min() else { return Ok(batch) };
        let behind_ms = self.watermark.0.saturating_sub(oldest);
        let lateness = Lateness { row_count: late.len() as u64, behind_ms, dropped: true };
        report_late(&batch, &late, lateness, out)?;
        Ok(batch.take(&UInt32Array::from(kept))?)
    }

    /// Notes the windows of groups, the group of each row.
    pub(super) fn note(
        &mut self,
        keys: &[ArrayRef],
        groups: &[usize],
        group_bound: usize,
    ) -> Result<(), OperatorError> {
        let ends = self.ends_of(keys)?;
        self.ends.resize(group_bound.max(self.ends.len()), NOWHERE);
        self.has_news.resize(group_bound.max(self.has_news.len()), false);
        for (row, group) in groups.iter().enumerate() {
            let Some(end) = self.ends.get_mut(*group).filter(|end| **end == NOWHERE) else { continue };
            *end = ends.value(row);
            if self.definition.closes_after_ms.is_some() {
                self.open.entry(*end).or_default().push(*group);
            }
        }
        Ok(())
    }

    fn end_of(&self, group: usize) -> EventTimeMs {
        self.ends.get(group).copied().unwrap_or(NOWHERE)
    }

    /// Those of the touched groups that give their results now. The others wait.
    pub(super) fn due(&mut self, touched: Vec<usize>) -> Vec<usize> {
        if !self.definition.waits {
            return touched;
        }
        let (due, early): (Vec<usize>, Vec<usize>) =
            touched.into_iter().partition(|group| self.end_of(*group) <= self.watermark.0);
        self.wait(early);
        due
    }

    /// Groups have something to give when their windows end.
    pub(super) fn wait(&mut self, groups: Vec<usize>) {
        for group in groups {
            let end = self.end_of(group);
            if let Some(has_news) = self.has_news.get_mut(group).filter(|has_news| !**has_news) {
                *has_news = true;
                self.waiting.entry(end).or_default().push(group);
            }
        }
    }

    /// By group: whether it waits with something to give.
    pub(super) fn news(&self, groups: &[usize]) -> Int64Array {
        let has_news = |group: &usize| self.has_news.get(*group).copied().unwrap_or(false).into();
        Int64Array::from_iter_values(groups.iter().map(has_news))
    }

    /// Event time had come so far when the state was sealed.
    pub(super) fn resume(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    /// Event time has come so far: the groups that waited for it, in order of their windows.
    pub(super) fn pass(&mut self, watermark: Watermark) -> Vec<usize> {
        self.watermark = watermark;
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= watermark.0) {
            let (end, groups) = first.remove_entry();
            for group in groups {
                let is_there = self.ends.get(group) == Some(&end);
                if let Some(has_news) = self.has_news.get_mut(group).filter(|has_news| is_there && **has_news) {
                    *has_news = false;
                    due.push(group);
                }
            }
        }
        due
    }

    /// The groups whose windows have closed since.
    pub(super) fn closed(&mut self) -> Vec<usize> {
        let Some(lateness_ms) = self.definition.closes_after_ms else { return Vec::new() };
        let trigger = Trigger::allowing(lateness_ms);
        let mut closed = Vec::new();
        while let Some(first) = self.open.first_entry().filter(|first| trigger.is_over(*first.key(), self.watermark)) {
            let (end, groups) = first.remove_entry();
            closed.extend(groups.into_iter().filter(|group| self.ends.get(*group) == Some(&end)));
        }
        closed
    }

    /// Whether a group that has no rows stays until its window closes.
    pub(super) fn keeps_empty(&self) -> bool {
        self.definition.closes_after_ms.is_some()
    }

    /// Groups are gone.
    pub(super) fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            if let Some(end) = self.ends.get_mut(*group) {
                *end = NOWHERE;
            }
            if let Some(has_news) = self.has_news.get_mut(*group) {
                *has_news = false;
            }
        }
    }

    /// Heap memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let lists = self.waiting.values().chain(self.open.values());
        let lists: usize = lists.map(|groups| groups.capacity() * size_of::<usize>() + 48).sum();
        lists + self.ends.capacity() * size_of::<EventTimeMs>() + self.has_news.capacity()
    }
}
