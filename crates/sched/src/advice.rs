//! Advice on how many slots a pool should have: from how long its attempts waited for one, and what their machines did meanwhile.
//!
//! Waiting is counted from when an attempt was ready until a worker had it. More slots help where attempts waited while the
//! machines had room; they do not where processors, memory, a disk or the network were used up; and where nobody waited there are
//! enough. Figures of a machine include what others did on it, which is right: slots share it with them.

use jiff::Timestamp;

use crate::diagnosis::{Bottleneck, bytes};
use crate::usage::Usage;

/// Fewer attempts say nothing.
const ATTEMPTS_MIN: usize = 20;
/// With less of the time spent waiting there are slots enough.
const WAITED_MIN: f64 = 0.1;
/// A share of a machine from which on it is used up.
const USED_UP: f64 = 0.85;
/// With less memory available a machine is short of it.
const MEMORY_SHORT: f64 = 0.1;
/// Nobody knows what a machine does with more than this many times the slots.
const GROWTH_MAX: f64 = 4.0;

/// An attempt that has ended, or runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Worked {
    /// Since when it could have run.
    pub ready: Timestamp,
    /// When a worker had it.
    pub leased: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What it used.
    pub usage: Option<Usage>,
}

/// What the attempts of a pool say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// How many they are.
    pub attempts: usize,
    /// Of their time from ready to ended, the share in which they waited for a slot, 0 to 1.
    pub waited: f64,
    /// The most that were at work at once.
    pub at_work_max: usize,
    /// The most that waited at once.
    pub waiting_max: usize,
    /// The share of the processors that was used while they were at work, 0 to 1, on average over their time.
    pub cpu: f64,
    /// Of the busiest disk's time, likewise.
    pub disk: f64,
    /// Of the network link, where its speed is known.
    pub network: Option<f64>,
    /// The least share of the memory that was available, 0 to 1.
    pub memory_available: f64,
    /// The memory that an attempt had at the most, on average, where it was measured.
    pub memory_each_bytes: Option<u64>,
    /// The memory of the machine.
    pub memory_bytes: u64,
}

/// What to do about a pool's slots.
#[derive(Clone, Debug, PartialEq)]
pub enum Advice {
    /// Too little has run to say anything.
    Unknown,
    /// Nobody waits long.
    Enough,
    /// Nobody waits, and so many would do.
    Fewer(usize),
    /// They wait while the machine has room: so many.
    More(usize),
    /// They wait, and more slots do not help: this is used up.
    UsedUp(Bottleneck),
}

impl Load {
    /// Counts attempts, in any order.
    pub fn of(worked: &[Worked]) -> Self {
        let seconds = |from: Timestamp, to: Timestamp| from.duration_until(to).as_secs_f64().max(0.0);
        let waited: f64 = worked.iter().map(|one| seconds(one.ready, one.leased)).sum();
        let at_work: f64 = worked.iter().map(|one| seconds(one.leased, one.ended)).sum();
        let measured = worked.iter().filter_map(|one| Some((one.usage.as_ref()?, seconds(one.leased, one.ended))));
        let measured: Vec<(&Usage, f64)> = measured.filter(|(usage, _)| usage.machine.cores > 0).collect();
        let whole: f64 = measured.iter().map(|(_, weight)| weight).sum();
        let mean = |share: &dyn Fn(&Usage) -> f64| {
            let sum: f64 = measured.iter().map(|(usage, weight)| share(usage) * weight).sum();
            if whole > 0.0 { sum / whole } else { 0.0 }
        };
        let knows_network = measured.iter().any(|(usage, _)| usage.machine.network_share.is_some());
        let network = knows_network.then(|| mean(&|usage| usage.machine.network_share.unwrap_or(0.0)));
        let available = |usage: &Usage| {
            let machine = &usage.machine;
            machine.memory_available_min_bytes as f64 / machine.memory_bytes.max(1) as f64
        };
        let trees: Vec<u64> =
            measured.iter().filter_map(|(usage, _)| usage.tree).map(|tree| tree.memory_peak_bytes).collect();
        Self {
            attempts: worked.len(),
            waited: if waited + at_work > 0.0 { waited / (waited + at_work) } else { 0.0 },
            at_work_max: most_at_once(worked.iter().map(|one| (one.leased, one.ended))),
            waiting_max: most_at_once(worked.iter().map(|one| (one.ready, one.leased))),
            cpu: mean(&|usage| usage.machine.cpu_share),
            disk: mean(&|usage| usage.machine.disk_share),
            network,
            memory_available: measured.iter().map(|(usage, _)| available(usage)).fold(1.0, f64::min),
            memory_each_bytes: (!trees.is_empty()).then(|| trees.iter().sum::<u64>() / trees.len() as u64),
            memory_bytes: measured.iter().map(|(usage, _)| usage.machine.memory_bytes).max().unwrap_or(0),
        }
    }

