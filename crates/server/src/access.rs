//! Who may ask: the guard in front of every route of the API.
//!
//! Two dangers are met here. A *stranger on the network*: beyond loopback every request needs the token. A *web page
//! in the user's own browser*, which can send requests to loopback: it is told apart by the headers that a page cannot
//! forge. A page that has rebound its own host name to 127.0.0.1 (DNS rebinding) still sends that name in `Host`; a
//! page of another origin says so in `Origin` and `Sec-Fetch-Site`. No CORS header is ever sent, so that such a page
//! cannot read answers either.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// The cookie that carries the token for a browser.
const COOKIE: &str = "mulgil_token";
/// The one route that needs no token: probes have none.
const HEALTH: &str = "/api/v1/healthz";

/// Webhooks are called by strangers, under whatever name they know the server by: each request is signed, and says so itself.
const HOOKS: &str = "/api/v1/hooks/";

/// What workers on other machines may ask with a token of their own.
const WORKERS: &str = "/api/v1/workers";

/// What the guard knows.
#[derive(Clone)]
pub(crate) struct Access {
    token: Option<Arc<str>>,
    /// Lets workers in, and nobody else.
    worker_token: Option<Arc<str>>,
    loopback: bool,
}

/// Why a server may not listen where it was told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Others could reach it, and anybody could run commands on it.
    #[error("listening on {address} lets other machines in: set a token (MULGIL_TOKEN), or listen on 127.0.0.1")]
    TokenNeeded {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// A token that can be guessed.
    #[error(
        "the token is shorter than {} characters; take a longer one, such as the output of `openssl rand -hex 16`",
        Access::TOKEN_CHARS_MIN
    )]
    TokenShort,
}

impl Access {
    /// A shorter token could be guessed over the network.
    pub(crate) const TOKEN_CHARS_MIN: usize = 16;

    /// The guard of a server that listens on `address`.
    pub(crate) fn new(address: SocketAddr, token: Option<&str>, worker: Option<&str>) -> Result<Self, AccessError> {
        let loopback = address.ip().is_loopback();
        if token.is_none() && (!loopback || worker.is_some()) {
            return Err(AccessError::TokenNeeded { address });
        }
        if [token, worker].into_iter().flatten().any(|token| token.len() < Self::TOKEN_CHARS_MIN) {
            return Err(AccessError::TokenShort);
        }
        Ok(Self { token: token.map(Arc::from), worker_token: worker.map(Arc::from), loopback })
    }

    /// Whether `given` is the token. Takes the same time wherever the two differ.
    pub(crate) fn is_token(&self, given: &str) -> bool {
        is_same(self.token.as_deref(), given)
    }

    /// The cookie that lets a browser in that has shown the token.
    pub(crate) fn cookie(token: &str) -> String {
        format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict")
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        if request.method() == Method::POST && request.uri().path().starts_with(HOOKS) {
            return Ok(());
        }
        self.check_host(headers)?;
        if changes_something(request.method()) {
            check_origin(headers)?;
        }
        if self.token.is_some() && request.uri().path() != HEALTH {
            self.check_token(headers, request.uri().path())?;
        }
        Ok(())
    }

    /// On loopback the only honest names are loopback's. Beyond it the token does the work.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = text(headers, header::HOST).unwrap_or_default();
        if !self.loopback || is_loopback_name(host) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!("the host {host:?} is not this server's name"))
            .with_hint("ask for it as http://127.0.0.1 or http://localhost"))
    }

    fn check_token(&self, headers: &HeaderMap, path: &str) -> Result<(), ApiError> {
        let bearer = text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        match bearer.or_else(|| cookie(headers)) {
            Some(given) if self.is_token(given) => Ok(()),
            Some(given) if is_same(self.worker_token.as_deref(), given) => match path.strip_prefix(WORKERS) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok(()),
                _ => Err(ApiError::forbidden("with a worker's token only workers come in, to work")),
            },
            Some(_) => Err(ApiError::unauthorized("this is not the server's token")),
            None => Err(ApiError::unauthorized("this server wants a token")
                .with_hint("send the header Authorization: Bearer <token>; in a browser open /?token=<token> once")),
        }
    }
}

/// Lets a request through, or answers in its stead.
pub(crate) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether `given` is the token. Takes the same time wherever the two differ.
fn is_same(token: Option<&str>, given: &str) -> bool {
    let Some(token) = token else { return false };
    let differences = token.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    token.len() == given.len() && differences == 0
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A browser says where a request comes from; programs say nothing and are let through.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = || ApiError::forbidden("a page of another origin may not change anything here");
    if let Some(site) = text(headers, header::HeaderName::from_static("sec-fetch-site"))
        && !matches!(site, "same-origin" | "none")
    {
        return Err(refused());
    }
    let Some(origin) = text(headers, header::ORIGIN) else { return Ok(()) };
    let origin_host = origin.split_once("://").map(|(_, host)| host);
    if origin_host.is_some() && origin_host == text(headers, header::HOST) { Ok(()) } else { Err(refused()) }
}

