//! A table that is read by GET: what a URL answers, as CSV or JSON, page after page.
//!
//! The answer is put into files first, and they are read as a table of files is: with the same options, and bad rows are dealt with in
//! the same way. JSON may be an array, objects one after the other, or an object in which the rows are to be found. The next
//! page is the one that the answer's `Link` header calls so (RFC 8288).

use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use mulgil_log::EventLog;
use reqwest::header::LINK;
use reqwest::{Response, Url};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::endpoint::{self, Endpoint};
use crate::bad_rows::BadRowSample;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::filesystem::Files;
use crate::options::Options;
use crate::source::{PartitionReader, Position, Source};

/// The options of a table that only those that are read have.
const OWN: [&str; 3] = ["records", "pages.max", "max-bytes"];
/// The options that are no options of files.
const OF_HTTP: [&str; 5] = ["url", "timeout", "records", "pages.max", "max-bytes"];
/// Pages, where the table does not say.
const PAGES_MAX: u32 = 10_000;
/// A larger answer is an error, where the table does not say.
const BYTES_MAX: u64 = 256 << 20;
/// How often in all a page is asked for that is not there just now.
const TRIES_MAX: u32 = 5;

/// A table that is read by GET.
pub(super) struct Download {
    definition: TableDefinition,
    project_dir: PathBuf,
    log: Option<EventLog>,
    endpoint: Endpoint,
    /// Where in a JSON answer the rows are.
    records: Vec<String>,
    pages_max: u32,
    bytes_max: u64,
    /// The files as they would be: checked, and not there.
    files: Files,
    downloaded: OnceCell<(Files, TempDir)>,
}

impl Download {
    /// Whether a table can only be read.
    pub(super) fn is_meant(table: &TableDefinition) -> bool {
        let is_csv = table.options.get("format").is_some_and(|format| format == "csv");
        is_csv || OWN.iter().any(|name| table.options.contains_key(*name))
    }

    /// The table that a definition describes. Connects to nothing.
    pub(super) fn new(
        table: &TableDefinition,
        project_dir: &Path,
        log: Option<&EventLog>,
    ) -> Result<Self, ConnectError> {
        let all: Vec<&str> = table.options.keys().map(String::as_str).collect();
        let options = Options::new(table, &all)?;
        options.required("format", "json")?;
        options.one_of("format", &[("csv", ()), ("json", ())], ())?;
        if !table.partitioned_by.is_empty() {
            return Err(options.refusal("an answer has no folders; leave PARTITIONED BY out"));
        }
        let records = options.optional("records").unwrap_or_default();
        let mut definition = table.clone();
        definition.options.retain(|name, _| !OF_HTTP.contains(&name.as_str()) && !endpoint::is_header(name));
        definition.options.insert("connector".to_owned(), "filesystem".to_owned());
        definition.options.insert("path".to_owned(), "answer".to_owned());
        Ok(Self {
            endpoint: Endpoint::new(&options, "GET", project_dir)?,
            records: records.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            pages_max: options.number("pages.max")?.unwrap_or(PAGES_MAX),
            bytes_max: options.bytes("max-bytes")?.unwrap_or(BYTES_MAX),
            files: Files::new(&definition, (project_dir, &Default::default()), log)?,
            definition,
            project_dir: project_dir.to_owned(),
            log: log.cloned(),
            downloaded: OnceCell::new(),
        })
    }

    /// The answer, in files.
    async fn downloaded(&self) -> Result<&Files, ConnectError> {
        let (files, _) = self.downloaded.get_or_try_init(|| self.download()).await?;
        Ok(files)
    }

