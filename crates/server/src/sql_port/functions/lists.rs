//! Functions about lists that clients of PostgreSQL use on names and settings: the parts of a name, the bounds of an array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListBuilder, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use mulgil_sql::function::Function;

use super::function;
use crate::sql_port::catalog::identifiers;

/// The functions; they are the same for everybody.
pub(super) fn all() -> Vec<Function> {
    vec![parse_ident(), bound("array_lower", |_| 1), bound("array_upper", |length| length)]
}

/// `parse_ident('a."B c"')`: the parts of a name.
fn parse_ident() -> Function {
    let parts = DataType::new_list(DataType::Utf8, true);
    function("parse_ident", (1, 2), parts, |arguments, _| {
        let names = arguments.first().ok_or("it takes a name")?;
        let names = cast(names, &DataType::Utf8).map_err(|error| error.to_string())?;
        let mut lists = ListBuilder::new(StringBuilder::new());
        for name in names.as_string::<i32>() {
            let parts = name.map(|name| identifiers(name).ok_or_else(|| format!("\"{name}\" is no name")));
            lists.append_option(parts.transpose()?.map(|parts| parts.into_iter().map(Some)));
        }
        Ok(Arc::new(lists.finish()))
    })
}

/// A bound of an array in its first dimension: of its length, if it has items.
fn bound(name: &'static str, of: fn(i64) -> i64) -> Function {
    function(name, (2, 2), DataType::Int64, move |arguments, rows| {
        let [list, dimension] = arguments else { return Err("it takes an array and a dimension".to_owned()) };
        let dimension = cast(dimension, &DataType::Int64).map_err(|error| error.to_string())?;
        let dimension = dimension.as_primitive::<Int64Type>();
        let Some(list) = list.as_list_opt::<i32>() else {
            return match list.data_type() {
                DataType::Null => Ok(arrow::array::new_null_array(&DataType::Int64, rows)),
                _ => Err("it takes an array".to_owned()),
            };
        };
        let length = |row: usize| i64::from(list.value_length(row));
        let is_known = |row: &usize| list.is_valid(*row) && dimension.is_valid(*row) && dimension.value(*row) == 1;
        let bound = |row: usize| Some(row).filter(is_known).map(length).filter(|length| *length > 0).map(of);
        Ok(Arc::new((0..list.len()).map(bound).collect::<Int64Array>()) as ArrayRef)
    })
}
