//! Counters and gauges in Prometheus' text format. `docs/metrics.md` says what each is.

mod dataflow;
mod scheduler;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use mulgil_connect::definition::TableName;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;
use crate::reload::Loaded;

/// Counters and gauges in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "project",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "default", body = ErrorBody)))]
pub(crate) async fn metrics(State(node): State<Node>) -> Result<Response, ApiError> {
    let mut page = Page::default();
    page.gauge("mulgil_uptime_seconds", "How long the server has been up.");
    page.value("mulgil_uptime_seconds", &[], node.started.elapsed().as_secs_f64());
    let loaded = node.loaded();
    page.gauge("mulgil_problems", "Mistakes in the project's files.");
    page.value("mulgil_problems", &[], loaded.problems.len() as f64);
    page.gauge("mulgil_runs", "Runs in the history, by flow and status.");
    for flow in node.history.flows().await? {
        let counts = [
            ("queued", flow.runs.queued),
            ("running", flow.runs.running),
            ("succeeded", flow.runs.succeeded),
            ("failed", flow.runs.failed),
            ("cancelled", flow.runs.cancelled),
        ];
        for (status, count) in counts {
            page.value("mulgil_runs", &[("flow", &flow.flow), ("status", status)], count as f64);
        }
    }
    scheduler::write(&mut page, &node).await?;
    topics(&mut page, &node)?;
    views(&mut page, &loaded);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.text()).into_response())
}

fn topics(page: &mut Page, node: &Node) -> Result<(), ApiError> {
    page.counter("mulgil_topic_next_offset", "The offset that the next record of a partition gets.");
    page.gauge("mulgil_topic_bytes", "The size of a partition on disk.");
    for topic in node.log.topics() {
        for partition in 0..topic.partitions() {
            let number = partition.to_string();
            let labels = [("topic", topic.name()), ("partition", number.as_str())];
            page.value("mulgil_topic_next_offset", &labels, topic.offsets(partition)?.end as f64);
            page.value("mulgil_topic_bytes", &labels, topic.size_bytes(partition)? as f64);
        }
    }
    Ok(())
}

fn views(page: &mut Page, loaded: &Loaded) {
    page.counter("mulgil_view_rows_in_total", "Rows read by a view.");
    page.counter("mulgil_view_late_rows_total", "Rows that came after their window had closed first.");
    page.counter("mulgil_view_late_rows_dropped_total", "Late rows that the result does not count.");
    page.gauge("mulgil_view_rows", "Rows in a view's result.");
    page.gauge("mulgil_view_watermark_seconds", "How far event time has come, in seconds since 1970.");
    page.counter(
        "mulgil_view_restarts_total",
        "How often a view's job was started again by itself since a person started it.",
    );
    page.gauge("mulgil_view_failed", "1 while a view has failed and waits for a person.");
    let list = loaded.views.list();
    for view in &list {
        let labels = [("view", view.name.as_str())];
        page.value("mulgil_view_rows_in_total", &labels, view.rows_in as f64);
        page.value("mulgil_view_late_rows_total", &labels, (view.late_updated + view.late_dropped) as f64);
        page.value("mulgil_view_late_rows_dropped_total", &labels, view.late_dropped as f64);
        page.value("mulgil_view_rows", &labels, view.rows as f64);
        page.value("mulgil_view_restarts_total", &labels, view.restarts.count as f64);
        let waits = view.state == mulgil_serving::status::ViewState::Failed;
        page.value("mulgil_view_failed", &labels, f64::from(u8::from(waits)));
        if let Some(watermark_ms) = view.watermark_ms {
            page.value("mulgil_view_watermark_seconds", &labels, watermark_ms as f64 / 1000.0);
        }
    }
    dataflow::declare(page);
    for view in list.iter().filter(|view| view.state == mulgil_serving::status::ViewState::Running) {
        if let Ok(Some(job)) = loaded.views.job_status(&TableName::parse(&view.name)) {
            dataflow::write(page, &view.name, &job);
        }
    }
}

/// The page being written: for each metric its meaning, then its values.
#[derive(Default)]
pub(crate) struct Page {
    metrics: Vec<(&'static str, String)>,
}

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str) {
        self.metrics.push((name, format!("# HELP {name} {help}\n# TYPE {name} gauge\n")));
    }

    fn summary(&mut self, name: &'static str, help: &str) {
        self.metrics.push((name, format!("# HELP {name} {help}\n# TYPE {name} summary\n")));
    }

    fn counter(&mut self, name: &'static str, help: &str) {
        self.metrics.push((name, format!("# HELP {name} {help}\n# TYPE {name} counter\n")));
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // `x_count` and `x_sum` stand with the summary `x`.
        let family = name.strip_suffix("_count").or_else(|| name.strip_suffix("_sum")).unwrap_or(name);
        if let Some((_, text)) = self.metrics.iter_mut().find(|(known, _)| *known == name || *known == family) {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    }

    fn text(&self) -> String {
        self.metrics.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(metrics))
}

/// The same page where Prometheus looks for it when nobody tells it otherwise.
pub(crate) fn at_root() -> axum::Router<Node> {
    axum::Router::new().route("/metrics", axum::routing::get(metrics))
}
