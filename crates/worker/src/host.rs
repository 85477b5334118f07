//! What this process uses itself, while it does the work of an attempt that has no process of its own.
//!
//! Counted over its threads, one by one: the process's own totals include every child that it has waited for, and so what tasks used
//! that are processes. A thread that ends between two looks takes at most that moment's share with it.

use std::collections::HashMap;
use std::fs;

use mulgil_sched::usage::HostUsage;

use crate::meter::{TICK_MS, kilobytes, named};

/// What a thread has used so far.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    cpu_ms: u64,
    read_bytes: u64,
    written_bytes: u64,
}

/// Meters this process from a moment on.
#[derive(Debug)]
pub(crate) struct HostMeter {
    threads: HashMap<String, Thread>,
    memory_first_bytes: u64,
    usage: HostUsage,
}

impl HostMeter {
    pub(crate) fn begin() -> Self {
        let memory = memory_bytes();
        let usage = HostUsage { memory_peak_bytes: memory, ..HostUsage::default() };
        Self { threads: threads(), memory_first_bytes: memory, usage }
    }

    /// One look among many.
    pub(crate) fn look(&mut self) {
        let now = threads();
        for (name, thread) in &now {
            // One that has begun since has used all of it since.
            let before = self.threads.get(name).copied().unwrap_or_default();
            self.usage.cpu_ms += thread.cpu_ms.saturating_sub(before.cpu_ms);
            self.usage.read_bytes += thread.read_bytes.saturating_sub(before.read_bytes);
            self.usage.written_bytes += thread.written_bytes.saturating_sub(before.written_bytes);
        }
        self.threads = now;
        self.usage.memory_peak_bytes = self.usage.memory_peak_bytes.max(memory_bytes());
    }

    /// So many other attempts are done by this process now.
    pub(crate) fn beside(&mut self, others: usize) {
        self.usage.others = self.usage.others.max(u32::try_from(others).unwrap_or(u32::MAX));
    }

    /// The last look, and what all of them saw.
    pub(crate) fn end(mut self) -> HostUsage {
        self.look();
        let grown = self.usage.memory_peak_bytes.saturating_sub(self.memory_first_bytes);
        HostUsage { memory_grown_bytes: grown, ..self.usage }
    }
}

fn memory_bytes() -> u64 {
    kilobytes(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS:")
}

fn threads() -> HashMap<String, Thread> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let thread = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let io = fs::read_to_string(entry.path().join("io")).unwrap_or_default();
        // Behind the name, which may hold anything: user time is the 12th field, system time the 13th.
        let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.by_ref().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let of = |name: &str| named(&io, name).unwrap_or(0);
        let used = Thread { cpu_ms: ticks * TICK_MS, read_bytes: of("read_bytes:"), written_bytes: of("write_bytes:") };
        Some((entry.file_name().to_string_lossy().into_owned(), used))
    };
    entries.filter_map(thread).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_threads_burn_is_counted_also_of_those_that_begin_meanwhile_and_nothing_of_children() {
        let mut busy = HostMeter::begin();
        busy.beside(3);
        busy.beside(1);
        let burnt = std::thread::spawn(|| {
            let begun = std::time::Instant::now();
            let mut held = vec![1_u8; 30_000_000];
            while begun.elapsed().as_millis() < 300 {
                held.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3));
            }
            held.len()
        });
        while !burnt.is_finished() {
            busy.look();
        }
        burnt.join().unwrap();
        let usage = busy.end();
        assert!(usage.cpu_ms >= 20 && usage.others == 3, "{usage:?}");
        assert!(usage.memory_grown_bytes > 20_000_000, "{usage:?}");

        let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", burn]).status().unwrap().success());
        let of_threads: u64 = threads().values().map(|thread| thread.cpu_ms).sum();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let times = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        let own: u64 = times.map(|ticks| ticks.parse::<u64>().unwrap() * TICK_MS).sum();
        // Each thread's two times are rounded by themselves.
        let rounded = 2 * TICK_MS * threads().len() as u64;
        assert!(
            of_threads <= own + rounded,
            "{of_threads} ms of threads, {own} ms of the process without its children"
        );
    }
}
