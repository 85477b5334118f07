//! A view's place: the generation that answers, and the one that is being built beside it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mulgil_connect::source::{READ_TO_END, has_reached};
use mulgil_engine::status::{JobStatus, PartitionState, PartitionStatus};
use mulgil_sql::catalog::View;

use super::archive_cut::ArchiveCut;
use super::cell::ViewCell;
use super::export::Exports;
use super::generation::{Generation, Generations};
use super::goal::Goal;
use crate::status::{ArchiveReadStatus, BuildStatus, FormerStatus, ViewStatus};

/// The time over which the end of a build is foreseen.
const FORESIGHT: Duration = Duration::from_secs(20);

/// A view of the project, and what keeps it.
pub(crate) struct Slot {
    /// As the project declares it now.
    pub(crate) view: Arc<View>,
    /// Held while the generations of the view are changed.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// How it is exported.
    pub(crate) exports: Exports,
    held: Mutex<Held>,
}

struct Held {
    live: Arc<ViewCell>,
    building: Option<Arc<Build>>,
    /// What is noted; `None` before the view's first start, and for views that have one generation only.
    noted: Option<Generations>,
}

/// A generation that is being built.
pub(crate) struct Build {
    pub(crate) cell: Arc<ViewCell>,
    pub(crate) generation: Generation,
    /// How much was left to read, at several moments, the last one last.
    left: Mutex<VecDeque<(Instant, u64)>>,
    /// What it was like when it was first looked at beside what it is to take over from.
    first: Mutex<Option<First>>,
    /// Where it has to come to, where no job has been there before.
    goal: OnceLock<Goal>,
    /// Why it could not take over when it last had caught up.
    trouble: Mutex<Option<String>>,
    /// How many rows there are in the archives that it reads before its sources, as far as is known.
    archived_rows: AtomicU64,
    /// Whether somebody waits for it to catch up.
    is_followed: AtomicBool,
}

/// A build when it was first looked at beside what it is to take over from.
struct First {
    /// Where its partitions stood, taken together: before that there is nothing to read for it.
    read: u64,
    /// Partitions that the live one has read and that it does not find: they are gone.
    missing: Vec<(String, String)>,
}

impl Slot {
    /// A view with a generation that does not run yet.
    pub(crate) fn new(live: ViewCell) -> Self {
        let view = Arc::clone(&live.view);
        let held = Held { live: Arc::new(live), building: None, noted: None };
        Self { view, turn: tokio::sync::Mutex::new(()), exports: Exports::default(), held: Mutex::new(held) }
    }

    /// Nothing that happens under this lock can leave it half changed.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation that answers.
    pub(crate) fn live(&self) -> Arc<ViewCell> {
        Arc::clone(&self.held().live)
    }

    /// The generation that is being built.
    pub(crate) fn building(&self) -> Option<Arc<Build>> {
        self.held().building.clone()
    }

    /// The generation that answers, and the one that is being built.
    pub(crate) fn cells(&self) -> Vec<Arc<ViewCell>> {
        std::iter::once(self.live()).chain(self.building().map(|build| Arc::clone(&build.cell))).collect()
    }

    /// What is noted.
    pub(crate) fn noted(&self) -> Option<Generations> {
        self.held().noted.clone()
    }

    /// Another note stands.
    pub(crate) fn set_noted(&self, noted: Generations) {
        self.held().noted = Some(noted);
    }

    /// Another generation answers: what is there before anything runs.
    pub(crate) fn set_live(&self, live: ViewCell) {
        self.held().live = Arc::new(live);
    }

    /// Another generation is being built, or none any more.
    pub(crate) fn set_building(&self, building: Option<Arc<Build>>) {
        self.held().building = building;
    }

    /// What is being built answers from now on; gives the one that has answered so far.
    pub(crate) fn swap(&self, build: &Build) -> Arc<ViewCell> {
        let mut held = self.held();
        build.cell.follow_on(held.live.version());
        held.building = None;
        std::mem::replace(&mut held.live, Arc::clone(&build.cell))
    }

    /// Stops whatever runs.
    pub(crate) async fn stop(&self) {
        for cell in self.cells() {
            let _one_at_a_time = cell.turn_to_stop().await;
            cell.stop().await;
        }
    }

