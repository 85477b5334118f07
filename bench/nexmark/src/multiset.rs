//! Rows without an order: two results are equal when each row occurs in both equally often.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Result, bail};
use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How many differing rows are shown.
const SHOWN: usize = 3;

/// The rows of a result.
#[derive(Clone, Debug)]
pub struct Multiset {
    schema: Schema,
    batches: Vec<RecordBatch>,
}

impl Multiset {
    /// The columns named of some rows; all columns where `columns` is `None`. Representations of text count as one type.
    ///
    /// # Errors
    /// A column is missing.
    pub fn new(schema: &Schema, batches: &[RecordBatch], columns: Option<&[&str]>) -> Result<Self> {
        let wanted = match columns {
            Some(columns) => columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?,
            None => (0..schema.fields().len()).collect(),
        };
        let projected = schema.project(&wanted)?;
        let fields = projected.fields().iter().map(|field| {
            let data_type = match field.data_type() {
                DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
                other => other.clone(),
            };
            field.as_ref().clone().with_data_type(data_type).with_nullable(true)
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let plain = |batch: &RecordBatch| -> Result<RecordBatch> {
            let columns = wanted.iter().zip(schema.fields());
            let columns = columns.map(|(index, field)| cast(batch.column(*index), field.data_type()));
            Ok(RecordBatch::try_new(schema.clone().into(), columns.collect::<Result<_, _>>()?)?)
        };
        let batches = batches.iter().map(plain).collect::<Result<_>>()?;
        Ok(Self { schema, batches })
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// What is different, in words; nothing where the rows are the same.
    ///
    /// # Errors
    /// A type cannot be compared.
    pub fn difference(&self, other: &Self) -> Result<Option<String>> {
        let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if types(&self.schema) != types(&other.schema) {
            bail!("the columns are {:?} and {:?}", types(&self.schema), types(&other.schema));
        }
        let (mine, others) = (self.hashes()?, other.hashes()?);
        let mut counts: HashMap<u64, i64> = HashMap::with_capacity(mine.len());
        mine.iter().for_each(|hash| *counts.entry(*hash).or_default() += 1);
        others.iter().for_each(|hash| *counts.entry(*hash).or_default() -= 1);
        let surplus: i64 = counts.values().filter(|count| **count > 0).sum();
        let missing: i64 = -counts.values().filter(|count| **count < 0).sum::<i64>();
        if surplus == 0 && missing == 0 {
            return Ok(None);
        }
        let only_here = self.examples(&mine, |hash| counts.get(&hash).is_some_and(|count| *count > 0))?;
        let only_there = other.examples(&others, |hash| counts.get(&hash).is_some_and(|count| *count < 0))?;
        Ok(Some(format!("{surplus} rows too many {only_here}, {missing} rows too few {only_there}")))
    }

    fn hashes(&self) -> Result<Vec<u64>> {
        let fields = self.schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let mut hashes = Vec::with_capacity(self.row_count());
        for batch in &self.batches {
            for row in &converter.convert_columns(batch.columns())? {
                let mut hasher = DefaultHasher::new();
                row.as_ref().hash(&mut hasher);
                hashes.push(hasher.finish());
            }
        }
        Ok(hashes)
    }

    fn examples(&self, hashes: &[u64], is_wanted: impl Fn(u64) -> bool) -> Result<String> {
        let options = FormatOptions::new().with_null("NULL");
        let mut examples = Vec::new();
        let mut first = 0;
        for batch in &self.batches {
            let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let hashes = hashes.iter().skip(first).take(batch.num_rows());
            for (row, _) in hashes.enumerate().filter(|(_, hash)| is_wanted(**hash)).take(SHOWN - examples.len()) {
                let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
                examples.push(format!("({})", cells.join(", ")));
            }
            first += batch.num_rows();
            if examples.len() == SHOWN {
                break;
            }
        }
        Ok(format!("[{}]", examples.join(" ")))
    }

    /// The sum of a column of whole numbers.
    ///
    /// # Errors
    /// The column is missing, or of another type.
    pub fn total(&self, column: &str) -> Result<i64> {
        let index = self.schema.index_of(column)?;
        let mut total = 0;
        for batch in &self.batches {
            let Some(values) = batch.column(index).as_any().downcast_ref::<arrow::array::Int64Array>() else {
                bail!("column {column} is {}, not BIGINT", batch.column(index).data_type());
            };
            total += arrow::compute::sum(values).unwrap_or_default();
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn rows(values: &[(Option<i64>, &str)]) -> Multiset {
        let numbers: Int64Array = values.iter().map(|(number, _)| *number).collect();
        let texts: StringViewArray = values.iter().map(|(_, text)| Some(*text)).collect();
        let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as _), ("t", Arc::new(texts) as _)]).unwrap();
        Multiset::new(&batch.schema(), &[batch], None).unwrap()
    }

    #[test]
    fn order_does_not_matter_and_counts_do() {
        let some = rows(&[(Some(1), "a"), (None, "b"), (Some(1), "a")]);
        assert_eq!(some.difference(&rows(&[(None, "b"), (Some(1), "a"), (Some(1), "a")])).unwrap(), None);
        let difference = some.difference(&rows(&[(None, "b"), (Some(1), "a"), (Some(2), "a")])).unwrap().unwrap();
        assert_eq!(difference, "1 rows too many [(1, a) (1, a)], 1 rows too few [(2, a)]");
        assert_eq!((some.row_count(), some.total("n").unwrap()), (3, 2));
    }
}
