//! The loop: takes what is due, delivers it, and has it noted.
//!
//! Of a channel one notice is under way at a time, in their order; channels go side by side, so that a dead one delays nobody
//! else. Nothing is remembered here: whatever dies, the outbox knows.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use mulgil_flow::Project;
use mulgil_history::outbox::NoticeChange;
use mulgil_history::read::NoticeRow;
use mulgil_history::{History, HistoryError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::backoff::outcome;
use crate::channel::{Channels, LINEAGE, WEBHOOK};
use crate::letter::{About, letter};
use crate::secret::Environment;
use crate::smtp::trust;

/// Notices of a channel that are taken out of the outbox at once.
const OF_CHANNEL_MAX: u32 = 20;
/// When to look again after the history could not be asked, or what was done could not be noted.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// When to look at the latest, whatever the clock says.
const LOOK_AT_LATEST: Duration = Duration::from_secs(60);

/// Who stores what came of a delivery.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Returns once it is stored.
    async fn told(&self, changes: Vec<NoticeChange>) -> Result<(), LedgerClosed>;

    /// Wakes up when there may be something new in the outbox.
    fn filled(&self) -> Arc<Notify>;
}

/// The ledger takes no more: the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scheduler has stopped")]
pub struct LedgerClosed;

/// What a postman works with.
pub struct OutboxOptions {
    /// The project's settings: its channels.
    pub project: Arc<Project>,
    /// Its name for people.
    pub project_name: String,
    /// Its folder.
    pub project_dir: PathBuf,
    /// Where people reach the server: links begin with it.
    pub url: String,
    /// Looks up `env:NAME`.
    pub environment: Environment,
}

/// A running postman. Dropped, it stops at once: what is under way is sent again by the next one.
pub struct Postman {
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Postman {
    /// Lets it try what is due once more, for so long at most, and stops it.
    pub async fn shutdown(mut self, patience: Duration) {
        self.stop.send_replace(true);
        // What could not be delivered in time stays in the outbox.
        let _ = tokio::time::timeout(patience, &mut self.running).await;
    }
}

impl Drop for Postman {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Starts the loop. It ends when it is told to, or with the ledger.
pub fn start(history: Arc<dyn History>, ledger: Arc<dyn Ledger>, options: OutboxOptions) -> Postman {
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(async move {
        let http = reqwest::Client::builder().build().map_err(|error| error.to_string());
        let (http, trust) = match http.and_then(|http| Ok((http, trust()?))) {
            Ok(tools) => tools,
            Err(error) => return tracing::error!(error, "nobody can be told of anything"),
        };
        let OutboxOptions { project, project_name, project_dir, url, environment } = options;
        let url = url.trim_end_matches('/').to_owned();
        let channels = Channels { project, project_dir, environment, http, trust };
        Round { history, ledger, channels, project_name, url }.walk(stopping).await;
    });
    Postman { stop, running }
}

struct Round {
    history: Arc<dyn History>,
    ledger: Arc<dyn Ledger>,
    channels: Channels,
    project_name: String,
    url: String,
}

impl Round {
    async fn walk(&self, mut stopping: watch::Receiver<bool>) {
        let filled = self.ledger.filled();
        let mut under_way = FuturesUnordered::new();
        let mut busy: BTreeSet<String> = BTreeSet::new();
        loop {
            let (due, wait) = match self.history.outbox(Timestamp::now(), OF_CHANNEL_MAX).await {
                Ok(outbox) => (outbox.due, until(outbox.next_at)),
                Err(error) => {
                    tracing::warn!(%error, "the outbox cannot be read now; trying again");
                    (Vec::new(), LOOK_AGAIN)
                }
            };
            for (channel, notices) in by_channel(due) {
                if busy.insert(channel.clone()) {
                    under_way.push(async { (self.deliver_all(notices).await, channel) });
                }
            }
            let is_stopping = *stopping.borrow_and_update();
            if is_stopping && under_way.is_empty() {
                return;
            }
            tokio::select! {
                () = filled.notified() => {}
                Ok(()) = stopping.changed(), if !is_stopping => {}
                () = tokio::time::sleep(wait) => {}
                Some((delivered, channel)) = under_way.next(), if !under_way.is_empty() => {
                    busy.remove(&channel);
                    match delivered {
                        Ok(()) => {}
                        Err(LedgerClosed) => return,
                    }
                }
            }
        }
    }

    /// One after the other; each is noted before the next goes.
    async fn deliver_all(&self, notices: Vec<NoticeRow>) -> Result<(), LedgerClosed> {
        for notice in notices {
            let sent = self.deliver(&notice).await;
            if let Err(error) = &sent {
                let (key, channel, tries) = (&notice.key, &notice.channel, notice.tries + 1);
                tracing::warn!(key, channel, tries, error, "a notice was not delivered");
            }
            let failed = sent.is_err();
            self.ledger.told(vec![outcome(&notice, sent, Timestamp::now())]).await?;
            if failed {
                // The others of this channel wait for their turn behind the other channels.
                return Ok(());
            }
        }
        Ok(())
    }

    async fn deliver(&self, notice: &NoticeRow) -> Result<(), String> {
        if notice.channel == LINEAGE {
            return self.channels.send_lineage(notice).await;
        }
        let unread = |error: HistoryError| format!("the history could not be read: {error}");
        let run = match notice.run {
            Some(run) => self.history.run(run).await.map_err(unread)?,
            None => None,
        };
        let definition = match &run {
            Some(run) if notice.channel.starts_with(WEBHOOK) => {
                self.history.flow_version(&run.run.version).await.map_err(unread)?.map(|version| version.definition)
            }
            _ => None,
        };
        let (project, url, project_dir) = (self.project_name.as_str(), self.url.as_str(), &self.channels.project_dir);
        let letter = letter(notice, &About { project, url, project_dir, run: run.as_ref() });
        self.channels.send(notice, &letter, run.as_ref(), definition.as_deref()).await
    }
}

fn until(next_at: Option<Timestamp>) -> Duration {
    let wait = next_at.map(|at| Timestamp::now().duration_until(at).unsigned_abs());
    wait.unwrap_or(LOOK_AT_LATEST).min(LOOK_AT_LATEST)
}

fn by_channel(due: Vec<NoticeRow>) -> Vec<(String, Vec<NoticeRow>)> {
    let mut channels: Vec<(String, Vec<NoticeRow>)> = Vec::new();
    for notice in due {
        match channels.iter_mut().find(|(channel, _)| *channel == notice.channel) {
            Some((_, notices)) => notices.push(notice),
            None => channels.push((notice.channel.clone(), vec![notice])),
        }
    }
    channels
}
