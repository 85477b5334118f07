//! Lookup joins: questions and answers in any order give what a join with the table gives, rows come out in their order,
//! time waits behind them, and no more is kept than is allowed.

use super::*;
use crate::definition::LookupRead;
use crate::operator::{Answer, Operator, Output, Question};
use crate::time::Watermark;

fn lookup(kind: JoinKind, with_condition: bool, is_whole: bool, cache: Cache) -> LookupJoin {
    let keyed = join(kind, vec![0, 1], with_condition, false);
    let keys = (!is_whole).then(|| vec![0]);
    let read = LookupRead { table: "r".to_owned(), projection: vec![0, 1, 2], keys, retries_max: 0, reload_ms: None };
    LookupJoin {
        kind,
        read,
        preparation: Vec::new(),
        right: schema_of("r"),
        keys: keyed.keys,
        asked_by: vec![0],
        on: keyed.on,
        condition: keyed.condition,
        outputs: Sides { left: vec![2, 0], right: vec![2, 0] },
        cache,
        capacity: 40,
    }
}

const PARTIAL: Cache = Cache::Partial { rows_max: 6, ttl_ms: Some(100), keeps_missing: true };

fn instance(definition: &LookupJoin) -> Box<dyn Operator> {
    let output = output_schema(&join(definition.kind, vec![0], false, false));
    let port = Port { schema: schema_of("l"), is_updating: false };
    definition.instance(&[port], &output).unwrap()
}

fn inserts(side: &str, rows: &[Row]) -> Batch {
    batch_of(side, &rows.iter().map(|row| (*row, RowKind::Insert)).collect::<Vec<_>>(), true)
}

/// The rows of the table that a question asks for, and some others.
fn answer(question: &Question, table: &[Row]) -> Answer {
    let keys = question.keys.column(0).as_primitive::<Int64Type>();
    let wanted: Vec<Row> =
        table.iter().filter(|row| row.0 == Some(7) || keys.iter().any(|key| key == row.0)).copied().collect();
    Answer::Rows { number: question.number, rows: inserts("r", &wanted).rows }
}

/// Left values in the order in which they came out, beside the rows themselves.
#[derive(Default)]
struct Ordered {
    rows: Final,
    values: Vec<i64>,
}

impl Output for Ordered {
    fn emit(&mut self, batch: Batch) {
        self.values.extend(batch.rows.column(0).as_primitive::<Int64Type>().iter().flatten());
        self.rows.emit(batch);
    }

    fn late(&mut self, _: LateRows<'_>) {}

    fn null_time(&mut self, _: u64) {}
}

#[test]
fn any_order_of_answers_gives_the_join_in_the_order_of_rows() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let kind = [JoinKind::Inner, JoinKind::Left][random.below(2)];
        let with_condition = random.below(2) == 0;
        let cache =
            [Cache::None, PARTIAL, Cache::Partial { rows_max: 4, ttl_ms: None, keeps_missing: false }][random.below(3)];
        let is_whole = random.below(4) == 0;
        let key = |random: &mut Random| (random.below(9) > 0).then(|| random.below(12) as i64);
        let table: Vec<Row> = (0..random.below(30)).map(|n| (key(&mut random), Some(n as i64 * 7 % 50))).collect();
        let mut operator = instance(&lookup(kind, with_condition, is_whole, cache));
        let mut out = Ordered::default();
        let mut left: Vec<Row> = Vec::new();
        let mut open: Vec<Question> = Vec::new();
        if is_whole {
            assert!(!operator.accepts(0), "the table comes first");
            operator.on_answer(Answer::Table(vec![inserts("r", &table).rows]), &mut out).unwrap();
        }
        for step in 0..60 {
            match random.below(4) {
                0 if operator.accepts(0) => {
                    let begin = left.len() as i64;
                    let rows: Vec<Row> =
                        (0..random.below(10)).map(|n| (key(&mut random), Some(begin + n as i64))).collect();
                    operator.process(0, inserts("l", &rows), &mut out).unwrap();
                    left.extend(rows);
                }
                1 => operator.flush(&mut out).unwrap(),
                2 => operator.on_clock(step * 20, &mut out).unwrap(),
                _ if !open.is_empty() => {
                    let question = open.swap_remove(random.below(open.len()));
                    operator.on_answer(answer(&question, &table), &mut out).unwrap();
                }
                _ => {}
            }
            open.extend(operator.take_questions());
        }
        operator.flush(&mut out).unwrap();
        open.extend(operator.take_questions());
        for question in open {
            operator.on_answer(answer(&question, &table), &mut out).unwrap();
        }
        operator.flush(&mut out).unwrap();
        assert_eq!(operator.holds_back(), None, "seed {seed}");
        assert!(out.values.is_sorted(), "seed {seed}: {:?}", out.values);
        let expected = naive(kind, &[left, table], &[0, 1], with_condition, false);
        assert_eq!(out.rows.rows, expected, "seed {seed}");
    }
}

fn feed(operator: &mut dyn Operator, keys: &[i64]) -> Vec<Question> {
    let rows: Vec<Row> = keys.iter().map(|key| (Some(*key), Some(0))).collect();
    operator.process(0, inserts("l", &rows), &mut Final::default()).unwrap();
    operator.flush(&mut Final::default()).unwrap();
    operator.take_questions()
}

fn asked(questions: &[Question]) -> Vec<Vec<i64>> {
    let keys = |question: &Question| question.keys.column(0).as_primitive::<Int64Type>().values().to_vec();
    questions.iter().map(keys).collect()
}

