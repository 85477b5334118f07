//! The metrics of running views: sources, subtasks, queues, latency.

use mulgil_engine::status::JobStatus;

use super::Page;

/// Names the metrics, so that each has its meaning once on the page.
pub(super) fn declare(page: &mut Page) {
    page.summary(
        "mulgil_view_latency_seconds",
        "From reading a row to having it in the result; quantiles over the last minute or two.",
    );
    page.counter("mulgil_view_source_rows_total", "Rows read from a partition.");
    page.counter("mulgil_view_source_bytes_total", "What the rows read from a partition took in memory.");
    page.counter("mulgil_view_source_skipped_rows_total", "Rows of a partition that could not be decoded.");
    page.gauge("mulgil_view_source_watermark_seconds", "How far a partition has come in event time.");
    page.gauge("mulgil_view_source_watermark_since_seconds", "When its watermark moved last, in seconds since 1970.");
    page.gauge(
        "mulgil_view_source_lag_rows",
        "Rows of a partition that are there and not read yet, where its system says so.",
    );
    page.gauge("mulgil_view_sink_waiting", "1 while a table waits for its system, such as a database, to be written.");
    page.gauge(
        "mulgil_view_source_waiting",
        "1 while a partition waits for something that should be there, such as a broker.",
    );
    page.gauge("mulgil_view_held_back_since_seconds", "Since when this partition holds the view's event time back.");
    page.counter("mulgil_view_sink_rows_total", "Rows and changes given to a sink.");
    page.counter("mulgil_view_sink_bytes_total", "What the rows given to a sink took in memory.");
    page.counter("mulgil_view_subtask_rows_in_total", "Rows that a subtask has taken in.");
    page.counter("mulgil_view_subtask_rows_out_total", "Rows that a subtask has given out.");
    page.counter("mulgil_view_subtask_bytes_in_total", "What the rows that a subtask has taken in took in memory.");
    page.counter("mulgil_view_subtask_bytes_out_total", "What the rows that a subtask has given out took in memory.");
    page.counter("mulgil_view_subtask_seconds_total", "How a subtask spends its time: busy, blocked or idle.");
    page.gauge("mulgil_view_subtask_state_bytes", "Memory that a subtask holds as state.");
    page.gauge("mulgil_view_subtask_stored_bytes", "State of a subtask in local files, for want of memory.");
    page.gauge("mulgil_view_subtask_input_watermark_seconds", "How far an input of a subtask has come in event time.");
    page.counter("mulgil_view_checkpoints_total", "Checkpoints of a view: completed, failed or given up.");
    page.gauge("mulgil_view_checkpoint_pause_seconds", "How long rows stood still for the last checkpoint.");
    page.gauge("mulgil_view_checkpoint_seconds", "How long the last checkpoint took to write, while rows went on.");
    page.gauge("mulgil_view_checkpoint_bytes", "What the last checkpoint has written.");
    page.gauge("mulgil_view_checkpoint_state_bytes", "What a view's state takes on disk.");
    page.gauge("mulgil_view_edge_queued_bytes", "What waits in the queues of an edge.");
    page.gauge("mulgil_view_edge_fullness", "How full the fullest queue of an edge is; at 1 whoever fills it waits.");
}

/// Writes the values of one view.
pub(super) fn write(page: &mut Page, view: &str, job: &JobStatus) {
    latency(page, view, job);
    sources(page, view, job);
    for sink in &job.sinks {
        let labels = [("view", view), ("sink", sink.table.as_str())];
        page.value("mulgil_view_sink_rows_total", &labels, sink.rows as f64);
        page.value("mulgil_view_sink_bytes_total", &labels, sink.bytes as f64);
    }
    subtasks(page, view, job);
    checkpoints(page, view, job);
    for sink in &job.sinks {
        let waits = job.waits.iter().any(|wait| !wait.is_source && wait.table == sink.table);
        let labels = [("view", view), ("sink", sink.table.as_str())];
        page.value("mulgil_view_sink_waiting", &labels, f64::from(u8::from(waits)));
    }
    for edge in &job.edges {
        let labels =
            [("view", view), ("from", edge.from.as_str()), ("to", edge.to.as_str()), ("exchange", &edge.exchange)];
        page.value("mulgil_view_edge_queued_bytes", &labels, edge.queued_bytes as f64);
        page.value("mulgil_view_edge_fullness", &labels, edge.fullness);
    }
}

