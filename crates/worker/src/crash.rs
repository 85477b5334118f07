//! Named points on the way of a run at which a test may let the process die, as `kill -9` would: those of the scheduler and those of
//! the worker. (Those of a checkpoint are the engine's.)
//!
//! Nothing is named unless somebody calls [`at`]; then a point costs one look at a cell that is never written again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// All of them, in the order in which a run comes to them; those of a restart last.
pub const POINTS: [&str; 15] = [
    "before a batch is stored",
    "after a batch is stored",
    "after orders are given",
    "after callers are answered",
    "before a start is reported",
    "after a start is reported",
    "while a task runs",
    "after a task's end",
    "after an end is reported",
    "before a called run is stored",
    "after a called run is stored",
    "before the end of a call is stored",
    "after the end of a call is stored",
    "before what is recovered is stored",
    "after what is recovered is stored",
];

/// Those on the way of rows into a table, which only `sql` and `transfer` tasks come to.
pub const WRITING_POINTS: [&str; 3] =
    ["while rows are written", "before rows are committed", "after rows are committed"];

/// The point at which the process dies, and how often it may still pass it.
static POINT: OnceLock<(String, AtomicU64)> = OnceLock::new();

/// Lets the process die when it comes to the point `name` for the `nth` time, from 1. Only the first call counts.
pub fn at(name: &str, nth: u64) {
    let _ = POINT.set((name.to_owned(), AtomicU64::new(nth)));
}

/// Here is the point `name`.
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name) || WRITING_POINTS.contains(&name), "{name} is not in the list of points");
    let Some((chosen, left)) = POINT.get() else { return };
    if chosen == name && left.fetch_sub(1, Ordering::Relaxed) == 1 {
        // Not `abort`, which leaves a dump: the very signal that a person would send.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}
