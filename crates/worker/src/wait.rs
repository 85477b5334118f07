//! Wait tasks: look again and again, until what is waited for is there or the time is over.
//!
//! The time counts from when the task first began to wait: the lease says when that was, so that a server that was started
//! again goes on waiting and does not begin anew. What cannot be looked at now (a server that is away, a table that is
//! not there yet) is looked at again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mulgil_flow::template::Variables;
use mulgil_flow::{HttpTask, Quote, SqlResult, WaitFor, WaitTask, render};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::data::{DataTasks, SqlTask, TableWait};
use crate::http::HttpClient;
use crate::log::AttemptLog;

/// What a wait task looks with.
pub(crate) struct Watch<'a> {
    pub(crate) task: &'a WaitTask,
    pub(crate) variables: Arc<Variables>,
    pub(crate) project_dir: &'a Path,
    pub(crate) data: &'a Arc<dyn DataTasks>,
    pub(crate) http: &'a HttpClient,
    pub(crate) log: &'a AttemptLog,
}

/// What a look has shown.
enum Look {
    There,
    /// And why not, where there is something to say.
    NotYet(String),
}

impl Watch<'_> {
    /// Waits until it is there. An error is one that waiting does not mend.
    pub(crate) async fn wait(&self) -> Result<(), String> {
        if let WaitFor::Until(template) = &self.task.wanted {
            return self.until(template).await;
        }
        let pause = self.task.poke_every.unsigned_abs();
        let mut said = String::new();
        loop {
            let looked_at = Instant::now();
            match self.look().await? {
                Look::There => {
                    self.log.note("it is there");
                    return Ok(());
                }
                // The same is not said again and again.
                Look::NotYet(why) if why != said => {
                    self.log.note(&format!("not yet: {why}; looking every {pause:?}"));
                    said = why;
                }
                Look::NotYet(_) => {}
            }
            sleep_until(looked_at + pause).await;
        }
    }

    async fn until(&self, template: &str) -> Result<(), String> {
        let text = self.rendered("until", template)?;
        let at = instant(&text, &self.variables.timezone)
            .ok_or_else(|| format!("`until:` is {text:?}, which is neither date nor time: write 2013-01-01T06:00"))?;
        self.log.note(&format!("until {at}"));
        loop {
            let left = Timestamp::now().duration_until(at);
            if !left.is_positive() {
                return Ok(());
            }
            // The clock may be set meanwhile: it is looked at again now and then.
            tokio::time::sleep(left.unsigned_abs().min(Duration::from_secs(60))).await;
        }
    }

    async fn look(&self) -> Result<Look, String> {
        match &self.task.wanted {
            WaitFor::File(template) => self.file(template).await,
            WaitFor::Table { table, values } => {
                let (table, values) = (table.clone(), values.clone());
                let wait = TableWait { table, values, variables: self.variables.clone() };
                Ok(match self.data.has_rows(wait).await {
                    Ok(true) => Look::There,
                    Ok(false) => Look::NotYet("there are no rows".to_owned()),
                    Err(reason) => Look::NotYet(reason),
                })
            }
            WaitFor::Http { url, headers, expect } => self.http(url, headers.clone(), expect).await,
            WaitFor::Sql(template) => self.sql(template).await,
            WaitFor::Until(_) => Ok(Look::There),
        }
    }

    async fn file(&self, template: &str) -> Result<Look, String> {
        let pattern = self.rendered("file", template)?;
        let full = Path::new(&glob::Pattern::escape(&self.project_dir.display().to_string())).join(&pattern);
        let full = full.display().to_string();
        let found = tokio::task::spawn_blocking(move || first_match(&full)).await;
        Ok(match found.map_err(|error| format!("the look broke down: {error}"))?? {
            Some(path) => {
                self.log.note(&format!("found {}", path.display()));
                Look::There
            }
            None => Look::NotYet(format!("no file is {pattern}")),
        })
    }

    async fn http(
        &self,
        url: &str,
        headers: std::collections::BTreeMap<String, String>,
        expect: &[mulgil_flow::StatusRange],
    ) -> Result<Look, String> {
        let request = HttpTask {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers,
            body: None,
            expect: expect.to_vec(),
            timeout: HttpTask::TIMEOUT,
            bytes_max: HttpTask::BYTES_MAX,
            result: None,
        };
        match self.http.status(&request, &self.variables).await {
            Ok(status) if expect.iter().any(|range| range.has(status.as_u16())) => Ok(Look::There),
            Ok(status) => Ok(Look::NotYet(format!("the answer is {status}, and not {}", crate::http::named(expect)))),
            Err(error @ crate::http::HttpError::Request(_)) => Err(error.to_string()),
            Err(error) => Ok(Look::NotYet(error.to_string())),
        }
    }

    async fn sql(&self, template: &str) -> Result<Look, String> {
        let text = self.rendered("sql", template)?;
        let (variables, result) = (self.variables.clone(), Some(SqlResult::Row));
        let task = SqlTask { text, file: None, target: None, result, append: None, variables };
        let row = match self.data.sql(task, &self.log.quiet()).await {
            Ok(row) => row.unwrap_or_default(),
            Err(reason) => return Ok(Look::NotYet(reason)),
        };
        match row {
            Value::Null => Ok(Look::NotYet("the query gives no row".to_owned())),
            Value::Object(row) if row.len() == 1 => Ok(match row.values().next() {
                Some(Value::Bool(true)) => Look::There,
                Some(Value::Number(number)) if number.as_f64() != Some(0.0) => Look::There,
                other => Look::NotYet(format!("the query gives {}", other.unwrap_or(&Value::Null))),
            }),
            _ => Err("the query of a wait gives one column: whether it is there".to_owned()),
        }
    }

    fn rendered(&self, key: &str, template: &str) -> Result<String, String> {
        render(template, &self.variables, Quote::None).map_err(|error| format!("in `{key}:`, {error}"))
    }
}

/// The first file that matches, by name.
fn first_match(pattern: &str) -> Result<Option<PathBuf>, String> {
    let paths = glob::glob(pattern).map_err(|error| format!("`file:` is no pattern: {error}"))?;
    // A folder that may not be read has nothing to show yet.
    Ok(paths.flatten().find(|path| path.is_file()))
}

/// A date (its first instant), a local time, or an instant with an offset.
fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && text.len() == "2013-01-01".len()
    {
        return date.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    }
    text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// How much of a time is left that began then.
pub(crate) fn left(of: SignedDuration, since: Timestamp) -> Duration {
    let left = of.checked_sub(since.duration_until(Timestamp::now())).unwrap_or(SignedDuration::ZERO);
    left.max(SignedDuration::ZERO).min(of).unsigned_abs()
}
