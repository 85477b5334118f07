//! HTTP tasks: one request, and an answer that is as it should be.
//!
//! Who is busy (429, 503) and says for how long is asked again after that time, within the task's own timeout; everything else is
//! an error of the attempt, and for its retries.

use std::sync::OnceLock;
use std::time::Duration;

use mulgil_flow::template::{self, Variables};
use mulgil_flow::{ErrorKind, Fault, HttpBody, HttpResult, HttpTask, Quote, StatusRange};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::dispatcher::Failure;
use crate::log::AttemptLog;
use crate::result::check_size;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often in all is asked who says that it is busy.
const TRIES_MAX: u32 = 5;
/// Whoever asks for more patience is asked again all the same.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);
/// How much of a wrong answer is told.
const SAID_CHARS: usize = 300;

/// Why a request did not give what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Nobody was reached.
    #[error("cannot connect to {host}: {reason}; is the address right, and does it run?")]
    Connect {
        /// Whom.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// There was no whole answer in time.
    #[error("timeout: {host} did not answer within {} s; raise `timeout:` of `http:` if it may take longer", .after.as_secs_f64())]
    TimedOut {
        /// Who.
        host: String,
        /// After how long.
        after: Duration,
    },
    /// The answer has another status.
    #[error("{host} answered {status}, and not {expected}: {said}")]
    Status {
        /// Who.
        host: String,
        /// Which status.
        status: StatusCode,
        /// What would have been right.
        expected: String,
        /// How the answer begins.
        said: String,
    },
    /// The answer is too large.
    #[error(
        "the answer of {host} has more than {bytes_max} bytes; raise `max_bytes:` of `http:`, or copy it by a transfer"
    )]
    TooLarge {
        /// Who.
        host: String,
        /// How many it may have.
        bytes_max: u64,
    },
    /// The answer was to be JSON.
    #[error("the answer of {host} is no JSON: {reason}")]
    NotJson {
        /// Who.
        host: String,
        /// Why not.
        reason: String,
    },
    /// The connection broke, or the answer was no HTTP.
    #[error("the exchange with {host} broke down: {reason}")]
    Broken {
        /// Who.
        host: String,
        /// What was said last.
        reason: String,
    },
    /// There is no such request.
    #[error("{0}")]
    Request(String),
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let fault = match &error {
            HttpError::Status { status, .. } => Fault { status: Some(status.as_u16()), ..Fault::default() },
            HttpError::Connect { .. } | HttpError::TimedOut { .. } | HttpError::Broken { .. } => {
                ErrorKind::Connection.into()
            }
            HttpError::TooLarge { .. } | HttpError::NotJson { .. } | HttpError::Request(_) => Fault::default(),
        };
        Self { reason: error.to_string(), fault }
    }
}

/// The client that all tasks of a worker share, made with the first request.
#[derive(Debug, Default)]
pub(crate) struct HttpClient(OnceLock<Client>);

impl HttpClient {
    fn get(&self) -> Result<&Client, HttpError> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        let agent = concat!("mulgil/", env!("CARGO_PKG_VERSION"));
        let made = Client::builder().connect_timeout(CONNECT_TIMEOUT).user_agent(agent).build();
        let made = made.map_err(|error| HttpError::Request(format!("the HTTP client cannot be made: {error}")))?;
        Ok(self.0.get_or_init(|| made))
    }

    /// Does an HTTP task and returns its result, if it has one.
    pub(crate) async fn call(
        &self,
        task: &HttpTask,
        variables: &Variables,
        log: &AttemptLog,
    ) -> Result<Option<Value>, HttpError> {
        let request = self.request(task, variables)?;
        let mut tries = 1;
        loop {
            let again = request.try_clone().ok_or_else(|| HttpError::Request("a body that flows".to_owned()))?;
            let exchange = Exchange { host: host_of(&again), task };
            match exchange.answer(again).await? {
                Answer::Right(status, body) => {
                    log.note(&format!("{} answered {status} with {} bytes", exchange.host, body.len()));
                    return exchange.result(body);
                }
                Answer::Wrong(error, Some(after)) if tries < TRIES_MAX => {
                    log.note(&format!("{error}; asking again in {} s, as it says", after.as_secs()));
                    tokio::time::sleep(after).await;
                    tries += 1;
                }
                Answer::Wrong(error, _) => return Err(error),
            }
        }
    }

    /// The status of an answer to GET, whatever the answer.
    pub(crate) async fn status(&self, task: &HttpTask, variables: &Variables) -> Result<StatusCode, HttpError> {
        let request = self.request(task, variables)?;
        let exchange = Exchange { host: host_of(&request), task };
        let answer = request.send().await.map_err(|error| exchange.failure(&error))?;
        Ok(answer.status())
    }

    fn request(&self, task: &HttpTask, variables: &Variables) -> Result<RequestBuilder, HttpError> {
        let render = |what: &str, text: &str| {
            template::render(text, variables, Quote::None)
                .map_err(|error| HttpError::Request(format!("in `{what}:`, {error}")))
        };
        let url = render("url", &task.url)?;
        let url: reqwest::Url = url.parse().map_err(|_| {
            HttpError::Request(
                "the url cannot be read once its templates are filled in; write https://HOST/PATH".to_owned(),
            )
        })?;
        let method = Method::from_bytes(task.method.as_bytes())
            .map_err(|_| HttpError::Request(format!("{} is no method", task.method)))?;
        let mut request = self.get()?.request(method, url).timeout(task.timeout.unsigned_abs());
        for (name, text) in &task.headers {
            let value = render(&format!("headers: {name}"), text)?;
            let value = reqwest::header::HeaderValue::from_str(&value).map_err(|_| {
                HttpError::Request(format!("header {name} holds a line break, or another letter that no header can"))
            })?;
            request = request.header(name.as_str(), value);
        }
        Ok(match &task.body {
            None => request,
            Some(HttpBody::Text(text)) => request.body(render("body", text)?),
            Some(HttpBody::Json(value)) => {
                let value = template::values(value, variables)
                    .map_err(|reason| HttpError::Request(format!("in `json:`, {reason}")))?;
                let has_type = task.headers.keys().any(|name| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
                let request = if has_type { request } else { request.header(CONTENT_TYPE, "application/json") };
                request.body(value.to_string())
            }
        })
    }
}

