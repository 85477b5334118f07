//! A worker thread: runs its subtask of every stage in turn, those nearest to the sinks first, and sleeps when none of
//! them can do anything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bell::Bell;
use crate::error::JobError;
use crate::metrics::JobMetrics;
use crate::tasklet::{Tasklet, Turn};

/// How many messages a subtask takes before it is the next one's turn. Under load this is how often time goes on.
const MESSAGES_PER_TURN: usize = 16;

/// What a worker thread needs.
pub(crate) struct Worker {
    pub(crate) tasklets: Vec<Tasklet>,
    pub(crate) bell: Arc<Bell>,
    /// Set when the job is to stop without finishing; the bell rings after.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) metrics: Arc<JobMetrics>,
}

impl Worker {
    /// Runs until all subtasks are done, or one has failed, or the job is to stop.
    pub(crate) fn run(mut self) -> Result<(), JobError> {
        self.tasklets.reverse();
        loop {
            self.bell.listen();
            let mut worked = false;
            for tasklet in &mut self.tasklets {
                if self.stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                worked |= take_turn(tasklet, &self.metrics)? == Turn::Worked;
            }
            self.metrics.changed.notify_one();
            self.tasklets.retain(|tasklet| !tasklet.done);
            if self.tasklets.is_empty() {
                return Ok(());
            }
            if !worked {
                self.catch_up_or_wait()?;
            }
        }
    }

    /// There is nothing else to do: lets a subtask catch up with what its operators have put off, or sleeps.
    fn catch_up_or_wait(&mut self) -> Result<(), JobError> {
        let tasklets = self.tasklets.iter_mut();
        let first = tasklets.filter_map(|tasklet| Some((tasklet.catches_up_at()?, tasklet))).min_by_key(|(at, _)| *at);
        let Some((at_ns, tasklet)) = first else {
            self.bell.wait();
            return Ok(());
        };
        let now_ns = self.metrics.elapsed_ns();
        if at_ns > now_ns {
            self.bell.wait_for(Duration::from_nanos(at_ns - now_ns));
            return Ok(());
        }
        guarded(tasklet, |tasklet| tasklet.catch_up().map(drop))
    }
}

fn take_turn(tasklet: &mut Tasklet, job: &JobMetrics) -> Result<Turn, JobError> {
    let metrics = Arc::clone(&tasklet.metrics);
    let blocked_since_ns = metrics.blocked_since_ns.swap(0, Ordering::Relaxed);
    if blocked_since_ns > 0 {
        metrics.blocked_ns.fetch_add(job.elapsed_ns().saturating_sub(blocked_since_ns), Ordering::Relaxed);
    }
    let turn = guarded(tasklet, |tasklet| tasklet.run(MESSAGES_PER_TURN))?;
    if turn == Turn::Blocked {
        metrics.blocked_since_ns.store(job.elapsed_ns(), Ordering::Relaxed);
    }
    Ok(turn)
}

/// Lets a subtask work, and counts the time.
fn guarded<T>(tasklet: &mut Tasklet, work: impl FnOnce(&mut Tasklet) -> Result<T, JobError>) -> Result<T, JobError> {
    let metrics = Arc::clone(&tasklet.metrics);
    let begin = Instant::now();
    // After a panic the tasklet is dropped with its job, so nobody sees what was left half done.
    let done = catch_unwind(AssertUnwindSafe(|| work(tasklet)));
    let done = done.map_err(|panic| JobError::panic(format!("stage {}", metrics.name), panic.as_ref()))??;
    let busy_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    metrics.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
    Ok(done)
}
