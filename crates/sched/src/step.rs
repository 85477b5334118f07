//! One step of a run: something happened; what changes, and what has to be done.
//!
//! Readiness is counted: when a task has ended, each that needs it looks at its tally (see [`crate::rule`]) and runs, is
//! skipped, or never runs; so failures and skips travel downstream at once. The run ends when its last task has. The caller stores every `Run`, `Task` and `Attempt` action of a step in one
//! transaction, and only then carries out the others.

use jiff::Timestamp;
use mulgil_flow::{ErrorKind, Fault};

use crate::graph::TaskNode;
use crate::id::TaskIndex;
use crate::life::{AttemptEvent, IllegalTransition, RunEvent, TaskEvent, next_status};
use crate::rule::Verdict;
use crate::run::{LOSSES_MAX, RunState, TaskState};
use crate::status::{AttemptStatus, RunStatus, TaskStatus};

/// What became of a task's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It holds.
    Run,
    /// It does not hold.
    Skip,
    /// It cannot be told.
    Fail,
    /// It runs once for each of so many items.
    FanOut {
        /// How many; none is fine.
        items: usize,
    },
}

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Its turn has come.
    Admit,
    /// A worker takes a ready task.
    Lease {
        /// Which.
        task: TaskIndex,
    },
    /// The worker has begun an attempt.
    Start {
        /// Of which task.
        task: TaskIndex,
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt is over.
    Finish {
        /// Of which task.
        task: TaskIndex,
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        ending: Ending,
    },
    /// Whether a task runs whose rule allows it: the answer to [`Action::Decide`].
    Decided {
        /// Of which task.
        task: TaskIndex,
        /// What was decided.
        decision: Decision,
    },
    /// The run that does a task's work has ended, or there is none: the answer to [`Action::Call`].
    Returned {
        /// Of which task.
        task: TaskIndex,
        /// How the task ends by that.
        ending: Ending,
    },
    /// An attempt's worker is gone.
    Lose {
        /// Of which task.
        task: TaskIndex,
        /// Which attempt.
        attempt: u32,
    },
    /// The delay before a retry is over.
    RetryDue {
        /// Of which task.
        task: TaskIndex,
    },
    /// Someone asks to stop the run.
    Cancel,
    /// The run has had all the time that its flow allows: it stops as by [`Event::Cancel`], and has failed.
    TimeUp,
    /// Someone asks to run tasks of an ended run again: see [`crate::rerun::rerun_tasks`].
    Rerun {
        /// Which; everything downstream of them comes along.
        tasks: Vec<TaskIndex>,
    },
    /// Somebody says how a task counts that is not under way. In a run that has ended, what never ran for its failure runs
    /// when it counts as succeeded.
    Mark {
        /// Which task.
        task: TaskIndex,
        /// As what.
        mark: Mark,
    },
    /// The definition that an ended run follows from now on has no such task. A re-run follows.
    Drop {
        /// Which task.
        task: TaskIndex,
    },
}

/// How somebody says that a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As succeeded.
    Succeeded,
    /// As failed.
    Failed,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did what it should.
    Succeeded,
    /// It waited in vain for something that may as well not come: the task is skipped.
    Skipped,
    /// It failed.
    Failed(Fault),
    /// It ran too long.
    TimedOut,
    /// It was stopped since its run is to stop.
    Cancelled,
}