fn tell(operator: &mut dyn Operator, questions: Vec<Question>, table: &[Row]) -> Final {
    let mut out = Final::default();
    for question in questions {
        operator.on_answer(answer(&question, table), &mut out).unwrap();
    }
    operator.flush(&mut out).unwrap();
    out
}

#[test]
fn what_is_kept_is_not_asked_again() {
    let table: Vec<Row> = (1..=3).flat_map(|key| [(Some(key), Some(1)), (Some(key), Some(2))]).collect();
    let kept = |rows_max, keeps_missing| Cache::Partial { rows_max, ttl_ms: Some(100), keeps_missing };
    // By what is kept: what is asked when 1 and 2 come, then 2, 9 and null, then 9 and 1, then, 200 ms later, 2.
    for (cache, expected) in [
        (Cache::None, [vec![vec![1, 2]], vec![vec![2, 9]], vec![vec![9, 1]], vec![vec![2]]]),
        (kept(100, true), [vec![vec![1, 2]], vec![vec![9]], vec![], vec![vec![2]]]),
        (kept(100, false), [vec![vec![1, 2]], vec![vec![9]], vec![vec![9]], vec![vec![2]]]),
        // Four rows of two keys, and one key without rows: the first that was answered goes.
        (kept(4, true), [vec![vec![1, 2]], vec![vec![9]], vec![vec![1]], vec![vec![2]]]),
    ] {
        let mut operator = instance(&lookup(JoinKind::Left, false, false, cache));
        operator.on_clock(1_000, &mut Final::default()).unwrap();
        for (step, expected) in expected.into_iter().enumerate() {
            if step == 3 {
                operator.on_clock(1_200, &mut Final::default()).unwrap();
            }
            let keys: &[i64] = [&[1, 2, 1][..], &[2, 9], &[9, 1], &[2]][step];
            let questions = feed(operator.as_mut(), keys);
            assert_eq!(asked(&questions), expected, "{cache:?}, step {step}");
            let out = tell(operator.as_mut(), questions, &table);
            let found = keys.iter().map(|key| if *key == 9 { 1 } else { 2 }).sum::<u64>();
            let sooner = if expected.is_empty() { found } else { 0 };
            assert_eq!(out.given, found - sooner, "{cache:?}, step {step}");
        }
    }
}

#[test]
fn time_waits_behind_rows_and_rows_wait_up_to_a_number() {
    let mut operator = instance(&lookup(JoinKind::Inner, false, false, PARTIAL));
    let mut out = Final::default();
    operator.on_watermark(Watermark(10), &mut out).unwrap();
    assert_eq!(operator.holds_back(), None);
    let first = feed(operator.as_mut(), &[1; 20]);
    operator.on_watermark(Watermark(20), &mut out).unwrap();
    assert_eq!(operator.holds_back(), Some(Watermark(10)));
    assert!(operator.accepts(0));
    let second = feed(operator.as_mut(), &[2; 20]);
    operator.on_watermark(Watermark::END, &mut out).unwrap();
    assert!(!operator.accepts(0), "forty rows wait");
    // The answer to the second comes first, and changes nothing.
    assert_eq!(tell(operator.as_mut(), second, &[(Some(2), Some(5))]).given, 0);
    assert_eq!(operator.holds_back(), Some(Watermark(10)));
    assert_eq!(tell(operator.as_mut(), first, &[(Some(1), Some(5))]).given, 40);
    assert_eq!(operator.holds_back(), None);
    assert!(operator.accepts(0));
}

#[test]
fn memory_does_not_grow_with_keys_that_came_once() {
    for is_whole in [false, true] {
        let mut operator = instance(&lookup(JoinKind::Inner, false, is_whole, PARTIAL));
        let table: Vec<Row> = (0..50).map(|key| (Some(key), Some(key))).collect();
        if is_whole {
            let rows = inserts("r", &table).rows;
            operator.on_answer(Answer::Table(vec![rows]), &mut Final::default()).unwrap();
        }
        let mut sizes = Vec::new();
        for round in 0..3_000_i64 {
            let keys: Vec<i64> = (round * 39..round * 39 + 39).collect();
            let questions = feed(operator.as_mut(), &keys);
            tell(operator.as_mut(), questions, &table);
            sizes.push(operator.state_size_bytes());
        }
        let (early, late) = (sizes[..1_000].iter().max().unwrap(), sizes[2_000..].iter().max().unwrap());
        assert!(late <= early, "{early} bytes, then {late}");
    }
}

#[test]
fn a_table_that_has_changed_counts_from_the_next_batch_on() {
    let mut operator = instance(&lookup(JoinKind::Left, false, true, Cache::None));
    let mut out = Final::default();
    for (value, expected) in [(Some(1), "1"), (None, "null"), (Some(3), "3")] {
        let table: Vec<Row> = value.map(|value| (Some(5), Some(value))).into_iter().collect();
        operator.on_answer(Answer::Table(vec![inserts("r", &table).rows]), &mut out).unwrap();
        assert_eq!(feed(operator.as_mut(), &[5]).len(), 0);
        let mut out = Final::default();
        operator.process(0, inserts("l", &[(Some(5), Some(0))]), &mut out).unwrap();
        operator.flush(&mut out).unwrap();
        assert_eq!(out.rows.keys().next().unwrap()[2], expected);
    }
}
