//! The form of `http:` and `wait:`.

use super::word;
use crate::OnTimeout;
use crate::findings::Findings;
use crate::read::{Anything, Entries, FromNode, Located, OneOrMany, Text, raw_map};
use crate::yaml::Node;

raw_map! {
    /// One HTTP request.
    RawHttp: "the http task" {
        /// GET (the default), POST, PUT, PATCH, DELETE or HEAD.
        "method" method: Text,
        /// Where the request goes; may be a template.
        #[schemars(required)]
        "url" url: Text,
        /// Headers by name; the values may be templates, also with secrets.
        "headers" headers: Entries<Text>,
        /// What the request carries, as a text; may be a template.
        "body" body: Text,
        /// What the request carries, as JSON; texts in it may be templates.
        "json" json: Anything,
        /// The status that counts as success, or a list: `200`, `2xx`. Without it, 2xx.
        "expect" expect: OneOrMany,
        /// How long one request may take. Without it, one minute.
        "timeout" timeout: Text,
        /// How many bytes an answer may have. Without it, 10 MiB.
        "max_bytes" bytes_max: Located<u32>,
    }
}

raw_map! {
    /// What a task waits for: exactly one of file, table, partition, http, until or sql.
    RawWait: "the wait task" {
        /// A path relative to the project's folder, with `*`, `?` and `**`; may be a template.
        "file" file: Text,
        /// A table that has to have rows.
        "table" table: Text,
        /// A table whose partition has to have rows: the one of the run's `ds`, or that of `values`.
        "partition" partition: Text,
        /// Which partition: column and value, which may be a template.
        "values" values: Entries<Text>,
        /// A URL that has to answer with a status of `expect`.
        "http" http: Text,
        /// Headers of the request by name; the values may be templates, also with secrets.
        "headers" headers: Entries<Text>,
        /// The status that is waited for, or a list: `200`, `2xx`. Without it, 2xx.
        "expect" expect: OneOrMany,
        /// A date or time, such as `{{ ds }}T08:00`; may be a template.
        "until" until: Text,
        /// A query of one column, whose first row has to be true.
        "sql" sql: Text,
        /// The pause between two looks, such as `30s`, which is the default.
        "poke_every" poke_every: Text,
        /// What becomes of the task when its timeout is over: fail (the default) or skip.
        "on_timeout" on_timeout: Located<OnTimeout>,
    }
}

impl FromNode for Located<OnTimeout> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "end", &[("fail", OnTimeout::Fail), ("skip", OnTimeout::Skip)], findings)
    }
}
