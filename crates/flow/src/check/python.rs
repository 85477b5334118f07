//! The rules of python tasks: one thing to run, arguments that it can take, one interpreter.

use std::collections::BTreeMap;

use serde_json::Value;

use super::flow::check_template;
use super::task::Tasks;
use crate::findings::{Findings, Position};
use crate::raw::{RawPython, RawPythonInFull};
use crate::read::{Anything, Text};
use crate::yaml::{Key, Style};
use crate::{Interpreter, PythonArgs, PythonEntry, PythonTask, Quote};

impl Tasks<'_> {
    /// The python task, or, where something is wrong, something harmless.
    pub(super) fn python(&self, key: &Key, raw: RawPython, findings: &mut Findings) -> PythonTask {
        let raw = match raw {
            RawPython::Script(script) => RawPythonInFull { script: Some(script), ..RawPythonInFull::default() },
            RawPython::InFull(raw) => *raw,
        };
        let interpreter = interpreter(raw.venv, raw.requirements, findings);
        let entry = match (raw.script, raw.module, raw.function) {
            (Some(script), None, None) => script_entry(script, findings),
            (None, Some(module), None) => module_entry(module, findings),
            (None, None, Some(function)) => function_entry(function, findings),
            _ if raw.broken => PythonEntry::Script(String::new()),
            (script, module, function) => {
                let several = [script.is_some(), module.is_some(), function.is_some()].iter().any(|there| *there);
                let message = match several {
                    true => format!("task {} has more than one of script, module and function", key.text),
                    false => format!("task {} has no Python to run", key.text),
                };
                let remedy =
                    "write one of script: jobs/score.py, module: jobs.score, function: \"jobs/score.py:score\"";
                findings.add(raw.at, message, Some(remedy.to_owned()));
                PythonEntry::Script(String::new())
            }
        };
        let args = self.args(raw.args, &entry, findings);
        PythonTask { entry, args, interpreter }
    }

    fn args(&self, raw: Option<Anything>, entry: &PythonEntry, findings: &mut Findings) -> PythonArgs {
        let Some(Anything(value, at)) = raw else { return PythonArgs::List(Vec::new()) };
        self.check_templates_in(&value, at, findings);
        match (value, entry) {
            (Value::Array(items), PythonEntry::Function { .. }) => PythonArgs::List(items),
            (Value::Array(items), _) => {
                if items.iter().any(|item| item.is_array() || item.is_object()) {
                    let remedy = "write texts and numbers, or run a function, which takes any JSON".to_owned();
                    findings.add(at, "an argument of a script is a list or a map", Some(remedy));
                }
                PythonArgs::List(items)
            }
            (Value::Object(named), PythonEntry::Function { .. }) => {
                PythonArgs::Named(named.into_iter().collect::<BTreeMap<_, _>>())
            }
            (_, entry) => {
                let remedy = match entry {
                    PythonEntry::Function { .. } => "write args: {day: \"{{ ds }}\"} or args: [\"{{ ds }}\"]",
                    _ => "write args: [\"--day\", \"{{ ds }}\"]",
                };
                findings.add(at, "args are of the wrong form", Some(remedy.to_owned()));
                PythonArgs::List(Vec::new())
            }
        }
    }

    /// Every text in the value is a template.
    pub(super) fn check_templates_in(&self, value: &Value, at: Position, findings: &mut Findings) {
        match value {
            Value::String(text) => {
                // Where in the value it stands is not known: all of it is where the value begins.
                let text = Text { value: text.clone(), at, style: Style::Folded };
                check_template(&text, self.names, self.params, Quote::None, findings);
            }
            Value::Array(items) => items.iter().for_each(|item| self.check_templates_in(item, at, findings)),
            Value::Object(fields) => fields.values().for_each(|field| self.check_templates_in(field, at, findings)),
            _ => {}
        }
    }
}

fn interpreter(venv: Option<Text>, requirements: Option<Text>, findings: &mut Findings) -> Interpreter {
    match (venv, requirements) {
        (None, None) => Interpreter::Project,
        (Some(venv), None) => Interpreter::Venv(venv.value),
        (None, Some(file)) => {
            check_inside(&file, "a requirements file", findings);
            Interpreter::Requirements(file.value)
        }
        (Some(venv), Some(requirements)) => {
            let remedy = "keep one of them: venv is yours, requirements makes one".to_owned();
            findings.add(requirements.at, "both venv and requirements are given", Some(remedy));
            Interpreter::Venv(venv.value)
        }
    }
}

fn script_entry(script: Text, findings: &mut Findings) -> PythonEntry {
    if !script.value.ends_with(".py") {
        let remedy = "write the path of a .py file of the project, such as jobs/score.py".to_owned();
        findings.add(script.at, format!("{:?} is no Python script", script.value), Some(remedy));
    }
    check_inside(&script, "a script", findings);
    PythonEntry::Script(script.value)
}

fn module_entry(module: Text, findings: &mut Findings) -> PythonEntry {
    if !is_dotted(&module.value) {
        let remedy = "write a name that can be imported, such as jobs.score".to_owned();
        findings.add(module.at, format!("{:?} is no module", module.value), Some(remedy));
    }
    PythonEntry::Module(module.value)
}

fn function_entry(function: Text, findings: &mut Findings) -> PythonEntry {
    let (from, name) = function.value.rsplit_once(':').unwrap_or(("", ""));
    let is_file = from.ends_with(".py");
    if !is_dotted(name) || !(is_file || is_dotted(from)) {
        let remedy = "write FILE.py:NAME or MODULE:NAME, such as jobs/score.py:score".to_owned();
        findings.add(function.at, format!("{:?} is no function", function.value), Some(remedy));
    }
    if is_file {
        check_inside(&Text { value: from.to_owned(), ..function.clone() }, "a function's file", findings);
    }
    PythonEntry::Function { from: from.to_owned(), name: name.to_owned() }
}

fn check_inside(path: &Text, what: &str, findings: &mut Findings) {
    if path.value.starts_with('/') || path.value.split('/').any(|part| part == "..") {
        let remedy = "write a path inside the project's folder".to_owned();
        findings.add(path.at, format!("{what} lies outside the project: {:?}", path.value), Some(remedy));
    }
}

fn is_dotted(name: &str) -> bool {
    let is_identifier = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    name.split('.').all(is_identifier)
}
