//! The rules of `http:` and `wait:`: a request that can be made, one thing to wait for.

use std::collections::BTreeMap;

use super::flow::check_template;
use super::task::Tasks;
use super::value::duration;
use crate::findings::{Findings, Position};
use crate::raw::ResultWord;
use crate::raw::http::{RawHttp, RawWait};
use crate::read::{Entries, Located, OneOrMany, Text};
use crate::yaml::Key;
use crate::{HttpBody, HttpResult, HttpTask, Quote, StatusRange, WaitFor, WaitTask};

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

impl Tasks<'_> {
    /// The request, or, where something is wrong, something harmless.
    pub(super) fn http(
        &self,
        key: &Key,
        raw: RawHttp,
        result: Option<Located<ResultWord>>,
        findings: &mut Findings,
    ) -> HttpTask {
        let method = raw.method.map_or("GET".to_owned(), |text| method(&text, findings));
        let url = match raw.url {
            Some(url) => self.url(url, findings),
            None => {
                if !raw.broken {
                    let remedy = "write http: {url: \"https://example.org/...\"}".to_owned();
                    findings.add(raw.at, format!("task {} has no url to ask", key.text), Some(remedy));
                }
                String::new()
            }
        };
        let headers = self.headers(raw.headers, findings);
        let body = match (raw.body, raw.json) {
            (Some(text), None) => {
                check_template(&text, &self.names_with_secrets(&text.value), self.params, Quote::None, findings);
                Some(HttpBody::Text(text.value))
            }
            (None, Some(json)) => {
                let names = self.names_with_secrets(&json.0.to_string());
                self.with(&names).check_templates_in(&json.0, json.1, findings);
                Some(HttpBody::Json(json.0))
            }
            (Some(_), Some(json)) => {
                findings.add(json.1, "the request has both body and json", Some("keep one of them".to_owned()));
                None
            }
            (None, None) => None,
        };
        if body.is_some() && matches!(method.as_str(), "GET" | "HEAD") {
            let remedy = "write method: POST, or put values into the url".to_owned();
            findings.add(raw.at, format!("a {method} request carries nothing"), Some(remedy));
        }
        let result = result.and_then(|result| match result.value {
            ResultWord::Json => Some(HttpResult::Json),
            ResultWord::Body => Some(HttpResult::Body),
            ResultWord::Row | ResultWord::Rows => {
                let remedy = "write result: json, or result: body".to_owned();
                findings.add(result.at, "an answer has no rows", Some(remedy));
                None
            }
        });
        HttpTask {
            method,
            url,
            headers,
            body,
            expect: statuses(raw.expect, findings),
            timeout: raw.timeout.and_then(|text| duration(&text, "timeout", findings)).unwrap_or(HttpTask::TIMEOUT),
            bytes_max: raw.bytes_max.map_or(HttpTask::BYTES_MAX, |bytes| u64::from(bytes.value)),
            result,
        }
    }

    /// What is waited for, or, where something is wrong, something harmless.
    pub(super) fn wait(&self, key: &Key, mut raw: RawWait, findings: &mut Findings) -> WaitTask {
        let poke_every = raw.poke_every.take().and_then(|text| duration(&text, "poke_every", findings));
        let on_timeout = raw.on_timeout.take().map_or_else(Default::default, |word| word.value);
        let wanted = self.wanted(key, raw, findings);
        WaitTask { wanted, poke_every: poke_every.unwrap_or(WaitTask::POKE_EVERY), on_timeout }
    }

    fn wanted(&self, key: &Key, raw: RawWait, findings: &mut Findings) -> WaitFor {
        let first = |entries: &Option<Entries<Text>>| Some(entries.as_ref()?.0.first()?.0.at);
        stray(first(&raw.values), "partition", raw.partition.is_some(), findings);
        stray(first(&raw.headers), "http", raw.http.is_some(), findings);
        let expect = raw.expect.as_ref().and_then(|expect| Some(expect.0.first()?.at));
        stray(expect, "http", raw.http.is_some(), findings);
        let template = |text: Text, findings: &mut Findings| {
            check_template(&text, self.names, self.params, Quote::None, findings);
            text.value
        };
        let kinds = [&raw.file, &raw.table, &raw.partition, &raw.http, &raw.until, &raw.sql];
        if kinds.iter().filter(|kind| kind.is_some()).count() != 1 {
            if !raw.broken {
                let remedy = "write one of file, table, partition, http, until and sql".to_owned();
                findings.add(raw.at, format!("task {} has to wait for exactly one thing", key.text), Some(remedy));
            }
            return WaitFor::Until(String::new());
        }
        if let Some(file) = raw.file {
            if file.value.contains("://") {
                let remedy = "declare it as a table in sources/, and wait for the table".to_owned();
                findings.add(file.at, format!("{:?} is no file of this machine", file.value), Some(remedy));
            }
            return WaitFor::File(template(file, findings));
        }
        if let Some(table) = raw.table {
            return WaitFor::Table { table: table.value, values: None };
        }
        if let Some(table) = raw.partition {
            let values = raw.values.unwrap_or_default().0.into_iter();
            let values: BTreeMap<_, _> = values.map(|(column, text)| (column.text, template(text, findings))).collect();
            return WaitFor::Table { table: table.value, values: Some(values) };
        }
        if let Some(url) = raw.http {
            let (url, headers) = (self.url(url, findings), self.headers(raw.headers, findings));
            return WaitFor::Http { url, headers, expect: statuses(raw.expect, findings) };
        }
        match (raw.until, raw.sql) {
            (Some(until), _) => WaitFor::Until(template(until, findings)),
            (None, sql) => WaitFor::Sql(sql.map(|sql| template(sql, findings)).unwrap_or_default()),
        }
    }

    fn url(&self, url: Text, findings: &mut Findings) -> String {
        let begins = ["http://", "https://", "{{"].iter().any(|begin| url.value.starts_with(begin));
        if !begins {
            let remedy = "begin it with https:// or http://".to_owned();
            findings.add(url.at, format!("{:?} is no URL", url.value), Some(remedy));
        }
        check_template(&url, &self.names_with_secrets(&url.value), self.params, Quote::None, findings);
        url.value
    }

    fn headers(&self, raw: Option<Entries<Text>>, findings: &mut Findings) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, text) in raw.unwrap_or_default().0 {
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.text.is_empty() || !name.text.chars().all(is_token) {
                let remedy = "letters, digits and -, such as Content-Type".to_owned();
                findings.add(name.at, format!("{:?} cannot be the name of a header", name.text), Some(remedy));
            }
            check_template(&text, &self.names_with_secrets(&text.value), self.params, Quote::None, findings);
            headers.insert(name.text, text.value);
        }
        headers
    }
}

fn method(text: &Text, findings: &mut Findings) -> String {
    let method = text.value.to_ascii_uppercase();
    if !METHODS.contains(&method.as_str()) {
        findings.unknown(text.at, "method", &text.value, METHODS);
    }
    method
}

fn statuses(raw: Option<OneOrMany>, findings: &mut Findings) -> Vec<StatusRange> {
    let mut statuses = Vec::new();
    for text in raw.map(|expect| expect.0).unwrap_or_default() {
        match StatusRange::parse(&text.value) {
            Some(status) => statuses.push(status),
            None => {
                let remedy = "write 200, 2xx or a list of such".to_owned();
                findings.add(text.at, format!("{:?} is no status", text.value), Some(remedy));
            }
        }
    }
    if statuses.is_empty() { vec![StatusRange::SUCCESS] } else { statuses }
}

/// A key that belongs to another, which is not there.
fn stray(at: Option<Position>, to: &str, is_there: bool, findings: &mut Findings) {
    if let Some(at) = at.filter(|_| !is_there) {
        findings.add(at, format!("this belongs to {to}, which is not there"), Some("leave it out".to_owned()));
    }
}
