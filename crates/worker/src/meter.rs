//! What an attempt uses, looked up in `/proc` now and then: its process tree, and the machine.
//!
//! A process belongs to the tree when its parent does, when it is in the tree's process group, or when it was seen to belong before: so
//! what is orphaned or calls `setsid` goes on being counted. Time and bytes of a child that was waited for are in its parent's, as the
//! kernel adds them; of one that nobody waited for, what was seen last counts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use mulgil_sched::usage::{MachineUsage, Sample, TreeUsage, Usage, keep};
use tokio::sync::watch;

use crate::cgroup::OwnGroup;
use crate::host::HostMeter;
use crate::process::{ProcessMark, Stat, stat_of};

/// The kernel tells times in hundredths of a second, whatever its own clock.
pub(crate) const TICK_MS: u64 = 10;

/// What the machine's counters stand at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    cores: u32,
    cpu_busy: u64,
    cpu_all: u64,
    memory_bytes: u64,
    memory_available_bytes: u64,
    received_bytes: u64,
    sent_bytes: u64,
    disk_busy_ms: HashMap<String, u64>,
    oom_kills: u64,
    container_oom_kills: u64,
    container_memory_bytes: Option<u64>,
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

impl Machine {
    /// Reads the counters.
    pub(crate) fn look() -> Self {
        let container = OwnGroup::of_this_process();
        let stat = read("/proc/stat");
        let times = |line: &str| {
            line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect::<Vec<u64>>()
        };
        let cpu = stat.lines().next().map(times).unwrap_or_default();
        let idle: u64 = cpu.iter().skip(3).take(2).sum();
        let all: u64 = cpu.iter().sum();
        let memory = read("/proc/meminfo");
        let network = read("/proc/net/dev");
        let (received_bytes, sent_bytes) =
            network.lines().filter_map(interface).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Self {
            cores: stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count() as u32,
            cpu_busy: all.saturating_sub(idle),
            cpu_all: all,
            memory_bytes: kilobytes(&memory, "MemTotal:"),
            memory_available_bytes: kilobytes(&memory, "MemAvailable:"),
            received_bytes,
            sent_bytes,
            disk_busy_ms: read("/proc/diskstats").lines().filter_map(disk).collect(),
            oom_kills: named(&read("/proc/vmstat"), "oom_kill").unwrap_or(0),
            container_oom_kills: container.map_or(0, OwnGroup::oom_kills),
            container_memory_bytes: container.and_then(OwnGroup::limit_bytes),
        }
    }

    /// Received and sent so far.
    fn network_bytes(&self) -> u64 {
        self.received_bytes + self.sent_bytes
    }
}

/// Received and sent of a line of `/proc/net/dev`; loopback is no network.
fn interface(line: &str) -> Option<(u64, u64)> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if name.trim() == "lo" { None } else { Some((*numbers.first()?, *numbers.get(8)?)) }
}

/// A disk of `/proc/diskstats` and how long it was at work; partitions and what is no device do not count.
fn disk(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = *words.get(2)?;
    let counts = !name.starts_with("loop") && !name.starts_with("ram") && Path::new("/sys/block").join(name).exists();
    counts.then_some(())?;
    Some((name.to_owned(), words.get(12)?.parse().ok()?))
}

pub(crate) fn named(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

pub(crate) fn kilobytes(text: &str, name: &str) -> u64 {
    named(text, name).unwrap_or(0) * 1024
}

/// What one process of a tree stands at.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    parent: i32,
    cpu_ms: u64,
    memory_bytes: u64,
    memory_peak_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
}

impl Member {
    fn of(stat: &Stat, before: Option<&Self>) -> Self {
        let io = read(&format!("/proc/{}/io", stat.pid));
        let status = read(&format!("/proc/{}/status", stat.pid));
        let last = before.copied().unwrap_or_default();
        Self {
            parent: stat.parent,
            cpu_ms: stat.cpu_ticks * TICK_MS,
            memory_bytes: kilobytes(&status, "VmRSS:"),
            // A process that has ended has none any more.
            memory_peak_bytes: kilobytes(&status, "VmHWM:").max(last.memory_peak_bytes),
            read_bytes: named(&io, "read_bytes:").unwrap_or(0).max(last.read_bytes),
            written_bytes: named(&io, "write_bytes:").unwrap_or(0).max(last.written_bytes),
        }
    }
}

/// A tree, from its root.
#[derive(Debug)]
struct Tree {
    root: ProcessMark,
    members: HashMap<(i32, i64), Member>,
    /// Of those that are gone and that nobody waited for.
    gone: TreeUsage,
    total: TreeUsage,
    memory_bytes: u64,
}

