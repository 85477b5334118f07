//! A notice in words: the subject, the text, and the JSON of a webhook.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use mulgil_history::read::{NoticeRow, RunDetail};
use serde_json::{Value, json};

/// How much of a log goes along: its end.
const LOG_BYTES_MAX: u64 = 4096;
const LOG_LINES_MAX: usize = 20;
/// How many failed tasks are told with their errors and logs.
const TASKS_MAX: usize = 5;

/// A notice in words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    /// One line.
    pub(crate) subject: String,
    /// All of it, in lines.
    pub(crate) text: String,
    /// The same for programs.
    pub(crate) json: Value,
}

/// What a letter is about, beside the notice.
pub(crate) struct About<'a> {
    pub(crate) project: &'a str,
    /// Where people reach the server, without a slash at its end.
    pub(crate) url: &'a str,
    pub(crate) project_dir: &'a Path,
    /// The run as it is now; its attempts never change.
    pub(crate) run: Option<&'a RunDetail>,
}

/// A task that failed, with the end of its log.
struct Failed {
    task: String,
    attempt: Option<u64>,
    error: Option<String>,
    log: Option<String>,
}

/// Writes the letter of a notice. Reads the ends of logs.
pub(crate) fn letter(notice: &NoticeRow, about: &About<'_>) -> Letter {
    let body = &notice.body;
    let text_of = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (subject, said) = (text_of("subject"), text_of("text"));
    let failed: Vec<Failed> = tasks(body).map(|task| failed(task, about)).collect();
    let link = link(notice, about);
    let mut lines = vec![subject.clone()];
    if !said.is_empty() {
        lines.push(said.clone());
    }
    for task in &failed {
        let attempt = task.attempt.map_or(String::new(), |attempt| format!(", attempt {attempt}"));
        let error = task.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        lines.push(format!("\n{}{attempt}{error}", task.task));
        if let Some(log) = &task.log {
            lines.push(format!("the end of its log:\n{log}"));
        }
    }
    if let Some(more) = body.get("more_tasks").and_then(Value::as_u64).filter(|more| *more > 0) {
        lines.push(format!("\nand {more} more tasks"));
    }
    lines.push(format!("\n{link}"));
    let json = json!({
        "key": notice.key,
        "event": notice.kind,
        "project": about.project,
        "flow": notice.flow,
        "run": body.get("run"),
        "backfill": body.get("backfill"),
        "subject": subject,
        "text": said,
        "tasks": failed.iter().map(|task| json!({
            "task": task.task, "attempt": task.attempt, "error": task.error, "log": task.log,
        })).collect::<Vec<_>>(),
        "more_tasks": body.get("more_tasks"),
        "url": link,
        "at": notice.created_at.to_string(),
    });
    Letter { subject: format!("[{}] {subject}", about.project), text: lines.join("\n"), json }
}

fn tasks(body: &Value) -> impl Iterator<Item = &Value> {
    body.get("tasks").and_then(Value::as_array).into_iter().flatten().take(TASKS_MAX)
}

fn failed(task: &Value, about: &About<'_>) -> Failed {
    let name = task.get("task").and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = task.get("attempt").and_then(Value::as_u64);
    let attempts = about.run.map_or(&[][..], |run| &run.attempts);
    let attempt = attempts.iter().find(|attempt| attempt.task == name && Some(u64::from(attempt.attempt)) == number);
    let note = task.get("note").and_then(Value::as_str).map(str::to_owned);
    Failed {
        task: name,
        attempt: number.filter(|number| *number > 0),
        error: attempt.and_then(|attempt| attempt.error.clone()).or(note),
        log: attempt.and_then(|attempt| end_of(&about.project_dir.join(&attempt.log))),
    }
}

fn link(notice: &NoticeRow, about: &About<'_>) -> String {
    match notice.run {
        Some(run) => format!("{}/runs/{run}", about.url),
        None => format!("{}/flows/{}", about.url, notice.flow),
    }
}

/// The last lines of a log; nothing where there is none, such as on another machine.
fn end_of(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    if length > LOG_BYTES_MAX && lines.len() > 1 {
        // It begins in the middle.
        lines.remove(0);
    }
    let skipped = lines.len().saturating_sub(LOG_LINES_MAX);
    let end = lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n");
    (!end.is_empty()).then_some(end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn the_end_of_a_log_is_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let numbered = |lines: std::ops::Range<u32>| lines.map(|line| format!("line {line}\n")).collect::<String>();
        for (text, expected) in [
            (String::new(), None),
            (numbered(0..3), Some("line 0\nline 1\nline 2".to_owned())),
            (numbered(0..5000), Some(numbered(4980..5000).trim_end().to_owned())),
            ("물".repeat(3000) + "\nlast", Some("last".to_owned())),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(end_of(&path), expected);
        }
        assert_eq!(end_of(&folder.path().join("none.log")), None);
    }
}
