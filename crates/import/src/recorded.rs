//! What the stubs of Airflow and Luigi have recorded, as flows.
//!
//! The user's own Python has run the file, with our packages in the place of theirs; what comes here is JSON: flows with their settings,
//! tasks with their arguments and needs, and what the stub did not know.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::draft::{Draft, Import};
use crate::shell::{self, Piece};

mod call;
mod jinja;
mod operator;
mod outside;

/// What a stub prints.
#[derive(Debug, Default, Deserialize)]
pub struct Recording {
    /// The flows of the file.
    #[serde(default)]
    pub flows: Vec<RecordedFlow>,
    /// What the stub met and could not record, outside of any flow.
    #[serde(default)]
    pub notes: Vec<Note>,
}

/// One flow.
#[derive(Debug, Deserialize)]
pub struct RecordedFlow {
    name: String,
    #[serde(default = "first_line")]
    line: u32,
    description: Option<String>,
    schedule: Option<String>,
    /// The kind of `schedule`: `cron`, `every`, or anything else, which is not known.
    schedule_kind: Option<String>,
    timezone: Option<String>,
    start: Option<String>,
    end: Option<String>,
    catchup: Option<bool>,
    concurrency: Option<u32>,
    run_timeout: Option<String>,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default)]
    tasks: Vec<RecordedTask>,
    #[serde(default)]
    notes: Vec<Note>,
}

/// One task.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedTask {
    name: String,
    #[serde(default = "first_line")]
    line: u32,
    /// The class that it is of.
    operator: String,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    args: Map<String, Value>,
}

/// A remark of the stub about one construct.
#[derive(Debug, Deserialize)]
pub struct Note {
    #[serde(default = "first_line")]
    line: u32,
    construct: String,
    why: String,
    /// Whether it came over all the same, nearly.
    #[serde(default)]
    approximated: bool,
}

fn first_line() -> u32 {
    1
}

/// Makes flows of what was recorded of a file.
#[must_use]
pub fn import(file: &str, recording: &Recording) -> Import {
    let mut import = Import::default();
    for flow in &recording.flows {
        let mut draft = Draft::new(file, flow.line, &flow.name);
        let mut reader = Reader { file, draft: &mut draft, names: BTreeMap::new() };
        reader.settings(flow);
        flow.tasks.iter().for_each(|task| reader.task(task));
        reader.needs(flow);
        draft.finish(&mut import);
    }
    if !recording.notes.is_empty() || recording.flows.is_empty() {
        let mut draft = Draft::new(file, 1, "file");
        if recording.flows.is_empty() && recording.notes.is_empty() {
            draft.missing(1, "file", "it defines no flow");
        }
        recording.notes.iter().for_each(|note| note_down(&mut draft, note));
        import.findings.append(&mut draft.into_findings());
    }
    import
}

fn note_down(draft: &mut Draft, note: &Note) {
    if note.approximated {
        draft.approximated(note.line, &note.construct, &note.why);
    } else {
        draft.missing(note.line, &note.construct, &note.why);
    }
}