impl Tree {
    fn look(&mut self, processes: &[Stat]) {
        let mut found: HashMap<i32, &Stat> = HashMap::new();
        let is_root = |stat: &Stat| stat.pid == self.root.pid && stat.start_ticks == self.root.start_ticks;
        let seen = |stat: &Stat| self.members.contains_key(&(stat.pid, stat.start_ticks));
        for stat in processes.iter().filter(|stat| is_root(stat) || stat.group == self.root.pid || seen(stat)) {
            found.insert(stat.pid, stat);
        }
        // A child may stand before its parent in the list.
        loop {
            let children =
                processes.iter().filter(|stat| found.contains_key(&stat.parent) && !found.contains_key(&stat.pid));
            let children: Vec<&Stat> = children.collect();
            if children.is_empty() {
                break;
            }
            found.extend(children.into_iter().map(|stat| (stat.pid, stat)));
        }
        self.count(found.into_values());
    }

    /// Its memory, with each page that processes share counted once.
    fn own_memory_bytes(&self) -> u64 {
        let own = |(pid, _): &(i32, i64)| kilobytes(&read(&format!("/proc/{pid}/smaps_rollup")), "Pss:");
        self.members.keys().map(own).sum()
    }

    /// Looks only at what is known: the last look, when every moment counts.
    fn look_at_known(&mut self) {
        let known: Vec<(i32, i64)> =
            self.members.keys().copied().chain([(self.root.pid, self.root.start_ticks)]).collect();
        let stats: Vec<Stat> = known
            .into_iter()
            .filter_map(|(pid, start)| stat_of(pid).filter(|stat| stat.start_ticks == start))
            .collect();
        let distinct: HashMap<i32, &Stat> = stats.iter().map(|stat| (stat.pid, stat)).collect();
        self.count(distinct.into_values());
    }

    fn count<'a>(&mut self, found: impl Iterator<Item = &'a Stat>) {
        let mut now: HashMap<(i32, i64), Member> = HashMap::new();
        for stat in found {
            let key = (stat.pid, stat.start_ticks);
            now.insert(key, Member::of(stat, self.members.get(&key)));
        }
        for (key, member) in self.members.iter().filter(|(key, _)| !now.contains_key(*key)) {
            let waited_for = self.members.keys().any(|(pid, _)| *pid == member.parent && *pid != key.0);
            if !waited_for {
                add(&mut self.gone, member);
            }
        }
        let mut sum = self.gone;
        now.values().for_each(|member| add(&mut sum, member));
        self.memory_bytes = now.values().map(|member| member.memory_bytes).sum();
        let highest = now.values().map(|member| member.memory_peak_bytes).max().unwrap_or(0);
        let total = &mut self.total;
        total.cpu_ms = total.cpu_ms.max(sum.cpu_ms);
        total.read_bytes = total.read_bytes.max(sum.read_bytes);
        total.written_bytes = total.written_bytes.max(sum.written_bytes);
        total.memory_peak_bytes = total.memory_peak_bytes.max(self.memory_bytes).max(highest);
        self.members = now;
    }
}

fn add(sum: &mut TreeUsage, member: &Member) {
    sum.cpu_ms += member.cpu_ms;
    sum.read_bytes += member.read_bytes;
    sum.written_bytes += member.written_bytes;
}

/// Meters one attempt.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Instant,
    tree: Option<Tree>,
    host: Option<HostMeter>,
    first: Machine,
    last: Machine,
    last_at: Instant,
    last_total: TreeUsage,
    memory_available_min_bytes: u64,
    /// How many bytes the tree may have, and who wants to know what it has.
    limit: Option<(u64, watch::Sender<u64>)>,
    samples: Vec<Sample>,
}

impl Meter {
    /// Begins: with the root of the tree, where there is one; else this process is looked at, which does the work.
    pub(crate) fn begin(root: Option<ProcessMark>, machine: Machine) -> Self {
        let host = root.is_none().then(HostMeter::begin);
        let tree = root.map(|root| Tree {
            root,
            members: HashMap::new(),
            gone: TreeUsage::default(),
            total: TreeUsage::default(),
            memory_bytes: 0,
        });
        let now = Instant::now();
        Self {
            begun: now,
            tree,
            host,
            memory_available_min_bytes: machine.memory_available_bytes,
            first: machine.clone(),
            last: machine,
            last_at: now,
            last_total: TreeUsage::default(),
            limit: None,
            samples: Vec::new(),
        }
    }

    /// One look among many.
    pub(crate) fn look(&mut self, processes: &[Stat], machine: &Machine) {
        if let Some(tree) = &mut self.tree {
            tree.look(processes);
            if let Some((limit, held)) = &self.limit {
                let shared_twice = tree.memory_bytes > *limit;
                held.send_replace(if shared_twice { tree.own_memory_bytes() } else { tree.memory_bytes });
            }
        }
        self.host.iter_mut().for_each(HostMeter::look);
        self.sample(machine);
    }

    /// So many attempts are done by this process at the same time.
    pub(crate) fn beside(&mut self, attempts: usize) {
        self.host.iter_mut().for_each(|host| host.beside(attempts.saturating_sub(1)));
    }

