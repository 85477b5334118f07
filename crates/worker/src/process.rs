//! Process groups: every shell task is one, so that ending a task ends everything it started.
//!
//! What is known about processes comes from `/proc` (Linux). A process is told from a later one with the same number
//! by its start time; a group whose leader is gone is recognised by the lease in its members' environment.

use std::fs;
use std::time::{Duration, Instant};

pub use mulgil_history::write::ProcessMark;
use rustix::process::{Pid, Signal, kill_process_group};

/// The environment variable that says for which lease (its epoch) a process runs.
pub const LEASE_VARIABLE: &str = "MULGIL_LEASE";
/// How often to look whether a group that was told to end has ended. Only while it ends: nothing else waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a killed group may take to vanish; the kernel needs longer only for a process stuck in the disk.
const KILLED_MAX: Duration = Duration::from_secs(5);

struct Stat {
    state: char,
    group: i32,
    start_ticks: i64,
}

/// `/proc/<pid>/stat`: the command, in parentheses, may contain anything, so the fields are counted from its end.
fn stat_of(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
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
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|&pid| stat_of(pid).is_some_and(|stat| stat.group == group && stat.state != 'Z')).collect()
}

fn signal(group: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(group) {
        // The only other answer is that the group is gone already.
        let _ = kill_process_group(pid, signal);
    }
}

/// Asks a group to end, and after `grace` makes it.
pub async fn end_group(group: i32, grace: Duration) {
    signal(group, Signal::TERM);
    if !gone_within(group, grace).await {
        signal(group, Signal::KILL);
        gone_within(group, KILLED_MAX).await;
    }
}

async fn gone_within(group: i32, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        if members_of(group).is_empty() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Kills what is left of the group that ran an attempt for a server that is gone. Returns whether something was left.
pub async fn kill_left_over(mark: ProcessMark, epoch: i64) -> bool {
    let leader_lives = mark_of(mark.pid) == Some(mark);
    let members = members_of(mark.pid);
    let is_ours = leader_lives || members.iter().any(|&pid| runs_for(pid, epoch));
    if !is_ours || members.is_empty() {
        return false;
    }
    signal(mark.pid, Signal::KILL);
    gone_within(mark.pid, KILLED_MAX).await;
    true
}

fn runs_for(pid: i32, epoch: i64) -> bool {
    let wanted = format!("{LEASE_VARIABLE}={epoch}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{LEASE_VARIABLE, end_group, kill_left_over, mark_of, members_of};

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
        end_group(pid, Duration::from_millis(50)).await;
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
