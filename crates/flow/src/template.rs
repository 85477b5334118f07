//! Templates: `{{ ds }}` and its kin, under Airflow's names.
//!
//! | variable | value |
//! |---|---|
//! | `ds` | local date of the start of the data interval, `2013-01-01` |
//! | `ds_nodash` | the same as `20130101` |
//! | `data_interval_start`, `data_interval_end` | instants in UTC, `2013-01-01T05:00:00Z` |
//! | `run_id` | the run's name for people |
//! | `params.x` | a parameter |
//! | `connections.x` | a connection of the project |
//! | `secrets.x` | a secret of the project, only where a task runs |
//! | `results.x` | the result of a task upstream |
//! | `item` | in a task with `for_each`, the item |
//!
//! An unknown variable is an error, never an empty string. The language is Jinja's, as minijinja has it.
//!
//! With [`Quote::Shell`] every value becomes one word of the shell, in single quotes, whatever it contains. That holds
//! only where the shell reads words: an expression inside quotes, backticks, a comment or a here-document is an error.

mod condition;
mod expression;
mod item;
mod quote;
mod secret;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::tz::TimeZone;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

pub(crate) use condition::errors_in_condition;
pub use condition::{ResultsRead, holds, results_read};
pub(crate) use item::ItemShape;
pub use secret::secrets_read;

use crate::findings::{Findings, Position, remedy_for};
use crate::{DataInterval, Diagnostic, Flow, Param, ParamType, Params, Project, RunKey, Secrets};

const INTERVAL_NAMES: [&str; 4] = ["ds", "ds_nodash", "data_interval_start", "data_interval_end"];
/// Functions that are always there.
const FUNCTIONS: [&str; 4] = ["range", "dict", "namespace", "debug"];

/// The values that a run's templates can use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Variables {
    /// The data interval; `None` for a run without one: then `ds` and the like are unknown variables.
    pub interval: Option<DataInterval>,
    /// The time zone of `ds`.
    #[serde(with = "jiff::fmt::serde::tz::required")]
    pub timezone: TimeZone,
    /// The run's name for people.
    pub run_id: String,
    /// The run's parameters.
    pub params: Params,
    /// The project's connections.
    pub connections: BTreeMap<String, String>,
    /// The secrets, where they may be used: only who runs a task adds them, for the texts that may hold them.
    #[serde(skip)]
    pub secrets: Option<Secrets>,
    /// What tasks upstream have given as their results, by task.
    pub results: BTreeMap<String, serde_json::Value>,
    /// The item that the task does, if it goes over some.
    pub item: Option<serde_json::Value>,
}

impl Variables {
    /// The variables of the run `key` of `flow` with `params`.
    #[must_use]
    pub fn new(flow: &Flow, key: &RunKey, params: &Params, project: &Project) -> Self {
        Self {
            interval: key.interval,
            timezone: flow.timezone.clone(),
            run_id: key.run_id().to_owned(),
            params: params.clone(),
            connections: project.connections.clone(),
            secrets: None,
            results: BTreeMap::new(),
            item: None,
        }
    }

    /// The same with secrets: for a text in which they may stand.
    #[must_use]
    pub fn with_secrets(&self, secrets: Secrets) -> Self {
        Self { secrets: Some(secrets), ..self.clone() }
    }

    fn context(&self) -> Value {
        let mut context = BTreeMap::from([
            ("run_id", Value::from(self.run_id.as_str())),
            ("params", Value::from(Serde(&self.params))),
            ("connections", Value::from(Serde(&self.connections))),
            ("results", Value::from(Serde(&self.results))),
        ]);
        if let Some(secrets) = &self.secrets {
            let secrets: BTreeMap<String, Value> =
                secrets.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            context.insert("secrets", Value::from(secrets));
        }
        if let Some(interval) = self.interval {
            let date = interval.start.to_zoned(self.timezone.clone()).date();
            context.insert("ds", Value::from(date.to_string()));
            context.insert("ds_nodash", Value::from(date.strftime("%Y%m%d").to_string()));
            context.insert("data_interval_start", Value::from(interval.start.to_string()));
            context.insert("data_interval_end", Value::from(interval.end.to_string()));
        }
        if let Some(item) = &self.item {
            context.insert("item", Value::from(Serde(item)));
        }
        Value::from(context)
    }

