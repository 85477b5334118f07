//! A join that leaves out pairs which a ranking would leave out: the ranked pairs are the same.

use super::*;
use crate::operators::rank::{Contest, OrderColumn, RankDefinition, RankFunction};

/// The pairs of a join, ranked; and how many pairs there were.
fn ranked(join: &Join, ranking: &RankDefinition, batches: &[(usize, Batch)]) -> (BTreeMap<Vec<String>, i64>, u64) {
    let ports = ["l", "r"].map(|side| Port { schema: schema_of(side), is_updating: false });
    let mut operator = join.instance(&ports, &output_schema(join)).unwrap();
    let mut pairs = Pairs::default();
    for (port, batch) in batches {
        operator.process(*port, batch.clone(), &mut pairs).unwrap();
    }
    operator.flush(&mut pairs).unwrap();
    let port = Port { schema: output_schema(join), is_updating: false };
    let mut ranking = ranking.instance(&[port], &output_schema(join)).unwrap();
    let mut out = Final::default();
    let count = pairs.0.iter().map(|batch| batch.num_rows() as u64).sum();
    for batch in pairs.0 {
        ranking.process(0, batch, &mut out).unwrap();
    }
    ranking.flush(&mut out).unwrap();
    (out.rows, count)
}

#[derive(Default)]
struct Pairs(Vec<Batch>);

impl crate::operator::Output for Pairs {
    fn emit(&mut self, batch: Batch) {
        self.0.push(batch);
    }

    fn late(&mut self, _: LateRows<'_>) {}

    fn null_time(&mut self, _: u64) {}
}

#[test]
fn what_a_join_leaves_out_would_not_have_been_ranked() {
    let first = crate::operators::tests::first_seed();
    let mut left_out = 0;
    for seed in first..first + 500 {
        let mut random = Random(seed);
        let join = join(JoinKind::Inner, vec![0], random.below(2) == 0, false);
        // The output is lv, lk, rv, rk.
        let contest = Contest {
            partition: vec![[1, 2][random.below(2)]],
            order: [0, 2]
                .map(|column| OrderColumn {
                    column,
                    descending: random.below(2) == 0,
                    nulls_first: random.below(2) == 0,
                })
                .to_vec(),
            limit: 1 + random.below(3),
        };
        let ranking = RankDefinition {
            input: output_schema(&join),
            partition: contest.partition.clone(),
            order: contest.order.clone(),
            function: RankFunction::RowNumber,
            limit: contest.limit,
            with_rank: false,
            window: None,
            time_to_live: None,
        };
        let batches: Vec<(usize, Batch)> = (0..random.below(8))
            .map(|_| {
                let (port, count) = (random.below(2), 1 + random.below(20));
                let changes = random_changes(&mut random, &mut Rows::default(), true, count);
                (port, batch_of(["l", "r"][port], &changes, true))
            })
            .collect();
        let contested = Join { contest: Some(contest), ..join.clone() };
        let (all, all_count) = ranked(&join, &ranking, &batches);
        let (some, some_count) = ranked(&contested, &ranking, &batches);
        assert_eq!(all, some, "seed {seed}: {}", contested.describe());
        left_out += all_count - some_count;
    }
    assert!(left_out > 1_000, "{left_out}");
}
