//! Whom to tell of what: the channels of a project, and whom a flow names.
//!
//! A channel says where (a webhook, a Slack-compatible webhook, mail) and of what by itself; a flow may name others for an
//! occasion, or nobody. Addresses and passwords are kept as they are written: `env:NAME` and `file:PATH` are looked up by
//! whoever delivers, and stand in no history.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Flow, Project};

/// What somebody may want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A run, or a backfill, has failed.
    Failure,
    /// A run, or a backfill, has succeeded.
    Success,
    /// A task of a run is tried again: told once for each start of the run.
    Retry,
    /// A run has not ended by its deadline.
    Deadline,
    /// A run takes longer than it usually does.
    Slow,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Failure, Self::Success, Self::Retry, Self::Deadline, Self::Slow];

    /// The word for it in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Success => "success",
            Self::Retry => "retry",
            Self::Deadline => "deadline",
            Self::Slow => "slow",
        }
    }

    /// Reads [`Self::word`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|occasion| occasion.word() == word)
    }
}

/// A place where somebody hears of things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Where.
    #[serde(skip)]
    pub kind: ChannelKind,
    /// Of what, of every flow that does not say otherwise.
    pub on: Vec<Occasion>,
}

/// How a channel is reached. Addresses may be `env:NAME` or `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// An HTTP POST of JSON.
    Webhook {
        /// Where to.
        url: String,
    },
    /// An HTTP POST as Slack, Mattermost and others take it.
    Slack {
        /// Where to.
        url: String,
    },
    /// Mail, by SMTP.
    Mail(Mail),
}

impl ChannelKind {
    /// The word for it in the project's file.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Mail(_) => "email",
        }
    }
}

/// Mail, and the server that takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// To whom.
    pub to: Vec<String>,
    /// From whom.
    pub from: String,
    /// The server: `host` or `host:port`.
    pub server: String,
    /// Who logs in; `None` does not.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<String>,
    /// How the connection is protected.
    pub tls: MailTls,
    /// The file of the certificates that it may show, or that have signed its own; `None` is whom the machine trusts.
    pub ca: Option<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// By `STARTTLS`; a server that does not know it gets no mail.
    Starttls,
    /// From the first byte on.
    Implicit,
    /// Not at all.
    None,
}

/// Whom to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notification {
    /// An HTTP POST to a URL: a template, rendered with [`crate::Quote::None`].
    Webhook(String),
    /// A channel of the project.
    Channel(String),
}

/// Whom a flow tells. What it says nothing about, the project's channels hear as they say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// When a run fails.
    #[serde(serialize_with = "as_before")]
    pub on_failure: Option<Vec<Notification>>,
    /// When a run succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Vec<Notification>>,
    /// When a task is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_retry: Option<Vec<Notification>>,
    /// When a run is not done in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_deadline: Option<Vec<Notification>>,
    /// When a run takes longer than usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_slow: Option<Vec<Notification>>,
}

/// A flow that names nobody has the hash that it had when an empty list meant that.
#[allow(clippy::ref_option, reason = "serde passes a reference")]
fn as_before<S: Serializer>(told: &Option<Vec<Notification>>, serializer: S) -> Result<S::Ok, S::Error> {
    match told.as_deref() {
        None => serializer.serialize_seq(Some(0))?.end(),
        Some([]) => serializer.serialize_none(),
        Some(told) => told.serialize(serializer),
    }
}

impl Told {
    /// Whom the flow names for an occasion; `None` if it says nothing about it.
    #[must_use]
    pub fn of(&self, occasion: Occasion) -> Option<&[Notification]> {
        let told = match occasion {
            Occasion::Failure => &self.on_failure,
            Occasion::Success => &self.on_success,
            Occasion::Retry => &self.on_retry,
            Occasion::Deadline => &self.on_deadline,
            Occasion::Slow => &self.on_slow,
        };
        told.as_deref()
    }
}

impl Flow {
    /// Whom to tell of an occasion: whom the flow names, else the project's channels that want to hear of it.
    #[must_use]
    pub fn receivers(&self, occasion: Occasion, channels: &BTreeMap<String, Channel>) -> Vec<Notification> {
        let mut receivers = match self.told.of(occasion) {
            Some(named) => named.to_vec(),
            None => {
                let wanting = channels.iter().filter(|(_, channel)| channel.on.contains(&occasion));
                wanting.map(|(name, _)| Notification::Channel(name.clone())).collect()
            }
        };
        // Named twice, told once.
        let mut seen = Vec::new();
        receivers.retain(|receiver| {
            !seen.contains(receiver) && {
                seen.push(receiver.clone());
                true
            }
        });
        receivers
    }
}

impl Project {
    /// The channel of that name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.notify.get(name)
    }
}
