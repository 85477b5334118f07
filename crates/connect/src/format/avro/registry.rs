//! A schema registry, as Confluent's speaks: schemas by number, and numbers for schemas.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arrow::error::ArrowError;
use arrow_avro::schema::AvroSchema;
use serde::Deserialize;
use serde_json::json;
use ureq::Agent;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A registry, and what it has said.
#[derive(Debug)]
pub(crate) struct Registry {
    url: String,
    /// Under what name schemas of this table are registered.
    subject: String,
    agent: Agent,
    /// Schemas by number: what a number means never changes.
    schemas: Mutex<HashMap<u32, AvroSchema>>,
    /// Numbers of schemas that were registered.
    registered: Mutex<HashMap<String, u32>>,
}

#[derive(Deserialize)]
struct Answer {
    schema: Option<String>,
    id: Option<u32>,
    message: Option<String>,
}

impl Registry {
    /// Asks nothing yet.
    pub(crate) fn new(url: &str, subject: String) -> Self {
        let config = Agent::config_builder().timeout_global(Some(ANSWER_TIMEOUT)).http_status_as_error(false);
        let url = url.trim_end_matches('/').to_owned();
        Self { url, subject, agent: config.build().into(), schemas: Mutex::default(), registered: Mutex::default() }
    }

    /// The schema of that number; `None` where the registry knows none. Blocks, when it is asked for the first time.
    pub(crate) fn schema(&self, id: u32) -> Result<Option<AvroSchema>, ArrowError> {
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = schemas.get(&id) {
            return Ok(Some(schema.clone()));
        }
        let url = format!("{}/schemas/ids/{id}", self.url);
        let (status, answer) = self.answer(&url, self.agent.get(&url).call())?;
        match (status, answer.schema) {
            (200, Some(schema)) => Ok(Some(schemas.entry(id).or_insert_with(|| AvroSchema::new(schema)).clone())),
            (404, _) => Ok(None),
            (status, _) => Err(self.refused(&url, status, answer.message)),
        }
    }

    /// The number of a schema, under which everybody finds it from now on. Blocks, the first time.
    pub(crate) fn register(&self, schema: &AvroSchema) -> Result<u32, ArrowError> {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = registered.get(&schema.json_string) {
            return Ok(*id);
        }
        let subject = percent_encoding::utf8_percent_encode(&self.subject, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("{}/subjects/{subject}/versions", self.url);
        let request = self.agent.post(&url).content_type("application/vnd.schemaregistry.v1+json");
        let (status, answer) = self.answer(&url, request.send_json(json!({ "schema": schema.json_string })))?;
        match (status, answer.id) {
            (200 | 201, Some(id)) => Ok(*registered.entry(schema.json_string.clone()).or_insert(id)),
            (status, _) => Err(self.refused(&url, status, answer.message)),
        }
    }

    fn answer(
        &self,
        url: &str,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Answer), ArrowError> {
        let failed = |error: ureq::Error| ArrowError::ExternalError(format!("schema registry {url}: {error}").into());
        let mut response = sent.map_err(failed)?;
        let status = response.status().as_u16();
        // An error may come with a page of something else.
        let empty = Answer { schema: None, id: None, message: None };
        let answer = response.body_mut().read_json::<Answer>();
        Ok((status, if status == 200 { answer.map_err(failed)? } else { answer.unwrap_or(empty) }))
    }

    fn refused(&self, url: &str, status: u16, message: Option<String>) -> ArrowError {
        let message = message.unwrap_or_else(|| "no reason given".to_owned());
        ArrowError::ExternalError(format!("schema registry {url} answers {status}: {message}").into())
    }
}
