//! Operators that reach outside: sensors become tasks that wait, requests become requests.
//!
//! A connection's address is not in the file. It becomes a parameter, which somebody has to set.

use serde_json::{Map, Value, json};

use super::operator::{Made, keys};
use super::{Reader, RecordedTask};

/// Where requests go until somebody has said where: nowhere.
const NOBODY: &str = "http://address.invalid";

impl Reader<'_> {
    /// A sensor as a task that waits.
    pub(super) fn sensor(&mut self, task: &RecordedTask) -> Made {
        let text = |key: &str| task.args.get(key).and_then(Value::as_str);
        let (mut wait, different) = match (task.operator.as_str(), text("filepath"), text("sql"), text("target_time")) {
            ("FileSensor", Some(path), ..) => {
                let (path, different) = self.text(path)?;
                (
                    json!({"file": path}),
                    different.or_else(|| Some("relative to the project's folder, whatever fs_conn_id says".to_owned())),
                )
            }
            ("SqlSensor", _, Some(sql), _) => {
                let (sql, different) = self.text(sql)?;
                let over = "over tables declared in sources/; its only column has to be true";
                (json!({"sql": sql}), different.or_else(|| Some(over.to_owned())))
            }
            ("DateTimeSensor" | "DateTimeSensorAsync", _, _, Some(time)) => {
                let (time, different) = self.text(time)?;
                (json!({"until": time}), different)
            }
            ("HttpSensor", ..) => {
                let (url, different) = self.url(task)?;
                (json!({"http": url}), Some(different))
            }
            _ => return Err("write wait: with file, table, partition, http, until or sql".to_owned()),
        };
        let mut made = Map::new();
        if let (Some(every), Some(wait)) = (seconds(task.args.get("poke_interval")), wait.as_object_mut()) {
            wait.insert("poke_every".to_owned(), every);
        }
        if let (Some(true), Some(wait)) = (task.args.get("soft_fail").and_then(Value::as_bool), wait.as_object_mut()) {
            wait.insert("on_timeout".to_owned(), json!("skip"));
        }
        made.insert("wait".to_owned(), wait);
        // Airflow's own patience is a week.
        made.insert("timeout".to_owned(), seconds(task.args.get("timeout")).unwrap_or_else(|| json!("7d")));
        Ok((made, different))
    }

    /// A request, as a request.
    pub(super) fn http(&mut self, task: &RecordedTask) -> Made {
        let (url, mut different) = self.url(task)?;
        different.push_str("; add result: body where its answer is used");
        let method = task.args.get("method").and_then(Value::as_str).unwrap_or("POST");
        let mut http = keys(json!({"method": method, "url": url}));
        for (from, to) in [("headers", "headers"), ("data", "json")] {
            let Some(given) = task.args.get(from).filter(|given| !given.is_null() && **given != json!({})) else {
                continue;
            };
            let mut also = Vec::new();
            let value = self.arguments(given, &mut also)?;
            let to = if value.is_string() && to == "json" { "body" } else { to };
            if method != "GET" || to == "headers" {
                http.insert(to.to_owned(), value);
            } else {
                different.push_str("; GET carries nothing: its data are left out");
            }
        }
        if task.args.get("response_check").is_some_and(|check| !check.is_null()) {
            different.push_str("; response_check: look at results.TASK in when: of the next task");
        }
        Ok((keys(json!({"http": http})), Some(different)))
    }

    fn url(&mut self, task: &RecordedTask) -> Result<(String, String), String> {
        let text = |key: &str| task.args.get(key).and_then(Value::as_str);
        let connection = crate::draft::name_of(text("http_conn_id").unwrap_or("http_default")).replace('-', "_");
        let (endpoint, _) = self.text(text("endpoint").unwrap_or_default())?;
        if !self.draft.has_in("params", &connection) {
            self.draft.set_in("params", &connection, NOBODY);
        }
        let url = format!("{{{{ params.{connection} }}}}/{}", endpoint.trim_start_matches('/'));
        Ok((url, format!("write the address of the connection {connection} as that parameter's default")))
    }
}

/// A number of seconds as a duration.
fn seconds(value: Option<&Value>) -> Option<Value> {
    match value? {
        Value::String(text) => Some(json!(text)),
        Value::Number(number) => Some(json!(format!("{}s", number.as_f64()?.max(1.0).round() as u64))),
        _ => None,
    }
}
