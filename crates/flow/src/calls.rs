//! Flows that run flows, over the whole project: each that is called is there and takes what it is given, and none calls itself, directly
//! or not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::findings::remedy_for;
use crate::{CallTask, Diagnostic, Flow, Task, TaskKind};

/// What is wrong with the calls of these flows, by the flow that is to be refused for it. A flow of `broken` is one whose file cannot be
/// read just now: who calls it is not broken by that.
#[must_use]
pub fn check_calls(flows: &[&Flow], broken: &[&str]) -> Vec<(String, Diagnostic)> {
    let by_name: BTreeMap<&str, &Flow> = flows.iter().map(|flow| (flow.name.as_str(), *flow)).collect();
    let mut found = Vec::new();
    for flow in flows {
        for (task, call) in calls_of(flow) {
            let Some(called) = by_name.get(call.flow.as_str()) else {
                if !broken.contains(&call.flow.as_str()) {
                    let known: Vec<&str> = by_name.keys().copied().chain(broken.iter().copied()).collect();
                    let message = format!("task {} runs flow {}, which this project has not", task.name, call.flow);
                    found.push((flow.name.clone(), at(flow, task, message, remedy_for(&call.flow, &known))));
                }
                continue;
            };
            let wrong = wrong_params(called, call);
            found.extend(wrong.into_iter().map(|(message, remedy)| {
                (flow.name.clone(), at(flow, task, format!("task {}: {message}", task.name), Some(remedy)))
            }));
        }
    }
    found.extend(circles(flows, &by_name));
    found
}

fn calls_of(flow: &Flow) -> impl Iterator<Item = (&Task, &CallTask)> {
    flow.tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::Flow(call) => Some((task, call)),
        _ => None,
    })
}

fn at(flow: &Flow, task: &Task, message: String, remedy: Option<String>) -> Diagnostic {
    Diagnostic { file: flow.file.clone(), line: task.line, column: task.column, message, remedy }
}

/// What the called flow will not take. The value of a template is known only when it runs.
fn wrong_params(called: &Flow, call: &CallTask) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for (name, value) in &call.params {
        let Some(param) = called.params.get(name) else {
            let known: Vec<&str> = called.params.keys().map(String::as_str).collect();
            let remedy = remedy_for(name, &known).unwrap_or_else(|| "leave it out".to_owned());
            wrong.push((format!("flow {} has no parameter {name}", called.name), remedy));
            continue;
        };
        if matches!(value, Value::String(text) if text.contains("{{") || text.contains("{%")) {
            continue;
        }
        let (word, flow) = (param.param_type.word(), &called.name);
        match param.param_type.accept(value) {
            None => {
                let message = format!("parameter {name} of flow {flow} takes a value of type {word}, not {value}");
                wrong.push((message, format!("write one of type {word}")));
            }
            Some(value) if !param.limits.allow(&value) => {
                let message = format!("parameter {name} of flow {flow} cannot be {value}");
                wrong.push((message, format!("it has to be {}", param.limits)));
            }
            Some(_) => {}
        }
    }
    let missing =
        called.params.iter().filter(|(name, param)| param.default.is_none() && !call.params.contains_key(*name));
    wrong.extend(missing.map(|(name, _)| {
        let message = format!("flow {} needs a value for its parameter {name}", called.name);
        (message, format!("add params: {{{name}: VALUE}}"))
    }));
    wrong
}

/// Every flow that calls itself, with the chain that leads back to it.
fn circles(flows: &[&Flow], by_name: &BTreeMap<&str, &Flow>) -> Vec<(String, Diagnostic)> {
    let mut found = Vec::new();
    let suspects = that_may_lead_back(flows, by_name);
    for flow in flows.iter().filter(|flow| suspects.contains(flow.name.as_str())) {
        let Some((task, chain)) = way_back(flow, by_name) else { continue };
        let message = match chain.as_slice() {
            [_] => format!("task {} runs the flow that it is in", task.name),
            names => format!("flows run each other in a circle: {} -> {}", names.join(" -> "), flow.name),
        };
        found.push((flow.name.clone(), at(flow, task, message, Some("take one of these tasks away".to_owned()))));
    }
    found
}

/// The flows whose calls come to no end: what is left when flows that call nothing are taken away, again and again.
fn that_may_lead_back<'a>(flows: &[&'a Flow], by_name: &BTreeMap<&str, &Flow>) -> BTreeSet<&'a str> {
    let mut callers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for flow in flows {
        let called: Vec<&str> = calls_of(flow).map(|(_, call)| call.flow.as_str()).collect();
        let called: Vec<&str> = called.into_iter().filter(|name| by_name.contains_key(name)).collect();
        calls.insert(&flow.name, called.len());
        called.iter().for_each(|name| callers.entry(name).or_default().push(&flow.name));
    }
    let mut left: BTreeSet<&str> = flows.iter().map(|flow| flow.name.as_str()).collect();
    let mut ended: Vec<&str> = calls.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(flow) = ended.pop() {
        left.remove(flow);
        for caller in callers.get(flow).into_iter().flatten() {
            if let Some(count) = calls.get_mut(caller) {
                *count -= 1;
                if *count == 0 {
                    ended.push(caller);
                }
            }
        }
    }
    left
}

/// The shortest way from a flow over its calls back to itself, and the task with which it begins.
fn way_back<'a>(flow: &'a Flow, by_name: &BTreeMap<&str, &'a Flow>) -> Option<(&'a Task, Vec<&'a str>)> {
    // From which flow each was reached first.
    let mut came_from: BTreeMap<&str, &'a Flow> = BTreeMap::new();
    let mut level = vec![flow];
    while !level.is_empty() {
        let mut next = Vec::new();
        for caller in level {
            for (_, call) in calls_of(caller) {
                let Some(called) = by_name.get(call.flow.as_str()) else { continue };
                if came_from.contains_key(called.name.as_str()) {
                    continue;
                }
                came_from.insert(&called.name, caller);
                if called.name == flow.name {
                    return Some(begun(flow, &came_from));
                }
                next.push(*called);
            }
        }
        level = next;
    }
    None
}

fn begun<'a>(flow: &'a Flow, came_from: &BTreeMap<&str, &'a Flow>) -> (&'a Task, Vec<&'a str>) {
    let mut chain = Vec::new();
    let mut last = flow.name.as_str();
    while let Some(caller) = came_from.get(last) {
        chain.push(caller.name.as_str());
        last = caller.name.as_str();
        if last == flow.name {
            break;
        }
    }
    chain.reverse();
    let second = chain.get(1).copied().unwrap_or(&flow.name);
    let begins = calls_of(flow).find(|(_, call)| call.flow == second).map(|(task, _)| task);
    #[expect(clippy::expect_used, reason = "a way back begins with a call of the flow")]
    (begins.expect("the flow calls the second one of the chain"), chain)
}

#[cfg(test)]
mod tests;
