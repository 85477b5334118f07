//! Joins that are cut anywhere, and go on with other subtasks, give what they would have given.

use super::timely::{timed_batch, timed_join, timed_output, timed_schema};
use super::versions::temporal;
use super::*;
use crate::operators::tests::cuts::{Dice, Script, Step, check_changes, check_cuts};
use crate::time::Watermark;

/// Batches for these sides; rows that are there are taken back where the side is not `append`.
fn steps(dice: &mut Dice, append: [bool; 2], ports: &[usize]) -> Vec<Step> {
    let mut random = Random(dice.below(1 << 30) as u64);
    let mut rows: [Rows; 2] = Default::default();
    let batch = |port: &usize| {
        let changes = random_changes(&mut random, &mut rows[*port], append[*port], 5);
        Step::Rows(*port, batch_of(["l", "r"][*port], &changes, append[*port]))
    };
    ports.iter().map(batch).collect()
}

#[test]
fn joins_go_on_from_a_cut() {
    for (number, kind) in oracle::KINDS.into_iter().enumerate() {
        for (round, keys) in [vec![0], vec![0, 1], vec![]].into_iter().enumerate() {
            let mut dice = Dice((number * 10 + round) as u64);
            let append = [dice.below(2) == 0, dice.below(3) > 0];
            let mut join = join(kind, keys, dice.below(2) == 0, dice.below(2) == 0);
            join.is_right_everywhere = join.keys.left.is_empty() && !kind.shows_alone(Side::Right);
            join.left_by = if join.is_right_everywhere && !append[0] { vec![1, 0] } else { Vec::new() };
            let inputs = [("l", append[0]), ("r", append[1])]
                .map(|(s, append)| Port { schema: schema_of(s), is_updating: !append });
            // One side ends, and the rows to come are of the other.
            let ended = dice.below(2);
            let ports: Vec<usize> = (0..7).map(|step| if step < 4 { dice.below(2) } else { 1 - ended }).collect();
            let mut steps = steps(&mut dice, append, &ports);
            steps.insert(4, Step::End(ended));
            let script = Script { definition: &join, inputs: inputs.to_vec(), schema: output_schema(&join), steps };
            check_cuts(&script, &join.describe());
        }
    }
}

/// Rows of both sides, about as old as the watermark or the clock that goes on between them.
fn timed_steps(dice: &mut Dice, by_clock: bool) -> Vec<Step> {
    let (mut steps, mut now) = (Vec::new(), 0);
    for _ in 0..8 {
        let port = dice.below(2);
        let row =
            |dice: &mut Dice| ((dice.below(6) > 0).then(|| dice.below(3) as i64), Some(now + dice.below(30) as i64));
        let rows: Vec<Row> = (0..4).map(|_| row(dice)).collect();
        steps.push(Step::Rows(port, timed_batch(["l", "r"][port], &rows)));
        now += dice.below(12) as i64;
        if dice.below(3) > 0 {
            steps.push(if by_clock { Step::Clock(now) } else { Step::Watermark(now) });
        }
    }
    steps.push(Step::Watermark(Watermark::END.0));
    steps
}

#[test]
fn joins_that_forget_go_on_from_a_cut() {
    for (number, kind) in oracle::KINDS.into_iter().enumerate() {
        for (round, time_to_live) in
            [None, Some(TimeToLive::EventTime(15)), Some(TimeToLive::ProcessingTime(15))].into_iter().enumerate()
        {
            let join = timed_join(kind, time_to_live);
            let by_clock = matches!(time_to_live, Some(TimeToLive::ProcessingTime(_)));
            let steps = timed_steps(&mut Dice((number * 10 + round) as u64), by_clock);
            let inputs = ["l", "r"].map(|side| Port { schema: timed_schema(side), is_updating: false }).to_vec();
            let script = Script { definition: &join, inputs, schema: timed_output(&join), steps };
            check_cuts(&script, &join.describe());
        }
    }
}

/// Most rows go, so that the others, and their keys, are numbered anew between two cuts.
#[test]
fn rows_are_known_by_what_they_were_sealed_as_when_they_are_numbered_anew() {
    for keys in [vec![0], vec![1]] {
        let join = join(JoinKind::Left, keys, false, false);
        let rows = |range: std::ops::Range<i64>, kind| range.map(|n| ((Some(n), Some(n)), kind)).collect::<Vec<_>>();
        let batch = |port: usize, rows: &[(Row, RowKind)]| Step::Rows(port, batch_of(["l", "r"][port], rows, false));
        let steps = vec![
            batch(0, &rows(0..5_000, RowKind::Insert)),
            batch(0, &rows(5_000..5_100, RowKind::Insert)),
            batch(1, &rows(5_050..5_060, RowKind::Insert)),
            batch(0, &rows(0..4_900, RowKind::Delete)),
            batch(1, &rows(4_990..5_010, RowKind::Insert)),
            batch(0, &rows(5_100..5_120, RowKind::Insert)),
            batch(1, &rows(5_050..5_055, RowKind::Delete)),
            batch(1, &rows(5_070..5_075, RowKind::Insert)),
        ];
        let inputs = ["l", "r"].map(|side| Port { schema: schema_of(side), is_updating: true }).to_vec();
        let script = Script { definition: &join, inputs, schema: output_schema(&join), steps };
        check_changes(&script, 6, &join.describe());
    }
}

