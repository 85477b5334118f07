//! The form of channels, of whom a flow tells, and of what is kept for how long.

use super::{RawNotification, word};
use crate::findings::Findings;
use crate::read::{FromNode, Located, OneOrMany, Text, raw_map};
use crate::yaml::{Data, Node};
use crate::{MailTls, Occasion};

raw_map! {
    /// A place where somebody hears of things: exactly one of webhook, slack or email.
    RawChannel: "the channel" {
        /// A URL that gets an HTTP POST of JSON: the URL itself, `env:NAME` or `file:PATH`.
        "webhook" webhook: Text,
        /// The URL of an incoming webhook of Slack, Mattermost or alike: the URL itself, `env:NAME` or `file:PATH`.
        "slack" slack: Text,
        /// Mail, by SMTP.
        "email" email: RawMail,
        /// Of what it hears, of every flow that does not say otherwise: failure, success, retry, deadline, slow. Without it: failure, deadline and slow.
        "on" on: RawOccasions,
    }
}

raw_map! {
    /// An endpoint that takes events of OpenLineage.
    RawLineage: "lineage" {
        /// The endpoint, such as `https://marquez.example.org/api/v1/lineage`: the URL itself, `env:NAME` or `file:PATH`.
        #[schemars(required)]
        "url" url: Text,
        /// What is sent as `Authorization: Bearer`: `env:NAME` or `file:PATH`.
        "token" token: Text,
        /// The namespace of jobs and tables. Without it, the project's name.
        "namespace" namespace: Text,
    }
}

raw_map! {
    /// How long what is over is kept: a duration such as `90d`, or `forever`.
    RawRetention: "retention" {
        /// Runs, with their tasks, attempts and events; the last run of each flow is always kept. Without it, 400d.
        "runs" runs: Text,
        /// Logs of attempts. Without it, 90d.
        "logs" logs: Text,
        /// Notices that were delivered or given up. Without it, 30d.
        "notices" notices: Text,
    }
}

raw_map! {
    /// Mail, and the server that takes it.
    RawMail: "email" {
        /// The addresses that get it.
        #[schemars(required)]
        "to" to: OneOrMany,
        /// The address that it comes from.
        #[schemars(required)]
        "from" from: Text,
        /// The server: HOST:PORT; without a port, 587.
        #[schemars(required)]
        "server" server: Text,
        /// Who logs in.
        "user" user: Text,
        /// The password: `env:NAME` or `file:PATH`.
        "password" password: Text,
        /// starttls (the usual), implicit (the usual with port 465) or none.
        "tls" tls: Located<MailTls>,
        /// A PEM file of the certificates that are trusted, relative to the project's folder. Without it, whom the machine trusts.
        "ca" ca: Text,
    }
}

/// Whom to tell: the name of a channel, a webhook, or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct RawReceivers(pub(crate) Vec<RawReceiver>);

/// One of them.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawReceiver {
    /// A channel of the project.
    Channel(Text),
    /// A webhook of this flow.
    InFull(RawNotification),
}

/// Of what a channel hears.
#[derive(Clone, Debug)]
pub(crate) struct RawOccasions(pub(crate) Vec<Located<Occasion>>);

impl FromNode for RawReceiver {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match node.data {
            Data::Map(_) => FromNode::from_node(node, findings).map(Self::InFull),
            _ => FromNode::from_node(node, findings).map(Self::Channel),
        }
    }
}

impl FromNode for RawReceivers {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        one_or_many(node, findings).map(Self)
    }
}

impl FromNode for RawOccasions {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        one_or_many(node, findings).map(Self)
    }
}

fn one_or_many<T: FromNode>(node: &Node, findings: &mut Findings) -> Option<Vec<T>> {
    match node.data {
        Data::List(_) => Vec::from_node(node, findings),
        _ => T::from_node(node, findings).map(|one| vec![one]),
    }
}

impl FromNode for Located<Occasion> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "occasion", &Occasion::ALL.map(|occasion| (occasion.word(), occasion)), findings)
    }
}

impl FromNode for Located<MailTls> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let words = [("starttls", MailTls::Starttls), ("implicit", MailTls::Implicit), ("none", MailTls::None)];
        word(node, "protection", &words, findings)
    }
}
