//! Temporal joins against a naive search for the version, and lookup joins that wait for their table.

use super::timely::{timed_batch, timed_schema};
use super::*;
use crate::operator::Operator;
use crate::time::Watermark;

pub(super) fn temporal(kind: JoinKind) -> TemporalJoin {
    TemporalJoin {
        kind,
        keys: Sides { left: vec![0], right: vec![0] },
        on: "k = k".to_owned(),
        times: Sides { left: 2, right: 2 },
        condition: None,
        outputs: Sides { left: vec![2, 0], right: vec![2, 0] },
        time_to_live: None,
    }
}

fn instance(definition: &dyn OperatorDefinition) -> Box<dyn Operator> {
    let ports = ["l", "r"].map(|side| Port { schema: timed_schema(side), is_updating: false });
    let fields = ["l", "r"].map(|side| [2, 0].map(|column| timed_schema(side).field(column).clone()));
    definition.instance(&ports, &Arc::new(Schema::new(fields.concat()))).unwrap()
}

fn cells((k, v): Row) -> Vec<String> {
    [v, k].map(|cell| cell.map_or("null".to_owned(), |cell| cell.to_string())).to_vec()
}

fn naive(kind: JoinKind, [left, right]: &[Rows; 2]) -> BTreeMap<Vec<String>, i64> {
    let mut counts = BTreeMap::new();
    for l in left {
        let holds = |r: &&Row| l.0.is_some() && l.0 == r.0 && r.1.is_some() && l.1.is_some() && r.1 <= l.1;
        let version = right.iter().filter(holds).max_by_key(|r| r.1).copied();
        if version.is_some() || kind == JoinKind::Left {
            *counts.entry([cells(*l), cells(version.unwrap_or((None, None)))].concat()).or_insert(0) += 1;
        }
    }
    counts
}

fn check(seed: u64) {
    let mut random = Random(seed);
    let kind = [JoinKind::Inner, JoinKind::Left][random.below(2)];
    let mut operator = instance(&temporal(kind));
    let mut out = Final::default();
    let mut rows: [Rows; 2] = Default::default();
    let mut clock = 0;
    for _ in 0..random.below(30) {
        let port = random.below(2);
        let row = |_| {
            let time = clock + random.below(30) as i64;
            ((random.below(6) > 0).then(|| random.below(3) as i64), (random.below(9) > 0).then_some(time))
        };
        let new: Vec<Row> = (0..5).map(row).collect();
        rows[port].extend(&new);
        operator.process(port, timed_batch(["l", "r"][port], &new), &mut out).unwrap();
        clock += random.below(8) as i64;
        operator.on_watermark(Watermark(clock), &mut out).unwrap();
    }
    operator.on_watermark(Watermark::END, &mut out).unwrap();
    assert_eq!(out.rows, naive(kind, &rows), "seed {seed}: {kind:?}");
    assert_eq!((out.late, out.updating), (0, false), "seed {seed}");
}

#[test]
fn each_row_gets_the_version_of_its_time() {
    let first = crate::operators::tests::first_seed();
    (first..first + 1_000).for_each(check);
}

#[test]
fn versions_that_ended_are_forgotten() {
    let mut operator = instance(&temporal(JoinKind::Inner));
    let mut out = Final::default();
    let mut sizes = Vec::new();
    for step in 0..300_i64 {
        let at = |i: i64| Some(step * 10 + i % 10);
        let versions: Vec<Row> = (0..100).map(|i| (Some(i), at(i))).collect();
        let rows: Vec<Row> =
            (0..100).map(|i| (Some(if i % 2 == 0 { i } else { 1_000 + step * 100 + i }), at(i))).collect();
        operator.process(1, timed_batch("r", &versions), &mut out).unwrap();
        operator.process(0, timed_batch("l", &rows), &mut out).unwrap();
        operator.on_watermark(Watermark(step * 10), &mut out).unwrap();
        out.rows.clear();
        sizes.push(operator.state_size_bytes());
    }
    assert!(out.given > 10_000);
    let (early, late) = (sizes[..200].iter().max().unwrap(), sizes[200..].iter().max().unwrap());
    assert!(*late <= early + early / 10, "state grows from {early} to {late} bytes");
}

