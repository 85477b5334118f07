//! `schedule:` and `_retry:`.

use mulgil_flow::yaml::{Data, Node};
use serde_json::{Value, json};

use super::text_of;
use crate::draft::Draft;

/// The schedule of the workflow.
pub(super) fn read(draft: &mut Draft, line: u32, node: &Node, zone: Option<&str>) {
    let Data::Map(entries) = &node.data else {
        return draft.missing(line, "schedule", "it has no operator, such as daily>");
    };
    for (key, value) in entries {
        let (line, text) = (key.at.line, text_of(value).unwrap_or_default());
        let what = format!("schedule: {} {text}", key.text);
        let rule = match key.text.as_str() {
            "cron>" => Some(("cron", text.clone())),
            "hourly>" => minutes_of(&text).map(|minute| ("cron", format!("{minute} * * * *"))),
            "daily>" => time_of(&text).map(|time| ("cron", format!("{time} * * *"))),
            "weekly>" => day_and_time(&text).map(|(day, time)| ("cron", format!("{time} * * {day}"))),
            "monthly>" => day_and_time(&text).map(|(day, time)| ("cron", format!("{time} {day} * *"))),
            "minutes_interval>" => text.parse::<u32>().ok().map(|minutes| ("every", format!("{minutes}m"))),
            "start" | "end" => {
                draft.set_in("schedule", &key.text, text);
                draft.imported(line, what);
                continue;
            }
            "skip_on_overtime" => {
                if text == "true" {
                    draft.approximated(line, what, "a run waits for the one before it; none is left out");
                    draft.set("concurrency", 1);
                } else {
                    draft.imported(line, what);
                }
                continue;
            }
            "skip_delayed_by" => {
                draft.approximated(line, what, "missed runs are left out, however late they are");
                draft.set_in("schedule", "catchup", "none");
                continue;
            }
            _ => None,
        };
        match rule {
            Some((key, text)) => {
                draft.set_in("schedule", key, text);
                draft.set_in("schedule", "timezone", zone.unwrap_or("UTC"));
                draft.imported(line, what);
            }
            None => draft.missing(line, what, "write schedule: {cron: \"0 6 * * *\"}"),
        }
    }
}

/// `30:00`: the minute of every hour. Seconds are not kept: cron has none.
fn minutes_of(text: &str) -> Option<u32> {
    text.split(':').next()?.parse().ok().filter(|minute| *minute < 60)
}

/// `07:30:00` as minute and hour.
fn time_of(text: &str) -> Option<String> {
    let mut parts = text.split(':');
    let (hour, minute): (u32, u32) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (hour < 24 && minute < 60).then(|| format!("{minute} {hour}"))
}

/// `Mon,07:30:00` or `1,07:30:00`.
fn day_and_time(text: &str) -> Option<(String, String)> {
    let (day, time) = text.split_once(',')?;
    Some((day.trim().to_uppercase(), time_of(time.trim())?))
}

/// `3`, or `{limit: 3, interval: 10, interval_type: exponential}` with seconds.
pub(super) fn retries(node: &Node) -> Option<Value> {
    match &node.data {
        Data::Map(entries) => {
            let of =
                |name: &str| entries.iter().find(|(key, _)| key.text == name).and_then(|(_, value)| text_of(value));
            let limit: u32 = of("limit")?.parse().ok()?;
            let delay = of("interval").and_then(|seconds| seconds.parse::<u32>().ok()).filter(|seconds| *seconds > 0);
            let backoff = if of("interval_type").as_deref() == Some("exponential") { 2 } else { 1 };
            Some(json!({"limit": limit, "delay": format!("{}s", delay.unwrap_or(1)), "backoff": backoff}))
        }
        _ => Some(json!({"limit": text_of(node)?.parse::<u32>().ok()?, "delay": "1s", "backoff": 1})),
    }
}
