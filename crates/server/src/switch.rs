//! Changes how a view is kept up to date: the one word in its file, and then the project is read again. The view goes on
//! answering: whoever asks meanwhile is answered by what was loaded before, and then by what has kept it so far, until what is to
//! keep it has caught up.

use std::io::Write;
use std::path::Path as FilePath;

use axum::extract::State;
use mulgil_connect::definition::TableName;
use mulgil_sql::mode_text::with_mode;
use mulgil_sql::statement::RefreshMode as Mode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path};
use crate::node::Node;
use crate::views::{RefreshMode, ViewDetail};

/// How a view is to be kept up to date from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchAsk {
    /// The mode.
    pub to: RefreshMode,
}

/// Changes how a view is kept up to date, without a gap in its answers.
///
/// The view's file is changed: one word of it. Where the stream that there is goes on, this answers when it does. Else what is to keep
/// the view is built beside what has kept it so far (`building`), and takes over when it has caught up; this answers when that has begun.
#[utoipa::path(post, path = "/views/{view}/switch", tag = "views",
    params(("view" = String, Path, description = "The view's name.")), request_body = SwitchAsk,
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn switch_view(
    State(node): State<Node>,
    Path(name): Path<String>,
    Json(ask): Json<SwitchAsk>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    let name = TableName::parse(&name);
    loaded.views.status(&name)?;
    let view = loaded.catalog.view(&name).ok_or_else(|| ApiError::conflict(format!("view {name} is being loaded")))?;
    let mode = Mode::from(ask.to);
    if view.mode != mode {
        loaded.views.check_switch(&name, mode)?;
        let file = node.dir.join(&view.file);
        let changed = with_mode(&view.text, mode);
        let changed =
            changed.ok_or_else(|| ApiError::internal(format!("the text of view {name} is not understood")))?;
        // What would be wrong in the file is told before it is there.
        let mut statements = loaded.catalog.statements_of(&name);
        if let Some(own) = statements.last_mut() {
            own.text.clone_from(&changed);
        }
        loaded.catalog.past(&statements).map_err(|problem| ApiError::conflict(problem.to_string()))?;
        let (before, after) = (view.text.clone(), changed);
        let replaced = tokio::task::spawn_blocking(move || replace_in(&file, &before, &after)).await;
        replaced.map_err(|error| ApiError::internal(error.to_string()))?.map_err(ApiError::conflict)?;
    }
    let loaded = node.reloader.reload().await?;
    Ok(Json(ViewDetail::of(loaded.views.status(&name)?, &loaded)))
}

/// Puts a text in place of another that is there once, the file as a whole.
fn replace_in(file: &FilePath, before: &str, after: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(failed)?;
    if text.matches(before).count() != 1 {
        return Err(format!("{} is not what was loaded; reload the project, and try again", file.display()));
    }
    let part = file.with_extension("sql.part");
    let mut written = std::fs::File::create(&part).map_err(failed)?;
    written.write_all(text.replacen(before, after, 1).as_bytes()).map_err(failed)?;
    written.sync_all().map_err(failed)?;
    std::fs::rename(&part, file).map_err(failed)
}

impl From<RefreshMode> for Mode {
    fn from(mode: RefreshMode) -> Self {
        match mode {
            RefreshMode::Full => Self::Full,
            RefreshMode::Continuous => Self::Continuous,
            RefreshMode::Lambda => Self::Lambda,
            RefreshMode::Kappa => Self::Kappa,
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(switch_view))
}