fn checkpoints(page: &mut Page, view: &str, job: &JobStatus) {
    let Some(checkpoints) = &job.checkpoints else { return };
    for (outcome, count) in
        [("completed", checkpoints.completed), ("failed", checkpoints.failed), ("given_up", checkpoints.given_up)]
    {
        page.value("mulgil_view_checkpoints_total", &[("view", view), ("outcome", outcome)], count as f64);
    }
    let labels = [("view", view)];
    page.value("mulgil_view_checkpoint_pause_seconds", &labels, checkpoints.pause_ms / 1_000.0);
    page.value("mulgil_view_checkpoint_seconds", &labels, checkpoints.took_ms / 1_000.0);
    page.value("mulgil_view_checkpoint_bytes", &labels, checkpoints.written_bytes as f64);
    page.value("mulgil_view_checkpoint_state_bytes", &labels, checkpoints.state_bytes as f64);
}

fn latency(page: &mut Page, view: &str, job: &JobStatus) {
    let Some(latency) = &job.latency else { return };
    for (quantile, ms) in [("0.5", latency.p50_ms), ("0.95", latency.p95_ms), ("0.99", latency.p99_ms)] {
        page.value("mulgil_view_latency_seconds", &[("view", view), ("quantile", quantile)], ms / 1_000.0);
    }
    page.value("mulgil_view_latency_seconds_sum", &[("view", view)], latency.sum_ms / 1_000.0);
    page.value("mulgil_view_latency_seconds_count", &[("view", view)], latency.rows as f64);
}

fn sources(page: &mut Page, view: &str, job: &JobStatus) {
    for partition in &job.partitions {
        let labels = [("view", view), ("source", partition.table.as_str()), ("partition", &partition.partition)];
        page.value("mulgil_view_source_rows_total", &labels, partition.rows as f64);
        if let Some(lag_rows) = partition.lag_rows {
            page.value("mulgil_view_source_lag_rows", &labels, lag_rows as f64);
        }
        let waits = f64::from(u8::from(partition.waits_for.is_some()));
        page.value("mulgil_view_source_waiting", &labels, waits);
        page.value("mulgil_view_source_bytes_total", &labels, partition.bytes as f64);
        page.value("mulgil_view_source_skipped_rows_total", &labels, partition.skipped_rows as f64);
        if let Some(watermark_ms) = partition.watermark_ms {
            page.value("mulgil_view_source_watermark_seconds", &labels, seconds(watermark_ms));
        }
        page.value("mulgil_view_source_watermark_since_seconds", &labels, seconds(partition.watermark_since_ms));
    }
    if let Some(held) = &job.held_back_by {
        let labels = [("view", view), ("source", held.table.as_str()), ("partition", &held.partition)];
        page.value("mulgil_view_held_back_since_seconds", &labels, seconds(held.since_ms));
    }
}

fn subtasks(page: &mut Page, view: &str, job: &JobStatus) {
    for subtask in &job.subtasks {
        let (stage, number) = (format!("{} {}", subtask.stage, subtask.name), subtask.subtask.to_string());
        let labels = [("view", view), ("stage", stage.trim_end()), ("subtask", number.as_str())];
        page.value("mulgil_view_subtask_rows_in_total", &labels, subtask.rows_in as f64);
        page.value("mulgil_view_subtask_rows_out_total", &labels, subtask.rows_out as f64);
        page.value("mulgil_view_subtask_bytes_in_total", &labels, subtask.bytes_in as f64);
        page.value("mulgil_view_subtask_bytes_out_total", &labels, subtask.bytes_out as f64);
        for (doing, ms) in [("busy", subtask.busy_ms), ("blocked", subtask.blocked_ms), ("idle", subtask.idle_ms)] {
            page.value("mulgil_view_subtask_seconds_total", &with(&labels, [("doing", doing)]), ms as f64 / 1_000.0);
        }
        page.value("mulgil_view_subtask_state_bytes", &labels, subtask.state_size_bytes as f64);
        page.value("mulgil_view_subtask_stored_bytes", &labels, subtask.stored_bytes as f64);
        for (port, input) in subtask.inputs.iter().enumerate() {
            let Some(watermark_ms) = input.watermark_ms else { continue };
            let port = port.to_string();
            let labels = with(&labels, [("input", port.as_str()), ("from", input.from.as_str())]);
            page.value("mulgil_view_subtask_input_watermark_seconds", &labels, seconds(watermark_ms));
        }
    }
}

fn with<'a>(
    labels: &[(&'a str, &'a str)],
    more: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str)> {
    labels.iter().copied().chain(more).collect()
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
