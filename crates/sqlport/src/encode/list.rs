//! Lists as PostgreSQL's arrays of one dimension: `{1,NULL,"a b"}`.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use bytes::{BufMut, BytesMut};

use super::{Column, Look, Write};
use crate::service::QueryError;
use crate::types::{item_of, wire_type};

/// Looks at an array of lists.
pub(super) fn writer(array: &ArrayRef, look: &Look) -> Result<Write, QueryError> {
    let array = match array.data_type() {
        // One form for all kinds of lists, whose offsets are easy to read.
        other if !matches!(other, DataType::LargeList(_)) => {
            let item = item_of(other).map_or(DataType::Null, |item| item.data_type().clone());
            let large = DataType::LargeList(Field::new_list_field(item, true).into());
            cast(array, &large).map_err(|error| QueryError::new(QueryError::INTERNAL, error.to_string()))?
        }
        _ => array.clone(),
    };
    let lists = array.as_list::<i64>().clone();
    let items = Column::new(lists.values(), look)?;
    let binary = look.binary;
    let item_kind = wire_type(lists.values().data_type()).kind.oid();
    let range = move |row: usize| {
        let offset = |at: usize| lists.value_offsets().get(at).and_then(|offset| usize::try_from(*offset).ok());
        offset(row).unwrap_or_default()..offset(row + 1).unwrap_or_default()
    };
    Ok(Box::new(move |row, out| {
        if binary { put_binary(&items, range(row), item_kind, out) } else { put_text(&items, range(row), out) }
    }))
}

fn put_binary(items: &Column, range: Range<usize>, item_kind: u32, out: &mut BytesMut) -> Result<(), QueryError> {
    let too_long = |_| QueryError::new("54000", "a list has more items than an array can have");
    let length = i32::try_from(range.len()).map_err(too_long)?;
    out.put_i32(i32::from(length > 0));
    out.put_i32(i32::from(range.clone().any(|item| items.is_null(item))));
    out.put_u32(item_kind);
    if length > 0 {
        out.put_i32(length);
        // Items are counted from 1.
        out.put_i32(1);
    }
    range.into_iter().try_for_each(|item| items.put(item, out))
}

fn put_text(items: &Column, range: Range<usize>, out: &mut BytesMut) -> Result<(), QueryError> {
    let first = range.start;
    let mut text = BytesMut::new();
    out.put_u8(b'{');
    for item in range {
        if item > first {
            out.put_u8(b',');
        }
        if items.is_null(item) {
            out.put_slice(b"NULL");
            continue;
        }
        text.clear();
        (items.write)(item, &mut text)?;
        put_item(&text, out);
    }
    out.put_u8(b'}');
    Ok(())
}

/// An item, in quotes where it would be read wrongly without.
fn put_item(text: &[u8], out: &mut BytesMut) {
    let is_special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || byte.is_ascii_whitespace();
    if !text.is_empty() && !text.iter().any(is_special) && !text.eq_ignore_ascii_case(b"null") {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}
