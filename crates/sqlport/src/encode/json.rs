//! What PostgreSQL has no type for, as `json`: records, maps, lists of lists.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Field;
use arrow::json::writer::{EncoderOptions, make_encoder};
use bytes::BufMut;

use super::Write;
use crate::service::QueryError;

/// Looks at an array of anything.
pub(super) fn writer(array: &ArrayRef) -> Write {
    let array = Arc::clone(array);
    let field = Arc::new(Field::new("", array.data_type().clone(), true));
    // Nulls within are written, so that every record has all its fields.
    let options = EncoderOptions::default().with_explicit_nulls(true);
    Box::new(move |row, out| {
        // An encoder borrows its array, so each value gets one of its own.
        let value = array.slice(row, 1);
        let encoder = make_encoder(&field, value.as_ref(), &options);
        let mut encoder = encoder.map_err(|error| QueryError::new(QueryError::INTERNAL, error.to_string()))?;
        let mut text = Vec::new();
        encoder.encode(0, &mut text);
        out.put_slice(&text);
        Ok(())
    })
}
