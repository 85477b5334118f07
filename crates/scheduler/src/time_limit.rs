//! The time that a flow allows its runs (`run_timeout`): when it is over, what runs is ended, and the run has failed.
//!
//! It is counted from when the run began, by the clock, also while no server runs: a server that is started again goes on with the
//! same end. A re-run has a span of its own.

use mulgil_sched::id::RunId;
use mulgil_sched::status::RunStatus;
use mulgil_sched::step::Event;

use super::batch::Now;
use super::runs::Detail;
use super::state::{OpenRun, Scheduler, Timer};

impl OpenRun {
    /// By when it has to have ended.
    fn time_is_up_at(&self) -> Option<Now> {
        let (limit, begun) = (self.flow.run_timeout?, self.begun?);
        begun.saturating_add(limit).ok()
    }

    /// Why it stops, where its time was up.
    pub(super) fn time_was_up(&self) -> Option<String> {
        let limit = self.flow.run_timeout.filter(|_| self.state.timed_out)?;
        Some(format!("the run took longer than its `run_timeout` of {limit:#} and was ended; raise it if runs may"))
    }
}

impl Scheduler {
    /// A run begins.
    pub(super) fn begin_span(&mut self, id: RunId, now: Now) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.begun = Some(now);
            self.limit_time(id);
        }
    }

    /// A run has begun, or was under way when the server started.
    pub(super) fn limit_time(&mut self, id: RunId) {
        if let Some(at) = self.runs.get(&id).and_then(OpenRun::time_is_up_at) {
            self.timers.insert((at, Timer::RunTimeout(id)));
        }
    }

    /// A run's time may be up: unless it has begun anew since, or is to stop anyway.
    pub(super) fn time_may_be_up(&mut self, id: RunId, now: Now) {
        let run = self.runs.get(&id).filter(|run| run.state.status == RunStatus::Running);
        if run.and_then(OpenRun::time_is_up_at).is_some_and(|at| at <= now) {
            self.step_by_itself(id, Event::TimeUp, Detail::default(), now);
        }
    }
}
