//! Files that start runs: looks again and again at what the patterns of `triggers: [{file: ...}]` name.
//!
//! A file counts once it has looked the same twice, so that one that is being written is left alone. Which files have had their run the
//! history says: a run is known by path, size and time of change of its file (`RunKey::of_arrival`). What is remembered here only saves
//! asking, so that neither a restart nor another server misses a file or takes one twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::{FileTrigger, Flow, RunKey};
use mulgil_history::History;
use mulgil_history::write::Trigger;
use tokio::task::JoinHandle;

use crate::{Arrival, SchedulerError, SchedulerHandle, TriggerRequest};

/// The pause between two looks, where nothing else is said.
pub const EVERY: Duration = Duration::from_secs(5);
/// Looking takes at most one part in so many of the time, however large the folders are.
const SHARE: u32 = 10;
/// Runs that one look starts of a flow, at most: the loop has other things to do too.
const STARTS_MAX: usize = 100;
/// Keys that the history is asked about at once.
const ASKED_MAX: usize = 500;

/// What looking needs.
pub struct Landing {
    history: Arc<dyn History>,
    scheduler: SchedulerHandle,
    project_dir: PathBuf,
    /// For how long runs are kept. A file that has not changed for longer has had its run, which may be dropped by now.
    kept: Option<SignedDuration>,
    /// The files that were there at the last look, by flow and path.
    seen: BTreeMap<String, BTreeMap<String, Sighting>>,
}

/// How a file looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sighting {
    bytes: u64,
    modified_ns: i128,
    /// Whether it needs no further look while it stays so.
    done: bool,
}

/// A file that is there.
struct Found {
    path: String,
    param: String,
    sighting: Sighting,
    /// When anything about it changed last, its name and place included.
    touched: Timestamp,
}

/// Looks now and then, until it is dropped. `flows` gives those that files start, as they are at that moment.
pub fn keep(
    mut landing: Landing,
    every: Duration,
    flows: impl Fn() -> Vec<Arc<Flow>> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let begun = Instant::now();
            match landing.look(&flows(), Timestamp::now()).await {
                Ok(_) => {}
                Err(SchedulerError::Stopped) => return,
                Err(error) => tracing::warn!(%error, "files that have come wait; trying again"),
            }
            tokio::time::sleep(every.max(begun.elapsed() * SHARE)).await;
        }
    })
}

impl Landing {
    /// Nothing has been looked at yet.
    pub fn new(
        history: Arc<dyn History>,
        scheduler: SchedulerHandle,
        project_dir: PathBuf,
        kept: Option<SignedDuration>,
    ) -> Self {
        Self { history, scheduler, project_dir, kept, seen: BTreeMap::new() }
    }

