//! Made histories whose right answer is known.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use jiff::{SignedDuration, Timestamp};

use super::{Advice, Load, Worked};
use crate::diagnosis::Bottleneck;
use crate::usage::{MachineUsage, TreeUsage, Usage};

const GB: u64 = 1 << 30;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

/// What each attempt did to its machine.
#[derive(Clone, Copy)]
struct Machine {
    cpu: f64,
    disk: f64,
    free_gb: u64,
    each_gb: u64,
}

const IDLE: Machine = Machine { cpu: 0.3, disk: 0.1, free_gb: 12, each_gb: 1 };

/// All ready at once, each a minute long, one behind the other in so many slots, on a machine of 16 GB.
fn burst(attempts: usize, slots: usize, machine: Machine) -> Vec<Worked> {
    let usage = Usage {
        tree: Some(TreeUsage { memory_peak_bytes: machine.each_gb * GB, ..TreeUsage::default() }),
        machine: MachineUsage {
            cores: 4,
            cpu_share: machine.cpu,
            disk_share: machine.disk,
            memory_bytes: 16 * GB,
            memory_available_min_bytes: machine.free_gb * GB,
            ..MachineUsage::default()
        },
        ..Usage::default()
    };
    let one = |number: usize| {
        let begins = 60 * (number / slots) as i64;
        Worked { ready: at(0), leased: at(begins), ended: at(begins + 60), usage: Some(usage.clone()) }
    };
    (0..attempts).map(one).collect()
}

#[test]
fn the_machine_decides_whether_more_slots_help() {
    let cases = [
        ("it is idle: as much again as fits", 40, 4, IDLE, Advice::More(11)),
        ("no more than ever waited", 20, 16, Machine { cpu: 0.2, ..IDLE }, Advice::More(20)),
        (
            "nobody knows what comes beyond four times",
            400,
            4,
            Machine { cpu: 0.01, each_gb: 0, ..IDLE },
            Advice::More(16),
        ),
        ("memory is for two more", 40, 4, Machine { free_gb: 4, ..IDLE }, Advice::More(6)),
        ("not even one fits", 40, 4, Machine { free_gb: 4, each_gb: 3, ..IDLE }, Advice::UsedUp(Bottleneck::Memory)),
        ("processors are used up", 40, 4, Machine { cpu: 0.97, ..IDLE }, Advice::UsedUp(Bottleneck::Cpu)),
        ("a disk is used up", 40, 4, Machine { disk: 0.9, ..IDLE }, Advice::UsedUp(Bottleneck::Disk)),
        ("memory is used up", 40, 4, Machine { free_gb: 1, ..IDLE }, Advice::UsedUp(Bottleneck::Memory)),
        ("nobody waits", 20, 20, IDLE, Advice::Enough),
        ("nobody waits, and half is never used", 20, 41, IDLE, Advice::Fewer(20)),
        ("too few to tell", 19, 1, IDLE, Advice::Unknown),
    ];
    for (case, attempts, slots, machine, expected) in cases {
        let load = Load::of(&burst(attempts, slots, machine));
        assert_eq!(load.advice(slots), expected, "{case}: {load:?}");
    }
}

#[test]
fn waiting_is_counted_over_all_of_their_time_whatever_their_order() {
    let mut worked = burst(40, 4, IDLE);
    let load = Load::of(&worked);
    // Ten rounds of a minute each: the n-th waits n minutes and works one.
    assert!((load.waited - 45.0 / 55.0).abs() < 1e-9, "{load:?}");
    assert_eq!((load.attempts, load.at_work_max, load.waiting_max), (40, 4, 36));
    worked.reverse();
    assert_eq!(Load::of(&worked), load);
    assert_eq!(Load::of(&[]).waited, 0.0);
}

#[test]
fn an_attempt_that_took_long_says_more_about_the_machine_than_a_short_one() {
    let mut worked = burst(40, 4, Machine { cpu: 1.0, ..IDLE });
    for one in &mut worked[1..] {
        one.ended = one.leased + SignedDuration::from_secs(1);
        one.usage.as_mut().unwrap().machine.cpu_share = 0.1;
    }
    let load = Load::of(&worked);
    assert!((load.cpu - (60.0 + 3.9) / 99.0).abs() < 1e-9, "{load:?}");
}

#[test]
fn the_sentence_has_the_figures_that_it_comes_from() {
    let sentence = |attempts, slots, machine| Load::of(&burst(attempts, slots, machine)).sentence("default", slots);
    let cases = [
        (
            sentence(40, 4, IDLE),
            "pool default: tasks waited 82 % of their time for one of the 4 slots while processors were used to 30 % and 75 % of \
             the memory was free at the least, 1.0 GB each: more slots would help, up to 11",
        ),
        (
            sentence(40, 4, Machine { cpu: 1.0, ..IDLE }),
            "pool default: tasks waited 82 % of their time for one of the 4 slots, and processors were used to 100 %: more slots \
             will not help",
        ),
        (
            sentence(20, 20, IDLE),
            "pool default: tasks waited 0 % of their time for one of the 20 slots: they are enough",
        ),
        (sentence(20, 64, IDLE), "pool default: no more than 20 of the 64 slots were ever used: 20 would do"),
        (sentence(3, 4, IDLE), "pool default: only 3 attempts so far, which says nothing yet"),
    ];
    for (sentence, expected) in cases {
        assert_eq!(sentence, expected);
    }
}
