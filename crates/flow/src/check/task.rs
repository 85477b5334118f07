//! The rules of tasks, one by one and among each other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::flow::{check_condition, check_template};
use super::retries::retries;
use super::tags::tags;
use super::target::{RawWriting, copied};
use super::value::{at_once, check_name, duration, size};
use super::{call, view};
use crate::findings::{Findings, Position};
use crate::raw::{RawTask, ResultWord};
use crate::read::{Entries, Located, OneOrMany, Text};
use crate::template::Names;
use crate::yaml::Key;
use crate::{
    HttpTask, Param, Project, Quote, Retries, SqlResult, SqlText, Task, TaskKind, TriggerRule, Write, WriteTarget,
};
use std::borrow::Cow;

/// What the flow says for tasks that say nothing.
pub(super) struct Defaults {
    pub(super) retries: Retries,
    pub(super) timeout: Option<SignedDuration>,
    pub(super) pool: Option<String>,
    pub(super) tags: Vec<String>,
}

/// Checks the tasks of one flow.
pub(super) struct Tasks<'a> {
    pub(super) project: &'a Project,
    pub(super) names: &'a Names,
    pub(super) params: &'a BTreeMap<String, Param>,
    pub(super) defaults: &'a Defaults,
}

impl Tasks<'_> {
    /// The tasks in running order.
    pub(super) fn checked(&self, raw: Entries<RawTask>, findings: &mut Findings) -> Vec<Task> {
        let names: BTreeSet<String> = raw.0.iter().map(|(key, _)| key.text.clone()).collect();
        let groups = groups_of(&raw, &names, findings);
        let upstream = Upstream::of(&raw, &groups);
        let mut tasks = Vec::new();
        let mut needs_at = BTreeMap::new();
        for (key, mut task) in raw.0 {
            let needs = task.needs.take().unwrap_or(OneOrMany(Vec::new())).0;
            let needs = with_members(&key, needs, &groups, findings);
            for need in &needs {
                if !names.contains(&need.value) {
                    let known = names.iter().chain(groups.keys()).map(String::as_str);
                    findings.unknown(need.at, "task", &need.value, known);
                }
                needs_at.insert((key.text.clone(), need.value.clone()), need.at);
            }
            let own = self.names_of(&key, &task, &upstream);
            tasks.push(self.with(&own).task(key, needs, task, findings));
        }
        in_running_order(tasks, &needs_at, findings)
    }

    /// The names that a task's templates may use: the flow's, and the results of what is upstream of it.
    fn names_of(&self, key: &Key, raw: &RawTask, upstream: &Upstream) -> Cow<'_, Names> {
        let texts = [&raw.shell, &raw.sql, &raw.when].into_iter().flatten();
        let values = [&raw.env, &raw.partition].into_iter().flatten().flat_map(|entries| &entries.0);
        let mut texts = texts.chain(values.map(|(_, text)| text));
        // Most tasks read no result, and what is upstream of a task may be thousands.
        let anywhere = raw.python.is_some() || raw.http.is_some() || raw.wait.is_some() || raw.for_each.is_some();
        let anywhere = anywhere || raw.params.is_some();
        match anywhere || texts.any(|text| text.value.contains("results")) {
            true => Cow::Owned(self.names.clone().with_results(upstream.tasks(&key.text))),
            false => Cow::Borrowed(self.names),
        }
    }

    /// The names for a text in which secrets may stand.
    pub(super) fn names_with_secrets(&self, text: &str) -> Cow<'_, Names> {
        match text.contains("secrets") {
            true => Cow::Owned(self.names.clone().with_secrets(self.project)),
            false => Cow::Borrowed(self.names),
        }
    }

    pub(super) fn with<'a>(&'a self, names: &'a Names) -> Tasks<'a> {
        Tasks { project: self.project, names, params: self.params, defaults: self.defaults }
    }

    fn task(&self, key: Key, needs: Vec<Text>, mut raw: RawTask, findings: &mut Findings) -> Task {
        check_name(&key.text, key.at, "task", findings);
        call::check_keys(&key, &raw, findings);
        view::check_keys(&key, &raw, findings);
        let idempotent = raw.idempotent.take().map_or_else(|| is_idempotent(&raw), |idempotent| idempotent.value);
        let own_retries = raw.retries.take().map(|raw| retries(raw, findings));
        let timeout = raw.timeout.take().and_then(|text| duration(&text, "timeout", findings));
        let memory = raw.memory.take().and_then(|text| memory(&key, &text, &raw, findings));
        let raw_priority = raw.priority.take().map_or(0, |priority| priority.value);
        let concurrency = raw.concurrency.take().map(|number| concurrency(number, &raw, findings));
        let group = raw.group.take().map(|group| group.value);
        let pool_name = raw.pool.take().map(|text| pool(text, self.project, findings));
        let trigger_rule = rule(&key, raw.trigger_rule.take(), &needs, findings);
        let when = raw.when.take().map(|text| {
            check_condition(&text, self.names, self.params, findings);
            text.value
        });
        let for_each = raw.for_each.take().map(|raw| self.for_each(&key, raw, findings));
        // The item is known in what the task does, not in whether it does it.
        let with_item = for_each.as_ref().map(|each| self.names.clone().with_item(each.shape()));
        let inner = self.with(with_item.as_ref().unwrap_or(self.names));
        let tags = raw.tags.take().map(|raw| tags(raw, findings));
        let mut env = BTreeMap::new();
        for (name, text) in raw.env.take().unwrap_or_default().0 {
            if raw.shell.is_none() && raw.python.is_none() {
                let remedy = "only shell and python tasks have an environment".to_owned();
                findings.add(name.at, format!("task {} takes no env", key.text), Some(remedy));
            }
            check_template(&text, &inner.names_with_secrets(&text.value), self.params, Quote::None, findings);
            env.insert(name.text, text.value);
        }
        let kind = inner.kind(&key, raw, findings);
        let holds_none = kind.is_slotless() || kind.is_call();
        if holds_none && for_each.as_ref().is_some_and(|each| each.group.is_some()) {
            let remedy = format!("leave group out: a {} task holds no slot", kind.word());
            findings.add(key.at, format!("the items of task {} cannot be grouped", key.text), Some(remedy));
        }
        let tags = tags.unwrap_or_else(|| self.defaults.tags.clone());
        let mut unique_needs = Vec::new();
        for need in needs {
            if !unique_needs.contains(&need.value) {
                unique_needs.push(need.value);
            }
        }
        let retries_ignored = !idempotent && own_retries.as_ref().is_some_and(|retries| retries.limit > 0);
        // What a run does again, its own tasks say.
        let of_flow = || if kind.is_call() { Retries::NONE } else { self.defaults.retries.clone() };
        let asked = own_retries.unwrap_or_else(of_flow);
        Task {
            name: key.text,
            needs: unique_needs,
            trigger_rule,
            when,
            for_each,
            kind,
            idempotent,
            retries: if idempotent { asked } else { Retries::NONE },
            timeout: timeout.or(self.defaults.timeout),
            memory,
            pool: pool_name.or_else(|| self.defaults.pool.clone()).unwrap_or_else(|| Project::DEFAULT_POOL.to_owned()),
            priority: raw_priority,
            concurrency,
            group,
            tags,
            env,
            line: key.at.line,
            column: key.at.column,
            retries_ignored,
        }
    }

    fn kind(&self, key: &Key, mut raw: RawTask, findings: &mut Findings) -> TaskKind {
        let result = sql_result(key, &raw, findings);
        let how = RawWriting { write: raw.write.take(), partition: raw.partition.take(), key: raw.key.take() };
        let words = kinds_of(&raw);
        if words.len() != 1 {
            if !raw.broken {
                let (message, remedy) = match words.as_slice() {
                    [] => (format!("task {} does nothing", key.text), format!("give it one of {}", KINDS.join(", "))),
                    several => {
                        (format!("task {} has {}", key.text, several.join(" and ")), "make it one task each".to_owned())
                    }
                };
                findings.add(key.at, message, Some(remedy));
            }
            return TaskKind::Shell { command: String::new() };
        }
        if !matches!(words.as_slice(), ["sql" | "transfer"]) {
            if let Some(to) = &raw.to {
                let remedy = Some("leave it out, or use sql".to_owned());
                findings.add(to.at, format!("a {} task has no to", words.join("")), remedy);
            } else {
                self.target(key, None, how, findings);
            }
            return self.own_kind(key, raw, findings);
        }
        if let Some(text) = raw.sql {
            let sql = self.sql(text, findings);
            return TaskKind::Sql { sql, target: self.target(key, raw.to, how, findings), result };
        }
        if let Some(to) = &raw.to {
            findings.add(to.at, "a transfer has its to inside", Some("write transfer: {from, to}".to_owned()));
        }
        let transfer = raw.transfer.unwrap_or_default();
        if !transfer.broken && (transfer.from.is_none() || transfer.to.is_none()) {
            let remedy = "write transfer: {from: TABLE, to: TABLE}".to_owned();
            findings.add(transfer.at, "a transfer needs from and to", Some(remedy));
        }
        let rows = copied(transfer.rows, transfer.by, findings);
        let from = transfer.from.map(|text| text.value).unwrap_or_default();
        let nowhere = WriteTarget { table: String::new(), write: Write::ReplaceTable };
        let written = self.target(key, transfer.to, how, findings);
        TaskKind::Transfer { from, rows, target: written.unwrap_or(nowhere) }
    }

    /// What a task does that writes no table.
    fn own_kind(&self, key: &Key, raw: RawTask, findings: &mut Findings) -> TaskKind {
        if let Some(command) = raw.shell {
            check_template(&command, &self.names_with_secrets(&command.value), self.params, Quote::Shell, findings);
            return TaskKind::Shell { command: command.value };
        }
        if let Some(python) = raw.python {
            return TaskKind::Python(self.python(key, python, findings));
        }
        if let Some(http) = raw.http {
            return TaskKind::Http(self.http(key, http, raw.result, findings));
        }
        if let Some(flow) = raw.flow {
            return TaskKind::Flow(self.call(flow, raw.params, raw.rerun_on, findings));
        }
        if let Some(view) = raw.view {
            return TaskKind::View(self.view(key, view, findings));
        }
        if let Some(wait) = raw.wait {
            return TaskKind::Wait(self.wait(key, wait, findings));
        }
        TaskKind::Shell { command: String::new() }
    }

    pub(super) fn sql(&self, text: Text, findings: &mut Findings) -> SqlText {
        if text.value.contains(char::is_whitespace) {
            check_template(&text, self.names, self.params, Quote::None, findings);
            return SqlText::Inline(text.value);
        }
        let leaves_project = text.value.starts_with('/') || text.value.split('/').any(|part| part == "..");
        if leaves_project || !text.value.ends_with(".sql") {
            let remedy = "write the path of a .sql file inside the project's folder, or the SQL itself".to_owned();
            findings.add(text.at, format!("{:?} is no SQL file of the project", text.value), Some(remedy));
        }
        SqlText::File(text.value)
    }
}

