//! What a task asks of the worker that runs it, and what a worker has to offer.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use mulgil_flow::{Task, TaskKind};
use serde::{Deserialize, Serialize};

/// Where a task can be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Wherever there is a worker.
    #[default]
    Anywhere,
    /// Where the project's folder is: it needs its tables.
    Project,
    /// By the server itself: it needs what only lives there.
    Server,
}

/// What a task asks of its worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Demand {
    /// Tags that the worker has to have, sorted.
    pub tags: Vec<Arc<str>>,
    /// Where it can be run.
    pub place: Place,
}

impl Demand {
    /// What this task asks.
    pub fn of(task: &Task) -> Self {
        let place = place_of(&task.kind);
        let tags = task.tags.iter().filter(|_| place != Place::Server);
        Self { tags: tags.map(|tag| tag.as_str().into()).collect(), place }
    }
}

/// Where tasks of a kind can be run. Kinds that need nothing of the server are named.
fn place_of(kind: &TaskKind) -> Place {
    match kind {
        TaskKind::Shell { .. } | TaskKind::Python(_) => Place::Anywhere,
        TaskKind::Sql { .. } | TaskKind::Transfer { .. } => Place::Project,
        _ => Place::Server,
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags = self.tags.join(", ");
        match (self.tags.is_empty(), self.place) {
            (true, Place::Anywhere) => f.write_str("a worker"),
            (true, Place::Project) => f.write_str("a worker with the project's folder"),
            (true, Place::Server) => f.write_str("the server's own worker"),
            (false, Place::Project) => write!(f, "a worker with the project's folder and the tags {tags}"),
            (false, _) => write!(f, "a worker with the tags {tags}"),
        }
    }
}

/// What a worker has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Whether it takes tasks without tags.
    pub untagged: bool,
    /// Whether it has the project's folder.
    pub project: bool,
    /// Whether it is the server's own.
    #[serde(skip)]
    pub own: bool,
    /// Whether it stands for every worker that there may be, as where a flow is tried.
    #[serde(skip)]
    pub any: bool,
}

impl Offer {
    /// The offer of the server's own worker: everything without tags.
    pub fn own() -> Self {
        Self { tags: BTreeSet::new(), untagged: true, project: true, own: true, any: false }
    }

    /// The offer of one that is to run everything.
    pub fn everything() -> Self {
        Self { any: true, ..Self::own() }
    }

    /// Whether the worker may run such a task.
    pub fn meets(&self, demand: &Demand) -> bool {
        if self.any {
            return true;
        }
        let is_there = match demand.place {
            Place::Anywhere => true,
            Place::Project => self.project,
            Place::Server => self.own,
        };
        let takes = if demand.tags.is_empty() { self.untagged } else { true };
        is_there && takes && demand.tags.iter().all(|tag| self.tags.contains(&**tag))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::{Demand, Offer, Place};

    #[test]
    fn a_worker_meets_a_demand_when_it_has_every_tag_and_is_at_the_place() {
        let offer = |tags: &[&str], untagged, project| Offer {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            untagged,
            project,
            own: false,
            any: false,
        };
        let demand = |tags: &[&str], place| Demand { tags: tags.iter().map(|tag| (*tag).into()).collect(), place };
        use Place::{Anywhere, Project, Server};
        let cases = [
            (Offer::own(), demand(&[], Server), true),
            (Offer::own(), demand(&["gpu"], Anywhere), false),
            (Offer::everything(), demand(&["gpu"], Project), true),
            (offer(&["gpu"], false, false), demand(&["gpu"], Anywhere), true),
            (offer(&["gpu", "big"], false, false), demand(&["gpu"], Anywhere), true),
            (offer(&["gpu"], false, false), demand(&["big", "gpu"], Anywhere), false),
            (offer(&["gpu"], false, false), demand(&[], Anywhere), false),
            (offer(&["gpu"], true, false), demand(&[], Anywhere), true),
            (offer(&["gpu"], false, false), demand(&["gpu"], Project), false),
            (offer(&["gpu"], false, true), demand(&["gpu"], Project), true),
            (offer(&[], true, true), demand(&[], Server), false),
        ];
        for (offer, demand, expected) in cases {
            assert_eq!(offer.meets(&demand), expected, "{offer:?} {demand:?}");
        }
    }
}