/// What has to be stored, and what has to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Store: the run's status changed.
    Run {
        /// What it was.
        from: RunStatus,
        /// What it is.
        to: RunStatus,
    },
    /// Store: a task changed; its state is in the run.
    Task {
        /// Which.
        task: TaskIndex,
        /// What its status was.
        from: TaskStatus,
        /// What it is.
        to: TaskStatus,
    },
    /// Store: an attempt is new (`from` is `None`) or changed.
    Attempt {
        /// Of which task.
        task: TaskIndex,
        /// Which attempt.
        attempt: u32,
        /// What its status was.
        from: Option<AttemptStatus>,
        /// What it is.
        to: AttemptStatus,
    },
    /// Store: a task has items from now on, each a task of its own (see [`crate::graph::Graph::items`]): new ones, waiting, and
    /// those from a time before, with what is their item now.
    Items {
        /// Which.
        of: TaskIndex,
        /// How many of its tasks for items have one; those behind them have none any more.
        count: usize,
    },
    /// Do: find out whether the condition of a waiting task holds, and for how many items it is to run, and answer with [`Event::Decided`] before anything else
    /// happens to the run.
    Decide {
        /// Of which task.
        task: TaskIndex,
    },
    /// Do: make or find the run that does a task's work, and answer with [`Event::Returned`] when it has ended.
    Call {
        /// Of which task.
        task: TaskIndex,
    },
    /// Do: end the run that does a task's work; the answer is still awaited.
    StopCall {
        /// Of which task.
        task: TaskIndex,
    },
    /// Do: put a ready task into its pool's queue.
    Enqueue {
        /// Which.
        task: TaskIndex,
    },
    /// Do: take a task out of its pool's queue.
    Dequeue {
        /// Which.
        task: TaskIndex,
    },
    /// Do: send [`Event::RetryDue`] at this time.
    Wake {
        /// For which task.
        task: TaskIndex,
        /// When.
        at: Timestamp,
    },
    /// Do: tell the worker to end this attempt.
    Stop {
        /// Of which task.
        task: TaskIndex,
        /// Which attempt.
        attempt: u32,
    },
}

/// Takes one step. After an error the run is as it was.
///
/// # Contract
/// An event that does not fit (a report about an attempt that is over, a lease on a task that is not ready) is an
/// error and changes nothing. Otherwise the run satisfies: a task becomes ready only if its rule allows it as
/// its needs have ended; the run is terminal exactly if all tasks are.
pub fn step(run: &mut RunState, event: Event, now: Timestamp) -> Result<Vec<Action>, IllegalTransition> {
    let mut step = Step { run, now, actions: Vec::new() };
    match event {
        Event::Admit => step.admit()?,
        Event::Lease { task } => step.lease(task, now)?,
        Event::Start { task, attempt } => step.attempt(task, attempt, AttemptEvent::Started)?,
        Event::Finish { task, attempt, ending } => step.finish(task, attempt, ending, now)?,
        Event::Decided { task, decision } => step.decided(task, decision)?,
        Event::Returned { task, ending } => step.returned(task, ending)?,
        Event::Lose { task, attempt } => step.lose(task, attempt)?,
        Event::RetryDue { task } => {
            step.task(task, TaskEvent::RetryDue)?;
            step.actions.push(Action::Enqueue { task });
        }
        Event::Cancel => step.cancel()?,
        Event::TimeUp => step.time_up()?,
        Event::Rerun { tasks } => step.rerun(&tasks)?,
        Event::Mark { task, mark } => step.mark(task, mark)?,
        Event::Drop { task } => step.drop_task(task)?,
    }
    step.end_if_over()?;
    Ok(step.actions)
}

struct Step<'a> {
    run: &'a mut RunState,
    now: Timestamp,
    actions: Vec<Action>,
}

