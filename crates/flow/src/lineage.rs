//! What other systems hear of data: events of OpenLineage (<https://openlineage.io>), one for each start and end of a run and of an
//! attempt at a task, with the tables that the task reads and writes as far as its definition names them.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::{DataInterval, Flow, Task, TaskKind};

const PRODUCER: &str = concat!("https://github.com/mulgil/mulgil/tree/", env!("CARGO_PKG_VERSION"));
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACETS: &str = "https://openlineage.io/spec/facets";

/// Where events go. The address and the token may be `env:NAME` or `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lineage {
    /// The endpoint, such as `https://marquez.example.org/api/v1/lineage`.
    #[serde(skip)]
    pub url: String,
    /// What is sent as `Authorization: Bearer`.
    #[serde(skip)]
    pub token: Option<String>,
    /// The namespace of jobs and tables; `None` is the project's name.
    pub namespace: Option<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineageEvent {
    /// It began.
    Start,
    /// It succeeded.
    Complete,
    /// It failed.
    Fail,
    /// It was stopped.
    Abort,
}

impl LineageEvent {
    /// OpenLineage's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
            Self::Abort => "ABORT",
        }
    }
}

/// A run, or an attempt at one of its tasks.
#[derive(Clone, Copy, Debug)]
pub struct LineageRun<'a> {
    /// The namespace of jobs and tables.
    pub namespace: &'a str,
    /// The flow.
    pub flow: &'a Flow,
    /// The run's number, and when it was made or begun: so the same number in another history is another run.
    pub run: (i64, Timestamp),
    /// The span of time that it is about.
    pub interval: Option<DataInterval>,
    /// The task and the attempt's number; `None` is the run as a whole.
    pub attempt: Option<(&'a Task, u32)>,
}

