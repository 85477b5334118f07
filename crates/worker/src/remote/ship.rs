//! Logs on their way to the server: written here line by line, sent in pieces while the task runs, the rest before its end is told.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::link::{Inner, Silence};
use super::wire::Held;

/// The most bytes of one piece.
const PIECE_BYTES_MAX: u64 = 256 * 1024;
/// How often a log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How often the rest of a log is sent again before the end is told without it.
const TRIES_MAX: u32 = 20;
/// Between those tries.
const AGAIN: Duration = Duration::from_millis(500);

/// The logs that are on their way.
#[derive(Debug, Default)]
pub(super) struct Shipments(Mutex<HashMap<(mulgil_sched::id::AttemptId, i64), Shipment>>);

#[derive(Debug)]
struct Shipment {
    end: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Shipments {
    /// Follows the log of an attempt that begins.
    pub(super) fn begin(&self, link: &Arc<Inner>, held: Held, log: &str) {
        let (end, told) = oneshot::channel();
        let ship = Ship { link: Arc::clone(link), held, path: link.log_path(log), sent: 0 };
        let shipment = Shipment { end, ended: tokio::spawn(ship.run(told)) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((held.attempt, held.epoch), shipment);
    }

    /// The lease is another's: what was written is of no use to anybody.
    pub(super) fn abandon(&self, held: Held) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(held.attempt, held.epoch));
    }

    /// Sends the rest, and removes the file here.
    pub(super) async fn end(&self, link: &Arc<Inner>, held: Held) {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(held.attempt, held.epoch));
        match begun {
            Some(Shipment { end, ended }) => {
                // An error means that nothing more can be sent.
                let _ = end.send(());
                if let Err(error) = ended.await {
                    tracing::error!(%error, "a log's sending ended badly");
                }
            }
            // It failed before it began, and has said why.
            None => {
                let Some(grip) = link.hand.get(held.attempt, held.epoch) else { return };
                let ship = Ship { link: Arc::clone(link), held, path: link.log_path(&grip.log), sent: 0 };
                ship.finish().await;
            }
        }
    }
}

struct Ship {
    link: Arc<Inner>,
    held: Held,
    path: PathBuf,
    /// How much the server has.
    sent: u64,
}

impl Ship {
    async fn run(mut self, mut told: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                told = &mut told => match told {
                    Ok(()) => return self.finish().await,
                    // The attempt was given up: nobody will say more, and its lease is not this worker's.
                    Err(_) => return remove(&self.path).await,
                },
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if let Err(silence) = self.send_new().await {
                        tracing::debug!(?silence, "a piece of a log was not taken; trying again");
                    }
                }
            }
        }
    }

    async fn finish(mut self) {
        for _ in 0..TRIES_MAX {
            match self.send_new().await {
                Ok(()) => return remove(&self.path).await,
                Err(Silence::Fenced | Silence::Refused(_)) => break,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
        tracing::warn!(attempt = %self.held.attempt, log = %self.path.display(), "the server did not take all of a log: it is kept here");
    }

    /// Sends what has been written since.
    async fn send_new(&mut self) -> Result<(), Silence> {
        loop {
            let piece = read(&self.path, self.sent).await.map_err(|error| Silence::Passing(error.to_string()))?;
            if piece.is_empty() {
                return Ok(());
            }
            self.sent = self.link.log(self.held, self.sent, piece).await?;
        }
    }
}

async fn read(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    let mut piece = Vec::new();
    file.take(PIECE_BYTES_MAX).read_to_end(&mut piece).await?;
    Ok(piece)
}

async fn remove(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        tracing::debug!(%error, "a log that was sent could not be removed");
    }
}
