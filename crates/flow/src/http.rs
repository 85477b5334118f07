//! One HTTP request as a task.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;

/// A request, and what its answer has to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HttpTask {
    /// The method, such as `GET`.
    pub method: String,
    /// Where it goes: a template, rendered with [`crate::Quote::None`].
    pub url: String,
    /// Its headers: templates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<HttpBody>,
    /// The statuses that count as success.
    pub expect: Vec<StatusRange>,
    /// How long one request may take.
    pub timeout: SignedDuration,
    /// A larger answer is an error.
    pub bytes_max: u64,
    /// What of the answer becomes the task's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<HttpResult>,
}

impl HttpTask {
    /// How long one request may take, where nothing is said.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_mins(1);
    /// How large an answer may be, where nothing is said.
    pub const BYTES_MAX: u64 = 10 << 20;

    /// Whether a method does the same however often it is called, as RFC 9110 has it.
    #[must_use]
    pub fn is_idempotent(method: &str) -> bool {
        matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
    }

    /// Every text that is a template.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        let mut texts = vec![self.url.as_str()];
        texts.extend(self.headers.values().map(String::as_str));
        match &self.body {
            Some(HttpBody::Text(text)) => texts.push(text),
            Some(HttpBody::Json(value)) => texts_in(value, &mut texts),
            None => {}
        }
        texts
    }
}

fn texts_in<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts_in(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| texts_in(field, texts)),
        _ => {}
    }
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpBody {
    /// A text: a template.
    Text(String),
    /// JSON, in which every text is a template; one that is a single expression becomes that expression's value.
    Json(Value),
}

/// Statuses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StatusRange {
    /// The first.
    pub from: u16,
    /// The last.
    pub to: u16,
}

impl StatusRange {
    /// Every success.
    pub const SUCCESS: Self = Self { from: 200, to: 299 };

    /// Reads `200` or `2xx`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
            return Some(Self { from: class * 100, to: class * 100 + 99 });
        }
        let status = text.parse::<u16>().ok().filter(|status| (100..=599).contains(status))?;
        Some(Self { from: status, to: status })
    }

    /// Whether the status is one of them.
    #[must_use]
    pub fn has(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "{}", self.from),
            false => write!(f, "{}xx", self.from / 100),
        }
    }
}

/// What of an answer becomes the task's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpResult {
    /// Its body, read as JSON.
    Json,
    /// Its body, as a text.
    Body,
}