    async fn download(&self) -> Result<(Files, TempDir), ConnectError> {
        let mut url = self.endpoint.url().clone();
        if url.as_str().contains("%7B%7B") {
            return Err(self.endpoint.refusal(
                "'url' holds a template, which a task of a flow fills in; for `{{ ds }}` its run needs a data interval"
                    .to_owned(),
            ));
        }
        let working = self.project_dir.join(".mulgil/working/http");
        let failed = |source| ConnectError::File { action: "write a file in", path: working.clone(), source };
        std::fs::create_dir_all(&working).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(url.host_str().unwrap_or("answer")).tempdir_in(&working);
        let folder = folder.map_err(failed)?;
        let extension = self.definition.options.get("format").map_or("", String::as_str);
        for page in 1..=self.pages_max {
            let answer = self.ask(&url).await?;
            let next = self.next(&url, &answer)?;
            let body = self.body(answer).await?;
            let body = if extension == "json" { self.lines(&body)? } else { body };
            let path = folder.path().join(format!("page-{page:06}.{extension}"));
            std::fs::File::create(&path).and_then(|mut file| file.write_all(&body)).map_err(failed)?;
            match next {
                Some(next) => url = next,
                None => return Ok((self.files_in(folder.path())?, folder)),
            }
        }
        Err(self.endpoint.refusal(format!("there are more than {} pages; raise 'pages.max'", self.pages_max)))
    }

    fn files_in(&self, folder: &Path) -> Result<Files, ConnectError> {
        let mut definition = self.definition.clone();
        definition.options.insert("path".to_owned(), folder.display().to_string());
        Files::new(&definition, (&self.project_dir, &Default::default()), self.log.as_ref())
    }

    /// Asks for a page, a few times where nobody is there just now.
    async fn ask(&self, url: &Url) -> Result<Response, ConnectError> {
        let mut wait = self.endpoint.waits.wait();
        for _ in 1..TRIES_MAX {
            match self.endpoint.get(url).await {
                Err(error @ ConnectError::Away { .. }) => wait.again(error).await?,
                asked => return asked,
            }
        }
        self.endpoint.get(url).await
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, ConnectError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.endpoint.unanswered(error))? {
            body.extend_from_slice(&piece);
            if body.len() as u64 > self.bytes_max {
                let reason = format!("an answer has more than {} bytes; raise 'max-bytes'", self.bytes_max);
                return Err(self.endpoint.refusal(reason));
            }
        }
        Ok(body)
    }

    /// The rows of a JSON text, an object a line.
    fn lines(&self, body: &[u8]) -> Result<Vec<u8>, ConnectError> {
        let mut lines = Vec::with_capacity(body.len());
        for value in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
            let value = value.map_err(|error| self.endpoint.refusal(format!("the answer is no JSON: {error}")))?;
            let found = self.records.iter().try_fold(&value, |value, name| value.get(name));
            let rows = found.ok_or_else(|| {
                self.endpoint.refusal(format!("the answer has no rows at 'records' = '{}'", self.records.join(".")))
            })?;
            for row in rows.as_array().map_or(std::slice::from_ref(rows), Vec::as_slice) {
                lines.extend_from_slice(row.to_string().as_bytes());
                lines.push(b'\n');
            }
        }
        Ok(lines)
    }

    /// Where the next page is. Headers may hold secrets, so it has to be at the same server.
    fn next(&self, url: &Url, answer: &Response) -> Result<Option<Url>, ConnectError> {
        let links = answer.headers().get_all(LINK).iter().filter_map(|links| links.to_str().ok());
        let Some(link) = links.flat_map(|links| links.split(',')).find_map(next_of) else { return Ok(None) };
        match url.join(link) {
            Ok(next) if next.origin() == url.origin() => Ok(Some(next)),
            _ => Err(self
                .endpoint
                .refusal("the next page is said to be at another server, which is not asked".to_owned())),
        }
    }
}

/// The target of `<https://host/path?page=2>; rel="next"`.
fn next_of(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
        name.eq_ignore_ascii_case("rel")
            && value.trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
    };
    parameters.split(';').any(is_next).then_some(target)
}

#[async_trait]
impl Source for Download {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn replays(&self) -> bool {
        // The next answer may be another one.
        false
    }

    fn bad_rows(&self) -> Option<BadRowSample> {
        self.downloaded.get().and_then(|(files, _)| files.bad_rows())
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        self.downloaded().await?.partitions().await
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        self.downloaded().await?.open(partition, from, projection, follow).await
    }
}
