//! Rows in InfluxDB's line protocol: `measurement,tag=value field=value,field=value time`, a line a point.
//!
//! ```text
//!   flights,carrier=UA,origin=New\ York delay=12.5,flights=3i,late=true,note="he said \"go\"" 1357016400000000000
//! ```
//!
//! A NULL is left out, as is a number that is not finite: the protocol knows neither. A row without any field is no point.
//! An empty tag is left out too: to the protocol it is no tag.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimeUnit};

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::sql_type;
use crate::http::requests::Body;
use crate::options::{Options, suggestion};

/// What times are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Nano,
    Micro,
    Milli,
    Second,
}

impl Precision {
    /// The parameter of a request, as the second version of the interface or the first spells it.
    pub(super) fn word(self, is_second_version: bool) -> &'static str {
        match self {
            Self::Nano => "ns",
            Self::Micro if is_second_version => "us",
            Self::Micro => "u",
            Self::Milli => "ms",
            Self::Second => "s",
        }
    }

    fn unit(self) -> TimeUnit {
        match self {
            Self::Nano => TimeUnit::Nanosecond,
            Self::Micro => TimeUnit::Microsecond,
            Self::Milli => TimeUnit::Millisecond,
            Self::Second => TimeUnit::Second,
        }
    }
}

/// How rows of one table are said.
pub(super) struct Lines {
    table: String,
    /// With what must be escaped escaped, as are the names below.
    measurement: String,
    /// Columns that are tags, sorted by name as the protocol advises.
    tags: Vec<(usize, String)>,
    fields: Vec<(usize, String)>,
    time: usize,
    precision: Precision,
}

/// A column of fields.
enum Cells {
    Integer(Int64Array),
    Float(Float64Array),
    Boolean(BooleanArray),
    Text(StringArray),
}

impl Lines {
    pub(super) fn new(
        table: &TableDefinition,
        options: &Options<'_>,
        precision: Precision,
    ) -> Result<Self, ConnectError> {
        let schema = table.writable_schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let find = |option: &str, name: &str| {
            schema.index_of(name).map_err(|_| {
                options
                    .refusal(format!("'{option}' names column {name}, which there is not{}", suggestion(name, &names)))
            })
        };
        let time = match options.optional("time-column") {
            Some(name) => find("time-column", name)?,
            None => match &table.watermark {
                Some(watermark) => find("time-column", &watermark.column)?,
                None => find("time-column", options.required("time-column", "ts")?)?,
            },
        };
        if !matches!(schema.field(time).data_type(), DataType::Timestamp(..)) {
            let reason = format!("'time-column' is column {}, which is no TIMESTAMP", schema.field(time).name());
            return Err(options.refusal(reason));
        }
        let tag_names = options.optional("tags").unwrap_or_default().split([',', ';']).map(str::trim);
        let mut tags = Vec::new();
        for name in tag_names.filter(|name| !name.is_empty()) {
            tags.push((find("tags", name)?, escaped(name, &[',', '=', ' '])));
        }
        tags.sort_by(|a, b| a.1.cmp(&b.1));
        let is_field = |index: &usize| *index != time && tags.iter().all(|(tag, _)| tag != index);
        let fields: Vec<usize> = (0..names.len()).filter(is_field).collect();
        if fields.is_empty() {
            return Err(options.refusal("every column is a tag or the time; a point needs a field"));
        }
        for (index, field) in schema.fields().iter().enumerate() {
            check_name(options, field)?;
            if index != time && kind(field.data_type()).is_none() {
                let (name, data_type) = (field.name(), sql_type(field.data_type()));
                return Err(options.refusal(format!("column {name} is {data_type}, which no point can hold; CAST it")));
            }
        }
        let measurement = options.optional("measurement").unwrap_or(&table.name.name);
        if measurement.is_empty() || measurement.starts_with('#') || measurement.contains(['\n', '\r']) {
            return Err(options.refusal("'measurement' must be a name of one line that does not begin with #"));
        }
        let fields = fields.into_iter().map(|index| (index, escaped(schema.field(index).name(), &[',', '=', ' '])));
        Ok(Self {
            table: table.name.to_string(),
            measurement: escaped(measurement, &[',', ' ']),
            fields: fields.collect(),
            tags,
            time,
            precision,
        })
    }

    fn times(&self, rows: &RecordBatch) -> Result<Int64Array, ConnectError> {
        let column = rows.column(self.time);
        let zone = match column.data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let times = strict_cast(column, &DataType::Timestamp(self.precision.unit(), zone));
        let times = times.and_then(|times| strict_cast(&times, &DataType::Int64)).map_err(|error| {
            let reason = format!("its time does not fit; say 'precision' = 'ms': {error}");
            ConnectError::Definition { table: self.table.clone(), reason }
        })?;
        if times.null_count() > 0 {
            let reason = "a row has no time, and the database would take the time of writing; leave such rows out";
            return Err(ConnectError::Definition { table: self.table.clone(), reason: reason.to_owned() });
        }
        Ok(times.as_primitive::<Int64Type>().clone())
    }

