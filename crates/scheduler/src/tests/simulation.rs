//! A deterministic simulation, after the habit of FoundationDB and TigerBeetle: the real scheduler in a world where time is a number.
//!
//! Workers sit behind a network that loses, doubles and delays messages; commits fail, or succeed and lose their answer; the
//! clock jumps; the process dies at any moment, also in the middle of a commit; people trigger, cancel, re-run, back-fill,
//! pause and change definitions all the time. A checker watches every commit and every piece of work (see [`check`]). One
//! seed is one world: `MULGIL_SEED=17` repeats that of a failure, `MULGIL_SEEDS=5000` goes through so many.

mod again;
mod backfills;
mod calls;
mod check;
mod commit;
mod far;
mod flows;
mod node;
mod people;
mod random;
mod store;
mod telling;
mod why;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use world::World;

/// Worlds of a usual run: some ten seconds of two cores.
const SEEDS: u64 = 1_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// One world from its beginning to its end, and what happened in it.
fn lived(seed: u64) -> check::Tally {
    let mut world = World::new(seed);
    world.live();
    let violations = world.violations();
    assert!(violations.is_empty(), "MULGIL_SEED={seed}: {}\n{}", violations.join("\n"), world.story());
    world.tally()
}

#[test]
fn whatever_goes_wrong_no_run_is_lost_and_nothing_runs_twice_under_one_lease() {
    let seeds = match number("MULGIL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MULGIL_SEEDS").unwrap_or(SEEDS),
    };
    let (begun, worlds) = (Instant::now(), seeds.end - seeds.start);
    let total = Mutex::new(check::Tally::default());
    let next = AtomicU64::new(seeds.start);
    // A world knows no threads, and several worlds nothing of each other.
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
                    let tally = lived(seed);
                    total.lock().unwrap().add(tally);
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap();
    println!("{worlds} worlds in {:.1} s: {total:?}", begun.elapsed().as_secs_f64());
    if worlds >= SEEDS {
        total.assert_everything_happened();
    }
}

#[test]
fn a_seed_is_one_world() {
    for seed in [3, 11] {
        let story = |seed| {
            let mut world = World::new(seed);
            world.live();
            world.story()
        };
        assert_eq!(story(seed), story(seed), "MULGIL_SEED={seed}");
    }
}
