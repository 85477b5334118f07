//! Operators by class: commands and Python functions run here too; the rest is named, with what to write instead.

use serde_json::{Map, Value, json};

use super::{Reader, RecordedTask};

/// The keys of a task, and what is different.
pub(super) type Made = Result<(Map<String, Value>, Option<String>), String>;

impl Reader<'_> {
    pub(super) fn operator(&mut self, task: &RecordedTask) -> Made {
        match task.operator.as_str() {
            "BashOperator" | "@task.bash" => self.bash(task),
            "PythonOperator" | "PythonVirtualenvOperator" | "ExternalPythonOperator" | "@task" | "@task.virtualenv" => {
                self.python(task)
            }
            "EmptyOperator" | "DummyOperator" => Ok((keys(json!({"shell": "true"})), None)),
            "LuigiTask" => self.luigi(task),
            "TriggerDagRunOperator" => self.trigger_dag_run(task),
            "SubDagOperator" => Err("make it a flow of its own, and run it by flow:".to_owned()),
            "BranchPythonOperator" | "ShortCircuitOperator" | "@task.branch" | "@task.short_circuit" => {
                Err("write when: at the tasks below, over a parameter or a result".to_owned())
            }
            "SimpleHttpOperator" | "HttpOperator" => self.http(task),
            "EmailOperator" | "SlackWebhookOperator" => {
                let why = "write on_failure: or on_success: of the flow, with a channel (email, slack) of mulgil.yaml";
                Err(why.to_owned())
            }
            name if name.contains("Sensor") => self.sensor(task),
            name if name.contains("SQL")
                || name.contains("Sql")
                || name.contains("Postgres")
                || name.contains("BigQuery") =>
            {
                let sql = task.args.get("sql").and_then(Value::as_str).unwrap_or_default();
                let first = sql.trim().lines().next().unwrap_or_default();
                Err(format!("write sql: with the query ({first}...) over tables declared in sources/"))
            }
            "KubernetesPodOperator" | "DockerOperator" => Err("write shell: docker run ...".to_owned()),
            "SparkSubmitOperator" => Err("write shell: spark-submit ...".to_owned()),
            _ => Err("this operator is not known: write shell: or python: for what it does".to_owned()),
        }
    }

    fn bash(&mut self, task: &RecordedTask) -> Made {
        let Some(command) = task.args.get("bash_command").and_then(Value::as_str) else {
            return Err("its command is made at run time: write a script that makes it".to_owned());
        };
        if command.trim_end().ends_with(".sh") && command.contains("{{") {
            return Err("a file with templates: hand the values on as its arguments".to_owned());
        }
        let (crate::shell::SafeCommand { command, mut env }, mut different) = self.command(command)?;
        for (name, value) in task.args.get("env").and_then(Value::as_object).into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (text, also) = self.text(&text)?;
            env.insert(name.clone(), text);
            different = different.or(also);
        }
        let is_bash = ["[[", "<(", "${", "source ", "pipefail", "function "].iter().any(|word| command.contains(word));
        if is_bash && different.is_none() {
            different = Some(
                "Airflow runs bash, Mulgil sh: it looks as if this needs bash; write bash -c or a script".to_owned(),
            );
        }
        Ok((keys(json!({"shell": command, "env": env})), different))
    }

    fn python(&mut self, task: &RecordedTask) -> Made {
        let Some(function) = task.args.get("python_callable").and_then(Value::as_str) else {
            return Err("its function cannot be found from outside: define it at the top of a file".to_owned());
        };
        let mut args = Value::Array(Vec::new());
        let mut different = Vec::new();
        for key in ["op_kwargs", "op_args"] {
            if let Some(given) = task.args.get(key).filter(|given| **given != json!({}) && **given != json!([])) {
                args = self.arguments(given, &mut different)?;
            }
        }
        if function.starts_with(self.file) {
            different.push(
                "its file imports airflow: move the function to a file of its own, or keep airflow installed"
                    .to_owned(),
            );
        }
        if task.args.get("uses_context").is_some_and(|uses| *uses == json!(true)) {
            different.push("it takes Airflow's context (ti, **kwargs): hand on what it needs by args".to_owned());
        }
        let mut python = json!({"function": function});
        if let (Some(python), false) = (python.as_object_mut(), args == json!([])) {
            python.insert("args".to_owned(), args);
        }
        Ok((keys(json!({"python": python})), (!different.is_empty()).then(|| different.join("; "))))
    }

    pub(super) fn arguments(&mut self, value: &Value, different: &mut Vec<String>) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => {
                let (text, also) = self.text(text)?;
                different.extend(also);
                json!(text)
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.arguments(item, different)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| Ok((key.clone(), self.arguments(value, different)?)));
                Value::Object(fields.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }

    /// Luigi runs its task itself; what it requires has been run by then.
    fn luigi(&mut self, task: &RecordedTask) -> Made {
        let text = |key: &str| task.args.get(key).and_then(Value::as_str).unwrap_or_default();
        if !text("unclear").is_empty() {
            return Err(text("unclear").to_owned());
        }
        let mut words =
            vec!["luigi".to_owned(), "--local-scheduler".to_owned(), "--module".to_owned(), text("module").to_owned()];
        words.push(text("family").to_owned());
        let mut command = words.iter().map(|word| crate::shell::quoted(word)).collect::<Vec<_>>().join(" ");
        for (name, value) in task.args.get("parameters").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let written = if value.contains("{{") { value.to_owned() } else { crate::shell::quoted(value) };
            command.push_str(&format!(" --{} {written}", name.replace('_', "-")));
        }
        let different = "Luigi runs it, and finds what it requires done; completeness stays Luigi's";
        Ok((keys(json!({"shell": command})), Some(different.to_owned())))
    }
}

pub(super) fn keys(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
