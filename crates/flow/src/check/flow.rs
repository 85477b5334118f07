//! The rules of a flow as a whole.

use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::notify::{Receivers, receivers_of};
use super::param::param;
use super::retries::retries;
use super::schedule::schedule;
use super::task::{Defaults, Tasks};
use super::trigger::Surroundings;
use super::value::{at_once, check_name, duration, zone};
use crate::findings::{Findings, Position};
use crate::raw::{RawFlow, RawParam, RawSchedule};
use crate::read::{Entries, FromNode, Text};
use crate::template::{self, Names};
use crate::{Diagnostic, Flow, FlowVersion, Param, Project, Quote, Retries, json, yaml};

impl Flow {
    /// Checks the text of a flow file and returns the flow, or everything that is wrong with it, in the text's order.
    ///
    /// `file_name` is used in diagnostics only. The project supplies the default time zone, the pools and the names of
    /// the connections.
    pub fn parse(file_name: &str, text: &str, project: &Project) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::new(file_name);
        let root = yaml::parse(text, &mut findings);
        Self::checked(file_name, root.as_ref(), findings, project)
    }

    /// Checks a definition that a script has made: a map with the keys of a flow file. The very same checks as for YAML; what
    /// is wrong stands at the script's line.
    pub fn from_json(
        file_name: &str,
        definition: &Value,
        lines: &json::Lines,
        project: &Project,
    ) -> Result<Self, Vec<Diagnostic>> {
        Self::checked(file_name, Some(&json::tree(definition, lines)), Findings::new(file_name), project)
    }

    fn checked(
        file_name: &str,
        root: Option<&yaml::Node>,
        mut findings: Findings,
        project: &Project,
    ) -> Result<Self, Vec<Diagnostic>> {
        let raw = root.and_then(|root| RawFlow::from_node(root, &mut findings));
        let flow = raw.map(|raw| Checker { project, findings: &mut findings }.flow(file_name, raw));
        findings.finish(flow)
    }
}

/// Checks one flow. Whatever is wrong is put down, and checking goes on with something harmless in its place.
struct Checker<'a> {
    project: &'a Project,
    findings: &'a mut Findings,
}

impl Checker<'_> {
    fn flow(&mut self, file: &str, mut raw: RawFlow) -> Flow {
        let named = receivers_of(&mut raw);
        let name = self.name(raw.flow, raw.at);
        let has_schedule = raw.schedule.is_some();
        let timezone = self.timezone(raw.schedule.as_ref());
        let schedule = raw.schedule.and_then(|raw| schedule(raw, &timezone, self.project, self.findings));
        let params = self.params(raw.params.unwrap_or_default(), has_schedule);
        let surroundings = Surroundings { project: self.project, params: &params, has_schedule };
        let triggers = surroundings.triggers(raw.triggers.unwrap_or_default(), self.findings);
        let names = Names::new(has_schedule, &params, self.project);
        let told = Receivers { project: self.project, names: &names, params: &params }.told(named, self.findings);
        let defaults = Defaults {
            retries: raw.retries.map_or(Retries::NONE, |raw| retries(raw, self.findings)),
            timeout: raw.timeout.and_then(|text| duration(&text, "timeout", self.findings)),
            pool: raw.pool.map(|text| self.pool(text)),
            tags: raw.tags.map_or_else(Vec::new, |raw| super::tags::tags(raw, self.findings)),
        };
        let raw_tasks = raw.tasks.unwrap_or_default();
        if raw_tasks.0.is_empty() {
            self.findings.add(raw.at, "the flow has no tasks", Some("add tasks: with at least one".to_owned()));
        }
        let tasks = Tasks { project: self.project, names: &names, params: &params, defaults: &defaults };
        let tasks = tasks.checked(raw_tasks, self.findings);
        let concurrency =
            raw.concurrency.map(|number| at_once(number, "concurrency 0 lets no run start", self.findings));
        let run_timeout = raw.run_timeout.and_then(|text| duration(&text, "run_timeout", self.findings));
        let deadline = raw.deadline.and_then(|text| self.deadline(&text));
        let description = raw.description.map(|text| text.value);
        let (file, version) = (file.to_owned(), FlowVersion(String::new()));
        let flow = Flow {
            name,
            description,
            file,
            version,
            timezone,
            schedule,
            triggers,
            params,
            concurrency,
            run_timeout,
            deadline,
            told,
            tasks,
        };
        Flow { version: crate::canonical::version_of(&flow), ..flow }
    }

    fn name(&mut self, name: Option<Text>, at: Position) -> String {
        let Some(name) = name else {
            self.findings.add(at, "the flow has no name", Some("begin with flow: NAME".to_owned()));
            return String::new();
        };
        check_name(&name.value, name.at, "flow", self.findings);
        name.value
    }

    fn timezone(&mut self, schedule: Option<&RawSchedule>) -> TimeZone {
        let own = schedule.and_then(|schedule| schedule.timezone.as_ref());
        own.and_then(|text| zone(text, self.findings)).unwrap_or_else(|| self.project.timezone.clone())
    }

    fn pool(&mut self, text: Text) -> String {
        super::task::pool(text, self.project, self.findings)
    }

    fn params(&mut self, raw: Entries<RawParam>, has_schedule: bool) -> BTreeMap<String, Param> {
        let mut params = BTreeMap::new();
        for (name, raw) in raw.0 {
            check_name(&name.text, name.at, "parameter", self.findings);
            let Some(param) = param(raw, self.findings) else { continue };
            if has_schedule && param.default.is_none() {
                let message = format!("parameter {} has no default, and a scheduled run has nobody to ask", name.text);
                self.findings.add(name.at, message, Some("give it a default".to_owned()));
            }
            params.insert(name.text, param);
        }
        params
    }

    fn deadline(&mut self, text: &Text) -> Option<Time> {
        let time = text.value.parse().ok();
        if time.is_none() {
            let remedy = "write a local time of day, such as 07:30".to_owned();
            self.findings.add(text.at, format!("deadline {:?} is no time of day", text.value), Some(remedy));
        }
        time
    }
}

/// Puts down everything that is wrong with a template, at its place in the file.
pub(super) fn check_template(
    text: &Text,
    names: &Names,
    params: &BTreeMap<String, Param>,
    quote: Quote,
    findings: &mut Findings,
) {
    for error in template::errors_in(&text.value, names, params, quote) {
        let at = text.place(Position { line: error.line, column: error.column });
        findings.add(at, error.message, error.remedy);
    }
}

/// Puts down everything that is wrong with a condition, at its place in the file.
pub(super) fn check_condition(text: &Text, names: &Names, params: &BTreeMap<String, Param>, findings: &mut Findings) {
    for error in template::errors_in_condition(&text.value, names, params) {
        let at = text.place(Position { line: error.line, column: error.column });
        findings.add(at, error.message, error.remedy);
    }
}
