//! The web UI: the files of `ui/dist`, embedded in the binary.

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use rust_embed::RustEmbed;

use crate::access::Access;
use crate::error::ApiError;

#[derive(RustEmbed)]
#[folder = "../../ui/dist"]
struct Dist;

const INDEX: &str = "index.html";
/// Vite puts a hash of the content into the names of what stands here, so that such a file never changes.
const HASHED: &str = "assets/";
/// The page runs its own scripts only, talks to its own server only, and stands in nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NO_UI: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Mulgil</title>\
    <h1>Mulgil is running, without its web UI</h1>\
    <p>This binary was built while <code>ui/dist</code> was empty. Build the UI, then the binary again: \
    <code>npm --prefix ui ci &amp;&amp; npm --prefix ui run build &amp;&amp; cargo build</code></p>\
    <p>The API is at <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>.</p></html>";

/// Answers whatever is not the API: a file of the UI, else its page, which knows its own routes.
pub(crate) async fn serve(State(access): State<Access>, method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return ApiError::not_found("route", uri.path())
            .with_hint("GET /api/v1/openapi.json lists the routes")
            .into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if let Some(answer) = let_in(&access, &uri) {
        return answer;
    }
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    let mut answer = match Dist::get(path) {
        Some(file) => file_answer(path, file.data),
        None if is_file => return StatusCode::NOT_FOUND.into_response(),
        None => match Dist::get(INDEX) {
            Some(file) => file_answer(INDEX, file.data),
            None => Html(NO_UI).into_response(),
        },
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let kept = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    answer
}

/// `/?token=...` gives a browser the token as a cookie, and takes it out of the address line.
fn let_in(access: &Access, uri: &Uri) -> Option<Response> {
    let token = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    let mut answer = Redirect::to(uri.path()).into_response();
    if access.is_token(token) {
        let cookie = HeaderValue::from_str(&Access::cookie(token)).ok()?;
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Some(answer)
}

fn file_answer(path: &str, data: std::borrow::Cow<'static, [u8]>) -> Response {
    ([(header::CONTENT_TYPE, media_type(path))], data).into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
