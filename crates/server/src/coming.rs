//! Runs to come: when a flow's schedule fires next, or around any date, such as one on which clocks jump.

use axum::extract::State;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::flows::NextRun;
use crate::node::Node;

/// How many are told unless said.
const COUNT_DEFAULT: usize = 20;
/// Nobody reads more.
const COUNT_MAX: usize = 1000;

/// Which runs to come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ComingQuery {
    /// At most so many; 20 unless told, 1000 at most.
    pub count: Option<usize>,
    /// From this local date on, past or to come; from now on unless told.
    pub from: Option<Date>,
}

/// When a flow's schedule fires, and what each run is about, whether the schedule is paused or not.
#[utoipa::path(get, path = "/flows/{flow}/next", tag = "flows",
    params(("flow" = String, Path, description = "The flow's name."), ComingQuery),
    responses((status = 200, body = [NextRun]), (status = "default", body = ErrorBody)))]
pub(crate) async fn next_runs(
    State(node): State<Node>,
    Path(name): Path<String>,
    Query(ask): Query<ComingQuery>,
) -> Result<Json<Vec<NextRun>>, ApiError> {
    let loaded = node.loaded();
    let known = loaded.folder.flows.iter().find(|source| source.flow.name == name);
    let flow = &known.ok_or_else(|| ApiError::not_found("flow", &name))?.flow;
    let Some(schedule) = &flow.schedule else { return Ok(Json(Vec::new())) };
    let after = match ask.from {
        None => Timestamp::now(),
        Some(date) => {
            let midnight = date.to_zoned(flow.timezone.clone()).map(|zoned| zoned.timestamp());
            let before = midnight.and_then(|midnight| midnight.checked_sub(jiff::SignedDuration::from_nanos(1)));
            before.map_err(|error| ApiError::invalid(format!("{date} is out of range: {error}")))?
        }
    };
    let count = ask.count.unwrap_or(COUNT_DEFAULT).min(COUNT_MAX);
    let fires = schedule.fires(after).take(count);
    Ok(Json(fires.map(|fire| NextRun { interval: fire.interval.into(), fires_at: fire.at }).collect()))
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(next_runs))
}
