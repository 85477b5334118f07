//! A flow in the making: keys of a flow file, tasks in order, and the findings about where each came from.

use std::collections::BTreeSet;

use mulgil_flow::{Flow, Project};
use serde_json::{Map, Value, json};

use crate::report::{Coverage, Finding, Outcome};
use crate::shell::quoted;
use crate::yaml;

/// What an import gives.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The flows that pass all checks.
    pub flows: Vec<ImportedFlow>,
    /// Every construct that was met, in the order of the files.
    pub findings: Vec<Finding>,
}

impl Import {
    /// Adds what another import gave.
    pub fn add(&mut self, other: Self) {
        self.flows.extend(other.flows);
        self.findings.extend(other.findings);
    }

    /// How much came over.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage::of(&self.findings)
    }
}

/// A flow that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedFlow {
    /// Its name, and the name of its file without `.yaml`.
    pub name: String,
    /// The file that it comes from.
    pub from: String,
    /// Its text.
    pub yaml: String,
}

/// A flow in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    file: String,
    line: u32,
    /// The flow's name.
    pub name: String,
    keys: Map<String, Value>,
    tasks: Map<String, Value>,
    findings: Vec<Finding>,
}

impl Draft {
    /// A flow that begins at a line of a file.
    pub(crate) fn new(file: &str, line: u32, name: &str) -> Self {
        let (file, name) = (file.to_owned(), name_of(name));
        Self { file, line, name, keys: Map::new(), tasks: Map::new(), findings: Vec::new() }
    }

    /// Sets a key of the flow.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.keys.insert(key.to_owned(), value.into());
    }

    /// Sets a key of a map of the flow, such as a parameter.
    pub(crate) fn set_in(&mut self, map: &str, key: &str, value: impl Into<Value>) {
        let entries = self.keys.entry(map).or_insert_with(|| json!({}));
        if let Value::Object(entries) = entries {
            entries.insert(key.to_owned(), value.into());
        }
    }

    /// Whether a map of the flow has the key.
    pub(crate) fn has_in(&self, map: &str, key: &str) -> bool {
        self.keys.get(map).is_some_and(|entries| entries.get(key).is_some())
    }

    /// Adds a task and returns its name, which gets a number where it is taken.
    pub(crate) fn task(&mut self, name: &str, needs: &[String], keys: Value) -> String {
        let wanted = name_of(name);
        let mut name = wanted.clone();
        let mut number = 2;
        while self.tasks.contains_key(&name) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        let mut task = Map::new();
        let needs: BTreeSet<&String> = needs.iter().collect();
        if !needs.is_empty() {
            task.insert("needs".to_owned(), json!(needs));
        }
        if let Value::Object(keys) = keys {
            task.extend(keys.into_iter().filter(|(_, value)| !value.is_null() && *value != json!({})));
        }
        self.tasks.insert(name.clone(), Value::Object(task));
        name
    }

    /// Lets a task need another one too.
    pub(crate) fn need(&mut self, task: &str, need: &str) {
        let Some(Value::Object(keys)) = self.tasks.get_mut(task) else { return };
        let needs = keys.entry("needs").or_insert_with(|| json!([]));
        if let Value::Array(needs) = needs
            && !needs.iter().any(|one| one == need)
        {
            needs.push(json!(need));
        }
    }

    /// Something came over as it is.
    pub(crate) fn imported(&mut self, line: u32, construct: impl Into<String>) {
        self.note(line, construct, Outcome::Imported, None);
    }

    /// Something came over, nearly.
    pub(crate) fn approximated(&mut self, line: u32, construct: impl Into<String>, why: impl Into<String>) {
        self.note(line, construct, Outcome::Approximated, Some(why.into()));
    }

    /// Something did not come over.
    pub(crate) fn missing(&mut self, line: u32, construct: impl Into<String>, why: impl Into<String>) {
        self.note(line, construct, Outcome::Missing, Some(why.into()));
    }

    fn note(&mut self, line: u32, construct: impl Into<String>, outcome: Outcome, why: Option<String>) {
        let (file, construct) = (self.file.clone(), construct.into());
        self.findings.push(Finding { file, line, construct, outcome, why });
    }

    /// A task that could not be imported: it fails and says so, and holds back what needs it.
    pub(crate) fn stand_in(&mut self, name: &str, needs: &[String], line: u32, what: &str, why: &str) -> String {
        self.missing(line, what, why);
        let sentence = format!("not imported from {}:{line}: {what}: {why}", self.file);
        self.task(
            name,
            needs,
            json!({"shell": format!("echo {} >&2; exit 1", quoted(&crate::shell::verbatim(&sentence)))}),
        )
    }

    /// The findings alone, of something that is no flow.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Checks the flow like every flow file. One that does not pass is missing, with the reason.
    pub(crate) fn finish(mut self, into: &mut Import) {
        let mut definition = Map::from_iter([("flow".to_owned(), json!(self.name))]);
        definition.append(&mut self.keys);
        definition.insert("tasks".to_owned(), Value::Object(std::mem::take(&mut self.tasks)));
        let head = format!("# Imported from {}:{}. `mulgil import` says what is different.\n", self.file, self.line);
        let yaml = head + &yaml::write(&Value::Object(definition));
        match Flow::parse(&format!("flows/{}.yaml", self.name), &yaml, &Project::default()) {
            Ok(_) => into.flows.push(ImportedFlow { name: self.name.clone(), from: self.file.clone(), yaml }),
            Err(found) => {
                let why = found.first().map_or_else(String::new, |one| match &one.remedy {
                    Some(remedy) => format!("{} ({remedy})", one.message),
                    None => one.message.clone(),
                });
                // Nothing of a flow that is not written has come over.
                for finding in self.findings.iter_mut().filter(|finding| finding.outcome != Outcome::Missing) {
                    finding.outcome = Outcome::Missing;
                    finding.why = Some("its flow could not be made".to_owned());
                }
                let construct = format!("flow {}", self.name);
                self.missing(self.line, construct, why);
            }
        }
        // The body of a loop is met once for each copy.
        let mut seen = BTreeSet::new();
        self.findings.retain(|finding| seen.insert((finding.line, finding.construct.clone(), finding.outcome)));
        into.findings.append(&mut self.findings);
    }
}

/// A name that flows and tasks may have.
pub(crate) fn name_of(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut name: String = text.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    name = name.trim_matches(['_', '-']).to_owned();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert_str(0, "t_");
    }
    name.chars().take(90).collect()
}
