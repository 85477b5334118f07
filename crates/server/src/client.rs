//! The client that the command line uses: the API's routes as methods, its types as arguments and answers. It blocks,
//! since a command does one thing after the other.

mod planning;
mod stream;
mod views;
mod waits;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;

pub use self::stream::{EventStream, LogStream, StepStream};
use crate::api::PREFIX;
use crate::attempts::{LogChunk, LogQuery};
use crate::backfills::{Backfill, BackfillAnswer, BackfillAsk};
use crate::dashboards::Dashboard;
use crate::error::ErrorBody;
use crate::events::EventsQuery;
use crate::flows::{FlowDetail, FlowSummary, StartRun, StartedRun};
use crate::grid::{Grid, GridQuery};
use crate::items::{ItemPage, ItemsQuery};
use crate::notices::{Notice, NoticesQuery};
use crate::place::Place;
use crate::project::{Problem, ProjectInfo, Reloaded};
use crate::reruns::{MarkAsk, RerunAsk, RerunPreview, RerunsAnswer, RerunsAsk};
use crate::runs::{RunDetail, RunPage, RunSummary, RunsQuery};
use crate::sql::{Rows, SqlAsk};
use crate::topics::{AppendQuery, Appended, Records, RecordsQuery, Topic};
use crate::versions::{Difference, DifferenceQuery, FlowVersion};
use crate::workers::Workers;

/// A server on this machine answers at once; one far away within this.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Talks to one server.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The project has no server.
    #[error("no server is running for this project; start one with `mulgil server`")]
    NoServer,
    /// Nothing answers at the address.
    #[error("no server answers at {url} ({reason}); start one with `mulgil server`")]
    Unreachable {
        /// The address.
        url: String,
        /// The network's word.
        reason: String,
    },
    /// The server said no.
    #[error("{}", told(.body))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// What came is not what this version understands.
    #[error("the server at {url} sent something unexpected: {reason}; is it another version of Mulgil?")]
    Protocol {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The message with its detail and hint, as one text for a terminal.
fn told(body: &ErrorBody) -> String {
    let detail = body.detail.as_ref().map(|detail| format!("\n  {detail}")).unwrap_or_default();
    let hint = body.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("{}{detail}{hint}", body.message)
}

/// The form in which streamed rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// CSV with a header line.
    Csv,
    /// A JSON object a line.
    JsonLines,
}

