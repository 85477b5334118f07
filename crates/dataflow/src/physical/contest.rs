//! Tells operators below a ranking what it will ask of their rows, so that they need not make rows that are sure to lose.

use std::sync::Arc;

use crate::graph::{Graph, LogicalOperator, NodeId};
use crate::operators::rank::Contest;

/// The same graph, in which operators that can leave out what a ranking behind them would do so.
pub(super) fn with_contests(graph: &Graph) -> Graph {
    let mut told = graph.clone();
    let consumers = graph.consumers();
    for node in &graph.nodes {
        let (LogicalOperator::Apply(definition), [input]) = (&node.operator, node.inputs.as_slice()) else { continue };
        if let Some(contest) = definition.contest().filter(|_| !graph.is_updating(*input)) {
            tell(&mut told, &consumers, *input, contest);
        }
    }
    told
}

/// Hands a contest down through projections to whoever makes the rows, if nobody else takes them.
fn tell(graph: &mut Graph, consumers: &[usize], mut at: NodeId, mut contest: Contest) {
    while consumers.get(at) == Some(&1)
        && let Some(node) = graph.nodes.get_mut(at)
    {
        match &node.operator {
            LogicalOperator::Project { expressions } => {
                let source = |column: usize| expressions.get(column).and_then(|named| named.expression.as_column());
                let (Some(below), Some(input)) = (contest.below(source), node.inputs.first()) else { return };
                (at, contest) = (*input, below);
            }
            LogicalOperator::Apply(definition) => {
                if let Some(told) = definition.for_contest(&contest) {
                    node.operator = LogicalOperator::Apply(Arc::clone(&told));
                }
                return;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

    use super::*;
    use crate::definition::OperatorDefinition;
    use crate::native::column;
    use crate::operators::join::{Join, JoinKind, Sides};
    use crate::operators::rank::{OrderColumn, RankDefinition, RankFunction};

    fn schema(names: &[&str]) -> SchemaRef {
        let field = |name: &&str| Field::new(*name, DataType::Int64, true);
        Arc::new(Schema::new(names.iter().map(field).collect::<Vec<Field>>()))
    }

    fn join(kind: JoinKind) -> Join {
        Join {
            kind,
            keys: Sides { left: vec![0], right: vec![0] },
            on: "a = b".to_owned(),
            nulls_match: false,
            condition: None,
            outputs: Sides { left: vec![0, 1], right: vec![1] },
            retention: None,
            time_to_live: None,
            is_lookup: false,
            is_right_everywhere: false,
            left_by: Vec::new(),
            contest: None,
        }
    }

    /// Two sources, joined, projected to (v, a), ranked by v within a; maybe somebody else takes the join's rows too.
    fn graph(kind: JoinKind, function: RankFunction, is_shared: bool) -> Graph {
        let mut graph = Graph::new();
        let mut source = |name: &str, names: &[&str]| {
            let operator =
                LogicalOperator::Source { table: name.to_owned(), projection: vec![0, 1], has_changes: false };
            graph.push(operator, vec![], schema(names))
        };
        let inputs = vec![source("left", &["a", "u"]), source("right", &["b", "v"])];
        let joined = schema(&["a", "u", "v"]);
        let at = graph.push(LogicalOperator::Apply(Arc::new(join(kind))), inputs, Arc::clone(&joined));
        let expressions = ["v", "a"].map(|name| column(&joined, name).unwrap()).to_vec();
        let projected = graph.push(LogicalOperator::Project { expressions }, vec![at], schema(&["v", "a"]));
        let definition = RankDefinition {
            input: schema(&["v", "a"]),
            partition: vec![1],
            order: vec![OrderColumn { column: 0, descending: true, nulls_first: false }],
            function,
            limit: 3,
            with_rank: false,
            window: None,
            time_to_live: None,
        };
        graph.push(LogicalOperator::Apply(Arc::new(definition)), vec![projected], schema(&["v", "a"]));
        if is_shared {
            graph.push(LogicalOperator::Sink { table: "other".to_owned() }, vec![at], joined);
        }
        graph
    }

    #[test]
    fn an_inner_join_below_a_ranking_hears_of_it_through_projections() {
        for (kind, function, is_shared, expected) in [
            (JoinKind::Inner, RankFunction::RowNumber, false, true),
            (JoinKind::Inner, RankFunction::Rank, false, true),
            (JoinKind::Inner, RankFunction::DenseRank, false, false),
            (JoinKind::Left, RankFunction::RowNumber, false, false),
            (JoinKind::Inner, RankFunction::RowNumber, true, false),
        ] {
            let told = with_contests(&graph(kind, function, is_shared));
            let LogicalOperator::Apply(found) = &told.nodes[2].operator else { panic!("there is no join") };
            let contest = Contest {
                partition: vec![0],
                order: vec![OrderColumn { column: 2, descending: true, nulls_first: false }],
                limit: 3,
            };
            let with = join(kind).for_contest(&contest).map(|join| join.describe());
            let expected = if expected { with.unwrap() } else { join(kind).describe() };
            assert_eq!(found.describe(), expected, "{kind:?} {function:?}");
        }
    }
}
