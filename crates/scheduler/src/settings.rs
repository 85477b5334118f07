//! What of `mulgil.yaml` a running server takes over: pools, and what new runs and their templates go by (connections, the time zone).
//!
//! Where things are (lake, log, history, checkpoints) and what the worker was started with stays until the next start. A pool that is
//! gone from the file keeps its slots until then: tasks of runs under way may still want them.

use std::sync::Arc;

use mulgil_flow::Project;
use mulgil_sched::admission::DEFAULT_POOL;

use super::state::Scheduler;

impl Scheduler {
    /// Goes by these settings from now on.
    pub(super) fn take_settings(&mut self, project: Arc<Project>) {
        for (pool, slots) in &project.pools {
            self.admission.set_pool(pool, *slots as usize);
        }
        if !project.pools.contains_key(DEFAULT_POOL) {
            self.admission.set_pool(DEFAULT_POOL, Project::DEFAULT_POOL_SLOTS as usize);
        }
        for setting in kept(&self.options.project, &project) {
            tracing::warn!(setting, "mulgil.yaml has another value now, which takes a restart of the server");
        }
        self.options.project = project;
    }
}

/// The settings that have changed and that a running server keeps.
fn kept(before: &Project, now: &Project) -> Vec<&'static str> {
    let places = [
        ("lake", before.lake == now.lake),
        ("log", before.log == now.log),
        ("history", before.history == now.history),
        ("checkpoints", before.checkpoints == now.checkpoints),
        ("state_memory", before.state_memory == now.state_memory),
        ("python", before.python == now.python),
    ];
    places.into_iter().filter(|(_, same)| !same).map(|(setting, _)| setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_restart_is_named() {
        let before = Project::default();
        let now = Project { lake: "s3://lake".to_owned(), python: "python3.12".to_owned(), ..Project::default() };
        assert_eq!(kept(&before, &now), ["lake", "python"]);
        assert!(kept(&before, &before).is_empty());
    }
}
