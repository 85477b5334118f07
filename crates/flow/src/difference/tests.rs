//! A difference leads from the one text to the other, is as short as it can be, and says what changed in a flow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{EDITS_MAX, Line, difference};
use crate::{Flow, Project, canonical_lines};

fn lines(text: &str) -> Vec<String> {
    text.chars().map(String::from).collect()
}

/// The longest common part, the slow way.
fn common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for left in a {
        let mut corner = 0;
        for (place, right) in b.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if left == right { corner + 1 } else { above.max(row[place]) };
            corner = above;
        }
    }
    row[b.len()]
}

/// Always the same cases, so that a change is judged by what it changes; `MULGIL_SEED` looks at others.
fn seeded(cases: u32) -> ProptestConfig {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(seeded(500))]

    #[test]
    fn a_difference_is_the_shortest_way_from_one_text_to_the_other(older in "[abc]{0,30}", newer in "[abc]{0,30}") {
        let (older, newer) = (lines(&older), lines(&newer));
        let mut from = older.iter();
        let (mut to, mut edits) = (Vec::new(), 0);
        let found = difference(&older, &newer);
        for line in &found {
            match line {
                Line::Same(text) => to.push(from.next().filter(|from| *from == text).unwrap().clone()),
                Line::Removed(text) => {
                    prop_assert_eq!(from.next(), Some(text));
                    edits += 1;
                }
                Line::Added(text) => {
                    to.push(text.clone());
                    edits += 1;
                }
                Line::Gap(many) => to.extend(from.by_ref().take(*many).cloned()),
            }
        }
        prop_assert_eq!(found.is_empty(), older == newer);
        if !found.is_empty() {
            prop_assert_eq!(from.next(), None);
            prop_assert_eq!(&to, &newer);
            prop_assert_eq!(edits, older.len() + newer.len() - 2 * common(&older, &newer));
        }
    }
}

#[test]
fn texts_that_differ_too_much_are_different_in_all_between_their_ends() {
    let text = |word: &str| -> Vec<String> {
        let inner = (0..EDITS_MAX).map(|number| format!("{word} {number}"));
        std::iter::once("begin".to_owned()).chain(inner).chain(["end".to_owned()]).collect()
    };
    let found = difference(&text("old"), &text("new"));
    assert_eq!(found.len(), 2 * EDITS_MAX + 2);
    assert_eq!(found[1], Line::Removed("old 0".to_owned()));
    assert_eq!(found.last(), Some(&Line::Same("end".to_owned())));
}

#[test]
fn a_difference_of_flows_tells_what_changed_and_nothing_of_how_the_file_looks() {
    let flow = |text: &str| Flow::parse("flows/f.yaml", text, &Project::parse("mulgil.yaml", "{}").unwrap()).unwrap();
    let older = flow("flow: f\ntasks:\n  a:\n    shell: |\n      one\n      two\n  b: {needs: [a], shell: 'true'}\n");
    let moved = flow("# moved\nflow: f\ntasks: {a: {shell: \"one\\ntwo\\n\"}, b: {needs: a, shell: 'true'}}\n");
    assert_eq!((canonical_lines(&older), &older.version), (canonical_lines(&moved), &moved.version));
    let newer = flow("flow: f\nconcurrency: 1\ntasks:\n  a:\n    shell: |\n      one\n      2\n    timeout: 1h\n");
    let shown: Vec<String> = difference(&canonical_lines(&older), &canonical_lines(&newer))
        .into_iter()
        .map(|line| match line {
            Line::Same(text) => format!("  {text}"),
            Line::Removed(text) => format!("- {text}"),
            Line::Added(text) => format!("+ {text}"),
            Line::Gap(many) => format!("... {many}"),
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}
