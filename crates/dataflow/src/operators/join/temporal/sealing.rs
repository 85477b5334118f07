//! The state of a temporal join as rows, for checkpoints: the versions, and the left rows that wait.
//!
//! Of the versions only what has changed is sealed, if that is asked for: those that are new, and the names of those that
//! have gone. The rows that wait, which are as many as come within the watermark's delay, and the times at which keys were
//! touched, where keys are forgotten, are always sealed whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, min};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};

use super::{PRUNE_MIN, TemporalInstance, Version, Waiting, column, ticks};
use crate::operator::OperatorError;
use crate::operators::rows_of;
use crate::state::{Lies, StatePart};
use crate::time::event_times;

const VERSIONS: &str = "versions";
const WAITING: &str = "waiting";
const TOUCHED: &str = "touched";

impl TemporalInstance {
    /// Seals versions and waiting rows.
    pub(super) fn sealed(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let mut parts = vec![self.sealed_versions(whole)?];
        parts.extend(self.sealed_touches()?);
        let waiting: Vec<&RecordBatch> = self.waiting.iter().map(|waiting| &waiting.rows).collect();
        let waiting = concat_batches(&self.left, waiting)?;
        parts.push(StatePart::whole(WAITING, waiting, Lies::Keyed(self.join.keys.left.clone())));
        Ok(parts)
    }

    fn sealed_versions(&mut self, whole: bool) -> Result<StatePart, OperatorError> {
        let sealed = self.versions.seal(whole)?;
        let mut columns = self.keys.columns(&self.versions.keys_of(&sealed.numbers))?;
        columns.push(Arc::new(UInt64Array::from(self.versions.ids_of(&sealed.numbers))));
        columns.extend(sealed.rows.columns().iter().cloned());
        let schema = self.versions_schema();
        let rows = rows_of(&schema, columns, sealed.numbers.len())?;
        let key_count = self.keys.types().len();
        let lies = Lies::Keyed((0..key_count).collect());
        let Some(gone) = sealed.gone else { return Ok(StatePart::whole(VERSIONS, rows, lies)) };
        let (keys, ids): (Vec<u32>, Vec<u64>) = gone.into_iter().unzip();
        let mut columns = self.keys.columns(&keys)?;
        columns.push(Arc::new(UInt64Array::from(ids)));
        let of_key: Vec<usize> = (0..=key_count).collect();
        let gone = rows_of(&Arc::new(schema.project(&of_key)?), columns, keys.len())?;
        Ok(StatePart::changes(VERSIONS, rows, lies, key_count + 1, gone))
    }

    /// When the keys that have versions were touched.
    fn sealed_touches(&self) -> Result<Option<StatePart>, OperatorError> {
        let Some(lifetime) = &self.lifetime else { return Ok(None) };
        let has_versions = |key: &u32| self.by_key.get(*key as usize).is_some_and(|versions| !versions.is_empty());
        let keys: Vec<u32> = (0..self.keys.len() as u32).filter(has_versions).collect();
        let mut columns = self.keys.columns(&keys)?;
        columns.push(Arc::new(lifetime.touched(&keys.iter().map(|key| *key as usize).collect::<Vec<usize>>())));
        let rows = rows_of(&self.touches_schema(), columns, keys.len())?;
        Ok(Some(StatePart::whole(TOUCHED, rows, Lies::Keyed((0..self.keys.types().len()).collect()))))
    }

    fn key_fields(&self) -> Vec<Field> {
        let keys = self.keys.types().iter().enumerate();
        keys.map(|(number, data_type)| Field::new(format!("key {number}"), data_type.clone(), true)).collect()
    }

    fn versions_schema(&self) -> SchemaRef {
        let mut fields = self.key_fields();
        fields.push(Field::new("number", DataType::UInt64, false));
        fields.extend(self.versions.schema().fields().iter().map(|field| field.as_ref().clone()));
        Arc::new(Schema::new(fields))
    }

    fn touches_schema(&self) -> SchemaRef {
        let mut fields = self.key_fields();
        fields.push(Field::new("touched", DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    /// Takes over rows of a part.
    pub(super) fn restore_part(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        let schema = match name {
            VERSIONS => self.versions_schema(),
            TOUCHED => self.touches_schema(),
            WAITING => Arc::clone(&self.left),
            _ => return Err(OperatorError::Unsupported(format!("a temporal join has no state of the name {name}"))),
        };
        let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&schema) != types(&rows.schema()) {
            let reason = format!("these are no {name} of this temporal join; the checkpoint is another query's");
            return Err(OperatorError::Unsupported(reason));
        }
        let (keys, rest) = rows.columns().split_at(if name == WAITING { 0 } else { self.keys.types().len() });
        match (name, rest) {
            (VERSIONS, [ids, versions @ ..]) => self.restore_versions(keys, ids, versions, rows.num_rows()),
            (TOUCHED, [touched]) => {
                let groups: Vec<usize> =
                    self.keys.number(keys, rows.num_rows())?.into_iter().map(|key| key as usize).collect();
                self.by_key.resize_with(self.keys.len(), Vec::new);
                if let Some(lifetime) = &mut self.lifetime {
                    lifetime.restore(touched.as_primitive::<Int64Type>(), &groups, self.keys.len());
                }
                Ok(())
            }
            _ => {
                let times = event_times(column(&rows, self.join.times.left)?)?;
                self.waiting.extend(min(&times).map(|earliest_ms| Waiting { rows, earliest_ms }));
                Ok(())
            }
        }
    }

    fn restore_versions(
        &mut self,
        keys: &[ArrayRef],
        ids: &ArrayRef,
        versions: &[ArrayRef],
        row_count: usize,
    ) -> Result<(), OperatorError> {
        let rows = rows_of(self.versions.schema(), versions.to_vec(), row_count)?;
        let from = ticks(column(&rows, self.join.times.right)?, self.unit)?;
        let keys = self.keys.number(keys, row_count)?;
        let first = self.versions.end();
        let ids = ids.as_primitive::<UInt64Type>().values();
        self.versions.restore(rows, keys.iter().copied(), std::iter::empty(), (ids, &[]))?;
        self.by_key.resize_with(self.keys.len(), Vec::new);
        for ((number, key), from) in (first..).zip(keys).zip(from.values()) {
            self.add(key, Version { from: *from, row: number })?;
        }
        self.prune_at = (2 * self.version_count).max(PRUNE_MIN);
        Ok(())
    }
}
