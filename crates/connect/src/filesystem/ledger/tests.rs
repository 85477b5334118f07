//! Ledgers in object storage: whoever adds to one at the same time, all have the same order, and none has a name twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;

use super::{BLOCK_PAGES, Ledger, Pages, page_name};
use crate::object_storage::{ObjectCalls, ObjectFolder};

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn with_calls(test: impl FnOnce(ObjectCalls)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder =
        ObjectFolder { store: Arc::new(InMemory::new()), prefix: Path::from("in"), url: "s3://b/in".to_owned() };
    let calls = runtime.block_on(async { folder.calls() });
    test(calls);
}

fn pages(calls: &ObjectCalls) -> Pages {
    let mut pages = Pages::default();
    assert!(calls.list().unwrap().iter().all(|(name, _)| pages.take(name)));
    pages
}

#[test]
fn all_have_the_same_order() {
    for seed in 0..20 {
        let mut random = Random(seed);
        with_calls(|calls| {
            let mut ledgers: Vec<Ledger> = (0..3).map(|_| Ledger::default()).collect();
            let mut there: Vec<String> = Vec::new();
            // What a listing has shown to one may be old when it adds to the ledger.
            let mut seen = (0..3).map(|_| (Pages::default(), Vec::new())).collect::<Vec<_>>();
            for step in 0..120 {
                if random.below(3) > 0 {
                    let name = format!("{step} \u{e9}/\n\"{}", random.below(1000));
                    there.insert(random.below(there.len() + 1), name);
                }
                let one = random.below(3);
                if random.below(2) == 0 {
                    seen[one] = (pages(&calls), there.clone());
                    continue;
                }
                if random.below(20) == 0 {
                    ledgers[one] = Ledger::default();
                }
                let before = ledgers[one].names().to_vec();
                ledgers[one].add_remote(&calls, &seen[one].0, &seen[one].1).unwrap();
                assert!(ledgers[one].names().starts_with(&before), "seed {seed}: a name keeps its place");
            }
            for ledger in &mut ledgers {
                ledger.add_remote(&calls, &pages(&calls), &there).unwrap();
            }
            assert!(ledgers.iter().all(|ledger| ledger.names() == ledgers[0].names()), "seed {seed}");
            let mut names = ledgers[0].names().to_vec();
            names.sort();
            there.sort();
            assert_eq!(names, there, "seed {seed}");
        });
    }
}

#[test]
fn a_restart_reads_blocks() {
    with_calls(|calls| {
        let mut ledger = Ledger::default();
        let mut found = Vec::new();
        for number in 0..2 * BLOCK_PAGES + 3 {
            found.push(format!("{number}.json"));
            found.push(format!("{number}.csv"));
            let seen = Pages { count: number, ..Pages::default() };
            ledger.add_remote(&calls, &seen, &found).unwrap();
        }
        assert_eq!(ledger.names(), found);
        // They are enough: its pages could be gone.
        (1..=2 * BLOCK_PAGES).for_each(|number| calls.remove(&page_name(number)).unwrap());
        let mut later = Ledger::default();
        later.add_remote(&calls, &pages(&calls), &found).unwrap();
        assert_eq!(later.names(), found);
        assert_eq!(later.pages, 2 * BLOCK_PAGES + 3);
    });
}