type Answer<T> = Result<T, ClientError>;

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:7575`.
    pub fn new(url: &str, token: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            // A proxy never stands between a command and its own server.
            .proxy(None)
            .build();
        Self { agent: config.into(), url: url.trim_end_matches('/').to_owned(), token: token.map(str::to_owned) }
    }

    /// A client of the server that runs for the project in a folder.
    ///
    /// # Errors
    /// [`ClientError::NoServer`] where none answers, or where what answers serves another project.
    pub fn for_project(dir: &Path, token: Option<&str>) -> Answer<Self> {
        let place = Place::read(dir).ok_or(ClientError::NoServer)?;
        let client = Self::new(&place.url, token);
        let folder = match client.project() {
            Ok(project) => project.folder,
            Err(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => return Err(ClientError::NoServer),
            Err(error) => return Err(error),
        };
        let same =
            |a: &Path, b: &Path| a == b || a.canonicalize().ok().is_some_and(|a| b.canonicalize().ok() == Some(a));
        if same(Path::new(&folder), dir) { Ok(client) } else { Err(ClientError::NoServer) }
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The project and its server.
    pub fn project(&self) -> Answer<ProjectInfo> {
        self.get("/project")
    }

    /// The broken files of the project.
    pub fn problems(&self) -> Answer<Vec<Problem>> {
        self.get("/problems")
    }

    /// The pages of panels.
    pub fn dashboards(&self) -> Answer<Vec<Dashboard>> {
        self.get("/dashboards")
    }

    /// Reads the project's files again.
    pub fn reload(&self) -> Answer<Reloaded> {
        self.post("/reload", &())
    }

    /// Every flow.
    pub fn flows(&self) -> Answer<Vec<FlowSummary>> {
        self.get("/flows")
    }

    /// One flow.
    pub fn flow(&self, flow: &str) -> Answer<FlowDetail> {
        self.get(&format!("/flows/{}", segment(flow)))
    }

    /// Starts one run.
    pub fn start_run(&self, flow: &str, ask: &StartRun) -> Answer<StartedRun> {
        self.post(&format!("/flows/{}/runs", segment(flow)), ask)
    }

    /// The definitions that a flow has had.
    pub fn flow_versions(&self, flow: &str) -> Answer<Vec<FlowVersion>> {
        self.get(&format!("/flows/{}/versions", segment(flow)))
    }

    /// What is different between two of them.
    pub fn flow_difference(&self, flow: &str, which: &DifferenceQuery) -> Answer<Difference> {
        self.get(&format!("/flows/{}/difference{}", segment(flow), query(which)))
    }

    /// Pauses a flow's schedule.
    pub fn pause_flow(&self, flow: &str) -> Answer<()> {
        self.command(&format!("/flows/{}/pause", segment(flow)))
    }

    /// Resumes a flow's schedule.
    pub fn resume_flow(&self, flow: &str) -> Answer<()> {
        self.command(&format!("/flows/{}/resume", segment(flow)))
    }

    /// A flow's grid of runs × tasks.
    pub fn grid(&self, flow: &str, page: &GridQuery) -> Answer<Grid> {
        self.get(&format!("/flows/{}/grid{}", segment(flow), query(page)))
    }

    /// Plans a backfill, and begins it unless the ask is a dry run.
    pub fn start_backfill(&self, flow: &str, ask: &BackfillAsk) -> Answer<BackfillAnswer> {
        self.post(&format!("/flows/{}/backfills", segment(flow)), ask)
    }

    /// The workers, and what waits for one that is not there.
    pub fn workers(&self) -> Answer<Workers> {
        self.get("/workers")
    }

    /// The newest backfills.
    pub fn backfills(&self) -> Answer<Vec<Backfill>> {
        self.get("/backfills")
    }

    /// One backfill.
    pub fn backfill(&self, backfill: i64) -> Answer<Backfill> {
        self.get(&format!("/backfills/{backfill}"))
    }

    /// Stops a backfill.
    pub fn cancel_backfill(&self, backfill: i64) -> Answer<Backfill> {
        self.post(&format!("/backfills/{backfill}/cancel"), &())
    }

    /// Runs, newest first.
    pub fn runs(&self, page: &RunsQuery) -> Answer<RunPage> {
        self.get(&format!("/runs{}", query(page)))
    }

    /// One run.
    pub fn run(&self, run: i64) -> Answer<RunDetail> {
        self.get(&format!("/runs/{run}"))
    }

    /// The items of a task of a run.
    pub fn items(&self, run: i64, task: &str, page: &ItemsQuery) -> Answer<ItemPage> {
        self.get(&format!("/runs/{run}/tasks/{}/items{}", segment(task), query(page)))
    }

    /// The run with this name, such as `daily_delays/2013-01-01`.
    pub fn run_named(&self, name: &str) -> Answer<Option<RunSummary>> {
        let page = self.runs(&RunsQuery { name: Some(name.to_owned()), ..RunsQuery::default() })?;
        Ok(page.runs.into_iter().next())
    }

    /// What a re-run would run again.
    pub fn preview_rerun(&self, run: i64, ask: &RerunAsk) -> Answer<RerunPreview> {
        self.get(&format!("/runs/{run}/rerun-preview{}", query(ask)))
    }

    /// Runs part of a run again.
    pub fn rerun(&self, run: i64, ask: &RerunAsk) -> Answer<RunDetail> {
        self.post(&format!("/runs/{run}/rerun"), ask)
    }

    /// Runs part of several runs again, or says what that would run.
    pub fn rerun_many(&self, ask: &RerunsAsk) -> Answer<RerunsAnswer> {
        self.post("/runs/rerun", ask)
    }

    /// Says how a task counts, or what that would run.
    pub fn mark(&self, run: i64, task: &str, ask: &MarkAsk) -> Answer<RerunPreview> {
        self.post(&format!("/runs/{run}/tasks/{}/mark", segment(task)), ask)
    }

    /// Notices, newest first.
    pub fn notices(&self, which: &NoticesQuery) -> Answer<Vec<Notice>> {
        self.get(&format!("/notices{}", query(which)))
    }

    /// Stops a run.
    pub fn cancel_run(&self, run: i64) -> Answer<RunDetail> {
        self.post(&format!("/runs/{run}/cancel"), &())
    }

    /// Part of an attempt's log.
    pub fn log(&self, run: i64, task: &str, attempt: u32, from: &LogQuery) -> Answer<LogChunk> {
        self.get(&format!("/runs/{run}/tasks/{}/attempts/{attempt}/log{}", segment(task), query(from)))
    }

    /// Follows an attempt's log until the attempt is over.
    pub fn follow_log(&self, run: i64, task: &str, attempt: u32, from: &LogQuery) -> Answer<LogStream> {
        let path = format!("/runs/{run}/tasks/{}/attempts/{attempt}/log/stream{}", segment(task), query(from));
        Ok(LogStream::new(self.read_get(&path)?, &self.url))
    }

    /// Runs SQL and takes the rows at once.
    pub fn sql(&self, ask: &SqlAsk) -> Answer<Rows> {
        self.post("/sql", ask)
    }

    /// Runs SQL and reads the rows as they come. A failure after the first rows is an error of the reader.
    pub fn sql_stream(&self, ask: &SqlAsk, format: RowFormat) -> Answer<impl Read + Send + 'static> {
        let accept = match format {
            RowFormat::Csv => "text/csv",
            RowFormat::JsonLines => "application/x-ndjson",
        };
        let request = self.agent.post(self.route("/sql")).header("Accept", accept);
        let response = self.checked(self.with_token(request).send_json(ask))?;
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Every topic.
    pub fn topics(&self) -> Answer<Vec<Topic>> {
        self.get("/topics")
    }

    /// Appends JSON lines. They are on disk when this returns.
    pub fn append(&self, topic: &str, to: &AppendQuery, lines: &[u8]) -> Answer<Appended> {
        let path = format!("/topics/{}{}", segment(topic), query(to));
        let request = self.agent.post(self.route(&path)).header("Content-Type", "application/x-ndjson");
        let response = self.checked(self.with_token(request).send(lines))?;
        self.json(response)
    }

    /// Appends a body of some content type; with a key that is a header `Idempotency-Key`.
    pub fn append_body(
        &self,
        topic: &str,
        (content_type, body): (&str, &[u8]),
        idempotency_key: Option<&str>,
    ) -> Answer<Appended> {
        let path = format!("/topics/{}", segment(topic));
        let mut request = self.agent.post(self.route(&path)).header("Content-Type", content_type);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let response = self.checked(self.with_token(request).send(body))?;
        self.json(response)
    }

    /// Records of a partition.
    pub fn records(&self, topic: &str, from: &RecordsQuery) -> Answer<Records> {
        self.get(&format!("/topics/{}/records{}", segment(topic), query(from)))
    }

    /// What changes, as it changes. Ends when the server stops.
    pub fn events(&self, which: &EventsQuery) -> Answer<EventStream> {
        Ok(EventStream::new(self.read_get(&format!("/events{}", query(which)))?, &self.url))
    }

    fn route(&self, path: &str) -> String {
        format!("{}{PREFIX}{path}", self.url)
    }

    fn with_token<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let response = self.checked(self.with_token(self.agent.get(self.route(path))).call())?;
        self.json(response)
    }

    fn read_get(&self, path: &str) -> Answer<Box<dyn Read + Send>> {
        let response = self.checked(self.with_token(self.agent.get(self.route(path))).call())?;
        Ok(Box::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Answer<T> {
        let response = self.checked(self.with_token(self.agent.post(self.route(path))).send_json(body))?;
        self.json(response)
    }

    fn command(&self, path: &str) -> Answer<()> {
        self.checked(self.with_token(self.agent.post(self.route(path))).send_empty()).map(drop)
    }

    fn checked(&self, sent: Result<Response<ureq::Body>, ureq::Error>) -> Answer<Response<ureq::Body>> {
        let response =
            sent.map_err(|error| ClientError::Unreachable { url: self.url.clone(), reason: error.to_string() })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        Err(ClientError::Refused { status, body: self.json(response)? })
    }

    fn json<T: DeserializeOwned>(&self, response: Response<ureq::Body>) -> Answer<T> {
        let body = response.into_body().into_with_config().limit(u64::MAX);
        body.read_json().map_err(|error| ClientError::Protocol { url: self.url.clone(), reason: error.to_string() })
    }
}

/// A name as one part of a path: everything but unreserved characters is percent-encoded.
fn segment(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The fields that are there, as a query string.
fn query(fields: &impl Serialize) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(fields) else { return String::new() };
    let pair = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(format!("{name}={}", segment(text))),
        other => Some(format!("{name}={}", segment(&other.to_string()))),
    };
    let pairs: Vec<String> = fields.iter().filter_map(pair).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn names_and_fields_are_encoded() {
        assert_eq!(segment("daily_delays/2013-01-01 물"), "daily_delays%2F2013-01-01%20%EB%AC%BC");
        let page = RunsQuery { flow: Some("a&b".to_owned()), limit: Some(5), ..RunsQuery::default() };
        assert_eq!(query(&page), "?flow=a%26b&limit=5");
        assert_eq!(query(&GridQuery::default()), "");
    }

    #[test]
    fn a_project_without_server_is_told_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = Client::for_project(dir.path(), None).unwrap_err();
        assert_eq!(error.to_string(), "no server is running for this project; start one with `mulgil server`");
    }

    #[test]
    fn a_refusal_shows_detail_and_hint() {
        let body = ErrorBody {
            code: "invalid".into(),
            message: "line 3 is not a JSON object".into(),
            detail: Some("it does not begin with {".into()),
            hint: Some("send one JSON object a line".into()),
        };
        let told = ClientError::Refused { status: 400, body }.to_string();
        assert_eq!(
            told,
            "line 3 is not a JSON object\n  it does not begin with {\n  hint: send one JSON object a line"
        );
    }
}
