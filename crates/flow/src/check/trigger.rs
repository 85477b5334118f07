//! The rules of what starts a run from outside.

use std::collections::BTreeMap;

use crate::findings::{Findings, Position};
use crate::raw::{RawTrigger, RawWebhook};
use crate::read::Text;
use crate::{FileTrigger, Param, ParamType, Project, Triggers, Webhook};

/// What is known of the flow.
pub(super) struct Surroundings<'a> {
    pub(super) project: &'a Project,
    pub(super) params: &'a BTreeMap<String, Param>,
    pub(super) has_schedule: bool,
}

impl Surroundings<'_> {
    /// What starts the flow's runs.
    pub(super) fn triggers(&self, raw: Vec<RawTrigger>, findings: &mut Findings) -> Triggers {
        let mut triggers = Triggers::default();
        if let Some(first) = raw.first().filter(|_| self.has_schedule) {
            let remedy =
                "make it a flow of its own: a run that something outside starts is about no interval".to_owned();
            findings.add(first.at, "a flow with a schedule has no triggers", Some(remedy));
        }
        for raw in raw {
            match (raw.file, raw.webhook) {
                (Some(pattern), None) => triggers.files.extend(self.file(pattern, raw.param, findings)),
                (None, Some(webhook)) => {
                    let (at, webhook) = (webhook.at, self.webhook(webhook, findings));
                    if let Some(param) = raw.param {
                        let remedy = "say under params: of the webhook where in the body each parameter is".to_owned();
                        findings.add(param.at, "param is for file", Some(remedy));
                    }
                    if triggers.webhook.is_some() {
                        findings.add(at, "a flow has one webhook", Some("keep one of them".to_owned()));
                    }
                    triggers.webhook = webhook.or(triggers.webhook);
                }
                _ if raw.broken => {}
                _ => findings.add(raw.at, "a trigger is a file or a webhook", Some("keep one of them".to_owned())),
            }
        }
        triggers
    }

    fn file(&self, pattern: Text, param: Option<Text>, findings: &mut Findings) -> Option<FileTrigger> {
        let at = pattern.at;
        if let Err(error) = glob::Pattern::new(&pattern.value) {
            findings.add(
                at,
                format!("{:?} is no pattern: {error}", pattern.value),
                Some("write landing/*.csv".to_owned()),
            );
            return None;
        }
        if pattern.value.contains("{{") {
            let remedy = "write * where names differ".to_owned();
            findings.add(
                at,
                "the pattern of a trigger is no template: it is looked at before there is a run",
                Some(remedy),
            );
        }
        let (param, place) = param.map_or_else(|| (FileTrigger::PARAM.to_owned(), at), |text| (text.value, text.at));
        self.takes_a_path(&param, place, findings);
        for name in self.params.iter().filter(|(_, other)| other.default.is_none()).map(|(name, _)| name) {
            if *name != param {
                let remedy = "give it a default".to_owned();
                findings.add(
                    at,
                    format!("a file gives no value to the parameter {name}, which has no default"),
                    Some(remedy),
                );
            }
        }
        Some(FileTrigger { pattern: pattern.value, param })
    }

    fn takes_a_path(&self, param: &str, at: Position, findings: &mut Findings) {
        match self.params.get(param) {
            Some(found) if found.param_type == ParamType::String => {}
            Some(found) => {
                let message =
                    format!("parameter {param} is of type {}, and a file's path is a text", found.param_type.word());
                findings.add(at, message, Some(format!("declare {param}: {{type: string}}")));
            }
            None => {
                let remedy = format!("add params: {{{param}: {{type: string}}}}, or name another one with param:");
                findings.add(at, format!("the flow has no parameter {param} to take the file's path"), Some(remedy));
            }
        }
    }

    fn webhook(&self, raw: RawWebhook, findings: &mut Findings) -> Option<Webhook> {
        let mut params = BTreeMap::new();
        for (name, path) in raw.params.unwrap_or_default().0 {
            if !self.params.contains_key(&name.text) {
                findings.unknown(name.at, "parameter", &name.text, self.params.keys().map(String::as_str));
            }
            if path.value.split('.').any(str::is_empty) {
                let remedy = "write names with dots between them, such as repository.full_name".to_owned();
                findings.add(path.at, format!("{:?} is no place in a body", path.value), Some(remedy));
            }
            params.insert(name.text, path.value);
        }
        let Some(secret) = raw.secret else {
            if !raw.broken {
                let remedy = "add secret: NAME, and to mulgil.yaml secrets: {NAME: env:NAME}".to_owned();
                findings.add(raw.at, "a webhook without a secret would let anybody start runs", Some(remedy));
            }
            return None;
        };
        if !self.project.secrets.contains_key(&secret.value) {
            let remedy = format!("add `secrets: {{{}: env:NAME}}` or `file:PATH` to mulgil.yaml", secret.value);
            findings.add(secret.at, format!("unknown secret {}", secret.value), Some(remedy));
        }
        Some(Webhook { secret: secret.value, params })
    }
}
