//! `mulgil flow show`

use anyhow::Result;
use jiff::civil::Date;
use mulgil_server::client::Client;
use mulgil_server::coming::ComingQuery;
use mulgil_server::flows::ScheduleRules;
use serde_json::json;

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark};

/// One flow: its tasks, and its next data intervals.
pub(crate) fn execute(client: &Client, format: Format, flow: &str, next: usize, from: Option<Date>) -> Result<Exit> {
    let mut detail = client.flow(flow)?;
    detail.next = client.next_runs(flow, &ComingQuery { count: Some(next), from })?;
    if format == Format::Json {
        print_json(&detail)?;
        return Ok(Exit::Done);
    }
    if let Some(description) = &detail.summary.description {
        remark(description);
    }
    remark(&format!(
        "{} · {} · defined in {}",
        detail.summary.schedule.as_deref().unwrap_or("no schedule"),
        detail.summary.timezone,
        detail.file
    ));
    if let Some(rules) = &detail.rules {
        remark(&rules_text(rules));
    }
    for trigger in &detail.triggers {
        let taken = trigger.params.iter().map(|param| format!("{} from {}", param.name, param.from));
        let taken: Vec<String> = taken.collect();
        remark(&format!("started by {} {}: {}", trigger.kind, trigger.place, taken.join(", ")));
    }
    let mut tasks = Listing::new(["task", "kind", "needs", "does", "idempotent"]);
    for task in &detail.tasks {
        tasks.push(vec![
            json!(task.name),
            json!(task.kind),
            json!(task.needs),
            json!(task.summary),
            json!(task.idempotent),
        ]);
    }
    tasks.print(format)?;
    if !detail.next.is_empty() {
        let mut intervals = Listing::new(["runs at", "data interval from", "to"]);
        for run in &detail.next {
            intervals.push(vec![json!(run.fires_at), json!(run.interval.start), json!(run.interval.end)]);
        }
        intervals.print(format)?;
    }
    Ok(Exit::Done)
}

fn rules_text(rules: &ScheduleRules) -> String {
    let mut texts = vec![format!("catchup: {}", rules.catchup)];
    texts.extend(rules.calendar.as_ref().map(|calendar| format!("calendar: {calendar}")));
    texts.extend(rules.dst.as_ref().map(|dst| format!("dst: {dst}")));
    texts.extend(rules.overlap.as_ref().map(|overlap| format!("overlap: {overlap}")));
    texts.join(" · ")
}