struct Reader<'a> {
    file: &'a str,
    draft: &'a mut Draft,
    /// Our names of the tasks by theirs.
    names: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn settings(&mut self, flow: &RecordedFlow) {
        let line = flow.line;
        if let Some(description) = flow.description.as_ref().filter(|text| !text.trim().is_empty()) {
            self.draft.set("description", description.trim());
            self.draft.imported(line, "description");
        }
        match (&flow.schedule, flow.schedule_kind.as_deref()) {
            (Some(schedule), Some(kind @ ("cron" | "every"))) => {
                self.draft.set_in("schedule", kind, schedule.clone());
                if let Some(zone) = &flow.timezone {
                    self.draft.set_in("schedule", "timezone", zone.clone());
                }
                for (key, value) in [("start", &flow.start), ("end", &flow.end)] {
                    if let Some(value) = value {
                        self.draft.set_in("schedule", key, value.clone());
                    }
                }
                // Without a word Airflow 3 makes no missed runs; Airflow 2 made all.
                let catchup = if flow.catchup == Some(true) { "all" } else { "none" };
                self.draft.set_in("schedule", "catchup", catchup);
                self.draft.imported(line, format!("schedule {schedule}"));
            }
            (Some(schedule), _) => {
                self.draft.missing(line, format!("schedule {schedule}"), "write schedule: {cron: ...} or {every: ...}");
            }
            (None, _) => {}
        }
        if let Some(concurrency) = flow.concurrency.filter(|number| *number > 0) {
            self.draft.set("concurrency", concurrency);
            self.draft.imported(line, "max_active_runs");
        }
        if let Some(timeout) = &flow.run_timeout {
            self.draft.set("run_timeout", timeout.as_str());
            self.draft.imported(line, "dagrun_timeout");
        }
        for (name, value) in &flow.params {
            if value.is_object() || value.is_array() {
                self.draft.missing(line, format!("param {name}"), "parameters take single values");
            } else {
                let value = if value.is_null() { json!("") } else { value.clone() };
                self.draft.set_in("params", name, value);
                self.draft.imported(line, format!("param {name}"));
            }
        }
        flow.notes.iter().for_each(|note| note_down(self.draft, note));
    }

    fn task(&mut self, task: &RecordedTask) {
        let what = format!("{} {}", task.operator, task.name);
        let name = match self.operator(task) {
            Ok((mut keys, different)) => {
                match keys.contains_key("flow") {
                    true => self.common_of_call(task, &mut keys),
                    false => self.common(task, &mut keys),
                }
                match different {
                    None => self.draft.imported(task.line, what),
                    Some(why) => self.draft.approximated(task.line, what, why),
                }
                self.draft.task(&task.name, &[], Value::Object(keys))
            }
            Err(why) => self.draft.stand_in(&task.name, &[], task.line, &what, &why),
        };
        self.names.insert(task.name.clone(), name);
    }

    /// What every operator takes.
    fn common(&mut self, task: &RecordedTask, keys: &mut Map<String, Value>) {
        if let Some(limit) = task.args.get("retries").and_then(Value::as_u64).filter(|limit| *limit > 0) {
            let mut retries = json!({"limit": limit});
            if let Some(retries) = retries.as_object_mut() {
                let delay = task.args.get("retry_delay").and_then(Value::as_str).unwrap_or("300s");
                retries.insert("delay".to_owned(), json!(delay));
                let grows = task.args.get("retry_exponential_backoff").is_some_and(|value| *value == json!(true));
                retries.insert("backoff".to_owned(), json!(if grows { 2 } else { 1 }));
                if let Some(longest) = task.args.get("max_retry_delay").and_then(Value::as_str).filter(|_| grows) {
                    retries.insert("delay_max".to_owned(), json!(longest));
                }
            }
            keys.insert("retries".to_owned(), retries);
            self.draft.imported(task.line, format!("retries of {}", task.name));
        }
        if let Some(timeout) = task.args.get("execution_timeout").and_then(Value::as_str) {
            keys.insert("timeout".to_owned(), json!(timeout));
            self.draft.imported(task.line, format!("execution_timeout of {}", task.name));
        }
        if let Some(priority) = task.args.get("priority_weight").filter(|priority| priority.is_i64()) {
            keys.insert("priority".to_owned(), priority.clone());
            let why = "its own: nothing is added for the tasks that come after it";
            self.draft.approximated(task.line, format!("priority_weight of {}", task.name), why);
        }
        if let Some(limit) = task.args.get("max_active_tis_per_dag").filter(|limit| limit.as_u64() > Some(0)) {
            keys.insert("concurrency".to_owned(), limit.clone());
            self.draft.imported(task.line, format!("max_active_tis_per_dag of {}", task.name));
        }
        let rules = ["all_success", "all_done", "one_failed", "one_success", "none_failed"];
        match task.args.get("trigger_rule").and_then(Value::as_str) {
            None | Some("all_success") => {}
            Some(rule) if rules.contains(&rule) => {
                keys.insert("trigger_rule".to_owned(), json!(rule));
                self.draft.imported(task.line, format!("trigger_rule {rule}"));
            }
            Some("none_failed_min_one_success") => {
                keys.insert("trigger_rule".to_owned(), json!("none_failed"));
                let why = "none_failed: it runs also when all that it needs were skipped";
                self.draft.approximated(task.line, "trigger_rule none_failed_min_one_success", why);
            }
            Some("always") => {
                keys.insert("trigger_rule".to_owned(), json!("all_done"));
                self.draft.approximated(task.line, "trigger_rule always", "all_done: it waits for what it needs");
            }
            Some(rule) => {
                let why = format!("known are {}", rules.join(", "));
                self.draft.missing(task.line, format!("trigger_rule {rule} of {}", task.name), why);
            }
        }
        let others = [
            ("pool", "declare the pool in mulgil.yaml and write pool:"),
            ("on_failure_callback", "write on_failure: of the flow, with a channel of mulgil.yaml or a webhook"),
            ("on_success_callback", "add a task that needs this one"),
            ("sla", "write deadline:"),
            ("email_on_failure", "write on_failure: of the flow, with a channel (email) of mulgil.yaml"),
            ("depends_on_past", "a run does not wait for the one before it; concurrency: 1 keeps their order"),
        ];
        for (key, why) in others {
            let is_set = task.args.get(key).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
            if is_set && !(key == "pool" && task.args.get(key) == Some(&json!("default_pool"))) {
                self.draft.missing(task.line, format!("{key} of {}", task.name), why);
            }
        }
    }

    fn needs(&mut self, flow: &RecordedFlow) {
        for task in &flow.tasks {
            let Some(name) = self.names.get(&task.name).cloned() else { continue };
            for need in &task.needs {
                if let Some(need) = self.names.get(need) {
                    self.draft.need(&name, need);
                }
            }
        }
    }

    /// Puts an Airflow template into a shell command.
    fn command(&mut self, text: &str) -> Result<(shell::SafeCommand, Option<String>), String> {
        let (pieces, different) = self.translated(text)?;
        Ok((shell::join(&pieces), different))
    }

    /// A template in a value that is no shell command.
    fn text(&mut self, text: &str) -> Result<(String, Option<String>), String> {
        let (pieces, different) = self.translated(text)?;
        let text = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => shell::verbatim(text),
            Piece::Value(expression) => format!("{{{{ {expression} }}}}"),
        });
        Ok((text.collect(), different))
    }
}
