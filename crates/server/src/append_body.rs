//! The body of an append: records as JSON lines, as JSON, as CSV or as lines of text. Each becomes one JSON object, with the very letters
//! in which it came where it came as one; a line of text is a record as it is.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// How a body says its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    /// An object a line.
    Lines,
    /// One object, or an array of them.
    Json,
    /// A line with the fields' names, then a record a line.
    Csv,
    /// A record a line, whatever it says.
    Text,
}

impl BodyFormat {
    /// As the header says; JSON lines where it says nothing else.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "text/csv" => Self::Csv,
            "text/plain" => Self::Text,
            _ => Self::Lines,
        }
    }

    /// The records of a body; at least one.
    pub(crate) fn values(self, body: &Bytes) -> Result<Vec<Bytes>, ApiError> {
        let text = std::str::from_utf8(body).map_err(|error| {
            ApiError::invalid(format!("line {} is not UTF-8", line_of(body, error.valid_up_to())))
                .with_detail(error.to_string())
        })?;
        let values = match self {
            Self::Lines => lines(body, text)?,
            Self::Json => json(body, text)?,
            Self::Csv => csv(text)?,
            Self::Text => text_lines(body, text),
        };
        if values.is_empty() {
            let hint = match self {
                Self::Lines => "send one JSON object a line",
                Self::Json => "send a JSON object, or an array of them",
                Self::Csv => "send a line with the fields' names and one or more with their values",
                Self::Text => "send a record a line",
            };
            return Err(ApiError::invalid("the body has no line").with_hint(hint));
        }
        Ok(values)
    }
}

/// The line of a byte, from 1.
fn line_of(body: &[u8], position: usize) -> usize {
    body.iter().take(position).filter(|byte| **byte == b'\n').count() + 1
}

fn refuse(line: usize, why: String) -> ApiError {
    ApiError::invalid(format!("line {line} is not a JSON object"))
        .with_detail(why)
        .with_hint("send JSON objects; nothing of this body was appended")
}

/// Its lines as they are, blank ones left out.
fn text_lines(body: &Bytes, text: &str) -> Vec<Bytes> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| body.slice_ref(line.as_bytes())).collect()
}

/// Its lines, blank ones left out.
fn lines(body: &Bytes, text: &str) -> Result<Vec<Bytes>, ApiError> {
    let mut values = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if !line.starts_with('{') {
            return Err(refuse(index + 1, "it does not begin with {".to_owned()));
        }
        serde_json::from_str::<IgnoredAny>(line).map_err(|error| refuse(index + 1, error.to_string()))?;
        values.push(body.slice_ref(line.as_bytes()));
    }
    Ok(values)
}

/// The objects of an array, or the one object.
fn json(body: &Bytes, text: &str) -> Result<Vec<Bytes>, ApiError> {
    let refuse_at = |rest: &str, why: String| refuse(line_of(body, text.len() - rest.len()), why);
    let mut values = Vec::new();
    let whole = text.trim();
    let Some(mut rest) = whole.strip_prefix('[').map(str::trim_start) else {
        if whole.is_empty() {
            return Ok(values);
        }
        let (value, rest) = object(whole).map_err(|why| refuse_at(whole, why))?;
        if !rest.is_empty() {
            return Err(refuse_at(rest, "something stands behind the object".to_owned()));
        }
        values.push(body.slice_ref(value.as_bytes()));
        return Ok(values);
    };
    while !rest.starts_with(']') {
        let (value, behind) = object(rest).map_err(|why| refuse_at(rest, why))?;
        values.push(body.slice_ref(value.as_bytes()));
        rest = match behind.strip_prefix(',').map(str::trim_start) {
            Some(next) if next.starts_with('{') => next,
            None if behind.starts_with(']') => behind,
            _ => {
                return Err(refuse_at(behind, "a comma and an object, or the end of the array, is missing".to_owned()));
            }
        };
    }
    match rest.strip_prefix(']').map(str::trim_start) {
        Some("") => Ok(values),
        _ => Err(refuse_at(rest, "something stands behind the array".to_owned())),
    }
}

/// The object at the front, and what follows it.
fn object(text: &str) -> Result<(&str, &str), String> {
    if !text.starts_with('{') {
        return Err("an object begins with {".to_owned());
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => {
            let (value, rest) = text.split_at_checked(values.byte_offset()).ok_or("it is cut off")?;
            Ok((value, rest.trim_start()))
        }
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it is empty".to_owned()),
    }
}

/// A record for each line behind the first.
fn csv(text: &str) -> Result<Vec<Bytes>, ApiError> {
    let refuse = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        ApiError::invalid(format!("line {line} is not CSV as the header line says it"))
            .with_detail(error.to_string())
            .with_hint("nothing of this body was appended")
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().map_err(refuse)?.clone();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || names.iter().take(index).any(|before| before == name) {
            let reason = format!("the header line has no name for column {}, or has it twice: {name:?}", index + 1);
            return Err(ApiError::invalid(reason));
        }
    }
    let mut values = Vec::new();
    for record in reader.into_records() {
        let record = record.map_err(refuse)?;
        let cell = |cell: &str| match cell {
            "" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => Value::String(text.to_owned()),
        };
        let fields = names.iter().zip(&record).map(|(name, value)| (name.to_owned(), cell(value)));
        values.push(Bytes::from(Value::Object(fields.collect::<Map<String, Value>>()).to_string()));
    }
    Ok(values)
}