/// An answer, as far as it is right.
enum Answer {
    Right(StatusCode, Vec<u8>),
    /// And after how long it is worth to ask again.
    Wrong(HttpError, Option<Duration>),
}

/// One request on its way.
struct Exchange<'a> {
    /// Whom it goes to: neither user nor path nor query, which may hold secrets.
    host: String,
    task: &'a HttpTask,
}

impl Exchange<'_> {
    async fn answer(&self, request: RequestBuilder) -> Result<Answer, HttpError> {
        let mut answer = request.send().await.map_err(|error| self.failure(&error))?;
        let status = answer.status();
        if self.task.expect.iter().any(|range| range.has(status.as_u16())) {
            return Ok(Answer::Right(status, self.body(&mut answer).await?));
        }
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        let after = answer.headers().get(RETRY_AFTER).filter(|_| busy).and_then(|value| patience(value.to_str().ok()?));
        let said = answer.chunk().await.ok().flatten().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said = said.chars().take(SAID_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let (host, expected) = (self.host.clone(), named(&self.task.expect));
        Ok(Answer::Wrong(HttpError::Status { host, status, expected, said }, after))
    }

    async fn body(&self, answer: &mut Response) -> Result<Vec<u8>, HttpError> {
        let bytes_max = self.task.bytes_max;
        let too_large = || HttpError::TooLarge { host: self.host.clone(), bytes_max };
        // What is known to be too large is not even begun; HEAD tells a length and sends nothing.
        if self.task.method != "HEAD" && answer.content_length().is_some_and(|length| length > bytes_max) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.failure(&error))? {
            body.extend_from_slice(&piece);
            if body.len() as u64 > bytes_max {
                return Err(too_large());
            }
        }
        Ok(body)
    }

    fn result(&self, body: Vec<u8>) -> Result<Option<Value>, HttpError> {
        let Some(wanted) = self.task.result else { return Ok(None) };
        let is_list = wanted == HttpResult::Json && body.trim_ascii_start().starts_with(b"[");
        check_size(body.len(), is_list).map_err(HttpError::Request)?;
        let value = match wanted {
            HttpResult::Body => Value::String(String::from_utf8_lossy(&body).into_owned()),
            HttpResult::Json => serde_json::from_slice(&body)
                .map_err(|error| HttpError::NotJson { host: self.host.clone(), reason: error.to_string() })?,
        };
        Ok(Some(value))
    }

    fn failure(&self, error: &reqwest::Error) -> HttpError {
        let host = self.host.clone();
        let reason = reason_of(error);
        match error {
            // A connection that nobody answers is a timeout too.
            error if error.is_connect() => HttpError::Connect { host, reason },
            error if error.is_timeout() => HttpError::TimedOut { host, after: self.task.timeout.unsigned_abs() },
            error if error.is_builder() => HttpError::Request(format!("no such request can be made: {reason}")),
            _ => HttpError::Broken { host, reason },
        }
    }
}

/// What was said last, which is what the system said. The first words repeat the URL.
fn reason_of(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut reason = "no more is known".to_owned();
    while let Some(next) = cause {
        reason = next.to_string();
        cause = next.source();
    }
    reason
}

fn host_of(request: &RequestBuilder) -> String {
    let request = request.try_clone().and_then(|request| request.build().ok());
    let url = request.as_ref().map(reqwest::Request::url);
    let host = url.and_then(|url| url.host_str()).unwrap_or("the server");
    match url.and_then(reqwest::Url::port) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// `2xx or 404`.
pub(crate) fn named(ranges: &[StatusRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// `Retry-After: 120`, or a date.
fn patience(value: &str) -> Option<Duration> {
    let asked = match value.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
            Duration::try_from(then.duration_since(jiff::Timestamp::now())).unwrap_or_default()
        }
    };
    Some(asked.min(PATIENCE_MAX))
}