    fn names(&self) -> Names {
        Names {
            interval: self.interval.is_some(),
            params: self.params.keys().cloned().collect(),
            connections: self.connections.keys().cloned().collect(),
            secrets: self.secrets.as_ref().map(|secrets| secrets.iter().map(|(name, _)| name.to_owned()).collect()),
            results: self.results.keys().cloned().collect(),
            item: self.item.as_ref().map(|_| ItemShape::Unknown),
        }
    }
}

/// How a value is written into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// As it is.
    None,
    /// As one word of a POSIX shell, whatever it contains.
    Shell,
}

/// Why a template cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template line {line}, column {column}: {message}{}", remedy.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
pub struct TemplateError {
    /// The line within the template, from 1.
    pub line: u32,
    /// The column within the line, in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Renders a template.
pub fn render(template: &str, variables: &Variables, quote: Quote) -> Result<String, TemplateError> {
    let environment = environment(quote);
    let compiled = environment.template_from_str(template).map_err(|error| located(template, &error))?;
    if let Some(error) = findings_in(template, &compiled, &variables.names(), quote).into_iter().next() {
        return Err(error);
    }
    compiled.render(variables.context()).map_err(|error| located(template, &error))
}

/// The value of a template that is one expression and nothing else, such as `{{ params.limit }}`: a number stays a number, a map
/// a map. Any other template is its rendered text.
pub fn value(template: &str, variables: &Variables) -> Result<serde_json::Value, TemplateError> {
    let text = render(template, variables, Quote::None)?;
    let is_one_value = matches!(expression::pieces(template).as_slice(), [expression::Piece::Value(_)]);
    let inner = template.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let Some(inner) = inner.filter(|_| is_one_value) else { return Ok(text.into()) };
    let environment = environment(Quote::None);
    let inner = inner.trim_matches(|c: char| c.is_whitespace() || c == '-');
    let found = environment.compile_expression(inner).and_then(|expression| expression.eval(variables.context()));
    let found = found.map_err(|error| located(template, &error))?;
    Ok(serde_json::to_value(&found).unwrap_or_else(|_| text.into()))
}

/// The value with the templates in its texts rendered; a text that is one expression becomes that expression's value.
pub fn values(template: &serde_json::Value, variables: &Variables) -> Result<serde_json::Value, TemplateError> {
    use serde_json::Value;
    Ok(match template {
        Value::String(text) => value(text, variables)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| values(item, variables)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.clone(), values(value, variables)?)));
            Value::Object(fields.collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

/// The text as one word of a POSIX shell, whatever it contains. `None` for a NUL character, which no command can take.
#[must_use]
pub fn shell_word(text: &str) -> Option<String> {
    quote::single_quoted(text).ok()
}

/// Checks a template that stands in a file of its own, such as a task's SQL, without rendering it.
#[must_use]
pub fn check(file_name: &str, template: &str, flow: &Flow, project: &Project, quote: Quote) -> Vec<Diagnostic> {
    // Which tasks use the file is not asked: what is not upstream of them is an error when they run.
    let tasks = flow.tasks.iter().map(|task| task.name.clone()).collect();
    let names = Names::new(flow.schedule.is_some(), &flow.params, project).with_results(tasks);
    let names = match flow.tasks.iter().any(|task| task.for_each.is_some()) {
        true => names.with_item(ItemShape::Unknown),
        false => names,
    };
    let mut findings = Findings::new(file_name);
    for error in errors_in(template, &names, &flow.params, quote) {
        findings.add(Position { line: error.line, column: error.column }, error.message, error.remedy);
    }
    findings.into_vec()
}

/// The names that a template may use.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    interval: bool,
    params: Vec<String>,
    connections: Vec<String>,
    /// `None` where no secret may stand.
    secrets: Option<Vec<String>>,
    results: BTreeSet<String>,
    item: Option<ItemShape>,
}

impl Names {
    pub(crate) fn new(interval: bool, params: &BTreeMap<String, Param>, project: &Project) -> Self {
        let (params, connections) = (params.keys().cloned().collect(), project.connections.keys().cloned().collect());
        Self { interval, params, connections, secrets: None, results: BTreeSet::new(), item: None }
    }

