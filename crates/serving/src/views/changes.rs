//! Hearing what changes of a view: a snapshot, and from then on every cut, as its [`super::feed`] tells it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use mulgil_connect::definition::TableName;
pub use mulgil_dataflow::batch::RowKind;
use tokio::sync::watch;

pub use super::difference::Changes;
pub use super::feed::Cut;
use super::feed::{Feed, Head, Next, Seen, keep};
use super::{Shared, ViewError, Views};
use crate::result::ResultError;

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With all rows, as they are.
    Snapshot,
    /// With what changes from now on.
    Now,
    /// After a cut, by its cursor.
    After(String),
}

/// Why a subscriber begins anew: what it holds of the view, it forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has only begun.
    Asked,
    /// Nothing is known of its cursor: the server, or the view, has been started anew, or nobody has listened for a while.
    UnknownCursor,
    /// What came after its cursor is not kept any more.
    TooFarBehind,
    /// The view's columns, or what names its rows, are others.
    OtherColumns,
}

/// A subscriber is to begin anew, with these rows.
pub struct Beginning {
    /// Why.
    pub why: Why,
    /// The columns.
    pub schema: SchemaRef,
    /// The columns that name a row, by number; `None` where equal rows may stand beside each other.
    pub key: Option<Vec<usize>>,
    /// How often the view had changed.
    pub version: u64,
    /// When the view was seen like this, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Whether rows come with it.
    pub has_snapshot: bool,
    seen: Box<Seen>,
}

impl Beginning {
    /// The rows; none where no snapshot was asked for. Of a large view it takes a while.
    ///
    /// # Errors
    /// Arrow refused.
    pub fn rows(self) -> Result<Vec<RecordBatch>, ResultError> {
        if self.has_snapshot { self.seen.answer.rows() } else { Ok(Vec::new()) }
    }
}

/// What comes next.
pub enum Step {
    /// A new beginning.
    Begin(Beginning),
    /// What has changed since.
    Cut(Arc<Cut>),
}

/// Hears what changes of a view.
pub struct Subscription {
    feed: Arc<Feed>,
    heads: watch::Receiver<Head>,
    /// The last cut that it has seen.
    after: Option<u64>,
    /// How it begins, until it has.
    start: Option<Start>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.leave();
    }
}

impl Views {
    /// Subscribes to the changes of a view. A subscriber that reads too slowly begins anew; it holds back nobody.
    ///
    /// # Errors
    /// The view is unknown, or the views are shut down.
    pub fn changes(&self, view: &TableName, start: Start) -> Result<Subscription, ViewError> {
        let slot = self.slot(view)?;
        if self.shared.closing.load(std::sync::atomic::Ordering::Acquire) {
            return Err(ViewError::ShutDown);
        }
        let mut feeds = self.shared.feeds();
        let feed = Arc::clone(feeds.entry(slot.view.name.clone()).or_insert_with(|| {
            let feed = Arc::new(Feed::new());
            let kept = keep(Arc::downgrade(&self.shared), Arc::clone(slot), Arc::clone(&feed), self.subscribe());
            tokio::spawn(kept);
            feed
        }));
        // Under the lock: a feed with a reader is not forgotten.
        let heads = feed.enter();
        drop(feeds);
        let after = match &start {
            Start::After(cursor) => feed.number_of(cursor),
            Start::Snapshot | Start::Now => None,
        };
        Ok(Subscription { feed, heads, after, start: Some(start) })
    }
}

impl Shared {
    /// Forgets the feed of a view, if it is to be; whether it was.
    pub(super) fn forget_feed(&self, view: &TableName, is_to_go: impl Fn(&Feed) -> bool) -> bool {
        let mut feeds = self.feeds();
        let goes = feeds.get(view).is_some_and(|feed| is_to_go(feed));
        if goes {
            feeds.remove(view);
        }
        goes
    }
}

impl Feed {
    fn cursor(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.id)
    }

    /// The cut that a cursor of this feed stands for.
    fn number_of(&self, cursor: &str) -> Option<u64> {
        let (id, number) = cursor.split_once('-')?;
        if u64::from_str_radix(id, 16).ok()? == self.id { number.parse().ok() } else { None }
    }
}

impl Subscription {
    /// The cursor after the last step, with which another subscription goes on; `None` before the first step.
    pub fn cursor(&self) -> Option<String> {
        self.after.map(|number| self.feed.cursor(number))
    }

    /// What comes next, once there is something; `None` when nothing more comes, because the views are shut down. May be given
    /// up at any time: nothing is lost by that.
    pub async fn next(&mut self) -> Option<Step> {
        loop {
            let head = *self.heads.borrow_and_update();
            if let Some(step) = self.step() {
                return Some(step);
            }
            if head.is_closed || self.heads.changed().await.is_err() {
                return None;
            }
        }
    }

    /// What comes next, if it is there already.
    pub fn step(&mut self) -> Option<Step> {
        match self.feed.next(self.after) {
            Next::Nothing => {
                if self.after.is_some() {
                    // It goes on where it was.
                    self.start = None;
                }
                None
            }
            Next::Cut(cut) => {
                (self.after, self.start) = (Some(cut.number), None);
                Some(Step::Cut(cut))
            }
            Next::Anew { seen, number, has_other_columns } => {
                let why = match (&self.start, self.after) {
                    (Some(Start::Snapshot | Start::Now), _) => Why::Asked,
                    (Some(Start::After(_)), None) => Why::UnknownCursor,
                    _ if has_other_columns => Why::OtherColumns,
                    _ => Why::TooFarBehind,
                };
                let has_snapshot = self.start != Some(Start::Now);
                (self.after, self.start) = (Some(number), None);
                let (schema, key) = (seen.schema(), seen.answer.key.clone());
                let (version, at_ms) = (seen.answer.version, seen.at_ms);
                Some(Step::Begin(Beginning { why, schema, key, version, at_ms, has_snapshot, seen }))
            }
        }
    }
}