    /// The view as it is now.
    pub(crate) fn status(&self) -> ViewStatus {
        let (live, building, noted) = {
            let held = self.held();
            (Arc::clone(&held.live), held.building.clone(), held.noted.clone())
        };
        let former = noted.and_then(|noted| noted.former).map(|former| FormerStatus {
            number: former.number,
            begun_ms: former.begun_ms,
            definition: former.statements.last().map(|view| view.text.clone()).unwrap_or_default(),
        });
        let building = building.map(|build| build.status(live.job().map(|job| job.status()).as_ref()));
        ViewStatus { mode: self.view.mode, former, building, export: self.exports.status(), ..live.status() }
    }
}

impl Build {
    /// A generation that does not run yet.
    pub(crate) fn new(cell: ViewCell, generation: Generation) -> Arc<Self> {
        Arc::new(Self {
            cell: Arc::new(cell),
            generation,
            left: Mutex::default(),
            first: Mutex::default(),
            goal: OnceLock::new(),
            trouble: Mutex::default(),
            archived_rows: AtomicU64::new(0),
            is_followed: AtomicBool::new(false),
        })
    }

    /// Looks at how much there is left, beside the job that it is to take over from.
    pub(crate) fn look(&self, live: Option<&JobStatus>) {
        let Some(own) = self.cell.job().map(|job| job.status()) else { return };
        let (read, to_read) = self.amounts(live, &own);
        // After a restart the live one may start later: until then there is nothing that it could miss.
        if live.is_some() || self.has_goal() {
            self.first().get_or_insert_with(|| {
                let wanted = live.into_iter().flat_map(|live| &live.partitions);
                let missing = wanted.filter(|wanted| same_partition(&own, wanted).is_none());
                let missing = missing.map(|missing| (missing.table.clone(), missing.partition.clone())).collect();
                First { read, missing }
            });
        }
        let now = Instant::now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.push_back((now, to_read.saturating_sub(read)));
        while left.front().is_some_and(|(at, _)| now.duration_since(*at) > FORESIGHT) {
            left.pop_front();
        }
    }

    /// How far it has read, and how far it has to read to be where the live job is, or its goal, all partitions together.
    fn amounts(&self, live: Option<&JobStatus>, own: &JobStatus) -> (u64, u64) {
        let mut amounts = (0_u64, 0_u64);
        let mut add = |table: &str, partition: &str, position: u64| {
            let wanted = rows_before(position);
            let reached = partition_of(own, table, partition).map_or(0, |own| rows_before(own.position));
            amounts = (amounts.0.saturating_add(reached.min(wanted)), amounts.1.saturating_add(wanted));
        };
        match live {
            Some(live) => {
                live.partitions.iter().for_each(|wanted| add(&wanted.table, &wanted.partition, wanted.position))
            }
            None => self.goal().marks().for_each(|(table, partition, position)| add(table, partition, position)),
        }
        let (read, to_read) = self.archived_amounts(own);
        (amounts.0.saturating_add(read), amounts.1.saturating_add(to_read))
    }

    /// How many rows it has read of archives, and how many there are.
    fn archived_amounts(&self, own: &JobStatus) -> (u64, u64) {
        let archives = || own.partitions.iter().filter(|partition| self.is_archive(partition));
        let there =
            archives().map(|archive| rows_before(archive.position).saturating_add(archive.lag_rows.unwrap_or(0))).sum();
        let to_read = self.archived_rows.fetch_max(there, Ordering::Relaxed).max(there);
        if archives().all(|archive| archive.position == READ_TO_END) {
            return (to_read, to_read);
        }
        (archives().map(|archive| rows_before(archive.position)).sum(), to_read)
    }

    /// Whether a partition of its job is an archive.
    pub(crate) fn is_archive(&self, partition: &PartitionStatus) -> bool {
        let cut = self.cell.origin.archives.cuts().and_then(|cuts| cuts.get(&partition.table));
        cut.is_some_and(|cut| cut.partition_name() == partition.partition)
    }

    /// Where it has to come to, where no job has been there before.
    pub(crate) fn goal(&self) -> &Goal {
        const UNKNOWN: &Goal = &Goal::unknown();
        self.goal.get().unwrap_or(UNKNOWN)
    }

    /// Why it could not take over, or that nothing is in its way.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Whether that is known.
    pub(crate) fn has_goal(&self) -> bool {
        self.goal.get().is_some()
    }

    /// It has to come to this. Only the first call counts.
    pub(crate) fn set_goal(&self, goal: Goal) {
        let _ = self.goal.set(goal);
    }

