//! The rules of the project file.

use std::sync::Arc;

use super::calendar::calendar;
use super::notify::{channels, lineage};
use super::value::{at_once, check_name, duration, zone};
use crate::findings::Findings;
use crate::raw::{RawProject, RawRetention, RawSqlPort};
use crate::read::{FromNode, Text};
use crate::{Diagnostic, Project, Retention, SecretSource, SqlListen, SqlPortSettings, yaml};

impl Project {
    /// Checks the text of a project file and returns the project, or everything that is wrong with it.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        match Self::read(file_name, text) {
            (Some(project), found) if found.is_empty() => Ok(project),
            (_, found) => Err(found),
        }
    }

    /// What is whole of a project file, and everything that is wrong with it; nothing is whole of one that is no YAML.
    pub fn read(file_name: &str, text: &str) -> (Option<Self>, Vec<Diagnostic>) {
        let mut findings = Findings::new(file_name);
        let raw = yaml::parse(text, &mut findings).and_then(|root| RawProject::from_node(&root, &mut findings));
        let project = raw.map(|raw| checked(raw, &mut findings));
        (project, findings.into_vec())
    }
}

/// What flows name that only the project file declares.
const DECLARED: [&str; 5] =
    ["unknown calendar ", "unknown pool ", "unknown secret ", "unknown connection ", "unknown channel "];

/// Where a project file has mistakes, what a flow misses of it may be that: then the mistake is told instead of a remedy.
#[must_use]
pub fn blamed(found: Vec<Diagnostic>, mistakes: &[Diagnostic]) -> Vec<Diagnostic> {
    let Some(mistake) = mistakes.first() else { return found };
    let blame = |one: Diagnostic| match DECLARED.iter().any(|unknown| one.message.starts_with(unknown)) {
        false => one,
        true => {
            let Diagnostic { file, line, column, message, .. } = mistake;
            let name = one.message.strip_prefix("unknown ").unwrap_or(&one.message);
            let message = format!("{name} is not known while {file} has a mistake: {line}:{column}: {message}");
            let remedy = Some(format!("mend {file} first"));
            Diagnostic { message, remedy, ..one }
        }
    };
    found.into_iter().map(blame).collect()
}

fn checked(raw: RawProject, findings: &mut Findings) -> Project {
    let mut project = Project::default();
    let or = |text: Option<Text>, default: String| text.map_or(default, |text| text.value);
    project.name = raw.name.map(|name| name.value);
    project.lake = or(raw.lake, project.lake);
    project.log = or(raw.log, project.log);
    project.history = or(raw.history, project.history);
    project.checkpoints = or(raw.checkpoints, project.checkpoints);
    project.python = or(raw.python, project.python);
    project.state_memory = raw.state_memory.map(|size| size.value);
    if let Some(raw) = raw.sql {
        project.sql = sql_port(raw, findings);
    }
    if let Some(zone) = raw.timezone.and_then(|text| zone(&text, findings)) {
        project.timezone = zone;
    }
    project.url = raw.url.map(|url| public_url(url, findings));
    project.retention = retention(raw.retention.unwrap_or_default(), findings);
    project.lineage = raw.lineage.and_then(|raw| lineage(raw, findings));
    project.notify = channels(raw.notify.unwrap_or_default(), findings);
    for (name, slots) in raw.pools.unwrap_or_default().0 {
        if slots.value == 0 {
            let remedy = "give it at least one".to_owned();
            findings.add(slots.at, format!("pool {} has no slots, so its tasks never run", name.text), Some(remedy));
        }
        project.pools.insert(name.text, slots.value);
    }
    for (name, text) in raw.secrets.unwrap_or_default().0 {
        check_name(&name.text, name.at, "secret", findings);
        if name.text.contains('-') {
            let remedy = "templates read it as secrets.NAME: use _".to_owned();
            findings.add(name.at, format!("{:?} cannot be a name of a secret", name.text), Some(remedy));
        }
        match SecretSource::parse(&text.value) {
            Some(source) => drop(project.secrets.insert(name.text, source)),
            // What was written may be the secret itself: it is not repeated.
            None => {
                let remedy = "write env:NAME or file:PATH: a secret is referred to, never written down".to_owned();
                findings.add(text.at, format!("secret {} does not say where it is", name.text), Some(remedy));
            }
        }
    }
    for (name, raw) in raw.calendars.unwrap_or_default().0 {
        let calendar = calendar(&name, raw, findings);
        project.calendars.insert(name.text, Arc::new(calendar));
    }
    for (name, url) in raw.connections.unwrap_or_default().0 {
        project.connections.insert(name.text, url.value);
    }
    project
}

fn retention(raw: RawRetention, findings: &mut Findings) -> Retention {
    let default = Retention::default();
    let mut kept = |text: Option<Text>, default| match text {
        None => default,
        Some(text) if text.value == "forever" => None,
        Some(text) => duration(&text, "retention", findings),
    };
    Retention {
        runs: kept(raw.runs, default.runs),
        logs: kept(raw.logs, default.logs),
        notices: kept(raw.notices, default.notices),
    }
}

/// Where people reach the server, without a slash at the end.
fn public_url(url: Text, findings: &mut Findings) -> String {
    if !["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme)) {
        let remedy = "write https://HOST".to_owned();
        findings.add(url.at, format!("{:?} is no address of a server", url.value), Some(remedy));
    }
    url.value.trim_end_matches('/').to_owned()
}

fn sql_port(raw: RawSqlPort, findings: &mut Findings) -> SqlPortSettings {
    let mut settings = SqlPortSettings::default();
    if let Some(text) = raw.listen {
        match SqlListen::parse(&text.value) {
            Some(listen) => settings.listen = listen,
            None => {
                let remedy = "write an address such as 127.0.0.1:7432, or off".to_owned();
                findings.add(text.at, format!("{:?} is no address for the SQL port", text.value), Some(remedy));
            }
        }
    }
    match (raw.certificate, raw.key) {
        (Some(certificate), Some(key)) => settings.tls = Some((certificate.value, key.value)),
        (Some(one), None) | (None, Some(one)) => {
            let remedy = "write both, certificate and key".to_owned();
            findings.add(one.at, "a certificate and its key belong together", Some(remedy));
        }
        (None, None) => {}
    }
    settings.connections = raw.connections.map(|number| at_once(number, "nobody could ever connect", findings));
    settings.timeout = raw.timeout.and_then(|text| duration(&text, "the time-out of statements", findings));
    settings.memory = raw.memory.map(|size| size.value);
    settings
}