#[test]
fn a_table_that_is_looked_up_need_not_be_read_again() {
    for kind in [JoinKind::Inner, JoinKind::Left] {
        let mut lookup = join(kind, vec![0], true, false);
        lookup.is_lookup = true;
        let mut dice = Dice(5);
        let (table, rows): (Vec<Step>, Vec<Step>) = steps(&mut dice, [false, true], &[0, 1, 0, 0, 1, 0])
            .into_iter()
            .partition(|step| matches!(step, Step::Rows(1, _)));
        let table_is_read = table.len();
        let steps = [table, vec![Step::End(1)], rows].concat();
        let inputs = [("l", true), ("r", false)].map(|(s, is_updating)| Port { schema: schema_of(s), is_updating });
        let script = Script { definition: &lookup, inputs: inputs.to_vec(), schema: output_schema(&lookup), steps };
        assert!(table_is_read > 0 && script.steps.len() > table_is_read + 2);
        check_cuts(&script, &lookup.describe());
    }
}

#[test]
fn state_of_another_join_is_refused() {
    let ports = ["l", "r"].map(|side| Port { schema: schema_of(side), is_updating: false });
    let of = |kind, key| {
        let join = join(kind, vec![key], false, false);
        join.instance(&ports, &output_schema(&join)).unwrap()
    };
    let mut inner = of(JoinKind::Inner, 0);
    let rows = inner.seal(true).unwrap().remove(0).rows.to_batch().unwrap();
    assert!(of(JoinKind::Inner, 0).restore("left", rows.clone()).is_ok());
    for (mut other, name) in
        [(of(JoinKind::Left, 0), "left"), (of(JoinKind::Inner, 1), "left"), (of(JoinKind::Inner, 0), "middle")]
    {
        let refused = other.restore(name, rows.clone()).unwrap_err().to_string();
        assert!(refused.contains("of this join") || refused.contains("no state of the name middle"), "{refused}");
    }
}

#[test]
fn temporal_joins_go_on_from_a_cut() {
    let times_to_live = [None, Some(TimeToLive::EventTime(20)), Some(TimeToLive::ProcessingTime(20))];
    for (seed, time_to_live) in times_to_live.into_iter().cycle().take(6).enumerate() {
        let join = TemporalJoin { time_to_live, ..temporal([JoinKind::Inner, JoinKind::Left][seed % 2]) };
        let steps = timed_steps(&mut Dice(seed as u64), matches!(time_to_live, Some(TimeToLive::ProcessingTime(_))));
        let inputs = ["l", "r"].map(|side| Port { schema: timed_schema(side), is_updating: false }).to_vec();
        let fields = ["l", "r"].map(|side| [2, 0].map(|column| timed_schema(side).field(column).clone()));
        let script = Script { definition: &join, inputs, schema: Arc::new(Schema::new(fields.concat())), steps };
        check_cuts(&script, &join.describe());
    }
}

/// Versions end and keys are forgotten between two cuts, and numbered anew.
#[test]
fn versions_are_known_by_what_they_were_sealed_as_when_they_are_numbered_anew() {
    let join = temporal(JoinKind::Left);
    let rows = |keys: std::ops::Range<i64>, time: i64| keys.map(|key| (Some(key), Some(time))).collect::<Vec<Row>>();
    let mut steps = Vec::new();
    for round in 0..6_i64 {
        steps.push(Step::Rows(1, timed_batch("r", &rows(0..900, round * 10))));
        steps.push(Step::Rows(0, timed_batch("l", &rows(round * 1_000 + 890..round * 1_000 + 1_700, round * 10 + 5))));
        steps.push(Step::Watermark(round * 10 + 8));
    }
    let inputs = ["l", "r"].map(|side| Port { schema: timed_schema(side), is_updating: false }).to_vec();
    let fields = ["l", "r"].map(|side| [2, 0].map(|column| timed_schema(side).field(column).clone()));
    let script = Script { definition: &join, inputs, schema: Arc::new(Schema::new(fields.concat())), steps };
    check_changes(&script, 4, &join.describe());
}
