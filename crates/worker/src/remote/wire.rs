//! What a worker and a server say to each other, as JSON.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mulgil_flow::{Flow, FlowVersion, Task, Variables};
use mulgil_history::write::ProcessMark;
use mulgil_sched::id::AttemptId;
use mulgil_sched::usage::Usage;
use serde::{Deserialize, Serialize};

use crate::dispatcher::{Lease, Order, Outcome};

/// What both have to speak. Raised when a message changes its meaning.
pub const PROTOCOL: u32 = 2;

/// Between a remote worker's name and what tells this start of it from every other.
const INSTANCE_MARK: char = '@';

/// Whether leases of this owner are held by a worker that is no part of a server.
pub fn is_remote(owner: &str) -> bool {
    owner.contains(INSTANCE_MARK)
}

/// The owner that a worker is: its name, and what tells this start of it from every other.
pub fn owner(name: &str, instance: &str) -> String {
    format!("{name}{INSTANCE_MARK}{instance}")
}

/// The name of an owner, for people.
pub fn name_of(owner: &str) -> &str {
    owner.split_once(INSTANCE_MARK).map_or(owner, |(name, _)| name)
}

/// A lease, by attempt and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The lease's epoch.
    pub epoch: i64,
}

/// A worker joins, for the first time or again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// What it speaks.
    pub protocol: u32,
    /// Its version, for people.
    pub version: String,
    /// Its name.
    pub name: String,
    /// What tells this start of it from every other.
    pub instance: String,
    /// Attempts at once; 0 from one that is about to leave.
    pub slots: usize,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Whether it takes tasks without tags.
    pub untagged: bool,
    /// Whether it has the project's folder.
    pub project: bool,
    /// The leases that it holds.
    pub held: Vec<Held>,
    /// Which of its joinings this is, from 1: one that comes late says what was held then. 0 from one that does not count them.
    #[serde(default)]
    pub joining: u64,
}

/// The answer to one that has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// By which it calls itself from now on.
    pub worker: String,
    /// Orders are counted from here: a number that no other joining has.
    pub session: u64,
}

/// A worker asks for orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Of which joining.
    pub session: u64,
    /// The last order that came.
    pub after: u64,
    /// The leases to renew.
    pub renew: Vec<Held>,
}

/// What it gets.
#[derive(Debug, Serialize, Deserialize)]
pub struct Polled {
    /// Orders by number, in order.
    pub orders: Vec<(u64, WireOrder)>,
    /// Of the leases to renew, those that are lost.
    pub lost: Vec<Held>,
}

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireOrder {
    /// Run this.
    Run(Box<WireLease>),
    /// End this: its run is to stop.
    Stop(AttemptId),
}

/// A lease with what it takes to run its task, and no more of the flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireLease {
    /// Which.
    pub held: Held,
    /// How long it lives without renewal.
    pub life: SignedDuration,
    /// The flow's name.
    pub flow: String,
    /// The flow's version.
    pub version: FlowVersion,
    /// The flow's time zone.
    #[serde(with = "jiff::fmt::serde::tz::required")]
    pub timezone: TimeZone,
    /// The task.
    pub task: Task,
    /// The task's name in the run.
    pub name: String,
    /// The values for the templates.
    pub variables: Variables,
    /// When the task became ready to run.
    pub since: Timestamp,
    /// The log's path.
    pub log: String,
}

impl WireOrder {
    /// The order for the wire; `None` where there is nothing to be said: a lost lease is told with the renewal.
    pub fn of(order: Order) -> Option<Self> {
        match order {
            Order::Run(lease) => Some(Self::Run(Box::new(WireLease {
                held: Held { attempt: lease.attempt, epoch: lease.epoch },
                life: lease.life,
                flow: lease.flow.name.clone(),
                version: lease.flow.version.clone(),
                timezone: lease.flow.timezone.clone(),
                task: lease.task()?.clone(),
                name: lease.task.to_string(),
                variables: (*lease.variables).clone(),
                since: lease.since,
                log: lease.log,
            }))),
            Order::Stop(attempt) => Some(Self::Stop(attempt)),
            Order::Drop(_) => None,
        }
    }

    /// The order as the worker takes it.
    pub fn order(self) -> Order {
        match self {
            Self::Run(lease) => {
                let WireLease { held, life, flow, version, timezone, task, name, variables, since, log } = *lease;
                let flow = Arc::new(Flow::bare(flow, version, timezone, vec![task]));
                let variables = Arc::new(variables);
                let Held { attempt, epoch } = held;
                Order::Run(Box::new(Lease { attempt, epoch, life, flow, task: name.into(), variables, since, log }))
            }
            Self::Stop(attempt) => Order::Stop(attempt),
        }
    }
}

/// An attempt is about to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which.
    pub held: Held,
    /// Its process group, on the worker's machine.
    pub process: Option<ProcessMark>,
}

/// An attempt is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Which.
    pub held: Held,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Box<Usage>>,
}

/// How much of a log the server has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStored {
    /// In bytes. The next piece begins here.
    pub length: u64,
}
