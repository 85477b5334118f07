//! A server that stands by answers reads itself, out of the history that all share, and hands on to the one that leads whatever would
//! change something.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ureq::Agent;

use crate::error::ApiError;
use crate::flows::IDEMPOTENCY_KEY;
use crate::hooks;

/// The most that is handed on in one request.
const BODY_MAX_BYTES: usize = 64 << 20;
/// How long the other server may take to be reached.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// What a request brings along; the rest belongs to its connection.
const HEADERS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::COOKIE,
    HeaderName::from_static(IDEMPOTENCY_KEY),
    HeaderName::from_static(hooks::SIGNATURE),
    HeaderName::from_static(hooks::GITHUB_DELIVERY),
    HeaderName::from_static(hooks::WEBHOOK_ID),
];
/// Who works is known where decisions are made alone.
const WORKERS: &str = "/api/v1/workers";
/// Tells a request that was handed on already: two servers that each take the other for the leader do not play ball.
const HANDED_ON: &str = "x-mulgil-handed-on";

/// Says whether this server leads.
#[derive(Clone)]
pub struct Standing(Arc<dyn Fn() -> Where + Send + Sync>);

/// Where decisions are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// Here.
    Here,
    /// At the server with this URL; `None` while it is not known.
    There(Option<String>),
}

impl Standing {
    /// Asks this function each time.
    pub fn new(place: impl Fn() -> Where + Send + Sync + 'static) -> Self {
        Self(Arc::new(place))
    }

    /// Where decisions are made now.
    pub fn place(&self) -> Where {
        (self.0)()
    }
}

impl Default for Standing {
    /// This server always leads.
    fn default() -> Self {
        Self::new(|| Where::Here)
    }
}

/// Hands a request on that only the server that leads can answer.
pub(crate) async fn hand_on(State(standing): State<Standing>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match standing.place() {
        Where::There(leader) if !reads || request.uri().path() == WORKERS => match leader {
            Some(url) if !request.headers().contains_key(HANDED_ON) => {
                send(&url, request).await.unwrap_or_else(IntoResponse::into_response)
            }
            _ => ApiError::unavailable("no server leads at the moment").with_hint("try again").into_response(),
        },
        _ => next.run(request).await,
    }
}

async fn send(url: &str, request: Request) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    // Of those who have not shown who they are yet, no more is taken than the one that leads would take.
    let most = if head.uri.path().starts_with(hooks::PREFIX) { hooks::BODY_BYTES_MAX } else { BODY_MAX_BYTES };
    let body = to_bytes(body, most).await.map_err(|error| ApiError::too_large(error.to_string()))?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = ureq::http::Request::builder().method(head.method.as_str()).uri(format!("{url}{path}"));
    for name in &HEADERS {
        if let Some(value) = head.headers.get(name) {
            onward = onward.header(name.as_str(), value.as_bytes());
        }
    }
    let onward = onward.header(HANDED_ON, "1").body(body.to_vec());
    let onward = onward.map_err(|error| ApiError::internal(error.to_string()))?;
    let leader = url.to_owned();
    let answered = tokio::task::spawn_blocking(move || ask(onward)).await;
    let answered = answered.map_err(|error| ApiError::internal(error.to_string()))?;
    let (status, kind, body) = answered.map_err(|reason| {
        ApiError::unavailable(format!("the server that leads, {leader}, does not answer: {reason}"))
            .with_hint("try again")
    })?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    Ok((status, [(header::CONTENT_TYPE, kind)], Body::from(body)).into_response())
}

fn ask(request: ureq::http::Request<Vec<u8>>) -> Result<(u16, String, Bytes), String> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_connect(Some(CONNECT_MAX))
        .proxy(None)
        .build();
    let mut response = Agent::from(config).run(request).map_err(|error| error.to_string())?;
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("application/json").to_owned();
    let body = response.body_mut().with_config().limit(BODY_MAX_BYTES as u64).read_to_vec();
    Ok((response.status().as_u16(), kind, Bytes::from(body.map_err(|error| error.to_string())?)))
}
