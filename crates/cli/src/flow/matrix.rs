//! `mulgil flow matrix`

use anyhow::Result;
use jiff::Timestamp;
use jiff::civil::Date;
use mulgil_server::client::Client;
use mulgil_server::matrix::{MatrixQuery, TableCell};
use serde_json::json;

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark};

/// Tables × intervals, one letter a cell, oldest first.
pub(crate) fn execute(
    client: &Client,
    format: Format,
    flow: Option<String>,
    count: usize,
    until: Option<Date>,
) -> Result<Exit> {
    let until = match flow.as_deref().zip(until) {
        Some((flow, date)) => Some(end_of(date, &client.flow(flow)?.summary.timezone)?),
        None => None,
    };
    let matrices = client.matrix(&MatrixQuery { flow, count: Some(count), until })?;
    if format == Format::Json {
        print_json(&matrices)?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new(["flow", "table", "from", "to", "cells"]);
    for matrix in &matrices {
        let label = |place: Option<&mulgil_server::matrix::MatrixInterval>| place.map(|column| column.label.clone());
        let (first, last) = (label(matrix.intervals.first()), label(matrix.intervals.last()));
        for row in &matrix.rows {
            let cells: String = row.cells.iter().map(|cell| letter(*cell)).collect();
            listing.push(vec![json!(matrix.flow), json!(row.table), json!(first), json!(last), json!(cells)]);
        }
    }
    listing.print(format)?;
    remark("# done  ~ stale: what it was made from was written after it  x failed  > under way  . missing");
    Ok(Exit::Done)
}

/// When a date has ended in a time zone.
fn end_of(date: Date, timezone: &str) -> Result<Timestamp> {
    Ok(date.tomorrow()?.in_tz(timezone)?.timestamp())
}

fn letter(cell: TableCell) -> char {
    match cell {
        TableCell::Done => '#',
        TableCell::Stale => '~',
        TableCell::Failed => 'x',
        TableCell::Running => '>',
        TableCell::Missing => '.',
    }
}
