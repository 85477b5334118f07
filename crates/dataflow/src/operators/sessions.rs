//! The sessions of keys: rows of one key that follow each other by no more than a gap. A session ends a gap after its last
//! row; sessions that touch are one.
//!
//! Each session has a *slot*, by whose number others keep what belongs to it. The sessions of a key are a list, the
//! youngest first, since most rows belong to it. A row in the wrong order may join two sessions: then the slot of one is
//! *moved* into the other's.
//!
//! A session is complete when the watermark has passed its end: at its very end a row could still touch it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::error::ArrowError;
use hashbrown::HashMap;

use super::group_aggregate::key_table::KeyTable;
use super::late::{Lateness, report_late};
use crate::batch::Batch;
use crate::operator::{OperatorError, Output};
use crate::time::{EventTimeMs, Watermark};
use crate::trigger::Trigger;
use crate::window::Span;

/// The part of a checkpoint that holds sessions.
pub(crate) const SESSIONS: &str = "sessions";
/// No session.
const NONE: usize = usize::MAX;

/// All sessions that are not gone.
pub(crate) struct Sessions {
    gap_ms: i64,
    lateness_ms: i64,
    watermark: Watermark,
    keys: KeyTable,
    /// The youngest session of each key.
    youngest: Vec<usize>,
    /// By slot.
    sessions: Vec<Session>,
    free: Vec<usize>,
    /// When something is due for a session: the time, its slot, the entry's number. Of a session's entries the one counts
    /// whose number the session knows.
    due: BinaryHeap<Reverse<(EventTimeMs, usize, u64)>>,
    entries: u64,
    /// Slots of sessions that have begun or changed since early results were given out; `None` where there are none.
    news: Option<Vec<usize>>,
}

/// One session.
#[derive(Clone, Copy)]
struct Session {
    start_ms: EventTimeMs,
    last_ms: EventTimeMs,
    key: usize,
    /// The next older session of the key.
    older: usize,
    /// The entry of `due` that counts; 0 for none.
    entry: u64,
    due_ms: EventTimeMs,
    /// Whether its result has been given out, as it is now.
    is_given: bool,
}

/// What the rows of a batch did.
#[derive(Default)]
pub(crate) struct Assigned {
    /// The rows that are in a session, and the slot of each.
    pub(crate) rows: Vec<u32>,
    pub(crate) slots: Vec<usize>,
    /// The rows that came too late for any session.
    pub(crate) dropped: Vec<u32>,
    /// The rows whose session had passed already.
    pub(crate) updating: Vec<u32>,
    /// Sessions that had been given out and are no longer what they were, with what they were.
    pub(crate) reopened: Vec<Complete>,
    /// Slots, in pairs: what the first holds goes into the second.
    pub(crate) moves: Vec<(usize, usize)>,
}

/// A session whose result is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Complete {
    pub(crate) slot: usize,
    pub(crate) key: usize,
    pub(crate) span: Span,
}

impl Sessions {
    pub(crate) fn new(
        key_types: impl IntoIterator<Item = DataType>,
        gap_ms: i64,
        trigger: Trigger,
    ) -> Result<Self, ArrowError> {
        Ok(Self {
            gap_ms,
            lateness_ms: i64::try_from(trigger.allowed_lateness_ms).unwrap_or(i64::MAX),
            news: trigger.early.map(|_| Vec::new()),
            watermark: Watermark::UNKNOWN,
            keys: KeyTable::new(key_types)?,
            youngest: Vec::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            entries: 0,
        })
    }

