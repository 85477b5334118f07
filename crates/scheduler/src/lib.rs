//! The scheduler: one loop that owns every run under way.
//!
//! Everything that happens (a person's command, a worker's report, a timer) is an event in one bounded queue. The loop
//! takes all that are waiting, decides with `sched`'s pure functions, stores the whole batch in one transaction (one
//! sync to disk, however many events), and only then acts: pushes leases to workers, tells subscribers, answers. What
//! it holds in memory is a cache of the history, rebuilt from it at the start. Nothing polls.
//!
//! ```text
//!  commands ─┐                ┌─ decide (sched) ─┐                 ┌─ orders ──> workers
//!  reports  ─┼─> event queue ─┤   one batch      ├─> one commit ───┼─ changes ─> subscribers
//!  timers   ─┘                └─ admit, lease ───┘    (history)    └─ answers ─> callers
//! ```

mod arrival;
mod backfill;
mod batch;
mod calls;
mod change;
mod clock;
mod command;
mod dispatch;
mod drive;
mod error;
mod event;
mod foretell;
mod handle;
mod items;
mod key;
pub mod landing;
mod lineage;
mod mark;
mod open_backfill;
mod recover;
mod report;
mod request;
mod rerun;
mod results;
pub mod retention;
mod round;
mod runs;
mod schedule;
mod settings;
mod staff;
mod standby;
mod state;
mod tables;
mod tally;
mod telling;
mod time_limit;
mod version;
mod watch;
mod why;

pub use change::Change;
pub use clock::{Clock, SystemClock};
pub use drive::{Inbox, prepare, start, start_with};
pub use error::SchedulerError;
pub use handle::SchedulerHandle;
pub use request::{
    Arrival, BackfillRequest, BackfillStarted, CalledRun, Dropping, FlowSource, MarkRequest, Predecessors,
    RerunPreview, RerunRequest, RerunTask, SchedulerOptions, TriggerRequest, Triggered,
};
pub use staff::{Seated, Staff, Unmet};
pub use tables::written_by;
pub use tally::{Ends, Gauges, Tally};
pub use why::{RunWaits, TaskWaits, Why};

#[cfg(test)]
mod tests;
