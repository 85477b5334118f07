//! The memory that a task's processes may have together (`memory:`).
//!
//! Where the worker may make control groups the kernel keeps the limit, to the byte. Elsewhere the sampler looks at the process tree
//! ten times a second and what has too much is killed: between two looks it may have had more.

use mulgil_flow::Task;
use mulgil_sched::diagnosis::bytes;
use tokio::sync::watch;

use crate::cgroup::{Group, OwnGroup};
use crate::dispatcher::Lease;
use crate::process::ProcessMark;
use crate::sampler::Metered;

/// How limits are kept on this machine, found out once.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryKeeper {
    own: Option<&'static OwnGroup>,
}

impl MemoryKeeper {
    /// By the kernel, where that may be.
    pub(crate) fn find() -> Self {
        let own = OwnGroup::of_this_process();
        own.iter().for_each(|own| own.tidy());
        Self { own }
    }

    /// Limits a process that has not begun, if its task says so.
    pub(crate) fn limit(&self, task: &Task, lease: &Lease, process: ProcessMark, metered: &Metered) -> Option<Limited> {
        let allowed = task.memory?;
        let group = self.own.as_ref().and_then(|own| match own.limit(lease.epoch, allowed, process.pid) {
            Ok(group) => Some(group),
            Err(error) => {
                tracing::debug!(%error, "no control group for an attempt: its memory is looked at instead");
                None
            }
        });
        let held = group.is_none().then(|| metered.watch_memory(allowed));
        Some(Limited { allowed, group, held })
    }
}

/// An attempt whose memory is limited.
#[derive(Debug)]
pub(crate) struct Limited {
    allowed: u64,
    group: Option<Group>,
    /// What the tree has, where nobody but the sampler counts it.
    held: Option<watch::Receiver<u64>>,
}

/// Too much was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverMemory {
    pub(crate) used: u64,
    pub(crate) allowed: u64,
}

impl Limited {
    /// Waits until the tree has more than it may, where the kernel does not see to that.
    pub(crate) async fn exceeded(&mut self) -> OverMemory {
        let allowed = self.allowed;
        if let Some(held) = &mut self.held
            && let Ok(used) = held.wait_for(|held| *held > allowed).await.map(|used| *used)
        {
            return OverMemory { used, allowed };
        }
        std::future::pending().await
    }

    /// What was used, if the kernel has killed something for it.
    pub(crate) fn was_exceeded(&self) -> Option<OverMemory> {
        let group = self.group.as_ref().filter(|group| group.has_killed())?;
        Some(OverMemory { used: group.peak_bytes().unwrap_or(self.allowed), allowed: self.allowed })
    }
}

impl OverMemory {
    /// Why the attempt failed.
    pub(crate) fn reason(self) -> String {
        format!(
            "out of memory: its processes used {} of the {} that `memory:` allows and were ended",
            bytes(self.used),
            bytes(self.allowed)
        )
    }
}
