//! A process beside the worker that outlives it for a moment: when the worker is killed, whatever it ran is ended.
//!
//! The guard's standard input is a pipe whose other end only the worker has. It is told of each process group that begins and ends;
//! when the pipe is closed, the worker is gone, and what was not told to have ended is killed.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Weak};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Mutex, mpsc};

use crate::process::{ProcessMark, kill_left_over};

/// The worker's side. The guard is started with the first process.
#[derive(Clone)]
pub struct Guard {
    watching: Arc<Mutex<Watching>>,
    ended: mpsc::UnboundedSender<i32>,
}

struct Watching {
    program: PathBuf,
    arguments: Vec<String>,
    guard: Option<(Child, ChildStdin)>,
    groups: BTreeMap<i32, (ProcessMark, i64)>,
}

/// A group that is watched until this is dropped.
pub(crate) struct Watched {
    group: i32,
    ended: mpsc::UnboundedSender<i32>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // An error means that nobody watches any more.
        let _ = self.ended.send(self.group);
    }
}

impl Guard {
    /// A guard that is this program with these arguments, which does nothing but [`keep_watch`].
    pub fn new(program: PathBuf, arguments: Vec<String>) -> Self {
        let watching = Watching { program, arguments, guard: None, groups: BTreeMap::new() };
        let watching = Arc::new(Mutex::new(watching));
        // Not bounded: one word for each group that was watched.
        let (ended, queue) = mpsc::unbounded_channel();
        tokio::spawn(forget(Arc::downgrade(&watching), queue));
        Self { watching, ended }
    }

    /// Watches a process group that runs for the lease of this epoch. Without a guard the attempt runs all the same: what is lost is
    /// that it ends at once should the worker be killed.
    pub(crate) async fn watch(&self, mark: ProcessMark, epoch: i64) -> Watched {
        let mut watching = self.watching.lock().await;
        watching.groups.insert(mark.pid, (mark, epoch));
        if let Err(error) = watching.begin(mark, epoch).await {
            tracing::warn!(%error, "no guard watches over the worker's processes");
        }
        Watched { group: mark.pid, ended: self.ended.clone() }
    }
}

async fn forget(watching: Weak<Mutex<Watching>>, mut queue: mpsc::UnboundedReceiver<i32>) {
    while let Some(group) = queue.recv().await {
        let Some(watching) = watching.upgrade() else { return };
        let mut watching = watching.lock().await;
        watching.groups.remove(&group);
        // A guard that is gone is started again with the next process.
        let _ = watching.tell(&format!("- {group}\n")).await;
    }
}

impl Watching {
    async fn begin(&mut self, mark: ProcessMark, epoch: i64) -> io::Result<()> {
        if self.tell(&line(mark, epoch)).await.is_ok() {
            return Ok(());
        }
        let mut guard = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // What ends the worker's group is not to end the guard.
            .process_group(0)
            .spawn()?;
        let told = guard.stdin.take().ok_or_else(|| io::Error::other("the guard has no standard input"))?;
        self.guard = Some((guard, told));
        let all: String = self.groups.values().map(|(mark, epoch)| line(*mark, *epoch)).collect();
        self.tell(&all).await
    }

    async fn tell(&mut self, text: &str) -> io::Result<()> {
        let Some((_, guard)) = &mut self.guard else { return Err(io::ErrorKind::NotConnected.into()) };
        let told = guard.write_all(text.as_bytes()).await;
        if told.is_err() {
            self.guard = None;
        }
        told
    }
}

fn line(mark: ProcessMark, epoch: i64) -> String {
    format!("+ {} {} {epoch}\n", mark.pid, mark.start_ticks)
}

/// The guard's side: hears what begins and ends, and kills what is left when the worker is gone. Blocks until then.
///
/// # Errors
/// What it hears cannot be read.
pub fn keep_watch(heard: impl BufRead) -> io::Result<BTreeMap<i32, (ProcessMark, i64)>> {
    let mut groups = BTreeMap::new();
    for line in heard.lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (what, mut numbers) = (words.next(), words.filter_map(|word| word.parse::<i64>().ok()));
        let Some(pid) = numbers.next().and_then(|pid| i32::try_from(pid).ok()) else { continue };
        match (what, numbers.next(), numbers.next()) {
            (Some("+"), Some(start_ticks), Some(epoch)) => {
                groups.insert(pid, (ProcessMark { pid, start_ticks }, epoch));
            }
            _ => drop(groups.remove(&pid)),
        }
    }
    Ok(groups)
}

/// Kills what is left.
pub async fn kill(groups: BTreeMap<i32, (ProcessMark, i64)>) {
    for (mark, epoch) in groups.into_values() {
        kill_left_over(mark, epoch).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::{ProcessMark, keep_watch};

    #[test]
    fn what_has_not_ended_is_left() {
        let heard = "+ 7 100 1\n+ 8 200 2\n- 7\n+ 9 300 3\ngarbage\n+ 9\n";
        let left: Vec<_> = keep_watch(heard.as_bytes()).unwrap().into_values().collect();
        assert_eq!(left, [(ProcessMark { pid: 8, start_ticks: 200 }, 2)]);
    }
}