/// The tasks of each group. A group must not have a task's name: `needs` could mean either.
fn groups_of(
    raw: &Entries<RawTask>,
    names: &BTreeSet<String>,
    findings: &mut Findings,
) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, task) in &raw.0 {
        let Some(group) = &task.group else { continue };
        check_name(&group.value, group.at, "group", findings);
        if names.contains(&group.value) {
            let message = format!("group {} has the name of a task", group.value);
            findings.add(group.at, message, Some("give the group a name of its own".to_owned()));
        }
        groups.entry(group.value.clone()).or_default().push(key.text.clone());
    }
    groups
}

/// Needs with the tasks of a group in place of the group.
fn with_members(
    key: &Key,
    needs: Vec<Text>,
    groups: &BTreeMap<String, Vec<String>>,
    findings: &mut Findings,
) -> Vec<Text> {
    let mut tasks = Vec::new();
    for need in needs {
        match groups.get(&need.value) {
            Some(members) if members.contains(&key.text) => {
                let remedy = "name the tasks of the group that it needs".to_owned();
                findings.add(need.at, format!("task {} needs the group that it is in", key.text), Some(remedy));
            }
            Some(members) => tasks.extend(members.iter().map(|name| Text { value: name.clone(), ..need.clone() })),
            None => tasks.push(need),
        }
    }
    tasks
}

