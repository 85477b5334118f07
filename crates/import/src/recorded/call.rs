//! DAGs that start DAGs: here a task that runs another flow, and waits for it.

use serde_json::{Map, Value, json};

use super::operator::{Made, keys};
use super::{Reader, RecordedTask};
use crate::draft::name_of;

impl Reader<'_> {
    pub(super) fn trigger_dag_run(&mut self, task: &RecordedTask) -> Made {
        let named = task.args.get("trigger_dag_id").and_then(Value::as_str).filter(|name| !name.contains("{{"));
        let Some(dag) = named else {
            return Err("which DAG it starts is said at run time: write flow: with a name".to_owned());
        };
        if ["logical_date", "execution_date"].iter().any(|key| task.args.get(*key).is_some_and(|at| !at.is_null())) {
            return Err(
                "it starts a run about another date: hand the date on as a parameter, by flow: and params:".to_owned()
            );
        }
        let mut different = Vec::new();
        if task.args.get("wait_for_completion") != Some(&json!(true)) {
            different.push("it waits for the other flow's end".to_owned());
        }
        let params = match task.args.get("conf").filter(|conf| conf.is_object()) {
            Some(conf) => {
                different.push("its conf are parameters, which the other flow has to declare".to_owned());
                self.arguments(conf, &mut different)?
            }
            None => json!({}),
        };
        let rerun_on = task.args.get("reset_dag_run").filter(|reset| **reset == json!(true)).map(|_| "all");
        let flow = json!({"flow": name_of(dag), "params": params, "rerun_on": rerun_on});
        Ok((keys(flow), (!different.is_empty()).then(|| different.join("; "))))
    }

    /// What every operator takes, as far as a task takes it that does no work itself.
    pub(super) fn common_of_call(&mut self, task: &RecordedTask, keys: &mut Map<String, Value>) {
        let mut task = task.clone();
        for key in ["retries", "priority_weight", "max_active_tis_per_dag"] {
            if let Some(value) = task.args.remove(key)
                && value.as_u64().is_none_or(|number| number > 0)
            {
                let why = "the tasks of the other flow have their own";
                self.draft.approximated(task.line, format!("{key} of {}", task.name), why);
            }
        }
        self.common(&task, keys);
    }
}
