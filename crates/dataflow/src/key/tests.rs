//! The key hash is pinned: state that was placed by it must be found again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use arrow::array::{DictionaryArray, Int32Array, Int64Array, StringArray, StringViewArray};
use arrow::datatypes::Int32Type;
use arrow::row::{RowConverter, SortField};

use super::*;

fn hash_of(column: ArrayRef) -> u64 {
    KeyEncoder::new([column.data_type().clone()]).unwrap().encode(&[column], 1).unwrap().hashes()[0]
}

/// These values are stored with state. If this test fails, `KEY_HASH_VERSION` has to move.
#[test]
fn hashes_are_pinned() {
    assert_eq!(KEY_HASH_VERSION, 1);
    let hashes = [
        hash_of(Arc::new(StringArray::from(vec!["JFK"]))),
        hash_of(Arc::new(StringArray::from(vec![""]))),
        hash_of(Arc::new(StringArray::from(vec![None::<&str>]))),
        hash_of(Arc::new(Int64Array::from(vec![0]))),
        hash_of(Arc::new(Int64Array::from(vec![-1]))),
        hash_of(Arc::new(Int32Array::from(vec![7]))),
        KeyEncoder::new([]).unwrap().encode(&[], 1).unwrap().hashes()[0],
    ];
    insta::assert_debug_snapshot!(hashes);
}

#[test]
fn the_same_text_hashes_the_same_in_every_layout() {
    let plain = hash_of(Arc::new(StringArray::from(vec!["Newark Liberty"])));
    let view = hash_of(Arc::new(StringViewArray::from(vec!["Newark Liberty"])));
    let dictionary: DictionaryArray<Int32Type> = vec!["Newark Liberty"].into_iter().collect();
    assert_eq!(plain, view);
    assert_eq!(plain, hash_of(Arc::new(dictionary)));
}

#[test]
fn key_groups_go_to_subtasks_by_range() {
    for parallelism in 1..=KEY_GROUP_COUNT {
        let subtasks: Vec<usize> = (0..KEY_GROUP_COUNT).map(|group| subtask_of(group, parallelism)).collect();
        assert!(subtasks.is_sorted());
        assert_eq!((subtasks[0], subtasks[255]), (0, parallelism - 1));
        let mut distinct = subtasks.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), parallelism, "every subtask has a group");
    }
}

#[test]
fn a_type_that_cannot_be_a_key_is_refused() {
    let entries = arrow::datatypes::Field::new(
        "entries",
        DataType::Struct(
            vec![
                arrow::datatypes::Field::new("key", DataType::Utf8, false),
                arrow::datatypes::Field::new("value", DataType::Utf8, true),
            ]
            .into(),
        ),
        false,
    );
    // Whatever Arrow decides about maps, the answer is an error or an encoder, never a panic.
    let map = DataType::Map(Arc::new(entries), false);
    assert_eq!(KeyEncoder::new([map.clone()]).is_ok(), RowConverter::supports_fields(&[SortField::new(map)]));
}
