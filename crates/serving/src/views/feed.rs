//! A view's feed: what has lately changed of what readers see, kept while somebody wants to hear it.
//!
//! A feed looks at the view's answer whenever there is news, and keeps the difference to the answer before: a *cut*. It holds
//! back nobody: the cuts that it keeps are few, and whoever is behind them begins anew. A feed that nobody has used for a
//! while ends, and a view without a feed does nothing for it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use tokio::sync::{broadcast, watch};

use super::cell::Answer;
use super::difference::{Changes, difference};
use super::slot::Slot;
use super::{Shared, now_ms};
use crate::result::ResultError;
use crate::status::ViewChange;

/// What the cuts of a feed may take in memory, besides the last one.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// How many cuts a feed keeps.
const KEPT_CUTS_MAX: usize = 1_024;

/// How long a feed goes on without a reader, so that one who was cut off can go on.
const LINGER: Duration = Duration::from_secs(60);

/// How long a change may go unseen that has made no news.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What has changed from one answer of a view to the next that the feed has seen.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Its number within the feed.
    pub(crate) number: u64,
    /// How often the view had changed.
    pub version: u64,
    /// When the feed has seen it, in milliseconds since the epoch.
    pub at_ms: i64,
    /// What has changed.
    pub changes: Changes,
}

/// What a feed looks like from outside: it moves when readers should look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) is_closed: bool,
}

/// The feed of one view.
pub(crate) struct Feed {
    /// Told apart from every other feed, also of another start of the server.
    pub(crate) id: u64,
    head: watch::Sender<Head>,
    state: Mutex<State>,
}

struct State {
    /// What the view looked like at the last cut; `None` before it had a result.
    seen: Option<Seen>,
    /// The number of the last cut.
    number: u64,
    /// The cuts that are kept, the last one last.
    cuts: VecDeque<Arc<Cut>>,
    bytes: usize,
    /// The columns are others since this cut.
    columns_since: u64,
    readers: usize,
    used: Instant,
}

/// What a view looked like at a cut.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) answer: Answer,
    pub(crate) at_ms: i64,
}