impl Step<'_> {
    fn change_run(&mut self, event: RunEvent) -> Result<(), IllegalTransition> {
        let from = self.run.status;
        let to = next_status(from, event)?;
        self.run.status = to;
        // One that runs again has a new span, and one that succeeds in the last moment had enough.
        self.run.timed_out &= matches!(to, RunStatus::Cancelling | RunStatus::Failed);
        self.actions.push(Action::Run { from, to });
        Ok(())
    }

    fn task_mut(&mut self, task: TaskIndex, event: &dyn std::fmt::Debug) -> Result<&mut TaskState, IllegalTransition> {
        self.run.tasks.get_mut(task as usize).ok_or_else(|| IllegalTransition {
            what: "a task",
            status: "not there".to_owned(),
            event: format!("{event:?}"),
        })
    }

    fn task(&mut self, task: TaskIndex, event: TaskEvent) -> Result<(), IllegalTransition> {
        let state = self.task_mut(task, &event)?;
        let from = state.status;
        let to = next_status(from, event)?;
        if to != TaskStatus::Retrying {
            state.not_before = None;
        }
        if !matches!(to, TaskStatus::Ready | TaskStatus::Running) {
            state.since = None;
        }
        self.run.set_status(task, to);
        self.actions.push(Action::Task { task, from, to });
        Ok(())
    }

    /// Changes the attempt under way; a number that is not its own is refused: the report comes from a lost lease.
    fn attempt(&mut self, task: TaskIndex, attempt: u32, event: AttemptEvent) -> Result<(), IllegalTransition> {
        let state = self.task_mut(task, &event)?;
        let from = match state.live {
            Some(live) if state.attempts == attempt => live,
            _ => {
                return Err(IllegalTransition {
                    what: "an attempt",
                    status: "over".to_owned(),
                    event: format!("{event:?}"),
                });
            }
        };
        let to = next_status(from, event)?;
        state.live = Some(to).filter(|status| !status.is_terminal());
        self.actions.push(Action::Attempt { task, attempt, from: Some(from), to });
        Ok(())
    }

    fn admit(&mut self) -> Result<(), IllegalTransition> {
        self.change_run(RunEvent::Admitted)?;
        let waiting: Vec<TaskIndex> = self.run.tasks_with(TaskStatus::Waiting).collect();
        self.settle(waiting)
    }

    /// Looks whether these tasks wait for nothing any more. One that is skipped or fails by that has ended, so those
    /// that need it are looked at too: a list instead of a recursion, since a chain may be long.
    fn settle(&mut self, mut tasks: Vec<TaskIndex>) -> Result<(), IllegalTransition> {
        while let Some(task) = tasks.pop() {
            if self.run.task(task).is_none_or(|state| state.status != TaskStatus::Waiting) {
                continue;
            }
            let event = match self.run.verdict(task) {
                Verdict::Wait => continue,
                Verdict::Run if self.run.keeps_items(task) => {
                    self.task(task, TaskEvent::FannedOut)?;
                    tasks.extend_from_slice(self.run.graph.items(task));
                    tasks.extend(self.join(task)?);
                    continue;
                }
                Verdict::Run if self.is_held(task) => continue,
                Verdict::Run if self.run.graph.task(task).is_some_and(TaskNode::is_asked_for) => {
                    if self.run.deciding.insert(task) {
                        self.actions.push(Action::Decide { task });
                    }
                    continue;
                }
                Verdict::Run => {
                    self.begin(task)?;
                    continue;
                }
                Verdict::Skip => TaskEvent::Skipped,
                Verdict::Fail => TaskEvent::NeedFailed,
            };
            self.task(task, event)?;
            tasks.extend_from_slice(self.run.graph.items(task));
            tasks.extend(self.freed_by(task)?);
        }
        Ok(())
    }

    /// A task has ended: what becomes of those that need it. In a run that is to stop, none waits any more.
    fn settle_dependents(&mut self, task: TaskIndex) -> Result<(), IllegalTransition> {
        let freed = self.freed_by(task)?;
        self.settle(freed)
    }

    fn decided(&mut self, task: TaskIndex, decision: Decision) -> Result<(), IllegalTransition> {
        let has_items = self.run.graph.task(task).is_some_and(|node| node.fan_out.is_some());
        // Its items may come after an attempt of its own.
        let queries = self.queries_items(task);
        let begun = self.run.task(task).is_some_and(|state| state.status == TaskStatus::Running);
        let fits = match decision {
            Decision::Run => !has_items || (queries && !begun),
            Decision::FanOut { .. } => has_items && queries == begun,
            Decision::Skip | Decision::Fail => true,
        };
        if !fits || !self.run.deciding.remove(&task) {
            let status = "not to be decided".to_owned();
            return Err(IllegalTransition { what: "a task", status, event: format!("{decision:?}") });
        }
        match decision {
            Decision::Run => self.begin(task),
            Decision::Skip => {
                self.task(task, TaskEvent::Skipped)?;
                self.settle(self.run.graph.items(task).to_vec())?;
                self.settle_dependents(task)
            }
            Decision::Fail => self.fail(task),
            Decision::FanOut { items } => self.fan_out(task, items),
        }
    }

    fn lease(&mut self, task: TaskIndex, now: Timestamp) -> Result<(), IllegalTransition> {
        self.task(task, TaskEvent::Leased)?;
        let state = self.task_mut(task, &TaskEvent::Leased)?;
        state.attempts += 1;
        state.since.get_or_insert(now);
        state.live = Some(AttemptStatus::Leased);
        let attempt = state.attempts;
        self.actions.push(Action::Attempt { task, attempt, from: None, to: AttemptStatus::Leased });
        Ok(())
    }

    fn finish(&mut self, task: TaskIndex, attempt: u32, end: Ending, now: Timestamp) -> Result<(), IllegalTransition> {
        let late = self.run.timed_out && end == Ending::Cancelled;
        let event = match end {
            Ending::Succeeded => AttemptEvent::Succeeded,
            _ if late => AttemptEvent::TimedOut,
            Ending::Failed(_) => AttemptEvent::Failed,
            // The attempt has waited its time; that this is no failure is the task's word.
            Ending::Skipped | Ending::TimedOut => AttemptEvent::TimedOut,
            Ending::Cancelled => AttemptEvent::Stopped,
        };
        self.attempt(task, attempt, event)?;
        if end == Ending::Succeeded && self.run.status == RunStatus::Running && self.queries_items(task) {
            self.run.deciding.insert(task);
            self.actions.push(Action::Decide { task });
            return Ok(());
        }
        let event = match end {
            Ending::Succeeded if self.queries_items(task) => TaskEvent::Stopped,
            Ending::Succeeded => TaskEvent::Succeeded,
            _ if late => TaskEvent::Failed,
            Ending::Skipped => TaskEvent::Skipped,
            Ending::Cancelled => TaskEvent::Stopped,
            Ending::Failed(fault) => return self.retry_or_fail(task, fault, now),
            Ending::TimedOut => return self.retry_or_fail(task, ErrorKind::Timeout.into(), now),
        };
        self.task(task, event)?;
        self.settle(self.run.graph.items(task).to_vec())?;
        self.settle_dependents(task)
    }

    fn retry_or_fail(&mut self, task: TaskIndex, fault: Fault, now: Timestamp) -> Result<(), IllegalTransition> {
        let Some(pause) = self.run.pause_after(task, &fault) else { return self.fail(task) };
        // A time that cannot be told is never due; a delay that long is refused by the flow's check.
        let at = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        self.task(task, TaskEvent::RetryPlanned)?;
        let state = self.task_mut(task, &TaskEvent::RetryPlanned)?;
        state.retries_used += 1;
        state.not_before = Some(at);
        self.actions.push(Action::Wake { task, at });
        Ok(())
    }

    fn fail(&mut self, task: TaskIndex) -> Result<(), IllegalTransition> {
        self.task(task, TaskEvent::Failed)?;
        self.settle(self.run.graph.items(task).to_vec())?;
        self.settle_dependents(task)
    }

    /// What a lost attempt did is unknown. A task that may run twice is ready again, without that counting as a
    /// retry; one that may not, and had begun, has failed.
    fn lose(&mut self, task: TaskIndex, attempt: u32) -> Result<(), IllegalTransition> {
        let begun = self.run.task(task).is_some_and(|state| state.live == Some(AttemptStatus::Running));
        let idempotent = self.run.graph.task(task).is_some_and(|node| node.idempotent);
        self.attempt(task, attempt, AttemptEvent::Lost)?;
        let state = self.task_mut(task, &AttemptEvent::Lost)?;
        state.losses += 1;
        let hopeless = state.losses >= LOSSES_MAX || (begun && !idempotent);
        if hopeless {
            self.fail(task)
        } else if self.run.status == RunStatus::Cancelling {
            self.task(task, TaskEvent::Stopped)?;
            self.settle_dependents(task)
        } else {
            self.task(task, TaskEvent::Lost)?;
            self.actions.push(Action::Enqueue { task });
            Ok(())
        }
    }

    fn end_if_over(&mut self) -> Result<(), IllegalTransition> {
        if !self.run.status.is_active() || !self.run.all_ended() {
            return Ok(());
        }
        let stopped = self.run.status == RunStatus::Cancelling && !self.run.timed_out;
        let event = if stopped && self.run.count(TaskStatus::Cancelled) > 0 {
            RunEvent::SomeCancelled
        } else if self.run.all_well() {
            RunEvent::AllSucceeded
        } else {
            RunEvent::SomeFailed
        };
        self.change_run(event)
    }
}

mod by_hand;
mod call;
mod fan_out;
mod stop;
#[cfg(test)]
mod tests;
