//! A ranking that is never final: each turn gives what has changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt8Array, UInt64Array};
use arrow::datatypes::SchemaRef;

use super::RankDefinition;
use super::changes::Change;
use super::ranking::Ranking;
use crate::batch::Batch;
use crate::coalesce::BATCH_ROWS;
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::rows_of;
use crate::state::StatePart;
use crate::time::Watermark;

/// Keeps the first rows of every partition, as a changelog.
pub(super) struct ContinuousRank {
    ranking: Ranking,
    input_is_updating: bool,
    with_rank: bool,
    schema: SchemaRef,
}

impl ContinuousRank {
    pub(super) fn new(
        definition: &RankDefinition,
        input_is_updating: bool,
        schema: SchemaRef,
    ) -> Result<Self, OperatorError> {
        let ranking = Ranking::new(definition)?;
        Ok(Self { ranking, input_is_updating, with_rank: definition.with_rank, schema })
    }
}

/// The rows of some changes, whose columns these are, with their ranks if asked for.
pub(super) fn rows_of_changes(
    mut columns: Vec<ArrayRef>,
    changes: &[Change],
    with_rank: bool,
    schema: &SchemaRef,
) -> Result<RecordBatch, OperatorError> {
    if with_rank {
        columns.push(Arc::new(UInt64Array::from_iter_values(changes.iter().map(|change| change.rank))));
    }
    Ok(rows_of(schema, columns, changes.len())?)
}

impl Operator for ContinuousRank {
    fn process(&mut self, _port: usize, batch: Batch, _out: &mut dyn Output) -> Result<(), OperatorError> {
        if !self.input_is_updating {
            return self.ranking.insert(&batch.rows);
        }
        self.ranking.change(&batch.rows, batch.kinds.as_ref())
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let changes = self.ranking.changes()?;
        for part in changes.chunks(BATCH_ROWS) {
            let columns = self.ranking.gather(part)?;
            if !self.input_is_updating {
                self.ranking.settle_in(part, columns.clone())?;
            }
            let rows = rows_of_changes(columns, part, self.with_rank, &self.schema)?;
            let kinds = UInt8Array::from_iter_values(part.iter().map(|change| change.kind as u8));
            out.emit(Batch { rows, kinds: Some(kinds) });
        }
        self.ranking.tidy()
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut dyn Output) -> Result<(), OperatorError> {
        self.ranking.partitions_mut().on_watermark(watermark);
        Ok(())
    }

    fn wants_clock(&self) -> bool {
        self.ranking.wants_clock()
    }

    fn on_clock(&mut self, now_ms: i64, _: &mut dyn Output) -> Result<(), OperatorError> {
        self.ranking.partitions_mut().on_clock(now_ms);
        Ok(())
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        // What time has done may still be to be done.
        self.ranking.tidy()?;
        Ok(vec![self.ranking.seal(whole, false)?])
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        self.ranking.restore(name, &rows)
    }

    fn resume(&mut self, watermark: Watermark) {
        self.ranking.partitions_mut().resume(watermark);
    }

    fn state_size_bytes(&self) -> usize {
        self.ranking.size_bytes()
    }
}