/// Whether a task that says nothing about it may run twice: all but requests that are meant to change something.
fn is_idempotent(raw: &RawTask) -> bool {
    let method = raw.http.as_ref().and_then(|http| http.method.as_ref());
    method.is_none_or(|method| HttpTask::is_idempotent(&method.value.to_ascii_uppercase()))
}

/// What a task can be.
const KINDS: [&str; 8] = ["shell", "python", "sql", "transfer", "http", "flow", "view", "wait"];

/// What a task is: one of [`KINDS`], unless something is wrong.
fn kinds_of(raw: &RawTask) -> Vec<&'static str> {
    let there = [
        raw.shell.is_some(),
        raw.python.is_some(),
        raw.sql.is_some(),
        raw.transfer.is_some(),
        raw.http.is_some(),
        raw.flow.is_some(),
        raw.view.is_some(),
        raw.wait.is_some(),
    ];
    KINDS.into_iter().zip(there).filter(|(_, there)| *there).map(|(word, _)| word).collect()
}

/// Which rows become the result: only those of an sql task that go nowhere else.
fn sql_result(key: &Key, raw: &RawTask, findings: &mut Findings) -> Option<SqlResult> {
    let result = raw.result.as_ref().filter(|_| raw.http.is_none())?;
    if raw.sql.is_none() && !raw.broken {
        let remedy = "a shell task writes its result to the file $MULGIL_RESULT".to_owned();
        findings.add(result.at, format!("task {} has no query, so it has no such result", key.text), Some(remedy));
    } else if raw.to.is_some() {
        let message = format!("the rows of task {} go to a table, so they are no result", key.text);
        findings.add(result.at, message, Some("leave out to or result".to_owned()));
    }
    match result.value {
        ResultWord::Row => Some(SqlResult::Row),
        ResultWord::Rows => Some(SqlResult::Rows),
        ResultWord::Json | ResultWord::Body => {
            findings.add(result.at, "a query's result are rows", Some("write result: row, or result: rows".to_owned()));
            None
        }
    }
}