    /// With the results of these tasks.
    pub(crate) fn with_results(mut self, results: BTreeSet<String>) -> Self {
        self.results = results;
        self
    }

    /// With the project's secrets: for a text in which they may stand.
    pub(crate) fn with_secrets(mut self, project: &Project) -> Self {
        self.secrets = Some(project.secrets.keys().cloned().collect());
        self
    }

    /// Message and remedy if the secret cannot be used.
    fn reject_secret(&self, member: Option<&str>) -> Option<(String, Option<String>)> {
        let (message, remedy) = match (&self.secrets, member) {
            (None, _) => {
                let remedy = "secrets may stand in shell, env and http of a task; hand them to other tasks by env";
                ("a secret cannot be used here".to_owned(), remedy.to_owned())
            }
            (Some(_), None) => ("secrets are used one by one".to_owned(), "write secrets.NAME".to_owned()),
            (Some(known), Some(member)) if !known.iter().any(|name| name == member) => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let declare = || format!("add `secrets: {{{member}: env:NAME}}` or `file:PATH` to mulgil.yaml");
                (format!("unknown secret {member}"), remedy_for(member, &known).unwrap_or_else(declare))
            }
            _ => return None,
        };
        Some((message, Some(remedy)))
    }

    /// In a task that goes over items.
    pub(crate) fn with_item(mut self, item: ItemShape) -> Self {
        self.item = Some(item);
        self
    }

    /// Message and remedy if the name, as `params.x` or `x`, is not among them.
    fn reject(&self, name: &str) -> Option<(String, Option<String>)> {
        let unknown = |what: &str, name: &str, known: &[String]| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let remedy = remedy_for(name, &known).or_else(|| Some(format!("there is no {what} yet; declare it")));
            Some((format!("unknown {what} {name}"), remedy))
        };
        let (root, rest) = name.split_once('.').map_or((name, None), |(root, rest)| (root, Some(rest)));
        let member = rest.map(|rest| rest.split('.').next().unwrap_or(rest));
        match (root, member) {
            ("params", Some(member)) if !self.params.iter().any(|p| p == member) => {
                unknown("parameter", member, &self.params)
            }
            ("connections", Some(member)) if !self.connections.iter().any(|c| c == member) => {
                unknown("connection", member, &self.connections)
            }
            ("secrets", member) => self.reject_secret(member),
            ("results", Some(member)) if !self.results.contains(member) => {
                let known: Vec<&str> = self.results.iter().map(String::as_str).collect();
                let remedy = remedy_for(member, &known)
                    .unwrap_or_else(|| "results are those of tasks that this one needs, directly or not".to_owned());
                Some((format!("there is no result of a task {member} upstream"), Some(remedy)))
            }
            ("item", member) => item::reject(self.item.as_ref(), member),
            ("params" | "connections" | "run_id" | "results", _) => None,
            (root, _) if FUNCTIONS.contains(&root) => None,
            (root, _) if INTERVAL_NAMES.contains(&root) => (!self.interval).then(|| {
                let remedy = "give the flow a schedule, or use a parameter".to_owned();
                (format!("{root} is unknown without a data interval"), Some(remedy))
            }),
            (root, _) => {
                let mut known = vec!["run_id", "params", "connections", "results"];
                known.extend(INTERVAL_NAMES.iter().filter(|_| self.interval));
                known.extend(self.item.as_ref().map(|_| "item"));
                Some((format!("unknown variable {root}"), remedy_for(root, &known)))
            }
        }
    }
}

