//! Crontabs: one flow a line, with the environment that stands above it.

use std::collections::BTreeMap;

use mulgil_flow::Cron;
use serde_json::json;

use crate::draft::{Draft, Import};
use crate::shell::{quoted, verbatim};

/// Whose crontab it is: a system's has a column for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `crontab -l`.
    User,
    /// `/etc/crontab`, `/etc/cron.d/*`.
    System,
}

/// Imports a crontab.
#[must_use]
pub fn import(file: &str, text: &str, kind: Kind) -> Import {
    let mut import = Import::default();
    let mut environment = BTreeMap::new();
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((name, value)) = setting(line) {
            if name == "MAILTO" && !value.is_empty() {
                let mut draft = Draft::new(file, number, "settings");
                let why = "the output is in the task's log; to be told of failures, add on_failure";
                draft.missing(number, "MAILTO", why);
                import.findings.append(&mut draft.into_findings());
            }
            environment.insert(name, value);
            continue;
        }
        let mut draft = Draft::new(file, number, "");
        entry(&mut draft, number, line, kind, &environment);
        // Two lines may run the same program.
        let times = names.entry(draft.name.clone()).or_insert(0);
        *times += 1;
        if *times > 1 {
            draft.name = format!("{}_{times}", draft.name);
        }
        draft.finish(&mut import);
    }
    import
}

/// `NAME = value`, quoted or not.
fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let starts_well = !name.starts_with(|c: char| c.is_ascii_digit());
    let value = value.trim();
    let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    (is_name && starts_well).then(|| (name.to_owned(), bare.unwrap_or(value).to_owned()))
}

fn entry(draft: &mut Draft, line: u32, text: &str, kind: Kind, environment: &BTreeMap<String, String>) {
    let fields = if text.starts_with('@') { 1 } else { 5 };
    let (when, mut command) = split_fields(text, fields);
    let mut user = None;
    if kind == Kind::System {
        let (name, rest) = split_fields(command, 1);
        (user, command) = (Some(name), rest);
    }
    draft.name = crate::draft::name_of(&program_of(command));
    schedule(draft, line, &when, environment);
    if let Some(user) = user {
        let why = format!(
            "tasks run as the user of the server; where that is not {user}, write sudo -u {user} before the command"
        );
        draft.approximated(line, format!("user {user}"), why);
    }
    let (command, input) = percent_signs(command);
    let shell = environment.get("SHELL").filter(|shell| !matches!(shell.as_str(), "/bin/sh" | "sh" | "/bin/dash"));
    let command = match input {
        None => command,
        Some(input) => {
            let lines: Vec<String> = input.iter().map(|line| quoted(line)).collect();
            format!("printf '%s\\n' {} | {{ {command}; }}", lines.join(" "))
        }
    };
    let command = shell.map_or_else(|| command.clone(), |shell| format!("{shell} -c {}", quoted(&command)));
    let own = environment
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "SHELL" | "MAILTO" | "MAILFROM" | "CRON_TZ" | "TZ"));
    let env: BTreeMap<&String, String> = own.map(|(name, value)| (name, verbatim(value))).collect();
    draft.task("run", &[], json!({"shell": verbatim(&command), "env": env}));
    draft.imported(line, "command");
}

/// The first fields, and the rest behind them.
fn split_fields(text: &str, count: usize) -> (String, &str) {
    let mut rest = text.trim_start();
    let mut fields = Vec::new();
    for _ in 0..count {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        fields.push(rest.get(..end).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default().trim_start();
    }
    (fields.join(" "), rest)
}

fn schedule(draft: &mut Draft, line: u32, when: &str, environment: &BTreeMap<String, String>) {
    if when == "@reboot" {
        draft.missing(line, when, "nothing starts a flow at boot: let the system do it, by `mulgil flow run`");
        return;
    }
    if let Err(error) = Cron::parse(when) {
        draft.missing(line, format!("schedule {when}"), format!("{error}; write a schedule by hand"));
        return;
    }
    let mut schedule = json!({"cron": when, "catchup": "none"});
    let zone = environment.get("CRON_TZ").or_else(|| environment.get("TZ"));
    if let (Some(zone), Some(schedule)) = (zone, schedule.as_object_mut()) {
        schedule.insert("timezone".to_owned(), json!(zone));
    }
    draft.set("schedule", schedule);
    match zone {
        Some(_) => draft.imported(line, format!("schedule {when}")),
        None => {
            let why =
                "cron's zone is the machine's, a flow's is the project's: set timezone in mulgil.yaml if they differ";
            draft.approximated(line, format!("schedule {when}"), why);
        }
    }
}

/// The program that a command runs, for a name: `/usr/bin/env python3 /opt/jobs/load.py --all` is `load`.
fn program_of(command: &str) -> String {
    let skipped = [
        "cd", "env", "nice", "ionice", "flock", "sudo", "timeout", "sh", "bash", "python", "python3", "perl", "exec",
        "test",
    ];
    let stem = |word: &str| {
        let base = word.rsplit('/').next().unwrap_or(word);
        base.split('.').next().unwrap_or(base).to_owned()
    };
    let words = command.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|'));
    let mut after_cd = false;
    for word in words.filter(|word| !word.is_empty()) {
        let stem = stem(word);
        let is_option = word.starts_with('-') || word.contains('=') || word.starts_with(|c: char| c.is_ascii_digit());
        let is_skipped =
            std::mem::replace(&mut after_cd, stem == "cd") || is_option || skipped.contains(&stem.as_str());
        if !is_skipped && stem.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return stem;
        }
    }
    "job".to_owned()
}

/// In a crontab `%` ends the command and begins its input, each further one a new line; `\%` is a percent sign.
fn percent_signs(command: &str) -> (String, Option<Vec<String>>) {
    let mut parts = vec![String::new()];
    let mut letters = command.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '\\' if letters.peek() == Some(&'%') => parts.last_mut().into_iter().for_each(|part| part.push('%')),
            '%' => {
                parts.push(String::new());
                continue;
            }
            c => parts.last_mut().into_iter().for_each(|part| part.push(c)),
        }
        if c == '\\' && letters.peek() == Some(&'%') {
            letters.next();
        }
    }
    let command = parts.remove(0);
    (command, (!parts.is_empty()).then_some(parts))
}
