//! One sampler for all attempts of a worker: it looks at all processes at once, and only while something runs.
//!
//! A look takes a few milliseconds on a machine with some hundred processes; between looks there is at least half a second, so the
//! sampler takes well below one percent of a processor.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mulgil_sched::usage::Usage;
use tokio::sync::watch;

use crate::meter::{Machine, Meter};
use crate::process::{ProcessMark, Stat, processes};

/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// Between looks while a tree has a limit of memory that nobody else keeps.
const EVERY_CLOSELY: Duration = Duration::from_millis(100);
/// A reading of the machine serves all attempts that begin or end so soon after it.
const FRESH: Duration = Duration::from_millis(100);

/// Meters attempts. Clones are the same sampler.
#[derive(Clone)]
pub(crate) struct Sampler {
    folder: PathBuf,
    // A lock, not a queue: an attempt takes its own meter out when it ends.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    meters: HashMap<u64, Meter>,
    last: u64,
    looking: bool,
    machine: Option<(Instant, Machine)>,
}

impl Inner {
    /// Tells attempts that this process does itself how many they are.
    fn count_hosted(&mut self) {
        let hosted = self.meters.values().filter(|meter| meter.is_of_host()).count();
        self.meters.values_mut().for_each(|meter| meter.beside(hosted));
    }

    fn machine(&mut self) -> Machine {
        if let Some((at, machine)) = &self.machine
            && at.elapsed() < FRESH
        {
            return machine.clone();
        }
        let machine = Machine::look();
        self.machine = Some((Instant::now(), machine.clone()));
        machine
    }
}

/// The meter of one attempt. Dropped, it is forgotten.
pub(crate) struct Metered {
    sampler: Sampler,
    number: u64,
}

impl Sampler {
    /// A sampler that tells the room on the disk of this folder.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to meter an attempt: the tree of a process, where it has one.
    pub(crate) fn begin(&self, root: Option<ProcessMark>) -> Metered {
        let mut inner = self.lock();
        let machine = inner.machine();
        inner.last += 1;
        let number = inner.last;
        inner.meters.insert(number, Meter::begin(root, machine));
        inner.count_hosted();
        if !std::mem::replace(&mut inner.looking, true) {
            tokio::spawn(self.clone().look());
        }
        Metered { sampler: self.clone(), number }
    }

    async fn look(self) {
        loop {
            let every = if self.lock().meters.values().any(Meter::is_watched) { EVERY_CLOSELY } else { EVERY };
            tokio::time::sleep(every).await;
            // Reading `/proc` blocks, if only for moments.
            let read = tokio::task::spawn_blocking(|| (processes().collect::<Vec<Stat>>(), Machine::look())).await;
            let mut inner = self.lock();
            if inner.meters.is_empty() {
                inner.looking = false;
                return;
            }
            if let Ok((processes, machine)) = read {
                inner.meters.values_mut().for_each(|meter| meter.look(&processes, &machine));
                inner.machine = Some((Instant::now(), machine));
            }
        }
    }
}

impl Metered {
    /// Looks once more: the root has just ended, or is about to be ended.
    pub(crate) fn look(&self) {
        if let Some(meter) = self.sampler.lock().meters.get_mut(&self.number) {
            meter.look_last();
        }
    }

    /// What its tree has at each look from now on, so that it may have no more than `limit`.
    pub(crate) fn watch_memory(&self, limit: u64) -> watch::Receiver<u64> {
        match self.sampler.lock().meters.get_mut(&self.number) {
            Some(meter) => meter.watch_memory(limit),
            None => watch::channel(0).1,
        }
    }

    /// What was used.
    pub(crate) fn end(self) -> Usage {
        let mut inner = self.sampler.lock();
        let machine = inner.machine();
        let meter = inner.meters.remove(&self.number);
        meter.map_or_else(Usage::default, |meter| meter.end(&machine, &self.sampler.folder))
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.sampler.lock().meters.remove(&self.number);
    }
}