    /// Whether this process does the work.
    pub(crate) fn is_of_host(&self) -> bool {
        self.host.is_some()
    }

    /// What the tree has at each look from now on. A limit is what it may have: near it is counted exactly.
    pub(crate) fn watch_memory(&mut self, limit: u64) -> watch::Receiver<u64> {
        let (held, receiver) = watch::channel(0);
        self.limit = Some((limit, held));
        receiver
    }

    /// Whether somebody waits for each look.
    pub(crate) fn is_watched(&self) -> bool {
        self.limit.is_some()
    }

    /// The last look at the tree, as soon as its root has ended.
    pub(crate) fn look_last(&mut self) {
        if let Some(tree) = &mut self.tree {
            tree.look_at_known();
        }
    }

    fn sample(&mut self, machine: &Machine) {
        let now = Instant::now();
        let step_ms = (now - self.last_at).as_millis().max(1) as u64;
        let per_s = |bytes: u64| bytes * 1000 / step_ms;
        let total = self.tree.as_ref().map(|tree| tree.total).unwrap_or_default();
        let before = self.last_total;
        let busy_ms = machine.cpu_busy.saturating_sub(self.last.cpu_busy) * TICK_MS;
        let (cpu_ms, memory_bytes) = match &self.tree {
            Some(tree) => (total.cpu_ms - before.cpu_ms, tree.memory_bytes),
            None => (busy_ms, machine.memory_bytes.saturating_sub(machine.memory_available_bytes)),
        };
        let disk = (total.read_bytes + total.written_bytes).saturating_sub(before.read_bytes + before.written_bytes);
        let sample = Sample {
            at_ms: (now - self.begun).as_millis() as u64,
            cores: cpu_ms as f64 / step_ms as f64,
            memory_bytes,
            disk_bytes_per_s: per_s(disk),
            network_bytes_per_s: per_s(machine.network_bytes().saturating_sub(self.last.network_bytes())),
        };
        keep(&mut self.samples, sample);
        self.memory_available_min_bytes = self.memory_available_min_bytes.min(machine.memory_available_bytes);
        (self.last, self.last_at, self.last_total) = (machine.clone(), now, total);
    }

    /// What was used, at the end. `folder` is on the disk whose room is told.
    pub(crate) fn end(mut self, machine: &Machine, folder: &Path) -> Usage {
        // A short attempt has no sample, and needs none.
        if !self.samples.is_empty() {
            self.sample(machine);
        }
        let wall_ms = self.begun.elapsed().as_millis() as u64;
        Usage {
            wall_ms,
            tree: self.tree.as_ref().map(|tree| tree.total),
            host: self.host.take().map(HostMeter::end),
            machine: self.machine(machine, wall_ms, folder),
            samples: self.samples,
            finding: None,
        }
    }

    fn machine(&self, last: &Machine, wall_ms: u64, folder: &Path) -> MachineUsage {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) };
        let first = &self.first;
        let disks = last
            .disk_busy_ms
            .iter()
            .map(|(name, busy)| busy.saturating_sub(first.disk_busy_ms.get(name).copied().unwrap_or(*busy)));
        let received_bytes = last.received_bytes.saturating_sub(first.received_bytes);
        let sent_bytes = last.sent_bytes.saturating_sub(first.sent_bytes);
        let link = fastest_link_bytes_per_s();
        MachineUsage {
            cores: last.cores,
            cpu_share: share(last.cpu_busy.saturating_sub(first.cpu_busy), last.cpu_all.saturating_sub(first.cpu_all)),
            memory_bytes: last.memory_bytes,
            memory_available_min_bytes: self.memory_available_min_bytes.min(last.memory_available_bytes),
            disk_share: share(disks.max().unwrap_or(0), wall_ms),
            received_bytes,
            sent_bytes,
            network_share: link.map(|link| share(received_bytes.max(sent_bytes) * 1000, link * wall_ms.max(1))),
            oom_kills: last.oom_kills.saturating_sub(first.oom_kills),
            container_oom_kills: last.container_oom_kills.saturating_sub(first.container_oom_kills),
            container_memory_bytes: last.container_memory_bytes,
            disk_free_bytes: rustix::fs::statvfs(folder).ok().map(|disk| disk.f_bavail * disk.f_frsize),
        }
    }
}

/// The speed of the fastest network link, where the machine knows one; virtual ones often do not.
fn fastest_link_bytes_per_s() -> Option<u64> {
    let links = fs::read_dir("/sys/class/net").ok()?.flatten();
    let speeds =
        links.filter_map(|link| fs::read_to_string(link.path().join("speed")).ok()?.trim().parse::<i64>().ok());
    let megabits = u64::try_from(speeds.max()?).ok().filter(|speed| *speed > 0)?;
    Some(megabits * 1_000_000 / 8)
}
