//! A scheduler that has not started, because another server leads: whoever asks is told which.

use mulgil_worker::dispatcher::DispatchError;

use super::drive::Inbox;
use super::error::SchedulerError;
use super::event::{Command, Event, Report};

impl Inbox {
    /// Answers whoever asks, until dropped. `leader` says where the server is that leads. Nothing that was asked is lost: what was
    /// not taken from the queue is there for the scheduler when it starts.
    pub async fn stand_by(&mut self, leader: impl Fn() -> Option<String>) {
        while let Some(event) = self.queue.recv().await {
            match event {
                Event::Command(command) => refuse(command, SchedulerError::StandsBy { leader: leader() }),
                Event::Report(report) => refuse_report(report),
                Event::Drain(done) | Event::Shutdown(done) => drop(done.send(())),
            }
        }
        // Nobody can ask any more.
        std::future::pending::<()>().await;
    }
}

fn refuse(command: Command, error: SchedulerError) {
    match command {
        Command::Trigger(_, reply) => drop(reply.send(Err(error))),
        Command::PlanBackfill(_, reply) => drop(reply.send(Err(error))),
        Command::StartBackfill(_, reply) => drop(reply.send(Err(error))),
        Command::CancelBackfill(_, reply) | Command::CancelRun(_, reply) | Command::SetPaused(_, _, reply) => {
            drop(reply.send(Err(error)));
        }
        Command::PauseBackfill(_, _, reply) => drop(reply.send(Err(error))),
        Command::PreviewRerun(_, reply) | Command::Rerun(_, reply) => drop(reply.send(Err(error))),
        Command::PreviewMark(_, reply) | Command::Mark(_, reply) => drop(reply.send(Err(error))),
        // The files are read again when this server comes to lead.
        Command::Reload(_, _, reply) => drop(reply.send(Ok(()))),
        Command::WhyRun(_, _, reply) => drop(reply.send(Err(error))),
        Command::WhyFlow(_, reply) => drop(reply.send(Err(error))),
        Command::Workers(reply) => drop(reply.send(Err(error))),
        Command::Drop(_, reply) => drop(reply.send(Err(error))),
        Command::Gauges(reply) => drop(reply.send(Err(error))),
        Command::Pools(reply) => drop(reply.send(Ok(Vec::new()))),
    }
}

fn refuse_report(report: Report) {
    match report {
        Report::Attach { reply, .. } => drop(reply.send(Err(DispatchError::Stopped))),
        Report::Leave { reply, .. } => drop(reply.send(Err(DispatchError::Stopped))),
        Report::Log { reply, .. } => drop(reply.send(Err(DispatchError::Stopped))),
        Report::Started { reply, .. } | Report::Finished { reply, .. } => drop(reply.send(Err(DispatchError::Stopped))),
        Report::Measured { reply, .. } => drop(reply.send(Err(DispatchError::Stopped))),
        // The postman ends with it.
        Report::Told { reply, .. } => drop(reply),
        Report::Renew { reply, .. } => drop(reply.send(Err(DispatchError::Stopped))),
    }
}