    /// Writes the tags of a row, whose text may need a backslash before some letters.
    fn write_tag(&self, name: &str, value: &str, line: &mut String) -> Result<(), ConnectError> {
        if value.is_empty() {
            return Ok(());
        }
        // A backslash at the end would escape what follows, and a line break ends the point.
        if value.ends_with('\\') || value.contains(['\n', '\r']) {
            let shown = crate::format::quoted(value);
            let reason =
                format!("tag {name}: {shown} has a line break, or a backslash at its end, which no tag can have");
            return Err(ConnectError::Definition { table: self.table.clone(), reason });
        }
        line.push(',');
        line.push_str(name);
        line.push('=');
        push_escaped(value, &[',', '=', ' '], line);
        Ok(())
    }
}

fn check_name(options: &Options<'_>, field: &Field) -> Result<(), ConnectError> {
    let name = field.name();
    if name.is_empty() || name.ends_with('\\') || name.contains(['\n', '\r']) {
        return Err(options.refusal(format!("column {name:?} cannot be the name of a tag or field")));
    }
    Ok(())
}

/// The type in which values of a column are said.
fn kind(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Boolean | DataType::Utf8 => Some(data_type.clone()),
        // What is written is signed, 64 bits wide.
        DataType::UInt64 => Some(DataType::Int64),
        data_type if data_type.is_integer() => Some(DataType::Int64),
        data_type if data_type.is_floating() => Some(DataType::Float64),
        DataType::Decimal128(..) => Some(DataType::Float64),
        DataType::Date32 | DataType::Timestamp(..) => Some(DataType::Utf8),
        _ => None,
    }
}

fn strict_cast(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ConnectError> {
    Ok(cast_with_options(column, data_type, &CastOptions { safe: false, ..CastOptions::default() })?)
}

impl Cells {
    fn of(column: &ArrayRef) -> Result<Self, ConnectError> {
        let column = strict_cast(column, &kind(column.data_type()).unwrap_or(DataType::Utf8))?;
        Ok(match column.data_type() {
            DataType::Int64 => Self::Integer(column.as_primitive::<Int64Type>().clone()),
            DataType::Float64 => Self::Float(column.as_primitive::<Float64Type>().clone()),
            DataType::Boolean => Self::Boolean(column.as_boolean().clone()),
            _ => Self::Text(column.as_string::<i32>().clone()),
        })
    }

    /// Writes a value; false where there is none.
    fn write(&self, row: usize, separator: char, name: &str, line: &mut String) -> bool {
        let is_there = match self {
            Self::Integer(cells) => cells.is_valid(row),
            Self::Float(cells) => cells.is_valid(row) && cells.value(row).is_finite(),
            Self::Boolean(cells) => cells.is_valid(row),
            Self::Text(cells) => cells.is_valid(row),
        };
        if !is_there {
            return false;
        }
        // Writing to a text does not fail.
        let _ = match self {
            Self::Integer(cells) => write!(line, "{separator}{name}={}i", cells.value(row)),
            Self::Float(cells) => write!(line, "{separator}{name}={:?}", cells.value(row)),
            Self::Boolean(cells) => write!(line, "{separator}{name}={}", cells.value(row)),
            Self::Text(cells) => {
                let _ = write!(line, "{separator}{name}=\"");
                push_escaped(cells.value(row), &['"', '\\'], line);
                line.write_char('"')
            }
        };
        true
    }
}

impl Body for Lines {
    fn of(&self, rows: &RecordBatch) -> Result<Option<Vec<u8>>, ConnectError> {
        let times = self.times(rows)?;
        let tags = self.tags.iter().map(|(index, name)| Ok((strict_cast(rows.column(*index), &DataType::Utf8)?, name)));
        let tags = tags.collect::<Result<Vec<_>, ConnectError>>()?;
        let fields = self.fields.iter().map(|(index, name)| Ok((Cells::of(rows.column(*index))?, name)));
        let fields = fields.collect::<Result<Vec<_>, ConnectError>>()?;
        let mut text = String::new();
        for row in 0..rows.num_rows() {
            let start = text.len();
            text.push_str(&self.measurement);
            for (values, name) in &tags {
                let values = values.as_string::<i32>();
                if values.is_valid(row) {
                    self.write_tag(name, values.value(row), &mut text)?;
                }
            }
            let mut separator = ' ';
            for (cells, name) in &fields {
                if cells.write(row, separator, name, &mut text) {
                    separator = ',';
                }
            }
            if separator == ' ' {
                // A point without a field is none.
                text.truncate(start);
                continue;
            }
            let _ = writeln!(text, " {}", times.value(row));
        }
        Ok((!text.is_empty()).then(|| text.into_bytes()))
    }
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(text, special, &mut out);
    out
}

fn push_escaped(text: &str, special: &[char], out: &mut String) {
    for c in text.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}