/// Everything that is wrong with a template, as far as can be known before a run.
pub(crate) fn errors_in(
    template: &str,
    names: &Names,
    params: &BTreeMap<String, Param>,
    quote: Quote,
) -> Vec<TemplateError> {
    if !template.contains('{') {
        return Vec::new();
    }
    let compiled = match environment(quote).template_from_str(template) {
        Ok(compiled) => compiled,
        Err(error) => return vec![located(template, &error)],
    };
    let found = findings_in(template, &compiled, names, quote);
    if !found.is_empty() {
        return found;
    }
    // Unknown filters and functions show only when they are called. Other failures may be the samples' fault.
    match compiled.render(samples(names, params)) {
        Err(error) if is_about_names(error.kind()) => vec![located(template, &error)],
        _ => Vec::new(),
    }
}

fn is_about_names(kind: ErrorKind) -> bool {
    use ErrorKind::{TemplateNotFound, UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
    matches!(kind, UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest | TemplateNotFound)
}

/// The language, with values written in this way. Made once: it holds a map of every filter and function.
fn environment(quote: Quote) -> &'static Environment<'static> {
    static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(|| new_environment(Quote::None));
    static SHELL: LazyLock<Environment<'static>> = LazyLock::new(|| new_environment(Quote::Shell));
    match quote {
        Quote::None => &PLAIN,
        Quote::Shell => &SHELL,
    }
}

fn new_environment(quote: Quote) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_formatter(move |out, _, value| {
        let text = text_of(value)?;
        let invalid = |reason| Error::new(ErrorKind::InvalidOperation, reason);
        let text = if quote == Quote::Shell { quote::single_quoted(&text).map_err(invalid)? } else { text };
        out.write_str(&text).map_err(Error::from)
    });
    environment
}

/// A value as text: lists, maps and nothing as JSON has them, so that what a task gave can be read by the next.
fn text_of(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::None => serde_json::to_string(value).map_err(|error| {
            Error::new(ErrorKind::BadSerialization, "it cannot be written as JSON").with_source(error)
        }),
        _ => Ok(value.to_string()),
    }
}

fn findings_in(
    template: &str,
    compiled: &minijinja::Template<'_, '_>,
    names: &Names,
    quote: Quote,
) -> Vec<TemplateError> {
    let mut found = Vec::new();
    for name in compiled.undeclared_variables(true) {
        if let Some((message, remedy)) = names.reject(&name) {
            let Position { line, column } = expression::place_of_name(template, &name);
            found.push(TemplateError { line, column, message, remedy });
        }
    }
    if quote == Quote::Shell {
        found.extend(quote::misplaced(template));
    }
    found.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
    found
}

fn samples(names: &Names, params: &BTreeMap<String, Param>) -> Value {
    let sample = |param: &Param| match (&param.default, param.param_type) {
        (Some(default), _) => default.clone(),
        (None, ParamType::String) => "text".into(),
        (None, ParamType::Integer | ParamType::Number) => 1.into(),
        (None, ParamType::Boolean) => true.into(),
        (None, ParamType::Date) => "2013-01-01".into(),
    };
    let interval = DataInterval { start: jiff::Timestamp::UNIX_EPOCH, end: jiff::Timestamp::UNIX_EPOCH };
    let variables = Variables {
        interval: names.interval.then_some(interval),
        timezone: TimeZone::UTC,
        run_id: "flow/1970-01-01".to_owned(),
        params: params.iter().map(|(name, param)| (name.clone(), sample(param))).collect(),
        connections: names.connections.iter().map(|name| (name.clone(), "http://example".to_owned())).collect(),
        secrets: names.secrets.as_ref().map(|all| all.iter().map(|name| (name.clone(), "secret".to_owned())).collect()),
        results: names
            .results
            .iter()
            .map(|name| (name.clone(), serde_json::Value::Object(Default::default())))
            .collect(),
        item: names.item.as_ref().map(|_| serde_json::Value::Object(Default::default())),
    };
    variables.context()
}

fn located(template: &str, error: &Error) -> TemplateError {
    let by_range = error.range().and_then(|range| expression::place_of_byte(template, range.start));
    let line = u32::try_from(error.line().unwrap_or(1)).unwrap_or(1).max(1);
    let Position { line, column } = by_range.unwrap_or(Position { line, column: 1 });
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    TemplateError { line, column, message, remedy: None }
}

#[cfg(test)]
mod tests;
