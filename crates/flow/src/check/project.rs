//! The rules of the project file.

use std::sync::Arc;

use super::calendar::calendar;
use super::value::{check_name, zone};
use crate::findings::Findings;
use crate::raw::RawProject;
use crate::read::{FromNode, Text};
use crate::{Diagnostic, Project, SecretSource, yaml};

impl Project {
    /// Checks the text of a project file and returns the project, or everything that is wrong with it.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::new(file_name);
        let raw = yaml::parse(text, &mut findings).and_then(|root| RawProject::from_node(&root, &mut findings));
        let project = raw.map(|raw| checked(raw, &mut findings));
        findings.finish(project)
    }
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
    if let Some(zone) = raw.timezone.and_then(|text| zone(&text, findings)) {
        project.timezone = zone;
    }
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