#[test]
fn late_rows_are_counted() {
    let mut operator = instance(&temporal(JoinKind::Left));
    let mut out = Final::default();
    operator.on_watermark(Watermark(100), &mut out).unwrap();
    operator.process(1, timed_batch("r", &[(Some(1), Some(90))]), &mut out).unwrap();
    operator.process(0, timed_batch("l", &[(Some(1), Some(99)), (Some(1), Some(100))]), &mut out).unwrap();
    operator.on_watermark(Watermark::END, &mut out).unwrap();
    // A late version still holds for the rows to come; a late row is lost.
    assert_eq!((out.late, out.rows.len()), (2, 1));
    assert!(out.rows.contains_key(&["100", "1", "90", "1"].map(str::to_owned)[..]));
}

#[test]
fn a_lookup_reads_its_table_first() {
    let mut lookup = join(JoinKind::Left, vec![0], false, false);
    lookup.is_lookup = true;
    assert_eq!([0, 1].map(|port| lookup.distribution(port)), [Distribution::Any, Distribution::Broadcast]);
    assert_eq!([0, 1].map(|port| lookup.reads_to_end(port)), [false, true]);
    assert!(!lookup.is_updating(&[false, false]) && lookup.check(&[true, false]).is_ok());
    assert!(lookup.check(&[false, true]).unwrap_err().contains("changes"));
    let mut operator = instance(&lookup);
    let mut out = Final::default();
    assert_eq!([0, 1].map(|port| operator.accepts(port)), [false, true]);
    operator.process(1, timed_batch("r", &[(Some(1), Some(5))]), &mut out).unwrap();
    operator.on_input_end(1, &mut out).unwrap();
    assert!(operator.accepts(0));
    let mut sizes = Vec::new();
    for _ in 0..100 {
        operator.process(0, timed_batch("l", &[(Some(1), Some(6)), (Some(2), Some(6))]), &mut out).unwrap();
        sizes.push(operator.state_size_bytes());
    }
    operator.flush(&mut out).unwrap();
    assert_eq!((out.rows.len(), out.given, out.updating), (2, 200, false));
    // Keys that were asked for are numbered once; rows are not kept.
    assert_eq!(sizes.first(), sizes.last());
}

#[test]
fn a_table_that_is_looked_up_is_read_to_its_end_by_every_subtask() {
    use crate::graph::{Graph, LogicalOperator};
    use crate::physical::{Exchange, plan};

    for is_lookup in [true, false] {
        let mut lookup = join(JoinKind::Inner, vec![0], false, false);
        lookup.is_lookup = is_lookup;
        let mut graph = Graph::new();
        let source = |side: &str| LogicalOperator::Source {
            table: side.to_owned(),
            projection: vec![0, 1, 2],
            has_changes: false,
        };
        let inputs = ["l", "r"].map(|side| graph.push(source(side), Vec::new(), schema_of(side))).to_vec();
        let schema = output_schema(&lookup);
        let rows = graph.push(LogicalOperator::Apply(Arc::new(lookup)), inputs, Arc::clone(&schema));
        graph.push(LogicalOperator::Sink { table: "out".to_owned() }, vec![rows], schema);
        let physical = plan(&graph, 3).unwrap();
        let to_end: Vec<bool> =
            physical.stages.iter().filter_map(|stage| Some(stage.source.as_ref()?.to_end)).collect();
        assert_eq!(to_end, [false, is_lookup]);
        let exchanges: Vec<Exchange> = physical.edges.into_iter().map(|edge| edge.exchange).collect();
        let by_key = || Exchange::Hash(vec![0]);
        let expected = if is_lookup { [Exchange::Forward, Exchange::Broadcast] } else { [by_key(), by_key()] };
        assert_eq!(exchanges, expected);
    }
}
