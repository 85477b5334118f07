//! Process groups: every shell task is one, so that ending a task ends everything it started. What leaves the group (a daemon that calls
//! `setsid`) keeps the mark in its environment and is found by it; only a program that empties its environment can get away.
//!
//! What is known about processes comes from `/proc` (Linux). A process is told from a later one with the same number
//! by its start time; a group whose leader is gone is recognised by the lease in its members' environment.

use std::fs;
use std::time::{Duration, Instant};

pub use mulgil_history::write::ProcessMark;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The environment variable that says for which lease (its epoch) a process runs.
pub const LEASE_VARIABLE: &str = "MULGIL_LEASE";
/// The environment variable that says for which attempt's shell (its number and start) a process runs: it stays when a process leaves
/// the group.
pub const PROCESS_VARIABLE: &str = "MULGIL_PROCESS";
/// How often to look whether what was told to end has ended: at first, and at most. Only while it ends: nothing else waits for it.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(160);
/// How long a killed group may take to vanish; the kernel needs longer only for a process stuck in the disk.
const KILLED_MAX: Duration = Duration::from_secs(5);

/// What the kernel says of a process.
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) start_ticks: i64,
    /// Its own time on processors and that of the children that it has waited for.
    pub(crate) cpu_ticks: u64,
}

/// `/proc/<pid>/stat`: the command, in parentheses, may contain anything, so the fields are counted from its end.
pub(crate) fn stat_of(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        cpu_ticks: fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum(),
    })
}

/// Every process of the machine.
pub(crate) fn processes() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat_of(entry.file_name().to_str()?.parse().ok()?))
}

/// What tells this process from a later one with its number.
pub fn mark_of(pid: i32) -> Option<ProcessMark> {
    stat_of(pid).map(|stat| ProcessMark { pid, start_ticks: stat.start_ticks })
}

/// Whether the very process that this is the mark of still does something: a zombie does not.
pub fn is_alive(mark: ProcessMark) -> bool {
    stat_of(mark.pid).is_some_and(|stat| stat.start_ticks == mark.start_ticks && stat.state != 'Z')
}

/// The live processes of a group. Zombies do nothing any more and do not count.
pub fn members_of(group: i32) -> Vec<i32> {
    processes().filter(|stat| stat.group == group && stat.state != 'Z').map(|stat| stat.pid).collect()
}

/// Everything that runs for an attempt: its process group, and what has left it but carries its mark in its environment.
struct Tree {
    mark: ProcessMark,
    /// Whether the group with the mark's number is this attempt's.
    has_group: bool,
}

impl Tree {
    /// Those that live.
    fn members(&self) -> Vec<Stat> {
        let marked = format!("{PROCESS_VARIABLE}={}", word_of(self.mark));
        let is_member =
            |stat: &Stat| (self.has_group && stat.group == self.mark.pid) || has_variable(stat.pid, &marked);
        processes().filter(|stat| stat.state != 'Z' && is_member(stat)).collect()
    }

    fn signal(&self, signal: Signal) {
        if self.has_group
            && let Some(group) = Pid::from_raw(self.mark.pid)
        {
            // The only other answer is that the group is gone already.
            let _ = kill_process_group(group, signal);
        }
        for stray in self.members().into_iter().filter(|stat| stat.group != self.mark.pid) {
            if let Some(pid) = Pid::from_raw(stray.pid) {
                // As above.
                let _ = kill_process(pid, signal);
            }
        }
    }

    async fn gone_within(&self, time: Duration, again: Option<Signal>) -> bool {
        let until = Instant::now() + time;
        let mut pause = LOOK_FIRST;
        loop {
            if self.members().is_empty() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
            // What was started in the very moment of the signal before.
            again.into_iter().for_each(|signal| self.signal(signal));
        }
    }

    async fn kill(&self) {
        self.signal(Signal::KILL);
        self.gone_within(KILLED_MAX, Some(Signal::KILL)).await;
    }
}

/// A mark as the value of [`PROCESS_VARIABLE`].
pub(crate) fn word_of(mark: ProcessMark) -> String {
    format!("{}.{}", mark.pid, mark.start_ticks)
}

/// Asks everything that an attempt has started to end, and after `grace` makes it.
pub async fn end_tree(mark: ProcessMark, grace: Duration) {
    let tree = Tree { mark, has_group: true };
    tree.signal(Signal::TERM);
    if !tree.gone_within(grace, None).await {
        tree.kill().await;
    }
}

/// Kills what is left of the processes that ran an attempt for a server that is gone. Returns whether something was left.
pub async fn kill_left_over(mark: ProcessMark, epoch: i64) -> bool {
    let leader_lives = mark_of(mark.pid) == Some(mark);
    let has_group = leader_lives || members_of(mark.pid).iter().any(|&pid| runs_for(pid, epoch));
    let tree = Tree { mark, has_group };
    if tree.members().is_empty() {
        return false;
    }
    tree.kill().await;
    true
}

fn runs_for(pid: i32, epoch: i64) -> bool {
    has_variable(pid, &format!("{LEASE_VARIABLE}={epoch}"))
}

fn has_variable(pid: i32, wanted: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{LEASE_VARIABLE, end_tree, kill_left_over, mark_of, members_of};

    fn group(script: &str) -> std::process::Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env(LEASE_VARIABLE, "42").stdin(Stdio::null()).stdout(Stdio::piped());
        command.process_group(0).spawn().unwrap()
    }

    /// Waits until the script has said that it is ready.
    fn wait_until_ready(child: &mut std::process::Child) {
        let mut byte = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    }

    #[tokio::test]
    async fn a_group_that_ignores_the_polite_signal_is_killed_with_its_grandchildren() {
        let mut child = group("trap '' TERM; sleep 1000 & sleep 1001 & echo x; wait; wait");
        wait_until_ready(&mut child);
        let pid = child.id() as i32;
        assert_eq!(members_of(pid).len(), 3);
        end_tree(mark_of(pid).unwrap(), Duration::from_millis(50)).await;
        assert_eq!(members_of(pid), [] as [i32; 0]);
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_left_over_group_is_recognised_by_its_start_or_its_lease() {
        let mut child = group("sleep 1000 & echo x; exec sleep 1001");
        wait_until_ready(&mut child);
        let mark = mark_of(child.id() as i32).unwrap();
        let stranger = super::ProcessMark { start_ticks: mark.start_ticks - 1, ..mark };
        assert!(!kill_left_over(stranger, 41).await, "another process with this number is left alone");
        assert_eq!(members_of(mark.pid).len(), 2);
        assert!(kill_left_over(stranger, 42).await, "its members run for this lease");
        assert!(!super::is_alive(mark), "nobody has waited for it yet, but it is dead");
        child.wait().unwrap();
        assert!(!kill_left_over(mark, 42).await, "nothing is left");
    }
}
