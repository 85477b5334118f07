//! Digdag: `.dig` files. Tasks run one after another unless `_parallel` says otherwise; groups are flattened, loops with known
//! bounds are unrolled.

mod call;
mod operator;
mod schedule;
mod variable;

use std::collections::{BTreeMap, BTreeSet};

use mulgil_flow::yaml::{self, Data, Key, Node, Style};
use serde_json::{Value, json};

use crate::draft::{Draft, Import};

/// More copies than this of the body of a loop are not written out.
const COPIES_MAX: usize = 200;

/// Imports one file.
#[must_use]
pub fn import(file: &str, text: &str) -> Import {
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".dig");
    let mut draft = Draft::new(file, 1, stem);
    let mut import = Import::default();
    let text = without_includes(text, &mut draft);
    match yaml::read(file, &text) {
        Ok(root) => {
            let (constants, sessions, asked) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
            let mut reader = Reader { draft: &mut draft, constants, sessions, asked };
            reader.workflow(&root);
        }
        Err(found) => {
            for one in found {
                draft.missing(one.line, "file", one.message);
            }
        }
    }
    draft.finish(&mut import);
    import
}

/// `!include : 'other.dig'` is a tag that YAML's own rules do not know; such lines are left out, and said to be.
fn without_includes(text: &str, draft: &mut Draft) -> String {
    let mut kept = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().trim_start_matches("? ").starts_with("!include") {
            draft.missing(number, "!include", "put the text of the other file here, and import again");
        } else {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

/// What surrounds a task: what it comes after, and what it inherits.
#[derive(Clone, Default)]
struct Around {
    /// The name of the group.
    prefix: String,
    /// The tasks that have to have ended.
    after: Vec<String>,
    retries: Option<Value>,
    env: BTreeMap<String, String>,
}

struct Reader<'a> {
    draft: &'a mut Draft,
    /// Variables of loops that are being unrolled, and nested exports.
    constants: BTreeMap<String, String>,
    /// Session variables of the task at hand, which mean something else here.
    sessions: BTreeSet<String>,
    /// Variables that are used as parameters.
    asked: BTreeSet<String>,
}

impl Reader<'_> {
    fn workflow(&mut self, root: &Node) {
        let Data::Map(entries) = &root.data else {
            return self.draft.missing(1, "file", "a workflow is a map of tasks");
        };
        let zone = entries.iter().find(|(key, _)| key.text == "timezone").and_then(|(_, value)| text_of(value));
        if let Some((key, value)) = entries.iter().find(|(key, _)| key.text == "schedule") {
            schedule::read(self.draft, key.at.line, value, zone.as_deref());
        } else if let Some(zone) = &zone {
            let why = "a flow without schedule has the project's zone";
            self.draft.approximated(root.at.line, format!("timezone: {zone}"), why);
        }
        self.group(root, Around::default());
    }

    /// The tasks of a map, and the names of those that end it.
    fn group(&mut self, node: &Node, mut around: Around) -> Vec<String> {
        let Data::Map(entries) = &node.data else { return around.after };
        let parallel = entries.iter().find(|(key, _)| key.text == "_parallel").map(|(key, value)| (key, value.clone()));
        let is_parallel = parallel.is_some_and(|(key, value)| self.parallel(key, &value));
        for (key, value) in entries.iter().filter(|(key, _)| !key.text.starts_with('+')) {
            self.setting(key, value, &mut around);
        }
        let before = around.after.clone();
        let mut ends: Vec<String> = Vec::new();
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in entries.iter().filter(|(key, _)| key.text.starts_with('+')) {
            let name = key.text.trim_start_matches('+');
            let mut inner = around.clone();
            inner.prefix = if around.prefix.is_empty() { name.to_owned() } else { format!("{}-{name}", around.prefix) };
            inner.after = match (is_parallel, ends.is_empty()) {
                (true, _) => self.after(value, &by_name).unwrap_or_else(|| before.clone()),
                (false, true) => before.clone(),
                (false, false) => std::mem::take(&mut ends),
            };
            let last = self.task(key, value, inner);
            by_name.insert(name.to_owned(), last.clone());
            if is_parallel {
                ends.extend(last);
            } else {
                ends = last;
            }
        }
        if ends.is_empty() { before } else { ends }
    }

    /// `_after`, among the siblings of a parallel group.
    fn after(&self, node: &Node, siblings: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
        let Data::Map(entries) = &node.data else { return None };
        let (_, value) = entries.iter().find(|(key, _)| key.text == "_after")?;
        let names = list_of(value);
        Some(names.iter().filter_map(|name| siblings.get(name.trim_start_matches('+'))).flatten().cloned().collect())
    }

    fn parallel(&mut self, key: &Key, value: &Node) -> bool {
        match &value.data {
            Data::Map(_) => {
                let why = "the tasks run at the same time, as many as their pool has slots; the limit is not kept";
                self.draft.approximated(key.at.line, "_parallel: limit", why);
                true
            }
            _ => {
                self.draft.imported(key.at.line, "_parallel");
                text_of(value).as_deref() == Some("true")
            }
        }
    }

    /// A key that is no task and no operator.
    fn setting(&mut self, key: &Key, value: &Node, around: &mut Around) {
        let line = key.at.line;
        match key.text.as_str() {
            "timezone" | "schedule" | "_parallel" | "_after" | "_do" => {}
            "_export" => self.export(value, "", around.prefix.is_empty()),
            "_retry" => {
                around.retries = schedule::retries(value);
                match around.retries {
                    Some(_) if around.prefix.is_empty() => {
                        let why = "the tasks are tried again one by one, not the workflow as a whole";
                        self.draft.approximated(line, "_retry", why);
                    }
                    Some(_) => self.draft.imported(line, "_retry"),
                    None => self.draft.missing(line, "_retry", "write retries: {limit: N, delay: 1m}"),
                }
            }
            "_error" => self.draft.missing(line, "_error", "add on_failure, or a task with trigger_rule: one_failed"),
            "_check" => self.draft.missing(line, "_check", "add a task that needs this one"),
            "_secrets" => self.draft.missing(line, "_secrets", "hand secrets on by the environment of the server"),
            "sla" => self.draft.missing(line, "sla", "write deadline: HH:MM"),
            "_env" => match &value.data {
                Data::Map(entries) => {
                    for (name, value) in entries {
                        let text = text_of(value).unwrap_or_default();
                        around.env.insert(name.text.clone(), self.template(&text).unwrap_or(text));
                    }
                    self.draft.imported(line, "_env");
                }
                _ => self.draft.missing(line, "_env", "write env: {NAME: value}"),
            },
            "_background" => self.draft.missing(line, "_background", "say by needs what has to come after this task"),
            other if other.ends_with('>') => {}
            other if around.prefix.is_empty() => self.draft.missing(line, other, "this key is not known"),
            // An option of the task's operator, which reads it itself.
            _ => {}
        }
    }

    /// Variables: simple ones become parameters, nested ones are put in where they are used.
    fn export(&mut self, node: &Node, prefix: &str, as_params: bool) {
        let Data::Map(entries) = &node.data else { return };
        for (key, value) in entries {
            let name = format!("{prefix}{}", key.text);
            match (&value.data, text_of(value)) {
                (Data::Map(_), _) => self.export(value, &format!("{name}."), as_params),
                (_, Some(text)) => match self.template(&text) {
                    Some(text) if text.contains("{{") => drop(self.constants.insert(name.clone(), text)),
                    _ if as_params && prefix.is_empty() && is_param(&name) => {
                        self.draft.set_in("params", &name, scalar_of(value));
                    }
                    _ => drop(self.constants.insert(name.clone(), text)),
                },
                _ => {
                    self.draft.missing(key.at.line, format!("_export: {name}"), "parameters take single values");
                    continue;
                }
            }
            self.draft.imported(key.at.line, format!("_export: {name}"));
        }
    }

    /// A task or group, and the names of those that end it.
    fn task(&mut self, key: &Key, node: &Node, mut around: Around) -> Vec<String> {
        let Data::Map(entries) = &node.data else {
            let name = around.prefix.clone();
            let made = self.draft.stand_in(&name, &around.after, key.at.line, &key.text, "the task is empty");
            return vec![made];
        };
        let operator = entries.iter().find(|(key, _)| key.text.ends_with('>') && !key.text.starts_with('_'));
        let Some((operator, value)) = operator else { return self.group(node, around) };
        for (key, value) in entries.iter().filter(|(key, _)| !key.text.starts_with('+')) {
            self.setting(key, value, &mut around);
        }
        match operator.text.as_str() {
            "loop>" | "for_each>" | "for_range>" => self.repeat(operator, value, entries, &around),
            _ => vec![self.operator(operator, value, entries, &around)],
        }
    }

    /// A loop, written out.
    fn repeat(&mut self, operator: &Key, value: &Node, entries: &[(Key, Node)], around: &Around) -> Vec<String> {
        let line = operator.at.line;
        let of = |name: &str| entries.iter().find(|(key, _)| key.text == name);
        let body = of("_do").map(|(_, body)| body);
        let name = &around.prefix;
        let (Some(copies), Some(body)) = (self.copies(&operator.text, value), body) else {
            let why = "what it goes over is known only at run time: write for_each over a list or a query";
            return vec![self.draft.stand_in(name, &around.after, line, &operator.text, why)];
        };
        if copies.len() > COPIES_MAX {
            let why = format!("{} copies are too many to write out: write for_each", copies.len());
            return vec![self.draft.stand_in(name, &around.after, line, &operator.text, &why)];
        }
        let is_parallel = of("_parallel").is_some_and(|(key, value)| self.parallel(key, value));
        self.draft.imported(line, format!("{} ({} copies)", operator.text, copies.len()));
        let mut ends = Vec::new();
        let mut after = around.after.clone();
        for (number, copy) in copies.into_iter().enumerate() {
            let outer = self.constants.clone();
            self.constants.extend(copy);
            let inner = Around { prefix: format!("{name}-{number}"), after: after.clone(), ..around.clone() };
            let last = self.group(body, inner);
            self.constants = outer;
            if is_parallel {
                ends.extend(last);
            } else {
                after.clone_from(&last);
                ends = last;
            }
        }
        ends
    }

    /// The variables of each copy of a loop's body.
    fn copies(&self, operator: &str, value: &Node) -> Option<Vec<BTreeMap<String, String>>> {
        let number = |text: Option<String>| text?.trim().parse::<usize>().ok();
        match (operator, &value.data) {
            ("loop>", _) => {
                let count = number(text_of(value)).filter(|count| *count <= 10_000)?;
                Some((0..count).map(|i| BTreeMap::from([("i".to_owned(), i.to_string())])).collect())
            }
            ("for_range>", Data::Map(entries)) => {
                let of =
                    |name: &str| number(entries.iter().find(|(key, _)| key.text == name).and_then(|(_, v)| text_of(v)));
                let (from, to, step) = (of("from")?, of("to")?, of("step").or(Some(1)).filter(|step| *step > 0)?);
                let range = |at: usize| {
                    let end = (at + step).min(to);
                    [("range.from", at), ("range.to", end)].map(|(name, n)| (name.to_owned(), n.to_string())).into()
                };
                Some((from..to).step_by(step).map(range).collect())
            }
            ("for_each>", Data::Map(entries)) => {
                let mut copies = vec![BTreeMap::new()];
                for (name, values) in entries {
                    let Data::List(values) = &values.data else { return None };
                    let values: Vec<String> = values.iter().map(text_of).collect::<Option<_>>()?;
                    let with = |copy: &BTreeMap<String, String>, value: &String| {
                        let mut copy = copy.clone();
                        copy.insert(name.text.clone(), value.clone());
                        copy
                    };
                    copies = copies.iter().flat_map(|copy| values.iter().map(|value| with(copy, value))).collect();
                }
                Some(copies)
            }
            _ => None,
        }
    }
}

fn is_param(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn text_of(node: &Node) -> Option<String> {
    match &node.data {
        Data::Scalar(scalar) => Some(scalar.text.clone()),
        _ => None,
    }
}

/// A single value with its type.
fn scalar_of(node: &Node) -> Value {
    let Data::Scalar(scalar) = &node.data else { return Value::Null };
    match scalar.text.parse::<i64>() {
        Ok(number) if scalar.style == Style::Plain => json!(number),
        _ if scalar.style == Style::Plain && matches!(scalar.text.as_str(), "true" | "false") => {
            json!(scalar.text == "true")
        }
        _ => json!(scalar.text),
    }
}

fn list_of(node: &Node) -> Vec<String> {
    match &node.data {
        Data::List(items) => items.iter().filter_map(text_of).collect(),
        _ => text_of(node).into_iter().collect(),
    }
}