/// Who needs whom, as the file says it.
struct Upstream(BTreeMap<String, Vec<String>>);

impl Upstream {
    fn of(raw: &Entries<RawTask>, groups: &BTreeMap<String, Vec<String>>) -> Self {
        let members = |need: &Text| groups.get(&need.value).cloned().unwrap_or_else(|| vec![need.value.clone()]);
        let needs = |task: &RawTask| task.needs.iter().flat_map(|needs| &needs.0).flat_map(members).collect();
        Self(raw.0.iter().map(|(key, task)| (key.text.clone(), needs(task))).collect())
    }

    /// Everything that a task needs, directly or not.
    fn tasks(&self, task: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut todo = vec![task];
        while let Some(next) = todo.pop() {
            for need in self.0.get(next).into_iter().flatten() {
                if self.0.contains_key(need) && reached.insert(need.clone()) {
                    todo.push(need);
                }
            }
        }
        reached
    }
}

/// What the task makes of how its needs have ended. A task that needs nothing has nothing to judge by.
fn rule(key: &Key, rule: Option<Located<TriggerRule>>, needs: &[Text], findings: &mut Findings) -> TriggerRule {
    let Some(rule) = rule else { return TriggerRule::default() };
    if needs.is_empty() && rule.value != TriggerRule::default() {
        let message = format!("task {} has a trigger_rule but needs nothing", key.text);
        findings.add(rule.at, message, Some("add needs, or leave the rule out".to_owned()));
    }
    rule.value
}

/// A pool of the project.
pub(super) fn pool(text: Text, project: &Project, findings: &mut Findings) -> String {
    if !project.pools.contains_key(&text.value) {
        findings.unknown(text.at, "pool", &text.value, project.pools.keys().map(String::as_str));
    }
    text.value
}

