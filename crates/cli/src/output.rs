//! Printing: data to standard output in the form that was asked for, progress and remarks to standard error.

use std::io::Write;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::arguments::Format;

/// Columns and rows, ready to be printed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Listing {
    /// An empty listing with these columns.
    pub(crate) fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row: one value a column.
    pub(crate) fn push(&mut self, row: Vec<Value>) {
        self.rows.push(row);
    }

    /// Prints it.
    pub(crate) fn print(&self, format: Format) -> Result<()> {
        match format {
            Format::Table => write_out(&self.as_table()),
            Format::Csv => write_out(&self.as_csv()),
            Format::Json => print_json(&self.as_objects()),
        }
    }

    /// Prints the rows as CSV, without a header.
    pub(crate) fn print_rows(&self) -> Result<()> {
        write_out(&self.rows.iter().map(|row| csv_line(row.iter().map(as_text))).collect::<String>())
    }

    fn as_table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(&self.columns);
        for row in &self.rows {
            table.add_row(row.iter().map(as_text));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            let is_number = self.rows.iter().filter_map(|row| row.get(index)).any(Value::is_number);
            if is_number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{table}\n")
    }

    fn as_csv(&self) -> String {
        let mut text = csv_line(self.columns.iter().cloned());
        for row in &self.rows {
            text.push_str(&csv_line(row.iter().map(as_text)));
        }
        text
    }

    /// One object a row.
    pub(crate) fn as_objects(&self) -> Value {
        let objects = self.rows.iter().map(|row| {
            let fields = self.columns.iter().cloned().zip(row.iter().cloned());
            Value::Object(fields.collect())
        });
        Value::Array(objects.collect())
    }
}

/// Prints a value as indented JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    write_out(&(serde_json::to_string_pretty(value).context("failed to encode JSON")? + "\n"))
}

/// Writes data to standard output. A reader that has gone away (`| head`) is no failure.
pub(crate) fn write_out(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("failed to write to standard output"),
    }
}

/// Writes a remark for people to standard error.
pub(crate) fn remark(text: &str) {
    // A remark that cannot be written is lost: there is nowhere left to say so.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(as_text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// One line as RFC 4180 has it: fields with commas, quotes or line breaks are quoted.
fn csv_line(fields: impl Iterator<Item = String>) -> String {
    let fields = fields.map(|field| {
        if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    });
    fields.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn csv_quotes_what_needs_quotes() {
        let mut listing = Listing::new(["name", "n"]);
        listing.push(vec![json!("a, \"b\""), json!(1)]);
        listing.push(vec![Value::Null, json!(2.5)]);
        assert_eq!(listing.as_csv(), "name,n\n\"a, \"\"b\"\"\",1\n,2.5\n");
    }

    #[test]
    fn json_is_one_object_a_row() {
        let mut listing = Listing::new(["a", "b"]);
        listing.push(vec![json!(1), json!("x")]);
        assert_eq!(listing.as_objects(), json!([{"a": 1, "b": "x"}]));
    }
}
