//! The changes of a view, as they come: a snapshot, and from then on every cut, as server-sent events or page by page.
//!
//! Both forms are the same sequence: `begin`, its `rows`, a `cut`; then the `rows` of each further cut and that `cut`. A
//! reader takes rows over when their `cut` comes, and forgets what it holds when `begin` comes. The cursor of a `cut` is
//! where it can go on.

mod follow;
mod page;

use arrow::array::RecordBatch;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mulgil_connect::definition::TableName;
use mulgil_serving::views::changes::{Beginning, Cut, RowKind, Start, Step, Why};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Path, Query};
use crate::node::Node;
use crate::rows::{columns, json_rows};
use crate::sql::Column;
use crate::views::time;

/// Rows of one event.
const ROWS_OF_EVENT_MAX: usize = 500;

/// Which changes, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// Go on after this cursor. `Last-Event-ID` says the same, and more lately.
    pub after: Option<String>,
    /// `false`: begin without the rows that are there now. What is too far behind gets them all the same.
    pub snapshot: Option<bool>,
    /// Of a page: enough when so many changed rows are together; 1000 unless told. A cut, and a snapshot, come whole.
    pub limit: Option<u32>,
    /// Of a page: wait so long for a change when there is none, in milliseconds; 0 unless told, 60000 at most.
    pub wait_ms: Option<u32>,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Operation {
    /// The row comes.
    #[serde(rename = "+I")]
    Insert,
    /// The row as it was: the next one stands in its place.
    #[serde(rename = "-U")]
    UpdateBefore,
    /// The row as it is now.
    #[serde(rename = "+U")]
    UpdateAfter,
    /// The row goes.
    #[serde(rename = "-D")]
    Delete,
}

/// What becomes of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedRow {
    /// What becomes of it.
    pub op: Operation,
    /// The row: one value a column, as in `Rows`.
    pub row: Vec<serde_json::Value>,
}

/// Why a reader begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeginReason {
    /// It has only begun.
    Asked,
    /// Nothing is known of its cursor: the server, or the view, has been started anew, or nobody has listened for a while.
    UnknownCursor,
    /// What came after its cursor is not kept any more.
    TooFarBehind,
    /// The view's columns are others.
    OtherColumns,
}

/// A step in the changes of a view. The name of its server-sent event is the same word as `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ViewStep {
    /// The reader forgets what it holds of the view.
    Begin(ViewBegin),
    /// Rows that change together with those before and after them, up to the next `cut`.
    Rows(ViewRows),
    /// The rows since the last `cut` count from now on, all at once.
    Cut(ViewCut),
}

/// The reader forgets what it holds of the view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewBegin {
    /// Why.
    pub reason: BeginReason,
    /// Whether the rows up to the next `cut` are all rows of the view.
    pub snapshot: bool,
    /// The columns.
    pub columns: Vec<Column>,
    /// The columns that name a row. Empty: equal rows may stand beside each other.
    pub key: Vec<String>,
}

/// Some changed rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewRows {
    /// The rows, in the order in which they can be applied.
    pub rows: Vec<ChangedRow>,
}

/// A moment of the view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewCut {
    /// Where to go on: the event's id too.
    pub cursor: String,
    /// The view's version: see `ViewSummary`.
    pub version: u64,
    /// When the view was seen like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// A page of a view's changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangesPage {
    /// What has happened, whole cuts. Empty: nothing has.
    pub steps: Vec<ViewStep>,
    /// What to give as `after` next. Absent: the view has no result yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What changes of a view, from a snapshot on.
