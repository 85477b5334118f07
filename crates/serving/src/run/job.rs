//! The job of one statement: run to the end of its input; where it follows and keeps checkpoints, started again when it has
//! failed, while that may help.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mulgil_connect::sink::Sink;
use mulgil_dataflow::restart::{Decision, Fault, Restarts};
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobOptions};
use mulgil_engine::status::JobStatus;
use mulgil_sql::session::Session;
use mulgil_sql::stream::{RESULT_SINK, StreamPlan};
use tokio::runtime::Handle;

use super::{RunError, RunOptions, side_sinks, sources};

/// How long what a stream without end has written may wait until it is seen.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// Runs a stream to the end of its input. Gives the number of rows written to its sink.
pub(super) async fn run_job(
    session: &Session,
    plan: StreamPlan,
    options: &RunOptions,
    sink_name: String,
    sink: Arc<dyn Sink>,
) -> Result<u64, RunError> {
    let job_options = job_options(options, &sink_name);
    // Started again, it goes on from its last checkpoint; without, it would write everything again.
    let goes_on = job_options.finds_partitions;
    let mut restarts = Restarts::new(options.restart);
    let mut rows = 0;
    loop {
        let sources = sources(session, &plan)?;
        let mut sinks = side_sinks(session, &plan)?;
        sinks.insert(sink_name.clone(), Arc::clone(&sink));
        let began = Instant::now();
        let started = Job::start(plan.graph.clone(), job_options.clone(), sources, sinks, &Handle::current()).await;
        let (ended, status) = match started {
            Ok(job) => (job.join().await.map(|_| ()), Some(job.status())),
            Err(error) => (Err(error), None),
        };
        let written = status.iter().flat_map(|status| &status.sinks).filter(|sink| sink.table == sink_name);
        rows += written.map(|sink| sink.rows).sum::<u64>();
        match ended {
            Ok(()) => return Ok(rows),
            Err(JobError::NewPartitions { .. }) => {}
            Err(error) if !goes_on => return Err(error.into()),
            Err(error) => {
                let decision =
                    restarts.decide(fault(&error, began, status.as_ref()), RandomState::new().hash_one(rows));
                let Decision::Restart(after) = decision else { return Err(error.into()) };
                tracing::warn!(table = %sink_name, %error, after_ms = after.as_millis(), "it is started again");
                tokio::time::sleep(after).await;
            }
        }
    }
}

fn job_options(options: &RunOptions, sink_name: &str) -> JobOptions {
    let is_insert = sink_name != RESULT_SINK;
    let follow = options.follow && is_insert;
    JobOptions {
        name: sink_name.to_owned(),
        parallelism: options.parallelism,
        follow,
        // Without checkpoints, what a stream that does not end has written is to be seen all the same.
        commit_interval: (follow && options.checkpoints.is_none()).then_some(COMMIT_INTERVAL),
        // What a SELECT gives is gathered anew each time.
        checkpoints: options.checkpoints.as_ref().filter(|_| is_insert).map(|checkpoints| checkpoints.of(sink_name)),
        guarantee: options.guarantee.filter(|_| is_insert),
        state: options.state.as_ref().map(|state| state.of(sink_name)),
        finds_partitions: follow && options.checkpoints.is_some(),
        ..JobOptions::default()
    }
}

fn fault(error: &JobError, began: Instant, status: Option<&JobStatus>) -> Fault {
    let made = status.and_then(|status| status.checkpoints.as_ref());
    Fault {
        kind: error.fault_kind(),
        error: error.to_string(),
        ran_for: began.elapsed(),
        made_progress: made.is_some_and(|made| made.completed > 0 && made.covered_rows > 0),
    }
}
