//! Where requests go, and how they are sent until they have arrived.
//!
//! Headers may hold secrets, and so may the URL's user and query: none of them is in any message.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::OnceCell;

use crate::error::ConnectError;
use crate::options::Options;
use crate::wait::Waits;

const HEADER: &str = "header.";
const HEADER_FILE: &str = "header-file.";
/// How long an answer may take, where the table does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is told.
const SAID_CHARS: usize = 200;

/// Whether an option is a header of the requests.
pub(crate) fn is_header(option: &str) -> bool {
    [HEADER, HEADER_FILE].iter().any(|prefix| option.strip_prefix(prefix).is_some_and(|name| !name.is_empty()))
}

/// See the module.
pub(crate) struct Endpoint {
    table: String,
    url: Url,
    method: &'static str,
    headers: BTreeMap<String, HeaderText>,
    timeout: Duration,
    has_gzip: bool,
    /// Made with the first request.
    ready: OnceCell<(Client, HeaderMap)>,
    /// What is waited for.
    pub(crate) waits: Waits,
}

/// The text of a header, or where it is.
enum HeaderText {
    Here(String),
    /// Behind a prefix.
    File(&'static str, PathBuf),
}

impl Endpoint {
    /// What `url`, `header.*`, `header-file.*` and `timeout` say. Connects to nothing.
    pub(crate) fn new(options: &Options<'_>, method: &'static str, project_dir: &Path) -> Result<Self, ConnectError> {
        let url = options.required("url", "https://example.org/hook")?;
        let wrong = || options.refusal("'url' cannot be read; write https://example.org/hook");
        let url: Url = url.parse().map_err(|_| wrong())?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err(wrong());
        }
        let mut headers = BTreeMap::new();
        for (option, value) in options.all() {
            let (name, text) = if let Some(name) = option.strip_prefix(HEADER_FILE) {
                (name, HeaderText::File("", project_dir.join(value)))
            } else if let Some(name) = option.strip_prefix(HEADER) {
                if HeaderValue::from_str(value).is_err() {
                    return Err(options.refusal(format!("'{option}' holds characters that no header can")));
                }
                (name, HeaderText::Here(value.to_owned()))
            } else {
                continue;
            };
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(options.refusal(format!("'{option}': {name} cannot be the name of a header")));
            }
            if headers.insert(name.to_ascii_lowercase(), text).is_some() {
                return Err(options.refusal(format!("the header {name} is there twice; remove one of them")));
            }
        }
        let timeout = options.duration("timeout")?.unwrap_or(TIMEOUT);
        Ok(Self {
            table: options.table_name(),
            url,
            method,
            headers,
            timeout,
            has_gzip: false,
            ready: OnceCell::new(),
            waits: Waits::default(),
        })
    }

    /// A header that the table itself may say otherwise.
    pub(crate) fn set_default_header(&mut self, name: &str, text: impl Into<String>) {
        self.headers.entry(name.to_owned()).or_insert_with(|| HeaderText::Here(text.into()));
    }

    /// The token of InfluxDB is in a file.
    pub(crate) fn set_token_file(&mut self, path: PathBuf) {
        self.headers.entry("authorization".to_owned()).or_insert(HeaderText::File("Token ", path));
    }

    /// A path, where the URL has none.
    pub(crate) fn set_default_path(&mut self, path: &str) {
        if self.url.path() == "/" {
            self.url.set_path(path);
        }
    }

    /// Bodies are compressed.
    pub(crate) fn set_gzip(&mut self) {
        self.has_gzip = true;
        self.set_default_header("content-encoding", "gzip");
    }

    /// Adds a parameter to the URL, unless it is there.
    pub(crate) fn set_query(&mut self, name: &str, value: &str) {
        if !self.url.query_pairs().any(|(there, _)| there == name) {
            self.url.query_pairs_mut().append_pair(name, value);
        }
    }

    /// Where requests go.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// For people: without user, password and query.
    fn place(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}{}", self.url.scheme(), self.url.host_str().unwrap_or_default(), self.url.path())
    }

    async fn ready(&self) -> Result<&(Client, HeaderMap), ConnectError> {
        let make = async || {
            let mut headers = HeaderMap::new();
            for (name, text) in &self.headers {
                let text = match text {
                    HeaderText::Here(text) => text.clone(),
                    HeaderText::File(prefix, path) => {
                        let failed = |source| ConnectError::File { action: "read", path: path.clone(), source };
                        let text = tokio::fs::read_to_string(path).await.map_err(failed)?;
                        format!("{prefix}{}", text.trim_end_matches(['\r', '\n']))
                    }
                };
                let wrong = || self.refusal(format!("the header {name} holds characters that no header can"));
                let value = HeaderValue::from_str(&text).map_err(|_| wrong())?;
                headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
            }
            let client = Client::builder()
                .redirect(if self.method == "GET" { Policy::default() } else { Policy::none() })
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(self.timeout)
                .user_agent(concat!("mulgil/", env!("CARGO_PKG_VERSION")))
                .build();
            let client = client.map_err(|error| self.refusal(format!("the HTTP client cannot be made: {error}")))?;
            Ok((client, headers))
        };
        self.ready.get_or_try_init(make).await
    }

    /// Sends a body until it has arrived.
    pub(crate) async fn send(&self, body: Vec<u8>, key: Option<&str>) -> Result<(), ConnectError> {
        let body = bytes::Bytes::from(if self.has_gzip { self.gzip(&body)? } else { body });
        let mut wait = self.waits.wait();
        while let Err(error) = self.attempt(body.clone(), key).await {
            wait.again(error).await?;
        }
        wait.over(&self.place());
        Ok(())
    }

    async fn attempt(&self, body: bytes::Bytes, key: Option<&str>) -> Result<(), ConnectError> {
        let (client, headers) = self.ready().await?;
        let method = Method::from_bytes(self.method.as_bytes()).unwrap_or(Method::POST);
        let mut request = client.request(method, self.url.clone()).headers(headers.clone()).body(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = self.success(request).await?;
        // Read to its end, so that the connection can be used again.
        let _ = answer.bytes().await;
        Ok(())
    }

    /// What is at a URL of the same server.
    pub(crate) async fn get(&self, url: &Url) -> Result<Response, ConnectError> {
        let (client, headers) = self.ready().await?;
        self.success(client.get(url.clone()).headers(headers.clone())).await
    }

    async fn success(&self, request: RequestBuilder) -> Result<Response, ConnectError> {
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) => Err(self.answered(answer).await),
            Err(error) => Err(self.unanswered(error)),
        }
    }

    /// There was no answer, or no whole one.
    pub(crate) fn unanswered(&self, error: reqwest::Error) -> ConnectError {
        let mut reason = format!("{} {}: {}", self.method, self.place(), "no answer");
        let error = error.without_url();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(next) = cause {
            reason.push_str(&format!(": {next}"));
            cause = next.source();
        }
        if error.is_builder() {
            return self.refusal(reason);
        }
        ConnectError::Away { table: self.table.clone(), reason, retry_after: None }
    }

    /// An answer that is no success.
    async fn answered(&self, answer: Response) -> ConnectError {
        let status = answer.status();
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
        let said = answer.text().await.unwrap_or_default();
        let said: String = said.chars().take(SAID_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let reason = format!("{} {}: answered {status}: {said}", self.method, self.place());
        let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        if status.is_server_error() || passes.contains(&status) {
            return ConnectError::Away { table: self.table.clone(), reason, retry_after: seconds };
        }
        self.refusal(reason)
    }

    fn gzip(&self, body: &[u8]) -> Result<Vec<u8>, ConnectError> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let done = encoder.write_all(body).and_then(|()| encoder.finish());
        done.map_err(|error| self.refusal(format!("compress a request: {error}")))
    }

    /// An error that stays.
    pub(crate) fn refusal(&self, reason: String) -> ConnectError {
        ConnectError::Http { table: self.table.clone(), reason }
    }
}

/// `Retry-After: 120`, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    /// Whoever asks for more is asked again all the same.
    const LONGEST: Duration = Duration::from_secs(3600);
    let asked = match value.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
            Duration::try_from(then.duration_since(jiff::Timestamp::now())).unwrap_or_default()
        }
    };
    Some(asked.min(LONGEST))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_time_to_wait_is_read_in_both_forms() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("99999999"), Some(Duration::from_secs(3600)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
