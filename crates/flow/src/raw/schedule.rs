//! The form of schedules.

use super::word;
use crate::findings::Findings;
use crate::read::{FromNode, Located, OneOrMany, Text, raw_map};
use crate::yaml::Node;
use crate::{Dst, Overlap};

raw_map! {
    /// When a flow runs: `cron` or `every`.
    RawSchedule: "the schedule" {
        /// A cron expression of five fields (minute, hour, day of month, month, day of week), or @hourly, @daily,
        /// @weekly, @monthly, @yearly.
        "cron" cron: Text,
        /// A constant time between runs, such as `15m`.
        "every" every: Text,
        /// An IANA time zone, such as Europe/Berlin. Without it, the project's.
        "timezone" timezone: Text,
        /// A date or time; no data interval starts before it.
        "start" start: Text,
        /// A date or time; no data interval ends after it.
        "end" end: Text,
        /// What happens to runs that were missed while no server ran: none, latest (the default), all, or how many of
        /// the latest.
        "catchup" catchup: RawCatchup,
        /// What a time of day means where the clock skips it or shows it twice: skip (a skipped one is left out), first (it fires after
        /// the gap, and once; the default) or both (both comings fire).
        "dst" dst: Located<Dst>,
        /// A calendar of mulgil.yaml: the schedule rests on the days that it takes away.
        "calendar" calendar: Text,
        /// What happens to a run that is due while one that was scheduled before has not ended: queue (it waits), skip (it
        /// is left out) or cancel (the older one is stopped). Without it, both run, as far as `concurrency` lets them.
        "overlap" overlap: Located<Overlap>,
        /// Tables that a run waits for: it begins as soon as all of them have been written for its whole interval by tasks of
        /// this project, and not by the clock. `cron` or `every` then only says where intervals begin and end.
        "on" on: OneOrMany,
    }
}

impl FromNode for Located<Dst> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "dst", &Dst::ALL.map(|dst| (dst.word(), dst)), findings)
    }
}

impl FromNode for Located<Overlap> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "overlap", &Overlap::ALL.map(|overlap| (overlap.word(), overlap)), findings)
    }
}

/// `none`, `latest`, `all`, or a number.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawCatchup {
    /// How many of the latest.
    AtMost(u32),
    /// In a word.
    Word(CatchupWord),
}

/// What happens to missed runs, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CatchupWord {
    /// They are dropped.
    None,
    /// The latest runs.
    Latest,
    /// All run.
    All,
}

impl FromNode for RawCatchup {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let text = Text::from_node(node, findings)?;
        if let Ok(number) = text.value.parse() {
            return Some(Self::AtMost(number));
        }
        let words = [("none", CatchupWord::None), ("latest", CatchupWord::Latest), ("all", CatchupWord::All)];
        word(node, "catchup", &words, findings).map(|found| Self::Word(found.value))
    }
}
