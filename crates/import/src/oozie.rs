//! Oozie: a workflow's actions and the transitions between them; a coordinator's frequency becomes the schedule.
//!
//! The graph is walked from `start`: an action needs those that lead to it, forks and joins dissolve. What lies behind a decision
//! waits for a task that fails until somebody has decided.

mod action;
mod call;
mod coordinator;
mod xml;

use std::collections::{BTreeMap, BTreeSet};

use self::xml::Element;
use crate::draft::{Draft, Import};
use crate::shell::{self, Piece};

/// Imports a workflow, with the coordinator that starts it if there is one.
#[must_use]
pub fn import(file: &str, text: &str, coordinator: Option<(&str, &str)>) -> Import {
    let mut import = Import::default();
    let mut draft = Draft::new(file, 1, "workflow");
    let root = match xml::parse(text) {
        Ok(root) if root.name == "workflow-app" => root,
        Ok(root) => {
            draft.missing(
                root.line,
                root.name,
                "it is no workflow: name a workflow.xml, and its coordinator.xml with it",
            );
            import.findings.append(&mut draft.into_findings());
            return import;
        }
        Err((line, why)) => {
            draft.missing(line, "file", why);
            import.findings.append(&mut draft.into_findings());
            return import;
        }
    };
    draft.name = crate::draft::name_of(root.attribute("name").unwrap_or("workflow"));
    let mut reader = Reader { draft, done: BTreeMap::new(), params: BTreeSet::new(), properties: BTreeMap::new() };
    if let Some((file, text)) = coordinator {
        import.findings.append(&mut reader.coordinator(file, text));
    }
    reader.workflow(&root);
    reader.draft.finish(&mut import);
    import
}

/// Whether a file is a coordinator.
#[must_use]
pub fn is_coordinator(text: &str) -> bool {
    xml::parse(text).is_ok_and(|root| root.name == "coordinator-app")
}

struct Reader {
    draft: Draft,
    /// The tasks that stand for a node, by the node's name.
    done: BTreeMap<String, Vec<String>>,
    params: BTreeSet<String>,
    /// What the coordinator sets, as templates.
    properties: BTreeMap<String, String>,
}

impl Reader {
    fn workflow(&mut self, root: &Element) {
        for parameter in root.child("parameters").into_iter().flat_map(|all| all.all("property")) {
            let name = parameter.text_of("name").unwrap_or_default().to_owned();
            let value = parameter.text_of("value").unwrap_or_default().to_owned();
            if is_word(&name) && !value.contains("${") {
                self.draft.set_in("params", &name, value);
                self.draft.imported(parameter.line, format!("parameter {name}"));
            }
        }
        if let Some(global) = root.child("global") {
            self.draft.missing(global.line, "global", "hand its properties on by env, or by the tools' own files");
        }
        let nodes: BTreeMap<&str, &Element> =
            root.children.iter().filter_map(|node| Some((node.attribute("name")?, node))).collect();
        let start = root.child("start").and_then(|start| start.attribute("to"));
        match start {
            Some(first) => self.walk(&nodes, first),
            None => self.draft.missing(root.line, "start", "nothing says where the workflow begins"),
        }
        for (name, node) in &nodes {
            if node.name == "kill" {
                self.draft.imported(node.line, format!("kill {name}"));
            } else if node.name == "action" && !self.done.contains_key(*name) {
                self.draft.missing(
                    node.line,
                    format!("action {name}"),
                    "only an error leads to it: add a task with trigger_rule: one_failed",
                );
            }
        }
        for name in std::mem::take(&mut self.params) {
            if !self.draft.has_in("params", &name) {
                self.draft.set_in("params", &name, "");
                self.draft.approximated(
                    root.line,
                    format!("property {name}"),
                    "a parameter now, empty where none is given",
                );
            }
        }
    }

    /// Goes through the nodes that good ends lead to, each after all that lead to it.
    fn walk(&mut self, nodes: &BTreeMap<&str, &Element>, first: &str) {
        let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
        let mut seen = BTreeSet::from([first.to_owned()]);
        let mut stack = vec![first.to_owned()];
        while let Some(name) = stack.pop() {
            for next in nodes.get(name.as_str()).map(|node| ways(node)).unwrap_or_default() {
                *waiting.entry(next.clone()).or_default() += 1;
                if seen.insert(next.clone()) {
                    stack.push(next);
                }
            }
        }
        let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut ready = vec![first.to_owned()];
        while let Some(name) = ready.pop() {
            let Some(node) = nodes.get(name.as_str()) else { continue };
            let before = needs.remove(&name).unwrap_or_default();
            let made = self.node(&name, node, before);
            self.done.insert(name, made.clone());
            for next in ways(node) {
                needs.entry(next.clone()).or_default().extend(made.clone());
                let left = waiting.entry(next.clone()).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(next);
                }
            }
        }
    }

    /// What stands for a node: a task, or, for a fork, a join or the end, what came before.
    fn node(&mut self, name: &str, node: &Element, before: Vec<String>) -> Vec<String> {
        match node.name.as_str() {
            "action" => vec![self.action(name, node, &before)],
            "decision" => {
                let cases = node.child("switch").map_or(0, |switch| switch.all("case").count());
                let why = format!("it has {cases} cases: write when: at the tasks behind it, and take this one away");
                vec![self.draft.stand_in(name, &before, node.line, &format!("decision {name}"), &why)]
            }
            "fork" | "join" => {
                self.draft.imported(node.line, format!("{} {name}", node.name));
                before
            }
            _ => before,
        }
    }

    /// The pieces of a text with `${...}`; the error is the expression that has no counterpart.
    fn pieces(&mut self, text: &str) -> Result<Vec<Piece>, String> {
        let properties = self.properties.clone();
        let mut params = Vec::new();
        let cut = shell::pieces(text.trim(), ("${", '}'), |inner| {
            if inner == "wf:id()" {
                return Some(Piece::Value("run_id".to_owned()));
            }
            if let Some(value) = properties.get(inner) {
                let expression = value.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
                return Some(
                    expression.map_or_else(|| Piece::Text(value.clone()), |one| Piece::Value(one.trim().to_owned())),
                );
            }
            let name = inner.strip_prefix("wf:conf('").and_then(|rest| rest.strip_suffix("')")).unwrap_or(inner);
            is_word(name).then(|| {
                params.push(name.to_owned());
                Piece::Value(format!("params.{name}"))
            })
        })?;
        self.params.extend(params);
        Ok(cut)
    }
}

/// Where a good end of the node leads.
fn ways(node: &Element) -> Vec<String> {
    let to = |element: &Element, key: &str| element.attribute(key).map(str::to_owned);
    match node.name.as_str() {
        "action" => node.child("ok").and_then(|ok| to(ok, "to")).into_iter().collect(),
        "fork" => node.all("path").filter_map(|path| to(path, "start")).collect(),
        "join" => to(node, "to").into_iter().collect(),
        "decision" => node.child("switch").map_or_else(Vec::new, |switch| {
            let ways: BTreeSet<String> = switch.children.iter().filter_map(|case| to(case, "to")).collect();
            ways.into_iter().collect()
        }),
        _ => Vec::new(),
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
