//! The scheduler's figures: pools, runs and attempts by flow, its own pace, the outbox.

use std::collections::BTreeMap;

use super::Page;
use crate::error::ApiError;
use crate::node::Node;
use crate::scheduler::{Ends, Gauges};

/// Writes them. On a server that stands by there is no scheduler, and what waits in the outbox is all there is to say.
pub(super) async fn write(page: &mut Page, node: &Node) -> Result<(), ApiError> {
    if let Ok(gauges) = node.scheduler.gauges().await {
        pools(page, &gauges);
        pace(page, &gauges);
        ended(page, ["mulgil_runs_ended_total", "mulgil_run_seconds"], "runs, from their start", &gauges.tally.runs);
        let names = ["mulgil_attempts_ended_total", "mulgil_attempt_seconds"];
        ended(page, names, "attempts, from their lease", &gauges.tally.attempts);
    }
    page.counter("mulgil_hooks_total", "Requests to webhooks since this server started, by flow and outcome.");
    for ((flow, outcome), count) in node.deliveries.counts() {
        page.value("mulgil_hooks_total", &[("flow", &flow), ("outcome", outcome)], count as f64);
    }
    page.gauge("mulgil_notices", "Notices in the outbox, by channel and status.");
    let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for count in node.history.notice_counts().await? {
        // The address of a flow's own webhook is nobody's business here.
        let own = ["webhook:", "lineage:"].into_iter().find(|own| count.channel.starts_with(own));
        let channel = own.map_or(count.channel, |own| own.trim_end_matches(':').to_owned());
        *counts.entry((channel, count.status.word())).or_default() += count.notices;
    }
    for ((channel, status), notices) in counts {
        page.value("mulgil_notices", &[("channel", &channel), ("status", status)], notices as f64);
    }
    Ok(())
}

fn pools(page: &mut Page, gauges: &Gauges) {
    page.gauge("mulgil_pool_slots", "How many tasks of a pool may run at once.");
    page.gauge("mulgil_pool_slots_used", "How many tasks of a pool hold a live lease.");
    page.gauge("mulgil_pool_tasks_ready", "How many tasks of a pool wait for a slot.");
    for load in &gauges.pools {
        let labels = [("pool", load.pool.as_str())];
        page.value("mulgil_pool_slots", &labels, load.slots as f64);
        page.value("mulgil_pool_slots_used", &labels, load.used as f64);
        page.value("mulgil_pool_tasks_ready", &labels, load.ready as f64);
    }
}

fn pace(page: &mut Page, gauges: &Gauges) {
    page.gauge("mulgil_scheduler_runs_open", "Runs that have not ended.");
    page.value("mulgil_scheduler_runs_open", &[], gauges.runs_open as f64);
    page.gauge("mulgil_scheduler_leases", "Attempts that a worker holds a live lease on.");
    page.value("mulgil_scheduler_leases", &[], gauges.leases as f64);
    page.gauge("mulgil_scheduler_timers", "Things that are due at a time: retries, leases, schedules, deadlines.");
    page.value("mulgil_scheduler_timers", &[], gauges.timers as f64);
    page.gauge("mulgil_scheduler_lag_seconds", "How late the last timer was heard.");
    page.value("mulgil_scheduler_lag_seconds", &[], gauges.tally.lag.as_secs_f64());
    page.summary("mulgil_scheduler_commit_seconds", "Commits to the history, with every try.");
    page.value("mulgil_scheduler_commit_seconds_sum", &[], gauges.tally.commits.seconds);
    page.value("mulgil_scheduler_commit_seconds_count", &[], gauges.tally.commits.count as f64);
    page.gauge("mulgil_notices_waiting", "Notices that wait to be delivered.");
    page.value("mulgil_notices_waiting", &[], gauges.notices_waiting as f64);
}

fn ended(page: &mut Page, names: [&'static str; 2], what: &str, ends: &BTreeMap<(String, &'static str), Ends>) {
    let [total, seconds] = names;
    page.counter(total, &format!("Ended {what}, by flow and status, since this server leads."));
    page.summary(seconds, &format!("How long ended {what}, took, by flow and status."));
    let (sum, count) = (format!("{seconds}_sum"), format!("{seconds}_count"));
    for ((flow, status), ends) in ends {
        let labels = [("flow", flow.as_str()), ("status", *status)];
        page.value(total, &labels, ends.count as f64);
        page.value(&sum, &labels, ends.seconds);
        page.value(&count, &labels, ends.count as f64);
    }
}