    /// Looks once, and says how many runs that has started.
    ///
    /// # Errors
    /// The history could not be asked, or no run can be made now. What could not start is looked at again.
    pub async fn look(&mut self, flows: &[Arc<Flow>], now: Timestamp) -> Result<usize, SchedulerError> {
        let names: BTreeSet<&str> = flows.iter().map(|flow| flow.name.as_str()).collect();
        self.seen.retain(|flow, _| names.contains(flow.as_str()));
        let (mut started, mut trouble) = (0, None);
        for flow in flows {
            let (triggers, dir) = (flow.triggers.files.clone(), self.project_dir.clone());
            let found = tokio::task::spawn_blocking(move || find(&triggers, &dir)).await.unwrap_or_default();
            match self.take(flow, found, now).await {
                Ok(of_flow) => started += of_flow,
                // Its files wait, and those of others do not.
                Err(SchedulerError::Paused(_)) => {}
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        trouble.map_or(Ok(started), Err)
    }

    async fn take(&mut self, flow: &Flow, found: Vec<Found>, now: Timestamp) -> Result<usize, SchedulerError> {
        let before = self.seen.remove(&flow.name).unwrap_or_default();
        let kept_since = self.kept.and_then(|age| now.checked_sub(age).ok()).unwrap_or(Timestamp::MIN);
        let mut seen = BTreeMap::new();
        let mut settled = Vec::new();
        for file in found {
            let same = |last: &&Sighting| Sighting { done: false, ..**last } == file.sighting;
            let last = before.get(&file.path).filter(same);
            let done = last.is_some_and(|last| last.done) || file.touched < kept_since;
            seen.insert(file.path.clone(), Sighting { done, ..file.sighting });
            if last.is_some() && !done {
                settled.push(file);
            }
        }
        // Whatever comes of it: what is not done is looked at again.
        let seen = self.seen.entry(flow.name.clone()).or_insert(seen);
        settled.sort_by(|a, b| (a.sighting.modified_ns, &a.path).cmp(&(b.sighting.modified_ns, &b.path)));
        let known = known(self.history.as_ref(), flow, &settled).await?;
        let mut started = 0;
        for file in settled {
            let is_new = !known.contains(key(flow, &file).text());
            if is_new && started == STARTS_MAX {
                continue;
            }
            if is_new {
                started += usize::from(start(&self.scheduler, flow, &file).await?);
            }
            if let Some(sighting) = seen.get_mut(&file.path) {
                sighting.done = true;
            }
        }
        Ok(started)
    }
}

/// Which of these files have had their run.
async fn known(history: &dyn History, flow: &Flow, files: &[Found]) -> Result<BTreeSet<String>, SchedulerError> {
    let mut known = BTreeSet::new();
    for some in files.chunks(ASKED_MAX) {
        let keys: Vec<String> = some.iter().map(|file| key(flow, file).text().to_owned()).collect();
        known.extend(history.runs_by_key(&flow.name, &keys).await?.into_iter().map(|run| run.key));
    }
    Ok(known)
}

/// Starts the run of a file, if it may have one.
async fn start(scheduler: &SchedulerHandle, flow: &Flow, file: &Found) -> Result<bool, SchedulerError> {
    let params = BTreeMap::from([(file.param.clone(), file.path.clone().into())]);
    let arrival = Arrival { trigger: Trigger::File, id: Some(id(file)) };
    let request =
        TriggerRequest { flow: flow.name.clone(), params, arrival: Some(arrival), ..TriggerRequest::default() };
    match scheduler.trigger(request).await {
        Ok(triggered) => Ok(triggered.created),
        Err(error @ (SchedulerError::Params(_) | SchedulerError::UnknownFlow { .. })) => {
            // Looked at again when the file changes, or the server starts anew.
            tracing::warn!(flow = flow.name, file = file.path, %error, "a file has come and starts no run");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn id(file: &Found) -> String {
    format!("{}|{}|{}", file.path, file.sighting.bytes, file.sighting.modified_ns)
}

fn key(flow: &Flow, file: &Found) -> RunKey {
    RunKey::of_arrival(flow, Trigger::File.word(), &id(file))
}

/// The files that match, each once. Hidden ones only where the pattern says so: programs write into such before they rename them.
fn find(triggers: &[FileTrigger], project_dir: &Path) -> Vec<Found> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let mut found = BTreeMap::new();
    for trigger in triggers {
        let escaped = glob::Pattern::escape(&project_dir.display().to_string());
        let pattern = Path::new(&escaped).join(&trigger.pattern);
        // The pattern was checked with the flow. A folder that may not be read has nothing to show yet.
        let Ok(paths) = glob::glob_with(&pattern.display().to_string(), options) else { continue };
        for path in paths.flatten() {
            let shown = path.strip_prefix(project_dir).unwrap_or(&path).to_str().map(str::to_owned);
            let Some((shown, metadata)) = shown.zip(std::fs::metadata(&path).ok().filter(Metadata::is_file)) else {
                continue;
            };
            found.entry(shown.clone()).or_insert_with(|| found_at(shown, &trigger.param, &metadata));
        }
    }
    found.into_values().collect()
}

fn found_at(path: String, param: &str, metadata: &Metadata) -> Found {
    let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    let touched = Timestamp::from_second(metadata.ctime()).unwrap_or(Timestamp::MAX);
    let sighting = Sighting { bytes: metadata.len(), modified_ns, done: false };
    Found { path, param: param.to_owned(), sighting, touched }
}