/// Sorts tasks so that each stands after what it needs, keeping the file's order otherwise. A cycle is a finding.
fn in_running_order(
    tasks: Vec<Task>,
    needs_at: &BTreeMap<(String, String), Position>,
    findings: &mut Findings,
) -> Vec<Task> {
    let numbers: BTreeMap<&str, usize> = tasks.iter().enumerate().map(|(n, task)| (task.name.as_str(), n)).collect();
    // By number: how many needs are still to come. A need that does not exist has its own finding and holds nothing back.
    let mut missing = BTreeMap::new();
    let mut needed_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, task) in tasks.iter().enumerate() {
        let needs: Vec<usize> = task.needs.iter().filter_map(|need| numbers.get(need.as_str()).copied()).collect();
        missing.insert(number, needs.len());
        needs.iter().for_each(|need| needed_by.entry(*need).or_default().push(number));
    }
    let mut ready: BTreeSet<usize> = missing.iter().filter(|(_, missing)| **missing == 0).map(|(n, _)| *n).collect();
    let mut order = Vec::new();
    while let Some(number) = ready.pop_first() {
        order.push(number);
        for dependent in needed_by.get(&number).into_iter().flatten() {
            if let Some(missing) = missing.get_mut(dependent) {
                *missing -= 1;
                if *missing == 0 {
                    ready.insert(*dependent);
                }
            }
        }
    }
    let mut waiting: BTreeMap<usize, Task> = tasks.into_iter().enumerate().collect();
    let mut ordered: Vec<Task> = order.iter().filter_map(|number| waiting.remove(number)).collect();
    report_cycle(&waiting.values().collect::<Vec<_>>(), needs_at, findings);
    ordered.extend(waiting.into_values());
    ordered
}

fn report_cycle(waiting: &[&Task], needs_at: &BTreeMap<(String, String), Position>, findings: &mut Findings) {
    let cycle = cycle_in(waiting);
    let (Some(first), Some(last)) = (cycle.first(), cycle.last()) else { return };
    let at = needs_at.get(&((*last).to_owned(), (*first).to_owned())).copied().unwrap_or_default();
    let (message, remedy) = match cycle.as_slice() {
        [only] => (format!("task {only} needs itself"), "take this need away"),
        names => {
            let circle = names.join(" -> ");
            (format!("tasks need each other in a circle: {circle} -> {first}"), "take one of these needs away")
        }
    };
    findings.add(at, message, Some(remedy.to_owned()));
}

/// A cycle among tasks that nothing outside holds back: each name in it needs the next, and the last the first. Empty if
/// there are no tasks.
fn cycle_in<'a>(waiting: &[&'a Task]) -> Vec<&'a str> {
    let by_name: BTreeMap<&str, &&Task> = waiting.iter().map(|task| (task.name.as_str(), task)).collect();
    let mut path: Vec<&str> = Vec::new();
    let mut passed = BTreeSet::new();
    let mut current = waiting.first();
    while let Some(task) = current {
        if !passed.insert(task.name.as_str()) {
            return path.into_iter().skip_while(|name| *name != task.name).collect();
        }
        path.push(&task.name);
        current = task.needs.iter().find_map(|need| by_name.get(need.as_str()).copied());
    }
    Vec::new()
}

/// How much memory the processes of a task may have. One that runs inside the worker has none of its own.
fn memory(key: &Key, text: &Text, raw: &RawTask, findings: &mut Findings) -> Option<u64> {
    if raw.shell.is_none() && raw.python.is_none() && !raw.broken {
        let remedy = "only shell and python tasks are processes of their own".to_owned();
        findings.add(text.at, format!("task {} takes no memory", key.text), Some(remedy));
    }
    size(text, "memory", findings)
}

/// How many attempts of a task may run at once. One that only waits while it runs has no slot to limit.
fn concurrency(number: Located<u32>, raw: &RawTask, findings: &mut Findings) -> u32 {
    if raw.wait.is_some() {
        let remedy = "leave it out: it holds no slot while it waits, so any number may".to_owned();
        findings.add(number.at, "a wait task takes no concurrency", Some(remedy));
    }
    at_once(number, "concurrency 0 lets no attempt start", findings)
}
