//! What the desk makes of requests that come late.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mulgil_history::write::ProcessMark;
use mulgil_sched::id::{AttemptId, RunId};
use mulgil_sched::usage::Usage;
use tokio::sync::mpsc;

use super::{Desk, DeskError};
use crate::dispatcher::{DispatchError, Dispatcher, Joining, Order, Outcome};
use crate::remote::wire::{Held, Join, PROTOCOL};

/// Remembers what each that joined said it held.
#[derive(Clone, Default)]
struct Scheduler(Arc<Mutex<Vec<usize>>>);

#[async_trait]
impl Dispatcher for Scheduler {
    async fn attach(&self, joining: Joining) -> Result<mpsc::Receiver<Order>, DispatchError> {
        self.0.lock().unwrap().push(joining.held.len());
        Ok(mpsc::channel(1).1)
    }

    async fn started(&self, _: AttemptId, _: i64, _: Option<ProcessMark>) -> Result<(), DispatchError> {
        Ok(())
    }

    async fn renew(&self, _: &[(AttemptId, i64)]) -> Result<Vec<AttemptId>, DispatchError> {
        Ok(Vec::new())
    }

    async fn measured(&self, _: AttemptId, _: i64, _: Usage) -> Result<(), DispatchError> {
        Ok(())
    }

    async fn finished(&self, _: AttemptId, _: i64, _: Outcome) -> Result<(), DispatchError> {
        Ok(())
    }
}

/// A worker joins for the time `joining`, with so many leases in hand.
fn join(joining: u64, leases: u32) -> Join {
    let attempt = |task| AttemptId { run: RunId(1), task, attempt: 1 };
    let held = (0..leases).map(|task| Held { attempt: attempt(task), epoch: 1 + i64::from(task) });
    Join {
        protocol: PROTOCOL,
        version: "1".to_owned(),
        name: "far".to_owned(),
        instance: "a".to_owned(),
        slots: 2,
        tags: BTreeSet::new(),
        untagged: true,
        project: false,
        held: held.collect(),
        joining,
    }
}

#[tokio::test]
async fn a_joining_that_comes_late_does_not_take_back_what_was_held_since() {
    let scheduler = Scheduler::default();
    let desk = Desk::new(scheduler.clone());
    let first = desk.join(join(1, 0)).await.unwrap();
    let second = desk.join(join(2, 2)).await.unwrap();
    assert!(second.session > first.session);
    for late in [1, 2] {
        assert_eq!(desk.join(join(late, 0)).await.unwrap_err(), DeskError::Unknown("far@a".to_owned()));
    }
    desk.join(join(3, 1)).await.unwrap();
    // One of a version that does not count them is taken as it comes.
    desk.join(join(0, 0)).await.unwrap();
    assert_eq!(*scheduler.0.lock().unwrap(), [0, 2, 1, 0]);
}
