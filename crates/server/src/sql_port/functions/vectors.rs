//! PostgreSQL's lists of small numbers that are written `1 2` and count from 0: the columns of a key in `pg_index`.
//!
//! They go out as that text. Where a query takes items of one, the planner's words ask these functions.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, Int64Builder, ListArray, ListBuilder, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use mulgil_sql::function::Function;

use super::function;

/// The functions; they are the same for everybody.
pub(super) fn all() -> Vec<Function> {
    vec![item(), items(), expanded()]
}

fn numbers(vector: &str) -> Vec<i64> {
    vector.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn texts(arguments: &[ArrayRef]) -> Result<StringArray, String> {
    let vectors = arguments.first().ok_or("it takes a list of small numbers")?;
    let vectors = cast(vectors, &DataType::Utf8).map_err(|error| error.to_string())?;
    Ok(vectors.as_string::<i32>().clone())
}

/// `vector_item('7 9', 1)` is 9.
fn item() -> Function {
    function("vector_item", (2, 2), DataType::Int64, |arguments, _| {
        let vectors = texts(arguments)?;
        let places = arguments.get(1).ok_or("it takes a place")?;
        let places = cast(places, &DataType::Int64).map_err(|error| error.to_string())?;
        let item =
            |(vector, place): (Option<&str>, Option<i64>)| numbers(vector?).get(usize::try_from(place?).ok()?).copied();
        let items = vectors.iter().zip(places.as_primitive::<Int64Type>()).map(item);
        Ok(Arc::new(items.collect::<Int64Array>()))
    })
}

/// `vector_items('7 9')` is the list of 7 and 9.
fn items() -> Function {
    function("vector_items", (1, 1), DataType::new_list(DataType::Int64, true), |arguments, _| {
        let mut lists = ListBuilder::new(Int64Builder::new());
        for vector in texts(arguments)?.iter() {
            lists.append_option(vector.map(|vector| numbers(vector).into_iter().map(Some)));
        }
        Ok(Arc::new(lists.finish()))
    })
}

/// `vector_places('7 9')`: each number as `x`, with its place from 1 as `n`.
fn expanded() -> Function {
    let fields = || Fields::from(vec![Field::new("x", DataType::Int64, true), Field::new("n", DataType::Int64, true)]);
    let returns = DataType::new_list(DataType::Struct(fields()), true);
    function("vector_places", (1, 1), returns, move |arguments, _| {
        let vectors = texts(arguments)?;
        let lists: Vec<Vec<i64>> = vectors.iter().map(|vector| vector.map(numbers).unwrap_or_default()).collect();
        let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
        let values: ArrayRef = Arc::new(lists.iter().flatten().copied().collect::<Int64Array>());
        let places: ArrayRef =
            Arc::new(lists.iter().flat_map(|list| (1_i64..).zip(list)).map(|(n, _)| n).collect::<Int64Array>());
        let pairs = StructArray::try_new(fields(), vec![values, places], None).map_err(|error| error.to_string())?;
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields()), true));
        let nulls = vectors.nulls().cloned();
        let lists = ListArray::try_new(item, offsets, Arc::new(pairs), nulls).map_err(|error| error.to_string())?;
        Ok(Arc::new(lists) as ArrayRef)
    })
}
