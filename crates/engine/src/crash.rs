//! Named points at which a test may let the process die, as `kill -9` would.
//!
//! Nothing is named unless somebody calls [`at`]; then a point costs one look at a cell that is never written again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// All of them, in the order in which a checkpoint comes to them, a restart's last. `the sink's commit` is a point of sinks that take
/// epochs as transactions, `the mark` one of rows given at most once.
pub const POINTS: [&str; 15] = [
    "after the sources are asked to stop",
    "sealed",
    "before the state's sync",
    "after the state's sync",
    "before the manifest",
    "before the manifest's rename",
    "after the manifest's rename",
    "before clean-up",
    "before publishing",
    "after the mark, before its rows",
    "before the sink's commit",
    "after the sink's commit",
    "after publishing",
    "in the middle of recovery",
    "after recovery",
];

/// Those of a view that is built anew and swapped, in their order.
pub const SWAP_POINTS: [&str; 6] = [
    "after the build is noted",
    "caught up",
    "before the swap",
    "after the swap",
    "after the former one's last checkpoint",
    "after the swap's clean-up",
];

/// Those of a batch layer that moves its boundary, in their order.
pub const BOUNDARY_POINTS: [&str; 3] =
    ["the batch view is computed", "before the boundary moves", "after the boundary has moved"];

/// Those of a view that is built from an archive, in their order.
pub const ARCHIVE_POINTS: [&str; 2] = ["after the end of the archives is noted", "in the middle of an archive"];

/// Those of a view that is exported, in their order.
pub const EXPORT_POINTS: [&str; 3] =
    ["while a mart is written", "before a mart is replaced", "after a mart is replaced"];

/// The point at which the process dies, and how often it may still pass it.
static POINT: OnceLock<(String, AtomicU64)> = OnceLock::new();

/// Lets the process die when it comes to the point `name` for the `nth` time, from 1. Only the first call counts.
pub fn at(name: &str, nth: u64) {
    let _ = POINT.set((name.to_owned(), AtomicU64::new(nth)));
}

/// Here is the point `name`.
pub fn point(name: &str) {
    let all = POINTS.iter().chain(&SWAP_POINTS).chain(&BOUNDARY_POINTS).chain(&EXPORT_POINTS);
    let mut all = all.chain(&ARCHIVE_POINTS);
    debug_assert!(all.any(|known| *known == name), "{name} is not in the list of points");
    let Some((chosen, left)) = POINT.get() else { return };
    if chosen == name && left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}
