//! A case: a query, rows for its tables, and how they come; and what both modes make of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mulgil_connect::connectors::Connectors;
use mulgil_dataflow::physical::{PlanOptions, plan};
use mulgil_engine::deterministic::Random;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::single_statement;

use super::relation::Relation;
use super::rows::Table;
use crate::changes::difference;
use crate::modes::{Rows, as_stream, in_batch, session_over};

/// What a query over some rows came to.
pub(crate) enum Verdict {
    Equal {
        rows: usize,
    },
    /// The query cannot run as a stream, and says so.
    Refused(String),
    Differs(String),
}

/// Rows by table: which rows of each table there are.
pub(crate) type Kept = BTreeMap<String, Vec<usize>>;

pub(crate) struct Case<'a> {
    pub(crate) catalog: &'a Arc<Catalog>,
    pub(crate) connectors: &'a Arc<Connectors>,
    pub(crate) tables: &'a [Table],
    pub(crate) lateness_ms: u64,
    pub(crate) seed: u64,
    /// How often it runs as a stream, each time with other partitions and batches, another parallelism and schedule.
    pub(crate) runs: u64,
}

impl Case<'_> {
    /// Runs the query in batch once and as a stream several times.
    pub(crate) async fn judge(&self, relation: &Relation, kept: &Kept) -> Verdict {
        let sql = relation.sql();
        let rows: Rows =
            self.tables.iter().map(|table| (table.name.clone(), table.batch(&kept[&table.name]))).collect();
        let session = session_over(self.catalog, self.connectors, &rows);
        let stream = match session.stream_statement(&single_statement(&sql).unwrap(), self.lateness_ms) {
            Ok(stream) => stream,
            Err(refusal @ SqlError::NotInStream { .. }) => return Verdict::Refused(refusal.to_string()),
            Err(error) => return Verdict::Differs(format!("the stream does not take the text: {error}")),
        };
        if let Err(refusal) = plan(&stream.graph, 1) {
            return Verdict::Refused(refusal.to_string());
        }
        let expected = match in_batch(&session, &sql).await {
            Ok(expected) => expected,
            // What DataFusion cannot do, or does wrong and knows it, shows nothing of the stream.
            Err(reason) if reason.contains("not implemented") || reason.contains("bug in DataFusion") => {
                return Verdict::Refused("(batch) ".to_owned() + reason.lines().next().unwrap_or_default());
            }
            Err(reason) => return Verdict::Differs(reason),
        };
        // What comes after a pause may be late: windows then correct themselves, and joins by time may not.
        let may_pause = self.lateness_ms > 0 && relation.constructs().iter().all(|construct| is_patient(construct));
        for round in 0..self.runs {
            let mut random = Random::new(self.seed.wrapping_mul(1_000_003).wrapping_add(round));
            let options = PlanOptions { parallelism: 1 + random.below(5), rebalance: random.below(8) == 0 };
            let run = AssertUnwindSafe(|| as_stream(&stream, &rows, options, may_pause, &mut random));
            match catch_unwind(run) {
                Err(_) => return Verdict::Differs(format!("the engine panics, {options:?}")),
                Ok(Err(reason)) => return Verdict::Differs(format!("{reason}, {options:?}")),
                Ok(Ok(found)) if found != expected => {
                    return Verdict::Differs(format!("{}\n{options:?}", difference(&expected, &found)));
                }
                Ok(Ok(_)) => {}
            }
        }
        Verdict::Equal { rows: expected.len() }
    }
}

/// Whether late rows change its results, however late they are.
fn is_patient(construct: &str) -> bool {
    const HASTY: [&str; 9] =
        ["JOIN", "EXISTS", "IN", "AS OF", "lookup", "OVER in time", "sub-query", "INTERSECT", "EXCEPT"];
    !HASTY.iter().any(|hasty| construct.contains(hasty))
}