///
/// With `Accept: text/event-stream` as server-sent events, whose data is a `ViewStep` each, without end; a comment line is sent
/// every 15 seconds. Otherwise one page as JSON, with a cursor for the next.
///
/// Nothing is lost or told twice between a cursor and the next steps. Where the server does not know a cursor any more, it says `begin`
/// and tells all rows again. Several changes of a row between two cuts may be told as one.
#[utoipa::path(get, path = "/views/{view}/changes", tag = "views",
    params(("view" = String, Path, description = "The view's name."), ChangesQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The cursor of the last `cut`.")),
    responses((status = 200, content((ChangesPage = "application/json"), (ViewStep = "text/event-stream"))),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn read_changes(
    State(node): State<Node>,
    Path(name): Path<String>,
    Query(query): Query<ChangesQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let text_of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let after = text_of("last-event-id").map(str::to_owned).or_else(|| query.after.clone());
    let start = match (after, query.snapshot) {
        (Some(cursor), _) => Start::After(cursor),
        (None, Some(false)) => Start::Now,
        (None, _) => Start::Snapshot,
    };
    let name = TableName::parse(&name);
    if text_of(header::ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(follow::stream(node, name, start)?.into_response());
    }
    page::read(&node, &name, start, &query).await.map(IntoResponse::into_response)
}

/// A step of a view on its way out: its rows are written down piece by piece.
struct Telling {
    begin: Option<ViewBegin>,
    rows: Vec<(Vec<RowKind>, RecordBatch)>,
    cut: ViewCut,
}

impl Telling {
    /// What is to be told of a step.
    async fn of(step: Step, cursor: String) -> Result<Self, ApiError> {
        match step {
            Step::Begin(beginning) => Self::of_beginning(beginning, cursor).await,
            Step::Cut(cut) => Ok(Self::of_cut(&cut, cursor)),
        }
    }

    async fn of_beginning(beginning: Beginning, cursor: String) -> Result<Self, ApiError> {
        let name_of = |column: &usize| beginning.schema.fields().get(*column).map(|field| field.name().clone());
        let begin = ViewBegin {
            reason: beginning.why.into(),
            snapshot: beginning.has_snapshot,
            columns: columns(&beginning.schema),
            key: beginning.key.iter().flatten().filter_map(name_of).collect(),
        };
        let cut = ViewCut { cursor, version: beginning.version, at: time(Some(beginning.at_ms)) };
        let failed = |error: &dyn std::error::Error| {
            ApiError::internal("the rows of a view could not be read").with_detail(error.to_string())
        };
        let rows = tokio::task::spawn_blocking(|| beginning.rows()).await.map_err(|error| failed(&error))?;
        let rows = rows.map_err(|error| failed(&error))?.into_iter();
        let rows = rows.map(|rows| (vec![RowKind::Insert; rows.num_rows()], rows)).collect();
        Ok(Self { begin: Some(begin), rows, cut })
    }

    fn of_cut(cut: &Cut, cursor: String) -> Self {
        let told = ViewCut { cursor, version: cut.version, at: time(Some(cut.at_ms)) };
        Self { begin: None, rows: vec![(cut.changes.kinds.clone(), cut.changes.rows.clone())], cut: told }
    }

    /// The steps, one after the other: no more rows are written down than are asked for.
    fn steps(self) -> impl Iterator<Item = Result<ViewStep, ApiError>> + Send {
        let rows = self.rows.into_iter().flat_map(|(kinds, rows)| {
            let begins = (0..rows.num_rows()).step_by(ROWS_OF_EVENT_MAX);
            begins.map(move |begin| {
                let count = ROWS_OF_EVENT_MAX.min(rows.num_rows() - begin);
                changed_rows(kinds.iter().skip(begin), &rows.slice(begin, count))
            })
        });
        let begin = self.begin.map(|begin| Ok(ViewStep::Begin(begin)));
        begin.into_iter().chain(rows).chain(std::iter::once(Ok(ViewStep::Cut(self.cut))))
    }
}

fn changed_rows<'a>(kinds: impl Iterator<Item = &'a RowKind>, rows: &RecordBatch) -> Result<ViewStep, ApiError> {
    let values = json_rows(rows, rows.num_rows()).map_err(|error| {
        ApiError::internal("the rows of a view could not be written as JSON").with_detail(error.to_string())
    })?;
    let rows = kinds.zip(values).map(|(kind, row)| ChangedRow { op: (*kind).into(), row });
    Ok(ViewStep::Rows(ViewRows { rows: rows.collect() }))
}

impl From<RowKind> for Operation {
    fn from(kind: RowKind) -> Self {
        match kind {
            RowKind::Insert => Self::Insert,
            RowKind::UpdateBefore => Self::UpdateBefore,
            RowKind::UpdateAfter => Self::UpdateAfter,
            RowKind::Delete => Self::Delete,
        }
    }
}

impl From<Why> for BeginReason {
    fn from(why: Why) -> Self {
        match why {
            Why::Asked => Self::Asked,
            Why::UnknownCursor => Self::UnknownCursor,
            Why::TooFarBehind => Self::TooFarBehind,
            Why::OtherColumns => Self::OtherColumns,
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(read_changes))
}
