//! Pools: how full they are, and what their latest attempts say of how many slots they should have.

use std::collections::BTreeMap;

use axum::extract::State;
use mulgil_sched::advice::{Advice, Load, Worked};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Query};
use crate::node::Node;

/// The newest runs that are looked at, and at most so many attempts of them.
const RUNS: u32 = 500;
const ATTEMPTS_MAX: u32 = 5000;

/// Which attempts are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PoolsQuery {
    /// Only those of this flow. Without it, of all.
    pub flow: Option<String>,
}

/// A pool, and what its latest attempts say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolInfo {
    /// Its name.
    pub pool: String,
    /// How many tasks may run at once.
    pub slots: u32,
    /// How many slots are taken now.
    pub used: u32,
    /// How many tasks wait for one now.
    pub waiting: u32,
    /// The attempts of the latest runs that are looked at below.
    pub attempts: u32,
    /// The share of their time in which they waited for a slot, 0 to 1.
    pub waited_share: f64,
    /// The share of their machines' processors that was used while they were at work, 0 to 1.
    pub cpu_share: f64,
    /// One word: `unknown`, `enough`, `fewer`, `more`, `used_up`.
    pub advice: String,
    /// How many slots would be better, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<u32>,
    /// The advice as a sentence.
    pub sentence: String,
}

/// The pools, and what their latest attempts say of how many slots they should have.
#[utoipa::path(get, path = "/pools", tag = "workers", params(PoolsQuery),
    responses((status = 200, body = [PoolInfo]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_pools(
    State(node): State<Node>,
    Query(ask): Query<PoolsQuery>,
) -> Result<Json<Vec<PoolInfo>>, ApiError> {
    let loaded = node.loaded();
    if let Some(name) = &ask.flow
        && !loaded.folder.flows.iter().any(|source| source.flow.name == *name)
    {
        return Err(ApiError::not_found("flow", name));
    }
    let tasks = loaded.folder.flows.iter().flat_map(|source| {
        let holding = source.flow.tasks.iter().filter(|task| !task.kind.is_slotless() && !task.kind.is_call());
        holding.map(|task| ((source.flow.name.as_str(), task.name.as_str()), task.pool.as_str()))
    });
    let pool_of: BTreeMap<(&str, &str), &str> = tasks.collect();
    let mut worked: BTreeMap<&str, Vec<Worked>> = BTreeMap::new();
    for row in node.history.worked(RUNS, ATTEMPTS_MAX).await? {
        let wanted = ask.flow.as_ref().is_none_or(|flow| *flow == row.flow);
        if let Some(pool) = pool_of.get(&(row.flow.as_str(), row.task.as_str())).filter(|_| wanted) {
            let one = Worked { ready: row.ready, leased: row.leased, ended: row.ended, usage: row.usage };
            worked.entry(pool).or_default().push(one);
        }
    }
    let loads = node.scheduler.pools().await?;
    let info = |now: mulgil_sched::admission::PoolLoad| {
        let load = Load::of(worked.get(now.pool.as_str()).map_or(&[], Vec::as_slice));
        let (advice, better) = match load.advice(now.slots) {
            Advice::Unknown => ("unknown", None),
            Advice::Enough => ("enough", None),
            Advice::Fewer(slots) => ("fewer", Some(slots)),
            Advice::More(slots) => ("more", Some(slots)),
            Advice::UsedUp(_) => ("used_up", None),
        };
        PoolInfo {
            slots: count(now.slots),
            used: count(now.used),
            waiting: count(now.ready),
            attempts: count(load.attempts),
            waited_share: load.waited,
            cpu_share: load.cpu,
            advice: advice.to_owned(),
            better: better.map(count),
            sentence: load.sentence(&now.pool, now.slots),
            pool: now.pool,
        }
    };
    Ok(Json(loads.into_iter().map(info).collect()))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(list_pools))
}