    /// What the slots of the pool should be, which are so many now.
    pub fn advice(&self, slots: usize) -> Advice {
        if self.attempts < ATTEMPTS_MIN {
            return Advice::Unknown;
        }
        if self.waited < WAITED_MIN {
            return match self.at_work_max.max(1) {
                most if self.waiting_max == 0 && most * 2 < slots => Advice::Fewer(most),
                _ => Advice::Enough,
            };
        }
        let used = [
            (Bottleneck::Cpu, self.cpu),
            (Bottleneck::Disk, self.disk),
            (Bottleneck::Network, self.network.unwrap_or(0.0)),
        ];
        if self.memory_bytes > 0 && self.memory_available < MEMORY_SHORT {
            return Advice::UsedUp(Bottleneck::Memory);
        }
        if let Some((bottleneck, _)) =
            used.into_iter().filter(|(_, share)| *share >= USED_UP).max_by(|a, b| a.1.total_cmp(&b.1))
        {
            return Advice::UsedUp(bottleneck);
        }
        let busiest = used.into_iter().map(|(_, share)| share).fold(0.0, f64::max);
        let growth = (USED_UP / busiest.max(USED_UP / GROWTH_MAX)).min(GROWTH_MAX);
        let room = self.memory_bytes as f64 * (self.memory_available - MEMORY_SHORT);
        let by_memory = self.memory_each_bytes.filter(|each| *each > 0).map(|each| (room / each as f64) as usize);
        let most = (slots as f64 * growth) as usize;
        let most = most.min(slots + self.waiting_max).min(by_memory.map_or(usize::MAX, |more| slots + more));
        match most > slots {
            true => Advice::More(most),
            false if by_memory == Some(0) => Advice::UsedUp(Bottleneck::Memory),
            false => Advice::Enough,
        }
    }

    /// The advice as a sentence, with the figures that it comes from.
    pub fn sentence(&self, pool: &str, slots: usize) -> String {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let waited = format!("tasks waited {} of their time for one of the {slots} slots", percent(self.waited));
        match self.advice(slots) {
            Advice::Unknown => {
                format!("pool {pool}: only {} attempts so far, which says nothing yet", self.attempts)
            }
            Advice::Enough => format!("pool {pool}: {waited}: they are enough"),
            Advice::Fewer(most) => {
                format!("pool {pool}: no more than {most} of the {slots} slots were ever used: {most} would do")
            }
            Advice::More(most) => {
                let each = self.memory_each_bytes.map_or_else(String::new, |each| format!(", {} each", bytes(each)));
                format!(
                    "pool {pool}: {waited} while processors were used to {} and {} of the memory was free at the least{each}: \
                     more slots would help, up to {most}",
                    percent(self.cpu),
                    percent(self.memory_available),
                )
            }
            Advice::UsedUp(bottleneck) => {
                let what = match bottleneck {
                    Bottleneck::Memory => {
                        format!("only {} of the memory was free at the least", percent(self.memory_available))
                    }
                    Bottleneck::Disk => format!("a disk was busy {} of the time", percent(self.disk)),
                    Bottleneck::Network => format!("the network was used to {}", percent(self.network.unwrap_or(0.0))),
                    _ => format!("processors were used to {}", percent(self.cpu)),
                };
                format!("pool {pool}: {waited}, and {what}: more slots will not help")
            }
        }
    }
}

/// The most of these spans that there were at one moment. One that ends when another begins is not beside it.
fn most_at_once(spans: impl Iterator<Item = (Timestamp, Timestamp)>) -> usize {
    let mut changes: Vec<(Timestamp, i64)> =
        spans.filter(|(from, to)| from < to).flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    changes.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(0)
}

#[cfg(test)]
mod tests;
