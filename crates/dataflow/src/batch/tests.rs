//! A batch and its row kinds stay side by side through slicing and filtering.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use arrow::array::{Int64Array, StringArray, StringViewArray};

use super::*;

fn rows(count: usize) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count as i64));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|_| "0123456789")));
    RecordBatch::try_from_iter([("number", numbers), ("name", names)]).unwrap()
}

#[test]
fn a_slice_counts_as_what_it_shows() {
    let batch = Batch::append(rows(1000));
    let whole = batch.size_bytes();
    assert!((20_000..30_000).contains(&whole), "{whole}");
    let part = batch.slice(500, 10).size_bytes();
    assert!((200..400).contains(&part), "{part}");
}

#[test]
fn long_views_count_with_their_text() {
    let text = "x".repeat(1000);
    let names: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str(); 10]));
    let batch = Batch::append(RecordBatch::try_from_iter([("name", names)]).unwrap());
    assert!(batch.size_bytes() > 10_000);
}

#[test]
fn rows_without_columns_can_be_taken() {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(3));
    let schema = Arc::new(arrow::datatypes::Schema::empty());
    let batch = Batch::append(RecordBatch::try_new_with_options(schema, vec![], &options).unwrap());
    assert_eq!(batch.take(&UInt32Array::from(vec![0, 2])).unwrap().num_rows(), 2);
}

#[test]
fn nothing_concatenates_to_nothing() {
    assert!(Batch::concat(&[]).unwrap().is_none());
}
