//! Slices merged to windows, without merging the same slices for every window anew.
//!
//! Hopping windows: *two stacks*. The older slices of the window stand in the front, each merged with all that are younger
//! than it there, so that the oldest can be taken off and the rest is merged already; the younger ones are added up in
//! the back. When the front is used up, it is built anew of what is in the window. So a slice is merged three times,
//! however many slices a window has, and nothing is ever subtracted: floats come out as if added up once. (Two-stacks is
//! folklore; see Tangwongsan et al., "General Incremental Sliding-Window Aggregation", VLDB 2015.)
//!
//! Cumulating windows: one running prefix. Windows of few slices are merged outright, which is less work then.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::slice_table::{Run, SliceTable};
use super::window_input::WindowInput;
use crate::graph::Window;
use crate::operator::OperatorError;
use crate::time::EventTimeMs;
use crate::window::Span;

/// Windows of at most so many slices are merged of them outright.
const SLICES_OUTRIGHT_MAX: i64 = 6;

/// A slice: rows that have come since it was last looked at, and what had been added up before.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) open: Option<SliceTable>,
    sealed: Option<Arc<Run>>,
}

impl Slice {
    /// All that is in the slice, as a run.
    pub(crate) fn seal(&mut self, input: &WindowInput) -> Result<Arc<Run>, OperatorError> {
        let run = match (self.sealed.take(), self.open.take()) {
            (Some(sealed), None) => sealed,
            (sealed, open) => {
                let mut all = match open {
                    Some(open) => open,
                    None => input.table()?,
                };
                if let Some(sealed) = sealed {
                    all.add_run(&sealed)?;
                }
                Arc::new(all.into_run()?)
            }
        };
        self.sealed = Some(Arc::clone(&run));
        Ok(run)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, SliceTable::size_bytes) + self.sealed.as_ref().map_or(0, |run| run.size_bytes())
    }
}

/// Slices by start.
pub(crate) type Slices = BTreeMap<EventTimeMs, Slice>;

/// What has been merged for the windows so far. Asked for windows in order of their ends.
pub(crate) enum MergedSlices {
    /// Nothing is kept.
    Outright,
    /// See the module.
    Stacks(Stacks),
    /// The slices of the windows that begin at a moment, until another.
    Prefix(Option<(Span, SliceTable)>),
}

/// The two stacks.
#[derive(Default)]
pub(crate) struct Stacks {
    /// The start of each slice, and it with all younger ones of the front. The oldest stands last.
    front: Vec<(EventTimeMs, Arc<Run>)>,
    back: Option<SliceTable>,
    /// The slices from here on are in neither.
    until_ms: EventTimeMs,
}

impl MergedSlices {
    pub(crate) fn new(window: Window) -> Self {
        match window {
            Window::Tumbling { .. } => Self::Outright,
            Window::Hopping { .. } if window.slices_in_window() <= SLICES_OUTRIGHT_MAX => Self::Outright,
            Window::Hopping { .. } => Self::Stacks(Stacks::default()),
            Window::Cumulating { .. } => Self::Prefix(None),
        }
    }

    /// Forgets what was merged: a slice has changed.
    pub(crate) fn forget(&mut self) {
        match self {
            Self::Outright => {}
            Self::Stacks(stacks) => *stacks = Stacks::default(),
            Self::Prefix(prefix) => *prefix = None,
        }
    }

    /// Adds the slices of `window` to `table`.
    pub(crate) fn add_to(
        &mut self,
        table: &mut SliceTable,
        window: Span,
        slices: &mut Slices,
        input: &WindowInput,
    ) -> Result<(), OperatorError> {
        match self {
            Self::Outright => add_slices(table, window, slices, input),
            Self::Stacks(stacks) => stacks.add_to(table, window, slices, input),
            Self::Prefix(prefix) => {
                let (covered, mut merged) = match prefix.take() {
                    Some((covered, merged)) if covered.start_ms == window.start_ms => (covered, merged),
                    _ => (Span { end_ms: window.start_ms, ..window }, input.table()?),
                };
                add_slices(&mut merged, Span { start_ms: covered.end_ms, ..window }, slices, input)?;
                table.add_run(&merged.snapshot()?)?;
                *prefix = Some((window, merged));
                Ok(())
            }
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Outright => 0,
            Self::Stacks(Stacks { front, back, .. }) => {
                let front = front.iter().map(|(_, run)| run.size_bytes());
                front.sum::<usize>() + back.as_ref().map_or(0, SliceTable::size_bytes)
            }
            Self::Prefix(prefix) => prefix.as_ref().map_or(0, |(_, table)| table.size_bytes()),
        }
    }
}

/// Adds each slice of a span to `table`.
fn add_slices(
    table: &mut SliceTable,
    span: Span,
    slices: &mut Slices,
    input: &WindowInput,
) -> Result<(), OperatorError> {
    for (_, slice) in slices.range_mut(span.start_ms..span.end_ms.max(span.start_ms)) {
        table.add_run(slice.seal(input)?.as_ref())?;
    }
    Ok(())
}

impl Stacks {
    fn add_to(
        &mut self,
        table: &mut SliceTable,
        window: Span,
        slices: &mut Slices,
        input: &WindowInput,
    ) -> Result<(), OperatorError> {
        while self.front.last().is_some_and(|(start_ms, _)| *start_ms < window.start_ms) {
            self.front.pop();
        }
        if self.front.is_empty() {
            self.build_front(window, slices, input)?;
        } else {
            let mut back = match self.back.take() {
                Some(back) => back,
                None => input.table()?,
            };
            add_slices(&mut back, Span { start_ms: self.until_ms, ..window }, slices, input)?;
            self.back = Some(back);
        }
        self.until_ms = window.end_ms;
        if let Some((_, oldest)) = self.front.last() {
            table.add_run(oldest)?;
        }
        if let Some(back) = &mut self.back {
            table.add_run(&back.snapshot()?)?;
        }
        Ok(())
    }

    fn build_front(&mut self, window: Span, slices: &mut Slices, input: &WindowInput) -> Result<(), OperatorError> {
        self.back = None;
        let mut younger: Option<Arc<Run>> = None;
        for (start_ms, slice) in slices.range_mut(window.start_ms..window.end_ms.max(window.start_ms)).rev() {
            let mut run = slice.seal(input)?;
            if let Some(younger) = younger {
                let mut merged = input.table()?;
                merged.add_run(&younger)?;
                merged.add_run(&run)?;
                run = Arc::new(merged.into_run()?);
            }
            self.front.push((*start_ms, Arc::clone(&run)));
            younger = Some(run);
        }
        Ok(())
    }
}