/// Where a reader goes on.
pub(crate) enum Next {
    /// With this cut.
    Cut(Arc<Cut>),
    /// From the beginning: what the view looks like, and after which cut that is.
    Anew { seen: Box<Seen>, number: u64, has_other_columns: bool },
    /// Not yet.
    Nothing,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let state =
            State { seen: None, number: 0, cuts: VecDeque::new(), bytes: 0, columns_since: 0, readers: 0, used: now };
        // As good as chance: keys of the standard library's hash tables.
        Self { id: RandomState::new().hash_one(now), head: watch::Sender::default(), state: Mutex::new(state) }
    }

    /// Nothing that happens under this lock can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One reader more.
    pub(crate) fn enter(&self) -> watch::Receiver<Head> {
        self.state().readers += 1;
        self.head.subscribe()
    }

    /// One reader less.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.readers -= 1;
        state.used = Instant::now();
    }

    /// What a reader gets that has seen everything up to a cut, or nothing yet.
    pub(crate) fn next(&self, after: Option<u64>) -> Next {
        let state = self.state();
        let Some(seen) = &state.seen else { return Next::Nothing };
        let first = state.number + 1 - state.cuts.len() as u64;
        match after {
            Some(after) if after == state.number => Next::Nothing,
            Some(after) if after < state.number && after + 1 >= first => {
                let at = usize::try_from(after + 1 - first).unwrap_or(usize::MAX);
                state.cuts.get(at).map_or(Next::Nothing, |cut| Next::Cut(Arc::clone(cut)))
            }
            after => Next::Anew {
                seen: Box::new(seen.clone()),
                number: state.number,
                has_other_columns: after.is_some_and(|after| after < state.columns_since),
            },
        }
    }

    fn is_abandoned(&self) -> bool {
        let state = self.state();
        state.readers == 0 && state.used.elapsed() > LINGER
    }

    /// Readers are told that nothing more comes.
    fn close(&self) {
        self.head.send_modify(|head| head.is_closed = true);
    }

    /// Takes up what has changed. Only the feed's own task calls this.
    fn look(&self, answer: Answer) {
        let former = self.state().seen.clone();
        let seen = Seen { answer, at_ms: now_ms() };
        let step = match &former {
            None => Ok(None),
            Some(former) if !former.has_columns_of(&seen) => {
                let number = self.begin_anew(seen);
                self.state().columns_since = number;
                return;
            }
            Some(former) => former.difference(&seen),
        };
        match step {
            Ok(None) if former.is_some() => self.state().seen = Some(seen),
            Ok(Some(changes)) => self.add(seen, changes),
            Ok(None) => drop(self.begin_anew(seen)),
            Err(error) => {
                tracing::warn!(%error, "the changes of a view could not be told, so its subscribers begin anew");
                self.begin_anew(seen);
            }
        }
    }

    fn add(&self, seen: Seen, changes: Changes) {
        let mut state = self.state();
        state.number += 1;
        state.bytes += changes.bytes;
        let (number, version, at_ms) = (state.number, seen.answer.version, seen.at_ms);
        state.cuts.push_back(Arc::new(Cut { number, version, at_ms, changes }));
        while state.cuts.len() > 1 && (state.bytes > KEPT_BYTES_MAX || state.cuts.len() > KEPT_CUTS_MAX) {
            state.bytes -= state.cuts.pop_front().map_or(0, |cut| cut.changes.bytes);
        }
        state.seen = Some(seen);
        self.head.send_modify(|head| head.number = number);
    }

    /// What there is cannot be told as changes: every reader begins anew.
    fn begin_anew(&self, seen: Seen) -> u64 {
        let mut state = self.state();
        state.number += 1;
        state.cuts.clear();
        state.bytes = 0;
        state.seen = Some(seen);
        let number = state.number;
        self.head.send_modify(|head| head.number = number);
        number
    }
}

impl Seen {
    /// The columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.answer.schema)
    }

    fn has_columns_of(&self, other: &Self) -> bool {
        let (own, others) = (self.schema(), other.schema());
        let is_same = |(own, other): (&arrow::datatypes::FieldRef, &arrow::datatypes::FieldRef)| {
            own.name() == other.name() && own.data_type() == other.data_type()
        };
        self.answer.key == other.answer.key
            && own.fields().len() == others.fields().len()
            && own.fields().iter().zip(others.fields()).all(is_same)
    }

    fn difference(&self, now: &Self) -> Result<Option<Changes>, ResultError> {
        difference(&self.answer, &now.answer, self.answer.key.as_deref())
    }
}

/// Keeps a feed until nobody wants it any more, or the views are gone.
pub(super) async fn keep(
    views: Weak<Shared>,
    slot: Arc<Slot>,
    feed: Arc<Feed>,
    mut news: broadcast::Receiver<ViewChange>,
) {
    let name = slot.view.name.to_string();
    while let Some(shared) = views.upgrade().filter(|shared| !shared.closing.load(Ordering::Acquire)) {
        if shared.forget_feed(&slot.view.name, |feed| feed.is_abandoned()) {
            break;
        }
        drop(shared);
        if let Some(answer) = slot.live().answer() {
            // Of a large result it may take a while.
            let feed = Arc::clone(&feed);
            if tokio::task::spawn_blocking(move || feed.look(answer)).await.is_err() {
                break;
            }
        }
        let of_this_view = async {
            // Missed news is news all the same.
            while news.recv().await.is_ok_and(|change| change.name != name) {}
        };
        let _ = tokio::time::timeout(LOOK_INTERVAL, of_this_view).await;
    }
    feed.close();
    if let Some(shared) = views.upgrade() {
        shared.forget_feed(&slot.view.name, |there| there.id == feed.id);
    }
}