    pub(crate) fn advance(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    /// Reports the rows of a batch, of these times, that were assigned too late.
    pub(crate) fn report_late(
        &self,
        batch: &Batch,
        assigned: &Assigned,
        times: &Int64Array,
        out: &mut dyn Output,
    ) -> Result<(), ArrowError> {
        for (rows, dropped) in [(&assigned.dropped, true), (&assigned.updating, false)] {
            let Some(time_ms) = rows.first().and_then(|row| times.values().get(*row as usize)) else { continue };
            // Behind the end of a session of that row alone.
            let behind_ms = self.watermark.0.saturating_sub(time_ms.saturating_add(self.gap_ms)).max(0);
            report_late(batch, rows, Lateness { row_count: rows.len() as u64, behind_ms, dropped }, out)?;
        }
        Ok(())
    }

    /// All slots are below this.
    pub(crate) fn slot_bound(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn key_columns(&self, complete: &[Complete]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.keys.columns(&complete.iter().map(|session| session.key).collect::<Vec<usize>>())
    }

    /// Puts rows, all of which have a time, into sessions.
    pub(crate) fn assign(&mut self, keys: &[ArrayRef], times: &Int64Array) -> Result<Assigned, ArrowError> {
        let mut keys_of_rows = Vec::new();
        self.keys.intern(keys, times.len(), &mut keys_of_rows)?;
        self.youngest.resize(self.keys.group_bound(), NONE);
        let mut assigned = Assigned::default();
        for (row, (key, time)) in keys_of_rows.iter().zip(times.values()).enumerate() {
            match self.put(*key, *time, &mut assigned) {
                Some(slot) => {
                    if self.has_passed(self.end_of(slot)) {
                        assigned.updating.push(row as u32);
                    }
                    assigned.rows.push(row as u32);
                    assigned.slots.push(slot);
                }
                None => assigned.dropped.push(row as u32),
            }
        }
        // Keys of which all rows were dropped.
        let is_unused = |key: &usize| self.youngest.get(*key).is_none_or(|youngest| *youngest == NONE);
        if !assigned.dropped.is_empty() {
            let mut unused: Vec<usize> = keys_of_rows.into_iter().filter(is_unused).collect();
            unused.sort_unstable();
            unused.dedup();
            self.keys.forget(&unused);
        }
        Ok(assigned)
    }

    /// Puts one row into its session.
    fn put(&mut self, key: usize, time: EventTimeMs, assigned: &mut Assigned) -> Option<usize> {
        let (mut younger, mut slot) = (NONE, self.youngest.get(key).copied().unwrap_or(NONE));
        while let Some(session) = self.sessions.get(slot) {
            if time.saturating_add(self.gap_ms) >= session.start_ms {
                break;
            }
            (younger, slot) = (slot, session.older);
        }
        let gap_ms = self.gap_ms;
        let touched = self.sessions.get(slot).filter(|session| time <= session.last_ms.saturating_add(gap_ms)).copied();
        let Some(touched) = touched else {
            if self.is_gone(time.saturating_add(self.gap_ms)) {
                return None;
            }
            return Some(self.begin(key, time, younger, slot));
        };
        if time >= touched.start_ms && time <= touched.last_ms && !touched.is_given {
            return Some(slot);
        }
        self.reopen(slot, assigned);
        if let Some(session) = self.sessions.get_mut(slot) {
            session.start_ms = session.start_ms.min(time);
            session.last_ms = session.last_ms.max(time);
        }
        self.join_older(slot, assigned);
        if self.sessions.get(younger).is_some_and(|younger| self.end_of(slot) >= younger.start_ms) {
            self.join_older(younger, assigned);
            slot = younger;
        }
        self.schedule(slot);
        Some(slot)
    }

    /// Begins a session between two others of its key.
    fn begin(&mut self, key: usize, time: EventTimeMs, younger: usize, older: usize) -> usize {
        let due_ms = EventTimeMs::MAX;
        let session = Session { start_ms: time, last_ms: time, key, older, entry: 0, due_ms, is_given: false };
        let slot = self.free.pop().unwrap_or(self.sessions.len());
        match self.sessions.get_mut(slot) {
            Some(place) => *place = session,
            None => self.sessions.push(session),
        }
        self.link(key, younger, slot);
        let end_ms = self.end_of(slot);
        self.queue(slot, end_ms);
        self.note_news(slot);
        slot
    }

    fn note_news(&mut self, slot: usize) {
        let Some(news) = &mut self.news else { return };
        if news.len() > 2 * self.sessions.len() {
            news.sort_unstable();
            news.dedup();
        }
        news.push(slot);
    }

    /// Makes `older` the next session after `younger`, or the youngest of its key.
    fn link(&mut self, key: usize, younger: usize, older: usize) {
        let place = match self.sessions.get_mut(younger) {
            Some(younger) => Some(&mut younger.older),
            None => self.youngest.get_mut(key),
        };
        if let Some(place) = place {
            *place = older;
        }
    }

    /// Takes the next older session in, if a session has come to touch it.
    fn join_older(&mut self, slot: usize, assigned: &mut Assigned) {
        let Some(session) = self.sessions.get(slot).copied() else { return };
        let Some(older) = self.sessions.get(session.older).copied() else { return };
        if self.end_of(session.older) < session.start_ms {
            return;
        }
        self.reopen(slot, assigned);
        self.reopen(session.older, assigned);
        assigned.moves.push((session.older, slot));
        if let Some(place) = self.sessions.get_mut(slot) {
            place.start_ms = session.start_ms.min(older.start_ms);
            place.last_ms = session.last_ms.max(older.last_ms);
            place.older = older.older;
        }
        if let Some(gone) = self.sessions.get_mut(session.older) {
            gone.entry = 0;
        }
        self.schedule(slot);
    }

    /// A session that has been given out is to change.
    fn reopen(&mut self, slot: usize, assigned: &mut Assigned) {
        let span = self.span_of(slot);
        if let Some(session) = self.sessions.get_mut(slot)
            && session.is_given
        {
            session.is_given = false;
            assigned.reopened.push(Complete { slot, key: session.key, span });
            self.note_news(slot);
        }
    }

    /// Sees to it that a session is looked at when it is due.
    fn schedule(&mut self, slot: usize) {
        let due_ms = self.due_of(slot);
        if self.sessions.get(slot).is_some_and(|session| due_ms < session.due_ms) {
            self.queue(slot, due_ms);
        }
    }

    fn queue(&mut self, slot: usize, due_ms: EventTimeMs) {
        if let Some(session) = self.sessions.get_mut(slot) {
            self.entries += 1;
            session.entry = self.entries;
            session.due_ms = due_ms;
            self.due.push(Reverse((due_ms, slot, self.entries)));
        }
    }

    /// When the watermark has passed this, a session is to be given out, or, if it has been, to be forgotten.
    fn due_of(&self, slot: usize) -> EventTimeMs {
        let is_given = self.sessions.get(slot).is_some_and(|session| session.is_given);
        self.end_of(slot).saturating_add(if is_given { self.lateness_ms } else { 0 })
    }

    fn end_of(&self, slot: usize) -> EventTimeMs {
        self.sessions.get(slot).map_or(EventTimeMs::MAX, |session| session.last_ms.saturating_add(self.gap_ms))
    }

    fn span_of(&self, slot: usize) -> Span {
        let start_ms = self.sessions.get(slot).map_or(EventTimeMs::MAX, |session| session.start_ms);
        Span { start_ms, end_ms: self.end_of(slot) }
    }

    fn has_passed(&self, due_ms: EventTimeMs) -> bool {
        due_ms < self.watermark.0 || self.watermark == Watermark::END
    }

    fn is_gone(&self, end_ms: EventTimeMs) -> bool {
        self.has_passed(end_ms.saturating_add(self.lateness_ms))
    }

    /// The sessions whose results are not what was given out of them. From now on they are.
    pub(crate) fn take_news(&mut self) -> Vec<Complete> {
        let mut changed = Vec::new();
        for slot in self.news.as_mut().map(std::mem::take).unwrap_or_default() {
            let span = self.span_of(slot);
            // A slot that is free or another's has no entry that counts, or has news of its own.
            if let Some(session) = self.sessions.get_mut(slot)
                && session.entry != 0
                && !session.is_given
            {
                session.is_given = true;
                changed.push(Complete { slot, key: session.key, span });
            }
        }
        changed
    }

    /// The sessions that have become complete, in order of their ends; and the slots of all that are gone once these are
    /// given out.
    pub(crate) fn fire(&mut self) -> (Vec<Complete>, Vec<usize>) {
        let (mut complete, mut gone) = (Vec::new(), Vec::new());
        while let Some(Reverse((due_ms, slot, entry))) = self.due.peek().copied() {
            if !self.has_passed(due_ms) {
                break;
            }
            self.due.pop();
            let Some(session) = self.sessions.get(slot).filter(|session| session.entry == entry).copied() else {
                continue;
            };
            let now_due_ms = self.due_of(slot);
            if !self.has_passed(now_due_ms) {
                self.queue(slot, now_due_ms);
                continue;
            }
            if !session.is_given {
                complete.push(Complete { slot, key: session.key, span: self.span_of(slot) });
                if let Some(session) = self.sessions.get_mut(slot) {
                    session.is_given = true;
                }
            }
            let gone_ms = self.due_of(slot);
            if self.has_passed(gone_ms) { gone.push(slot) } else { self.queue(slot, gone_ms) }
        }
        (complete, gone)
    }

    /// Forgets sessions that are gone.
    pub(crate) fn forget(&mut self, gone: &[usize]) {
        let mut unused = Vec::new();
        for slot in gone {
            let Some(session) = self.sessions.get(*slot).copied() else { continue };
            let (mut younger, mut at) = (NONE, self.youngest.get(session.key).copied().unwrap_or(NONE));
            while at != *slot
                && let Some(other) = self.sessions.get(at)
            {
                (younger, at) = (at, other.older);
            }
            self.link(session.key, younger, session.older);
            if self.youngest.get(session.key).is_some_and(|youngest| *youngest == NONE) {
                unused.push(session.key);
            }
        }
        self.keys.forget(&unused);
        self.release(gone);
    }

    /// All sessions, the oldest first.
    pub(crate) fn all(&self) -> Vec<Complete> {
        let here = self.sessions.iter().enumerate().filter(|(_, session)| session.entry != 0);
        let of = |(slot, session): (usize, &Session)| Complete { slot, key: session.key, span: self.span_of(slot) };
        let mut all: Vec<Complete> = here.map(of).collect();
        all.sort_unstable_by_key(|session| session.span.start_ms);
        all
    }

    /// When the sessions of some slots begin.
    pub(crate) fn starts(&self, slots: &[usize]) -> Int64Array {
        Int64Array::from_iter_values(slots.iter().map(|slot| self.span_of(*slot).start_ms))
    }

    /// The columns of [`Sessions::seal`].
    pub(crate) fn sealed_fields() -> Vec<Field> {
        let time = |name: &str| Field::new(name, DataType::Int64, false);
        vec![time("start_ms"), time("last_ms"), Field::new("is_given", DataType::Boolean, false)]
    }

    /// What is kept of sessions, but for their keys.
    pub(crate) fn seal(&self, sessions: &[Complete]) -> Vec<ArrayRef> {
        let of = |session: &Complete| self.sessions.get(session.slot).copied();
        let sealed: Vec<Session> = sessions.iter().filter_map(of).collect();
        let given: BooleanArray = sealed.iter().map(|session| Some(session.is_given)).collect();
        vec![
            Arc::new(Int64Array::from_iter_values(sealed.iter().map(|session| session.start_ms))),
            Arc::new(Int64Array::from_iter_values(sealed.iter().map(|session| session.last_ms))),
            Arc::new(given),
        ]
    }

    /// Takes over sealed sessions, the oldest of a key first; gives the slot of each. `None` if these are none.
    pub(crate) fn restore(&mut self, keys: &[ArrayRef], sealed: &[ArrayRef]) -> Result<Option<Vec<usize>>, ArrowError> {
        let [starts, lasts, given] = sealed else { return Ok(None) };
        let times = |column: &ArrayRef| column.as_primitive_opt::<Int64Type>().cloned();
        let (Some(starts), Some(lasts), Some(given)) = (times(starts), times(lasts), given.as_boolean_opt()) else {
            return Ok(None);
        };
        let mut keys_of_rows = Vec::new();
        self.keys.intern(keys, starts.len(), &mut keys_of_rows)?;
        self.youngest.resize(self.keys.group_bound(), NONE);
        let mut slots = Vec::with_capacity(starts.len());
        let times = starts.values().iter().zip(lasts.values());
        for ((key, (start_ms, last_ms)), is_given) in keys_of_rows.iter().zip(times).zip(given.values()) {
            let (younger, older) = self.around(*key, *start_ms);
            let slot = self.begin(*key, *start_ms, younger, older);
            if let Some(session) = self.sessions.get_mut(slot) {
                (session.last_ms, session.is_given) = (*last_ms, is_given);
            }
            let due_ms = self.due_of(slot);
            self.queue(slot, due_ms);
            slots.push(slot);
        }
        Ok(Some(slots))
    }

    /// The sessions of a key between which one that begins then belongs: the next younger and the next older.
    fn around(&self, key: usize, start_ms: EventTimeMs) -> (usize, usize) {
        let (mut younger, mut slot) = (NONE, self.youngest.get(key).copied().unwrap_or(NONE));
        while let Some(session) = self.sessions.get(slot).filter(|session| session.start_ms > start_ms) {
            (younger, slot) = (slot, session.older);
        }
        (younger, slot)
    }

    /// The slots of the sessions of keys that begin at these times.
    pub(crate) fn find(&mut self, keys: &[ArrayRef], starts: &Int64Array) -> Result<Vec<usize>, ArrowError> {
        let mut keys_of_rows = Vec::new();
        self.keys.intern(keys, starts.len(), &mut keys_of_rows)?;
        Ok(keys_of_rows.iter().zip(starts.values()).map(|(key, start_ms)| self.around(*key, *start_ms).1).collect())
    }

    /// Gives slots back that hold nothing any more.
    pub(crate) fn release(&mut self, slots: &[usize]) {
        for slot in slots {
            if let Some(session) = self.sessions.get_mut(*slot) {
                session.entry = 0;
            }
        }
        self.free.extend_from_slice(slots);
        if self.free.len() == self.sessions.len() {
            self.sessions = Vec::new();
            self.free = Vec::new();
            self.due = BinaryHeap::new();
            self.news.iter_mut().for_each(|news| *news = Vec::new());
        }
    }

    /// Heap memory held, in bytes; what remains without any session counts as nothing.
    pub(crate) fn size_bytes(&self) -> usize {
        if self.sessions.is_empty() {
            return 0;
        }
        self.keys.size_bytes()
            + self.youngest.capacity() * size_of::<usize>()
            + self.sessions.capacity() * size_of::<Session>()
            + self.free.capacity() * size_of::<usize>()
            + self.due.capacity() * size_of::<Reverse<(EventTimeMs, usize, u64)>>()
            + self.news.as_ref().map_or(0, |news| news.capacity() * size_of::<usize>())
    }
}

/// The times in the last of some columns, which say where sessions begin.
pub(crate) fn starts_of(columns: &[ArrayRef]) -> Result<Int64Array, OperatorError> {
    let starts = columns.last().and_then(|starts| starts.as_primitive_opt::<Int64Type>());
    starts.cloned().ok_or_else(no_sessions)
}

/// What was sealed is not what sessions seal.
pub(crate) fn no_sessions() -> OperatorError {
    OperatorError::Unsupported("these rows are no sessions; the checkpoint is another query's".to_owned())
}

/// Slots that move, and for each the one in which it ends up, also over several moves.
pub(crate) fn final_moves(moves: &[(usize, usize)]) -> (Vec<usize>, Vec<usize>) {
    let mut targets: HashMap<usize, usize> = HashMap::with_capacity(moves.len());
    for (from, to) in moves.iter().rev() {
        let end = targets.get(to).copied().unwrap_or(*to);
        targets.insert(*from, end);
    }
    moves.iter().filter_map(|(from, _)| Some((*from, *targets.get(from)?))).unzip()
}