impl LineageRun<'_> {
    /// An event of it.
    #[must_use]
    pub fn event(&self, event: LineageEvent, error: Option<&str>, at: Timestamp) -> Value {
        let mut facets = serde_json::Map::new();
        if let Some(interval) = self.interval {
            let time =
                json!({"nominalStartTime": interval.start.to_string(), "nominalEndTime": interval.end.to_string()});
            facets.insert(
                "nominalTime".to_owned(),
                facet("1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet", time),
            );
        }
        if self.attempt.is_some() {
            let job = json!({"namespace": self.namespace, "name": self.flow.name});
            let parent = json!({"run": {"runId": self.id(None)}, "job": job});
            facets.insert("parent".to_owned(), facet("1-1-0/ParentRunFacet.json#/$defs/ParentRunFacet", parent));
        }
        if let Some(error) = error {
            let said = json!({"message": error, "programmingLanguage": "unknown"});
            let schema = "1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet";
            facets.insert("errorMessage".to_owned(), facet(schema, said));
        }
        let name = match self.attempt {
            None => self.flow.name.clone(),
            Some((task, _)) => format!("{}.{}", self.flow.name, task.name),
        };
        let (inputs, outputs) = self.attempt.map_or((None, None), |(task, _)| tables(task));
        let dataset = |table: &str| json!({"namespace": self.namespace, "name": table});
        json!({
            "eventType": event.word(),
            "eventTime": at.to_string(),
            "run": {"runId": self.id(self.attempt), "facets": facets},
            "job": {"namespace": self.namespace, "name": name, "facets": {}},
            "inputs": inputs.into_iter().map(dataset).collect::<Vec<_>>(),
            "outputs": outputs.into_iter().map(dataset).collect::<Vec<_>>(),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
        })
    }

    /// A UUID (version 8: our own) that is the same for every event of the same thing.
    fn id(&self, attempt: Option<(&Task, u32)>) -> String {
        let task = attempt.map_or(String::new(), |(task, number)| format!("{}/{number}", task.name));
        let text =
            format!("{}/{}/{}/{}/{task}", self.namespace, self.flow.name, self.run.0, self.run.1.as_microsecond());
        let hash = xxh3_128(text.as_bytes());
        let bits = (hash & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        let part = |from, to| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

fn facet(schema: &str, mut facet: Value) -> Value {
    if let Some(fields) = facet.as_object_mut() {
        fields.insert("_producer".to_owned(), PRODUCER.into());
        fields.insert("_schemaURL".to_owned(), format!("{FACETS}/{schema}").into());
    }
    facet
}

/// The table that a task reads and the one that it writes, as far as its definition names them.
fn tables(task: &Task) -> (Option<&str>, Option<&str>) {
    match &task.kind {
        TaskKind::Transfer { from, target, .. } => (Some(from), Some(&target.table)),
        TaskKind::Sql { target: Some(target), .. } => (None, Some(&target.table)),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;
    use crate::Project;

    const FLOW: &str = "flow: f
schedule: '@daily'
tasks:
  land: {transfer: {from: raw.a, to: lake.a}}
  sum: {needs: [land], sql: SELECT 1 AS n, to: mart.b}
  tell: {needs: [sum], shell: 'true'}";

    fn is_uuid(text: &str) -> bool {
        let parts: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        lengths == [8, 4, 4, 4, 12]
            && parts.concat().chars().all(|c| c.is_ascii_hexdigit())
            && parts[2].starts_with('8')
            && ["8", "9", "a", "b"].iter().any(|variant| parts[3].starts_with(variant))
    }

    /// What the schema of OpenLineage 2-0-2 asks for: `RunEvent`, `Run`, `Job`, `Dataset`, `BaseFacet`.
    fn assert_valid(event: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned).filter(|text| !text.is_empty()).expect("a text");
        assert!(text(&event["eventTime"]).parse::<Timestamp>().is_ok());
        assert!(
            ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"].contains(&text(&event["eventType"]).as_str())
        );
        assert!(text(&event["producer"]).starts_with("https://") && text(&event["schemaURL"]).starts_with("https://"));
        assert!(is_uuid(&text(&event["run"]["runId"])), "{event}");
        for named in [&event["job"]]
            .into_iter()
            .chain(event["inputs"].as_array().unwrap())
            .chain(event["outputs"].as_array().unwrap())
        {
            text(&named["namespace"]);
            text(&named["name"]);
        }
        for (_, facet) in event["run"]["facets"].as_object().unwrap() {
            assert!(
                text(&facet["_producer"]).starts_with("https://") && text(&facet["_schemaURL"]).starts_with("https://")
            );
        }
    }

    #[test]
    fn every_event_has_what_the_schema_asks_for() {
        let text = FLOW.replace("'@daily'", "{cron: '@daily'}");
        let flow = Flow::parse("f.yaml", &text, &Project::default()).unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let interval = Some(DataInterval { start: at, end: "1970-01-02T00:00:00Z".parse().unwrap() });
        let run = LineageRun { namespace: "shop", flow: &flow, run: (7, at), interval, attempt: None };
        let of = |task: &str, number| LineageRun { attempt: Some((flow.task(task).unwrap(), number)), ..run };
        let tables =
            [("land", vec!["raw.a"], vec!["lake.a"]), ("sum", vec![], vec!["mart.b"]), ("tell", vec![], vec![])];
        for (task, inputs, outputs) in tables {
            let event = of(task, 1).event(LineageEvent::Fail, Some("no such file"), at);
            assert_valid(&event);
            let names = |key: &str| -> Vec<String> {
                event[key].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(
                (names("inputs"), names("outputs")),
                (inputs.iter().map(ToString::to_string).collect(), outputs.iter().map(ToString::to_string).collect())
            );
            let facets = &event["run"]["facets"];
            assert_eq!(event["job"]["name"], format!("f.{task}"));
            assert_eq!(facets["parent"]["run"]["runId"], run.event(LineageEvent::Start, None, at)["run"]["runId"]);
            assert_eq!(
                (&facets["errorMessage"]["message"], &facets["nominalTime"]["nominalEndTime"]),
                (&"no such file".into(), &"1970-01-02T00:00:00Z".into())
            );
        }
        let id = |run: &LineageRun<'_>, event| run.event(event, None, at)["run"]["runId"].clone();
        assert_valid(&run.event(LineageEvent::Abort, None, at));
        assert_eq!(id(&of("sum", 1), LineageEvent::Start), id(&of("sum", 1), LineageEvent::Complete));
        assert_ne!(id(&of("sum", 1), LineageEvent::Start), id(&of("sum", 2), LineageEvent::Start));
    }
}
