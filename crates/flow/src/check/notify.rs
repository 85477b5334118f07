//! The rules of channels, and of whom a flow tells.

use std::collections::BTreeMap;

use super::flow::check_template;
use super::value::check_name;
use crate::findings::Findings;
use crate::raw::{RawChannel, RawFlow, RawLineage, RawMail, RawReceiver, RawReceivers};
use crate::read::{Entries, Located, Text};
use crate::template::Names;
use crate::{
    Channel, ChannelKind, Lineage, Mail, MailTls, Notification, Occasion, Param, Project, Quote, SecretSource, Told,
};

/// Of what a channel tells that says nothing.
const ON_DEFAULT: [Occasion; 3] = [Occasion::Failure, Occasion::Deadline, Occasion::Slow];

/// The port on which mail servers speak TLS from the first byte on.
const SMTPS_PORT: &str = ":465";

/// The project's channels.
pub(super) fn channels(raw: Entries<RawChannel>, findings: &mut Findings) -> BTreeMap<String, Channel> {
    let mut channels = BTreeMap::new();
    for (name, raw) in raw.0 {
        check_name(&name.text, name.at, "channel", findings);
        let broken = raw.broken;
        let on = raw.on.map_or_else(|| ON_DEFAULT.to_vec(), |on| on.0.into_iter().map(|found| found.value).collect());
        let kind = match (raw.webhook, raw.slack, raw.email) {
            (Some(url), None, None) => ChannelKind::Webhook { url: checked_url(url, findings) },
            (None, Some(url), None) => ChannelKind::Slack { url: checked_url(url, findings) },
            (None, None, Some(mail)) => match checked_mail(mail, findings) {
                Some(mail) => ChannelKind::Mail(mail),
                None => continue,
            },
            _ => {
                if !broken {
                    let remedy = "give it one of webhook, slack or email".to_owned();
                    findings.add(name.at, format!("channel {} leads to no one place", name.text), Some(remedy));
                }
                continue;
            }
        };
        channels.insert(name.text, Channel { kind, on });
    }
    channels
}

/// Who hears of lineage.
pub(super) fn lineage(raw: RawLineage, findings: &mut Findings) -> Option<Lineage> {
    let Some(url) = raw.url else {
        if !raw.broken {
            findings.add(raw.at, "lineage goes nowhere", Some("add url: https://HOST/api/v1/lineage".to_owned()));
        }
        return None;
    };
    if let Some(token) = raw.token.as_ref().filter(|token| !is_reference(&token.value)) {
        // Not repeated here: it may be the token.
        let remedy = "write env:NAME or file:PATH".to_owned();
        findings.add(token.at, "a token does not stand in this file", Some(remedy));
    }
    let (token, namespace) = (raw.token.map(|text| text.value), raw.namespace.map(|text| text.value));
    Some(Lineage { url: checked_url(url, findings), token, namespace })
}

/// Whether a text says where a secret is, rather than being it.
fn is_reference(text: &str) -> bool {
    SecretSource::parse(text).is_some()
}

fn checked_url(url: Text, findings: &mut Findings) -> String {
    let is_url = ["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme));
    if !is_url && !is_reference(&url.value) {
        let remedy = "write https://..., env:NAME or file:PATH".to_owned();
        findings.add(url.at, format!("{:?} is no address of a webhook", url.value), Some(remedy));
    }
    url.value
}

fn checked_mail(raw: RawMail, findings: &mut Findings) -> Option<Mail> {
    let at = raw.at;
    let (Some(to), Some(from), Some(server)) = (raw.to, raw.from, raw.server) else {
        if !raw.broken {
            let remedy = "write email: {to: [A@B], from: C@D, server: HOST:587}".to_owned();
            findings.add(at, "mail needs to, from and server", Some(remedy));
        }
        return None;
    };
    if to.0.is_empty() {
        findings.add(at, "mail to nobody", Some("name at least one address in to".to_owned()));
    }
    for address in to.0.iter().chain([&from]) {
        let parts = address.value.split_once('@');
        if parts.is_none_or(|(who, place)| who.is_empty() || place.is_empty()) {
            let remedy = "write somebody@example.org".to_owned();
            findings.add(address.at, format!("{:?} is no mail address", address.value), Some(remedy));
        }
    }
    if let Some(password) = raw.password.as_ref().filter(|password| !is_reference(&password.value)) {
        // Not repeated here: it may be the password.
        let remedy = "write env:NAME or file:PATH".to_owned();
        findings.add(password.at, "a password does not stand in this file", Some(remedy));
    }
    if let (None, Some(password)) = (&raw.user, &raw.password) {
        findings.add(password.at, "a password, and nobody to log in", Some("add user".to_owned()));
    }
    let by_port = if server.value.ends_with(SMTPS_PORT) { MailTls::Implicit } else { MailTls::Starttls };
    Some(Mail {
        to: to.0.into_iter().map(|text| text.value).collect(),
        from: from.value,
        server: server.value,
        user: raw.user.map(|text| text.value),
        password: raw.password.map(|text| text.value),
        ca: raw.ca.map(|text| text.value),
        tls: raw.tls.map_or(by_port, |Located { value, .. }| value),
    })
}

/// Whom a raw flow names, in the order of [`Told`].
pub(super) fn receivers_of(raw: &mut RawFlow) -> [Option<RawReceivers>; 5] {
    let RawFlow { on_failure, on_success, on_retry, on_deadline, on_slow, .. } = raw;
    [on_failure, on_success, on_retry, on_deadline, on_slow].map(Option::take)
}

/// Checks whom one flow tells.
pub(super) struct Receivers<'a> {
    pub(super) project: &'a Project,
    pub(super) names: &'a Names,
    pub(super) params: &'a BTreeMap<String, Param>,
}

impl Receivers<'_> {
    /// Checks what [`receivers_of`] has found.
    pub(super) fn told(&self, named: [Option<RawReceivers>; 5], findings: &mut Findings) -> Told {
        let checked = named.map(|raw| raw.map(|raw| self.receivers(raw, findings)));
        let [on_failure, on_success, on_retry, on_deadline, on_slow] = checked;
        Told { on_failure, on_success, on_retry, on_deadline, on_slow }
    }

    fn receivers(&self, raw: RawReceivers, findings: &mut Findings) -> Vec<Notification> {
        let mut receivers = Vec::new();
        for raw in raw.0 {
            match raw {
                RawReceiver::Channel(name) => {
                    if self.project.channel(&name.value).is_none() {
                        let known: Vec<&str> = self.project.notify.keys().map(String::as_str).collect();
                        let remedy = crate::findings::remedy_for(&name.value, &known)
                            .unwrap_or_else(|| "declare it in mulgil.yaml, below notify".to_owned());
                        findings.add(name.at, format!("unknown channel {}", name.value), Some(remedy));
                    }
                    receivers.push(Notification::Channel(name.value));
                }
                RawReceiver::InFull(raw) => match raw.webhook {
                    Some(webhook) => {
                        check_template(&webhook, self.names, self.params, Quote::None, findings);
                        receivers.push(Notification::Webhook(webhook.value));
                    }
                    None => {
                        let remedy = Some("name a channel, or add webhook: URL".to_owned());
                        findings.add(raw.at, "a notification needs a webhook", remedy);
                    }
                },
            }
        }
        receivers
    }
}
