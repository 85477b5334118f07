//! Sends a letter over a channel.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mulgil_flow::{ChannelKind, Flow, Params, Project, Quote, RunKey, Variables, render};
use mulgil_history::read::{NoticeRow, RunDetail};
use reqwest::Client;
use serde_json::{Value, json};
use tokio_rustls::rustls::ClientConfig;

use crate::letter::Letter;
use crate::mail;
use crate::secret::{Environment, resolve};
use crate::smtp;

/// How long a receiver may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
/// How much of a refusal is kept.
const SAID_CHARS: usize = 200;
/// Events of lineage, in the outbox.
pub(crate) const LINEAGE: &str = "lineage:";
/// How a flow's own webhook stands in the outbox: its template, not what that means.
pub(crate) const WEBHOOK: &str = "webhook:";

/// Everything that sends.
pub(crate) struct Channels {
    pub(crate) project: Arc<Project>,
    pub(crate) project_dir: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) http: Client,
    /// Whom mail servers may be.
    pub(crate) trust: Arc<ClientConfig>,
}

impl Channels {
    /// Sends an event of lineage as it is.
    pub(crate) async fn send_lineage(&self, notice: &NoticeRow) -> Result<(), String> {
        let gone = || "mulgil.yaml has no lineage any more".to_owned();
        let lineage = self.project.lineage.as_ref().ok_or_else(gone)?;
        let token = lineage.token.as_deref().map(|token| self.resolved(token)).transpose()?;
        self.post_as(&self.resolved(&lineage.url)?, &notice.key, &notice.body, token.as_deref()).await
    }

    /// Sends a notice; the error says why nobody took it, without secrets.
    pub(crate) async fn send(
        &self,
        notice: &NoticeRow,
        letter: &Letter,
        run: Option<&RunDetail>,
        definition: Option<&str>,
    ) -> Result<(), String> {
        if let Some(template) = notice.channel.strip_prefix(WEBHOOK) {
            let url = self.rendered(template, notice, run, definition)?;
            return self.post(&self.resolved(&url)?, &notice.key, &letter.json).await;
        }
        let gone = || format!("mulgil.yaml has no channel {} any more", notice.channel);
        let channel = self.project.channel(&notice.channel).ok_or_else(gone)?;
        match &channel.kind {
            ChannelKind::Webhook { url } => self.post(&self.resolved(url)?, &notice.key, &letter.json).await,
            ChannelKind::Slack { url } => {
                let message = json!({"text": escaped(&letter.text)});
                self.post(&self.resolved(url)?, &notice.key, &message).await
            }
            ChannelKind::Mail(mail) => {
                let password = mail.password.as_deref().map(|password| self.resolved(password)).transpose()?;
                let trust = match &mail.ca {
                    Some(file) => smtp::trusting_file(&self.project_dir.join(file))?,
                    None => self.trust.clone(),
                };
                let sent = mail::send(mail, password, trust, &notice.key, letter);
                tokio::time::timeout(TIMEOUT, sent)
                    .await
                    .unwrap_or_else(|_| Err("the mail server took too long".to_owned()))
            }
        }
    }

    fn resolved(&self, text: &str) -> Result<String, String> {
        resolve(text, &self.environment, &self.project_dir)
    }

    /// The URL of a flow's own webhook, by the definition that the run was made from.
    fn rendered(
        &self,
        template: &str,
        notice: &NoticeRow,
        run: Option<&RunDetail>,
        definition: Option<&str>,
    ) -> Result<String, String> {
        if !template.contains("{{") && !template.contains("{%") {
            return Ok(template.to_owned());
        }
        let unknown = || format!("the address needs the run that it is about, and the definition of {}", notice.flow);
        let (run, definition) = run.zip(definition).ok_or_else(unknown)?;
        let flow = Flow::parse("flows/stored.yaml", definition, &self.project).map_err(|_| unknown())?;
        let params: Params = match &run.run.params {
            Value::Object(params) => params.clone().into_iter().collect(),
            _ => Params::new(),
        };
        let interval = run.run.interval_start.zip(run.run.interval_end);
        let interval = interval.map(|(start, end)| mulgil_flow::DataInterval { start, end });
        let key = RunKey::new(&flow, interval, &params);
        let variables = Variables::new(&flow, &key, &params, &self.project);
        render(template, &variables, Quote::None).map_err(|error| error.to_string())
    }

    async fn post(&self, url: &str, key: &str, body: &Value) -> Result<(), String> {
        self.post_as(url, key, body, None).await
    }

    /// Posts JSON. What is said of a failure holds no part of the URL: it may be the secret.
    async fn post_as(&self, url: &str, key: &str, body: &Value, token: Option<&str>) -> Result<(), String> {
        let request = self.http.post(url).header("content-type", "application/json").header("idempotency-key", key);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let sent = request.body(body.to_string()).timeout(TIMEOUT).send().await;
        let answer = sent.map_err(|error| words(&error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said: String = answer.text().await.unwrap_or_default().chars().take(SAID_CHARS).collect();
        Err(if said.is_empty() { format!("it answered {status}") } else { format!("it answered {status}: {said}") })
    }
}

/// What Slack would take for marks of its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
