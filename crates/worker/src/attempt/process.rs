//! An attempt that is a process of its own.

use std::time::Duration;

use mulgil_flow::{ErrorKind, Task};

use super::{Control, FENCED_GRACE, Interruption, Running, interruption, timeout_of};
use crate::dispatcher::{DispatchError, Dispatcher, Failure, Lease, Outcome};
use crate::log::AttemptLog;
use crate::memory::{Limited, OverMemory};
use crate::result::ResultFile;
use crate::sampler::Metered;
use crate::shell::{Gated, ShellTask, exit_of, outcome_of};
use crate::{crash, group};

impl<D: Dispatcher> Running<'_, D> {
    pub(super) async fn process(
        &mut self,
        task: &Task,
        shell: impl Fn(&Lease) -> Result<ShellTask, String>,
        log: &AttemptLog,
    ) -> Result<Outcome, DispatchError> {
        let items = group::leases(self.lease, task);
        let result = self.bench.result_file(self.lease).of_items(items.as_ref().map(Vec::len));
        result.remove();
        let shell = match &items {
            Some(items) => group::as_one(items, shell, &result),
            None => shell(self.lease),
        };
        let shell = match shell {
            Ok(shell) => shell,
            Err(reason) => return Ok(Outcome::failed(reason)),
        };
        let mut gated = match shell.spawn(log) {
            Ok(gated) => gated,
            Err(reason) => return Ok(Outcome::failed(reason)),
        };
        let _watched = match &self.bench.guard {
            Some(guard) => Some(guard.watch(gated.mark(), self.lease.epoch).await),
            None => None,
        };
        crash::point("before a start is reported");
        let metered = self.metered.insert(self.bench.sampler.begin(Some(gated.mark())));
        let limited = self.bench.memory.limit(task, self.lease, gated.mark(), metered);
        let started = self.bench.dispatcher.started(self.lease.attempt, self.lease.epoch, Some(gated.mark()));
        if let Err(error) = started.await {
            gated.end().await;
            return Err(error);
        }
        crash::point("after a start is reported");
        let told = *self.control.borrow();
        if told != Control::Run {
            gated.end().await;
            return self.interrupted(Interruption::Told(told));
        }
        if let Err(reason) = gated.open().await {
            gated.end().await;
            return Ok(Outcome::failed(reason));
        }
        crash::point("while a task runs");
        self.until_its_end(task, gated, limited, log, &result).await
    }

    async fn until_its_end(
        &mut self,
        task: &Task,
        mut gated: Gated,
        mut limited: Option<Limited>,
        log: &AttemptLog,
        result: &ResultFile,
    ) -> Result<Outcome, DispatchError> {
        let look = || self.metered.iter().for_each(Metered::look);
        let ended = async {
            gated.ended().await;
            look();
            gated.wait().await
        };
        tokio::select! {
            status = ended => {
                gated.clear().await;
                self.exit = status.as_ref().ok().and_then(exit_of);
                let over = limited.as_ref().and_then(Limited::was_exceeded);
                Ok(over.map_or_else(|| outcome_of(status, log, result), |over| self.over_memory(over)))
            }
            over = exceeded(&mut limited) => {
                log.note("ending the process group: it has too much memory");
                look();
                gated.end_within(Duration::ZERO).await;
                Ok(self.over_memory(over))
            }
            why = interruption(&mut self.control, timeout_of(task)) => {
                log.note("ending the process group");
                look();
                match why {
                    // Another worker may begin with it any moment.
                    Interruption::Told(Control::Fenced) => gated.end_within(FENCED_GRACE).await,
                    _ => gated.end().await,
                }
                self.interrupted(why)
            }
        }
    }

    fn over_memory(&mut self, over: OverMemory) -> Outcome {
        self.over = Some(over);
        Outcome::Failed(Failure { reason: over.reason(), fault: ErrorKind::OutOfMemory.into() })
    }
}

/// Waits until too much memory is used; for ever where there is no limit.
async fn exceeded(limited: &mut Option<Limited>) -> OverMemory {
    match limited {
        Some(limited) => limited.exceeded().await,
        None => std::future::pending().await,
    }
}
