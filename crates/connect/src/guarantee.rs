//! What a pipeline promises of its rows when it is killed at any moment: chosen by whoever writes the view or the `INSERT`,
//! given where its sources and sinks can keep it, and refused with the reason where they cannot.
//!
//! | guarantee | a row's effect on the state | what sinks are given |
//! |---|---|---|
//! | at-most-once | never twice; it may be missing | once its checkpoint stands, never twice; it may be missing |
//! | at-least-once | once | at once; after a crash some of it again |
//! | exactly-once | once | by sinks that can with the checkpoint, once; by others at once, after a crash some of it again |
//! | end-to-end exactly-once | once | with the checkpoint, once |
//!
//! The state counts each row once in the last three because a cut has nothing under way: nothing would be saved by less.

use std::fmt;
use std::str::FromStr;

use crate::sink::{Delivery, Sink};
use crate::source::Source;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// No row counts twice; some may be missing.
    AtMostOnce,
    /// No row is missing; sinks may get some again.
    AtLeastOnce,
    /// Each row counts once in the state; sinks that cannot commit may get some again.
    ExactlyOnce,
    /// Each row counts once in everything that is written.
    EndToEndExactlyOnce,
}

impl Guarantee {
    /// All of them, the weakest first.
    pub const ALL: [Self; 4] = [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce, Self::EndToEndExactlyOnce];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
            Self::EndToEndExactlyOnce => "end-to-end exactly-once",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Guarantee {
    type Err = String;

    /// Reads one; `end-to-end-exactly-once` works too, for command lines.
    fn from_str(text: &str) -> Result<Self, String> {
        let spaced = text.trim().to_ascii_lowercase().replace('_', "-").replace("end-to-end-", "end-to-end ");
        let found = Self::ALL.into_iter().find(|guarantee| guarantee.name() == spaced);
        found.ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(|guarantee| format!("'{guarantee}'")).collect();
            format!("'{text}' is no guarantee; write {}", known.join(", "))
        })
    }
}

/// What is given, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The guarantee.
    pub guarantee: Guarantee,
    /// What each source and sink has to do with it.
    pub reasons: Vec<Reason>,
}

/// What one table has to do with a guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Whether the table is read; otherwise it is written.
    pub is_source: bool,
    /// The table.
    pub table: String,
    /// What it can do.
    pub says: &'static str,
}

impl fmt::Display for Given {
    /// A line with the guarantee, and one a table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guarantee: {}", self.guarantee)?;
        for Reason { is_source, table, says } in &self.reasons {
            write!(f, "\n  {} {table}: {says}", if *is_source { "source" } else { "sink" })?;
        }
        Ok(())
    }
}

/// The tables of a pipeline, and whether it makes checkpoints.
pub struct Pipeline<'a> {
    /// What it reads.
    pub sources: Vec<(&'a str, &'a dyn Source)>,
    /// What it writes.
    pub sinks: Vec<(&'a str, &'a dyn Sink)>,
    /// Whether it makes checkpoints, and goes on from the last one.
    pub has_checkpoints: bool,
}

impl Pipeline<'_> {
    /// Gives the guarantee that is asked for, or the strongest that there is.
    ///
    /// # Errors
    /// It cannot be given: which table is in the way, why, and what to do.
    pub fn give(&self, asked: Option<Guarantee>) -> Result<Given, String> {
        let guarantee = match asked {
            None => self.strongest(),
            Some(asked) => {
                if let Some(obstacle) = self.obstacle(asked) {
                    return Err(format!("the guarantee {asked} cannot be given: {obstacle}"));
                }
                asked
            }
        };
        let source = |(table, source): &(&str, &dyn Source)| {
            let says = if source.replays() {
                "can be read again from any position"
            } else {
                "cannot be read again: what comes after the last checkpoint is lost with the process"
            };
            Reason { is_source: true, table: (*table).to_owned(), says }
        };
        let sink = |(table, sink): &(&str, &dyn Sink)| {
            let says = self.says_sink(*sink, guarantee);
            Reason { is_source: false, table: (*table).to_owned(), says }
        };
        let reasons = self.sources.iter().map(source).chain(self.sinks.iter().map(sink)).collect();
        Ok(Given { guarantee, reasons })
    }

    fn strongest(&self) -> Guarantee {
        let strongest_first = Guarantee::ALL.into_iter().rev();
        let mut possible = strongest_first.filter(|guarantee| self.obstacle(*guarantee).is_none());
        // Without checkpoints a run of tables that can and cannot be read again keeps nothing at all beyond itself.
        possible.next().unwrap_or(Guarantee::AtMostOnce)
    }

    fn says_sink(&self, sink: &dyn Sink, guarantee: Guarantee) -> &'static str {
        match (self.has_checkpoints, sink.is_forgotten(), sink.delivery(), guarantee) {
            (true, true, ..) => "is part of the checkpoint",
            (false, true, ..) => "is gone with the process, and computed anew",
            (false, false, ..) => "a run that is started again writes again: there are no checkpoints",
            (true, false, Delivery::AtLeastOnce, Guarantee::AtMostOnce) => {
                "cannot commit with a checkpoint: it is given rows when their checkpoint stands, and never again"
            }
            (true, false, Delivery::AtLeastOnce, _) => {
                "cannot commit with a checkpoint: what came after the last one is written again after a crash"
            }
            (true, false, Delivery::ExactlyOnce, Guarantee::AtLeastOnce) => {
                "need not wait for the checkpoint: what came after the last one may be written again after a crash"
            }
            (true, false, Delivery::ExactlyOnce, _) => "commits with the checkpoint",
        }
    }

    /// What is in the way of a guarantee.
    fn obstacle(&self, asked: Guarantee) -> Option<String> {
        const NO_CHECKPOINTS: &str = "it makes no checkpoints, so a run that is started again writes again; let it keep \
                                      checkpoints (`mulgil sql --checkpoints FOLDER`)";
        let lost = self.sources.iter().find(|(_, source)| !source.replays());
        let replays = self.sources.iter().any(|(_, source)| source.replays());
        let outlives = !self.has_checkpoints && self.sinks.iter().any(|(_, sink)| !sink.is_forgotten());
        match (asked, lost) {
            (Guarantee::AtMostOnce, _) => (outlives && replays).then(|| NO_CHECKPOINTS.to_owned()),
            (_, Some((table, _))) => Some(format!(
                "source {table} cannot be read again, so what comes after the last checkpoint is lost with the process; \
                 ask for 'at-most-once', or put its rows into a topic of the event log first and read that"
            )),
            (Guarantee::AtLeastOnce, None) => None,
            _ if outlives => Some(NO_CHECKPOINTS.to_owned()),
            (Guarantee::ExactlyOnce, None) => None,
            (Guarantee::EndToEndExactlyOnce, None) => {
                let doubling = self.sinks.iter().find(|(_, sink)| sink.delivery() < Delivery::ExactlyOnce);
                doubling.map(|(table, _)| {
                    format!(
                        "sink {table} cannot commit with a checkpoint, so what came after the last one is written again \
                         after a crash; ask for 'exactly-once' (of the state) or 'at-most-once', or write to a table \
                         that can, for example of Apache Kafka"
                    )
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