fn is_loopback_name(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name);
    let name = bracketed.unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name));
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = text(headers, header::COOKIE)?.split(';');
    cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    /// The status expected, the method or path, the headers.
    type Case = (u16, &'static str, &'static [(&'static str, &'static str)]);

    const TOKEN: &str = "0123456789abcdef";
    const WORKER: &str = "abcdef0123456789";

    fn status(access: &Access, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        access
            .check(&request.body(axum::body::Body::empty()).unwrap())
            .map_or_else(|error| error.status.as_u16(), |()| 200)
    }

    #[test]
    fn loopback_takes_loopback_names_and_no_foreign_origin() {
        let access = Access::new("127.0.0.1:7575".parse().unwrap(), None, None).unwrap();
        let cases: &[Case] = &[
            (200, "GET", &[("host", "127.0.0.1:7575")]),
            (200, "GET", &[("host", "localhost:7575")]),
            (200, "GET", &[("host", "[::1]:7575")]),
            (403, "GET", &[("host", "evil.example:7575")]),
            (403, "GET", &[("host", "127.0.0.1.evil.example")]),
            (403, "GET", &[]),
            (200, "POST", &[("host", "localhost:7575")]),
            (
                200,
                "POST",
                &[("host", "localhost:7575"), ("origin", "http://localhost:7575"), ("sec-fetch-site", "same-origin")],
            ),
            (403, "POST", &[("host", "localhost:7575"), ("origin", "http://localhost:9999")]),
            (403, "POST", &[("host", "localhost:7575"), ("origin", "null")]),
            (403, "POST", &[("host", "localhost:7575"), ("sec-fetch-site", "cross-site")]),
            (403, "POST", &[("host", "localhost:7575"), ("sec-fetch-site", "same-site")]),
        ];
        for (expected, method, headers) in cases {
            assert_eq!(status(&access, method, "/api/v1/runs", headers), *expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_at_the_health_probe() {
        let access = Access::new("0.0.0.0:7575".parse().unwrap(), Some(TOKEN), Some(WORKER)).unwrap();
        let cases: &[Case] = &[
            (401, "/api/v1/runs", &[("host", "mulgil.example")]),
            (401, "/api/v1/runs", &[("host", "mulgil.example"), ("authorization", "Bearer 0123456789abcdeg")]),
            (401, "/api/v1/runs", &[("host", "mulgil.example"), ("authorization", "Bearer ")]),
            (200, "/api/v1/runs", &[("host", "mulgil.example"), ("authorization", "Bearer 0123456789abcdef")]),
            (
                200,
                "/api/v1/runs",
                &[("host", "mulgil.example"), ("cookie", "theme=dark; mulgil_token=0123456789abcdef")],
            ),
            (200, "/api/v1/healthz", &[("host", "mulgil.example")]),
            (200, "/api/v1/workers/a@b/poll", &[("host", "h"), ("authorization", "Bearer abcdef0123456789")]),
            (403, "/api/v1/runs", &[("host", "h"), ("authorization", "Bearer abcdef0123456789")]),
            (403, "/api/v1/workersx", &[("host", "h"), ("authorization", "Bearer abcdef0123456789")]),
            (401, "/api/v1/workers", &[("host", "h"), ("authorization", "Bearer abcdef0123456780")]),
        ];
        for (expected, path, headers) in cases {
            assert_eq!(status(&access, "GET", path, headers), *expected, "{path} {headers:?}");
        }
    }

    #[test]
    fn a_webhook_is_called_without_a_token_and_nothing_else_is() {
        let open = Access::new("0.0.0.0:7575".parse().unwrap(), Some(TOKEN), None).unwrap();
        let loopback = Access::new("127.0.0.1:7575".parse().unwrap(), None, None).unwrap();
        let stranger: &[(&str, &str)] = &[("host", "tunnel.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status(&open, "POST", "/api/v1/hooks/f", stranger), 200);
        assert_eq!(status(&loopback, "POST", "/api/v1/hooks/f", stranger), 200);
        for (method, path) in [("GET", "/api/v1/hooks/f"), ("POST", "/api/v1/hooks"), ("POST", "/api/v1/runs")] {
            assert_eq!(status(&open, method, path, &[("host", "h")]), 401, "{method} {path}");
            assert_eq!(status(&loopback, method, path, stranger), 403, "{method} {path}");
        }
    }

    #[test]
    fn listening_beyond_loopback_needs_a_good_token() {
        let open = "0.0.0.0:7575".parse().unwrap();
        assert_eq!(Access::new(open, None, None).err(), Some(AccessError::TokenNeeded { address: open }));
        assert_eq!(Access::new(open, Some("short"), None).err(), Some(AccessError::TokenShort));
    }
}