    fn first(&self) -> MutexGuard<'_, Option<First>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a partition that the live one reads was gone when it began.
    pub(crate) fn misses(&self, partition: &PartitionStatus) -> bool {
        let first = self.first();
        let mut missing = first.iter().flat_map(|first| &first.missing);
        missing.any(|(table, name)| *table == partition.table && *name == partition.partition)
    }

    /// Somebody waits for it to catch up from now on; whether nobody did.
    pub(crate) fn is_followed_now(&self) -> bool {
        !self.is_followed.swap(true, Ordering::AcqRel)
    }

    fn status(&self, live: Option<&JobStatus>) -> BuildStatus {
        let own = self.cell.status();
        let job = self.cell.job().map(|job| job.status());
        let (read, to_read) = job.as_ref().map_or((0, 0), |job| self.amounts(live, job));
        let cuts = || self.cell.origin.archives.cuts().into_iter().flatten();
        let is_read = |cut: &ArchiveCut| {
            let name = cut.partition_name();
            let mut partitions = job.iter().flat_map(|job| &job.partitions);
            partitions.any(|own| own.partition == name && own.state == PartitionState::Finished)
        };
        // What lies before the time that it reads from, or in archives, is not read of its sources.
        let began_at = match self.generation.from_ms {
            Some(_) => self.first().as_ref().map_or(read, |first| first.read),
            None => cuts().flat_map(|(_, cut)| &cut.partitions).map(|partition| rows_before(partition.position)).sum(),
        };
        let (read, to_read) = (read.saturating_sub(began_at), to_read.saturating_sub(began_at));
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        BuildStatus {
            number: self.generation.number,
            why: self.generation.why,
            definition: own.definition,
            begun_ms: self.generation.begun_ms,
            from_ms: self.generation.from_ms,
            archives: cuts()
                .map(|(table, cut)| ArchiveReadStatus {
                    table: table.clone(),
                    archive: cut.archive.clone(),
                    version: cut.version,
                    is_read: is_read(cut),
                })
                .collect(),
            rows_per_second_max: self.cell.origin.pace.rows_per_second_max(),
            state: own.state,
            error: own.error.or_else(|| self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            waits: own.waits,
            rows_in: own.rows_in,
            rows_per_second: own.rows_per_second,
            done: if to_read == 0 { 0.0 } else { read as f64 / to_read as f64 },
            left_ms: foreseen_ms(&left),
        }
    }
}

/// A mark that a connector gives for the very beginning counts as nothing, and so does an archive that was read to its end.
fn rows_before(position: u64) -> u64 {
    if position == READ_TO_END || has_reached(0, position) { 0 } else { position }
}

/// The same partition of the same table in another job.
pub(crate) fn same_partition<'a>(job: &'a JobStatus, other: &PartitionStatus) -> Option<&'a PartitionStatus> {
    partition_of(job, &other.table, &other.partition)
}

/// A partition in a job.
pub(crate) fn partition_of<'a>(job: &'a JobStatus, table: &str, partition: &str) -> Option<&'a PartitionStatus> {
    job.partitions.iter().find(|own| own.table == table && own.partition == partition)
}

/// When nothing will be left, if it goes on as it has; `None` where it gets no less.
fn foreseen_ms(left: &VecDeque<(Instant, u64)>) -> Option<u64> {
    let ((first_at, first), (last_at, last)) = (left.front()?, left.back()?);
    let (took, gone) = (last_at.duration_since(*first_at), first.checked_sub(*last)?);
    if gone == 0 {
        return None;
    }
    let ms = *last as f64 * took.as_secs_f64() * 1_000.0 / gone as f64;
    // A cast of a number that is too large gives the largest.
    Some(ms as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_end_is_foreseen_from_what_has_gone_lately() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let left = |samples: &[(u64, u64)]| samples.iter().map(|(s, left)| (at(*s), *left)).collect();
        assert_eq!(foreseen_ms(&left(&[(0, 1_000), (1, 900), (2, 800)])), Some(8_000));
        assert_eq!(foreseen_ms(&left(&[(0, 1_000), (2, 1_200)])), None, "rows come faster than they are read");
        assert_eq!(foreseen_ms(&left(&[(0, 1_000)])), None);
        assert_eq!(foreseen_ms(&left(&[(0, 1_000), (2, 0)])), Some(0));
    }
}
