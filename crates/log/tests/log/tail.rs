//! Torn and garbled tails: whatever is wrong at the end, what came before it stays, and the log goes on.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::test_runner::RngSeed;

use super::*;

/// A closed log with three frames of four records, where each frame ends, and its segment file.
fn three_frames(dir: &Path) -> (PathBuf, Vec<u64>) {
    let log = EventLog::open(dir, LogOptions::default()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let mut ends = Vec::new();
    for start in [0, 4, 8] {
        topic.append_blocking(0, &records(start..start + 4)).unwrap();
        ends.push(topic.size_bytes(0).unwrap());
    }
    (dir.join("t/0/00000000000000000000.log"), ends)
}

/// Opens a log whose segment holds `bytes`, checks that exactly the first `whole` records are left, and appends one.
fn assert_recovers(dir: &Path, segment: &Path, bytes: &[u8], whole: u64, what: &str) {
    fs::write(segment, bytes).unwrap();
    {
        let reading = EventLog::open_read_only(dir).unwrap();
        assert_intact(&all(&reading.topic("t").unwrap()), whole);
    }
    assert_eq!(fs::read(segment).unwrap(), bytes, "{what}: reading changes nothing");
    let log = EventLog::open(dir, LogOptions::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let topic = log.topic("t").unwrap();
    assert_intact(&all(&topic), whole);
    assert_eq!(topic.append_blocking(0, &[record(whole)]).unwrap(), whole..whole + 1, "{what}");
    drop((log, topic));
    let log = EventLog::open(dir, LogOptions::default()).unwrap();
    assert_intact(&all(&log.topic("t").unwrap()), whole + 1);
}

#[test]
fn cut_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, ends) = three_frames(dir.path());
    let bytes = fs::read(&segment).unwrap();
    assert_eq!(bytes.len() as u64, ends[2]);
    for length in 0..=bytes.len() {
        let whole = 4 * ends.iter().filter(|end| **end <= length as u64).count() as u64;
        assert_recovers(dir.path(), &segment, &bytes[..length], whole, &format!("cut at {length}"));
    }
}

#[test]
fn garbled_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, ends) = three_frames(dir.path());
    let bytes = fs::read(&segment).unwrap();
    for at in 0..bytes.len() {
        let mut garbled = bytes.clone();
        garbled[at] ^= 1 << (at % 8);
        let whole = 4 * ends.iter().filter(|end| **end <= at as u64).count() as u64;
        assert_recovers(dir.path(), &segment, &garbled, whole, &format!("garbled at {at}"));
    }
}

#[test]
fn followed_by_anything() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, _) = three_frames(dir.path());
    let bytes = fs::read(&segment).unwrap();
    let first_frame = &bytes[..(bytes.len() / 3)];
    for tail in [&[0; 1][..], &[0; 5000], &[0xff; 64], b"MLG1", first_frame, &bytes] {
        let longer = [&bytes, tail].concat();
        assert_recovers(dir.path(), &segment, &longer, 12, &format!("{} bytes more", tail.len()));
    }
}

/// Always the same cases, so that a change is judged by what it changes; `MULGIL_SEED` looks at others.
fn seeded(cases: u32) -> ProptestConfig {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(seeded(64))]

    /// Any bytes at all instead of a segment: opening neither panics nor invents records.
    #[test]
    fn any_bytes(junk in proptest::collection::vec(any::<u8>(), 0..200), with_magic: bool) {
        let dir = tempfile::tempdir().unwrap();
        let (segment, _) = three_frames(dir.path());
        let bytes = if with_magic { [b"MLG1", &junk[..]].concat() } else { junk };
        assert_recovers(dir.path(), &segment, &bytes, 0, "junk");
    }
}
