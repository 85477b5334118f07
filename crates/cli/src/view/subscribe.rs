//! `mulgil view subscribe`: prints what changes of a view, and goes on where it was when the connection was lost.

use std::time::Duration;

use anyhow::{Context, Result};
use mulgil_server::changes::{ChangedRow, ChangesQuery, ViewBegin, ViewStep};
use mulgil_server::client::{Client, ClientError};
use serde_json::{Value, json};

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, remark, write_out};

/// How often it tries to find the server again, a second apart.
const TRIES_MAX: u32 = 60;

/// Prints steps until the server is gone for good, or so many cuts were printed.
pub(crate) fn follow(
    client: &Client,
    format: Format,
    view: &str,
    mut from: ChangesQuery,
    cuts: Option<u64>,
) -> Result<Exit> {
    let steps = client.follow_view(view, &from).with_context(|| format!("failed to subscribe to the view {view}"))?;
    let mut steps = Some(steps);
    let mut printer = Printer { format, columns: Vec::new(), rows: Vec::new() };
    let (mut printed, mut tries) = (0, 0);
    loop {
        match steps.as_mut().and_then(Iterator::next) {
            Some(Ok(step)) => {
                tries = 0;
                if let Some(cursor) = printer.take(step)? {
                    (from.after, from.snapshot) = (Some(cursor), None);
                    printed += 1;
                    if cuts == Some(printed) {
                        return Ok(Exit::Done);
                    }
                }
            }
            Some(Err(error @ (ClientError::Refused { .. } | ClientError::Protocol { .. }))) => return Err(error.into()),
            Some(Err(_)) | None => {
                if tries == 0 {
                    remark("the connection is lost: it goes on when the server is back");
                }
                tries += 1;
                // Rows without their cut come again.
                printer.rows.clear();
                std::thread::sleep(Duration::from_secs(1));
                steps = match client.follow_view(view, &from) {
                    Ok(steps) => Some(steps),
                    Err(ClientError::Unreachable { .. }) if tries < TRIES_MAX => None,
                    Err(error) => return Err(error).with_context(|| format!("the changes of {view} have ended")),
                };
            }
        }
    }
}

/// Prints whole cuts.
struct Printer {
    format: Format,
    columns: Vec<String>,
    /// Since the last cut.
    rows: Vec<ChangedRow>,
}

impl Printer {
    /// Takes a step; gives the cursor of a cut that is printed.
    fn take(&mut self, step: ViewStep) -> Result<Option<String>> {
        match step {
            ViewStep::Begin(begin) => {
                self.rows.clear();
                self.begin(&begin)?;
                Ok(None)
            }
            ViewStep::Rows(rows) => {
                self.rows.extend(rows.rows);
                Ok(None)
            }
            ViewStep::Cut(cut) => {
                self.cut()?;
                if self.format == Format::Json {
                    line(&json!({"cut": cut.cursor, "version": cut.version, "at": cut.at}))?;
                }
                Ok(Some(cut.cursor))
            }
        }
    }

    fn begin(&mut self, begin: &ViewBegin) -> Result<()> {
        self.columns = begin.columns.iter().map(|column| column.name.clone()).collect();
        let reason = json!(begin.reason);
        if self.format == Format::Json {
            return line(&json!({"begin": reason, "key": begin.key}));
        }
        if reason != json!("asked") {
            let why = reason.as_str().unwrap_or_default().replace('_', " ");
            remark(&format!("it begins anew ({why}): forget the rows before this line"));
        }
        if self.format == Format::Csv {
            Listing::new(self.header()).print(Format::Csv)?;
        }
        Ok(())
    }

    fn header(&self) -> impl Iterator<Item = String> {
        std::iter::once("op".to_owned()).chain(self.columns.iter().cloned())
    }

    fn cut(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        if self.format == Format::Json {
            for ChangedRow { op, row } in rows {
                let fields: serde_json::Map<String, Value> = self.columns.iter().cloned().zip(row).collect();
                line(&json!({"op": op, "row": fields}))?;
            }
            return Ok(());
        }
        let mut listing = Listing::new(self.header());
        for ChangedRow { op, row } in rows {
            listing.push(std::iter::once(json!(op)).chain(row).collect());
        }
        match self.format {
            // The header stands at the beginning.
            Format::Csv => listing.print_rows(),
            format => listing.print(format),
        }
    }
}

fn line(value: &Value) -> Result<()> {
    write_out(&format!("{value}\n"))
}
