//! Printing the rows of a query: Arrow batches of this process, or the answer of a server.

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use mulgil_server::sql::Rows;
use serde_json::Value;

use crate::arguments::Format;
use crate::output::{Listing, remark, write_out};

/// ISO 8601, with `T`, as everywhere.
const TIMESTAMP_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.f";

/// Prints batches: a table for people, CSV with a header line, or JSON lines.
pub(crate) fn print_rows(schema: &SchemaRef, batches: &[RecordBatch], format: Format) -> Result<()> {
    match format {
        Format::Table => print_table(schema, batches),
        Format::Csv => print_csv(schema, batches),
        Format::Json => {
            let mut writer = LineDelimitedWriter::new(Vec::new());
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
            write_out(&String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?)
        }
    }
}

/// Prints a server's answer as a table for people.
pub(crate) fn print_answer(rows: &Rows) -> Result<()> {
    let mut listing = Listing::new(rows.columns.iter().map(|column| column.name.clone()));
    for row in &rows.rows {
        listing.push(row.clone());
    }
    listing.print(Format::Table)?;
    let more = if rows.truncated { ", and more: --format csv prints all" } else { "" };
    remark(&format!("{} rows{more} in {} ms", rows.rows.len(), rows.elapsed_ms));
    Ok(())
}

fn print_csv(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .with_header(true)
        .with_timestamp_format(TIMESTAMP_FORMAT.to_owned())
        .build(Vec::new());
    // An empty result still has its header.
    writer.write(&RecordBatch::new_empty(schema.clone()))?;
    for batch in batches {
        writer.write(batch)?;
    }
    write_out(&String::from_utf8(writer.into_inner()).context("CSV is UTF-8")?)
}

fn print_table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let mut listing = Listing::new(schema.fields().iter().map(|field| field.name().clone()));
    let options = FormatOptions::default().with_timestamp_format(Some(TIMESTAMP_FORMAT));
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            listing.push(columns.iter().map(|column| cell(&column.value(row).to_string())).collect());
        }
    }
    listing.print(Format::Table)?;
    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    remark(&format!("{count} rows"));
    Ok(())
}

/// A number stays a number, so that it is aligned as one.
fn cell(text: &str) -> Value {
    serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| Value::String(text.to_owned()), Value::Number)
}
