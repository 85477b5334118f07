//! Webhooks: an address for each flow that has one, at which a signed request starts a run.
//!
//! Who calls is a stranger without a token of this server. The signature is what lets him in: HMAC-SHA256 of the body with a secret that
//! both know, in the header in which GitHub sends it. Until it has been checked nothing is told, not even whether there is such a flow.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use hmac::{Hmac, Mac};
use mulgil_flow::{Flow, Webhook};
use mulgil_history::write::Trigger;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Bytes, Json, Path};
use crate::flows::IDEMPOTENCY_KEY;
use crate::node::Node;
use crate::scheduler::{Arrival, TriggerRequest};

/// The largest body.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// The header with the signature: `sha256=` and 64 hexadecimal digits.
pub(crate) const SIGNATURE: &str = "x-hub-signature-256";
/// What tells a delivery from every other, from GitHub.
pub(crate) const GITHUB_DELIVERY: &str = "x-github-delivery";
/// The same, from who keeps to Standard Webhooks.
pub(crate) const WEBHOOK_ID: &str = "webhook-id";
/// Where all of them are.
pub(crate) const PREFIX: &str = "/api/v1/hooks/";
/// The longest name of a delivery.
const DELIVERY_BYTES_MAX: usize = 255;

/// The run that a delivery stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivered {
    /// The run.
    pub run: i64,
    /// Its name for people.
    pub name: String,
    /// False where the delivery had come before, so that nothing new was started.
    pub created: bool,
}

/// Deliveries since the server started, by flow and outcome.
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Deliveries {
    fn count(&self, flow: &str, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((flow.to_owned(), outcome)).or_default() += 1;
    }

    /// The counts so far: `started`, `known` (it had come before), `refused` (nobody knows who sent it) or `rejected` (it starts no run).
    pub(crate) fn counts(&self) -> BTreeMap<(String, &'static str), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts a run of a flow that has a webhook. The request is signed; no token is needed.
#[utoipa::path(post, path = "/hooks/{flow}", tag = "flows", params(("flow" = String, Path, description = "The flow's name."),
    ("X-Hub-Signature-256" = String, Header, description = "`sha256=` and the HMAC-SHA256 of the body, in hexadecimal."),
    ("Idempotency-Key" = Option<String>, Header, description = "What tells the delivery from every other, else X-GitHub-Delivery or webhook-id: come again, it is the same run.")),
    request_body = serde_json::Value, responses((status = 200, body = Delivered), (status = "default", body = ErrorBody)))]
pub(crate) async fn deliver(
    State(node): State<Node>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Bytes(body): Bytes,
) -> Result<Json<Delivered>, ApiError> {
    let loaded = node.loaded();
    let flow = loaded.folder.flows.iter().map(|source| &source.flow).find(|flow| flow.name == name);
    let hook = flow.and_then(|flow| Some((flow.clone(), flow.triggers.webhook.clone()?)));
    let Some((flow, webhook)) = hook else {
        // Not counted under its name: a stranger could make up as many as he likes.
        node.deliveries.count("", "refused");
        tracing::warn!(flow = name, "a request to a webhook that there is not");
        return Err(refusal());
    };
    if let Err(reason) = check(&node, &webhook, &headers, &body).await {
        node.deliveries.count(&name, "refused");
        tracing::warn!(flow = name, reason, "a request to a webhook was refused");
        return Err(refusal());
    }
    let started = start(&node, &flow, &webhook, &headers, &body).await;
    let outcome = match &started {
        Ok(delivered) if delivered.created => "started",
        Ok(_) => "known",
        Err(_) => "rejected",
    };
    node.deliveries.count(&name, outcome);
    started.map(Json)
}

fn refusal() -> ApiError {
    ApiError::unauthorized("there is no such webhook, or the signature is not the one of this body")
        .with_hint("sign the body with HMAC-SHA256 and send X-Hub-Signature-256: sha256=<hex>")
}

/// Whether the body is signed with the secret that the flow names. The secret is looked up anew, so that a changed one needs no restart.
async fn check(node: &Node, webhook: &Webhook, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let (secrets, name) = (node.secrets.clone(), webhook.secret.clone());
    let secret = tokio::task::spawn_blocking(move || secrets.get(&name)).await;
    let secret = secret.map_err(|error| format!("the secret could not be looked up: {error}"))??;
    let signature = headers.get(SIGNATURE).ok_or_else(|| format!("it has no header {SIGNATURE}"))?;
    if is_signed(secret.as_bytes(), signature.as_bytes(), body) {
        Ok(())
    } else {
        Err("its signature is not the one of its body".to_owned())
    }
}

/// Whether a signature (`sha256=<hex>`) is the one of a body. Takes the same time wherever the two differ.
fn is_signed(secret: &[u8], signature: &[u8], body: &[u8]) -> bool {
    let Some(given) = signature.strip_prefix(b"sha256=").and_then(bytes_of) else { return false };
    // HMAC takes keys of every length.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.chain_update(body).verify_slice(&given).is_ok()
}

fn bytes_of(hexadecimal: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    hexadecimal.chunks(2).map(byte).collect()
}

async fn start(
    node: &Node,
    flow: &Arc<Flow>,
    webhook: &Webhook,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Delivered, ApiError> {
    let body = match body {
        [] => json!({}),
        body => serde_json::from_slice(body).map_err(|error| {
            ApiError::invalid("the body is no JSON")
                .with_detail(error.to_string())
                .with_hint("let the sender send application/json, not a form")
        })?,
    };
    let params = webhook.params_of(flow, &body).map_err(|error| ApiError::invalid(error.to_string()))?;
    let arrival = Arrival { trigger: Trigger::Webhook, id: delivery(headers)? };
    let request =
        TriggerRequest { flow: flow.name.clone(), params, arrival: Some(arrival), ..TriggerRequest::default() };
    let triggered = node.scheduler.trigger(request).await?;
    Ok(Delivered { run: triggered.run.0, name: triggered.name, created: triggered.created })
}

/// What tells the delivery from every other.
fn delivery(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(given) = [IDEMPOTENCY_KEY, GITHUB_DELIVERY, WEBHOOK_ID].iter().find_map(|name| headers.get(*name)) else {
        return Ok(None);
    };
    let text = given.to_str().ok().filter(|text| !text.is_empty() && text.len() <= DELIVERY_BYTES_MAX);
    let wrong = || ApiError::invalid("the name of the delivery is no text of 1 to 255 characters");
    text.map(|text| Some(text.to_owned())).ok_or_else(wrong)
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(deliver).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_this_body_and_this_secret() {
        // GitHub's own example, from its page on validating webhook deliveries.
        let (secret, body) = (b"It's a Secret to Everybody".as_slice(), b"Hello, World!".as_slice());
        let good = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".as_slice();
        assert!(is_signed(secret, good, body));
        assert!(is_signed(secret, &[b"sha256=".as_slice(), &good[7..].to_ascii_uppercase()].concat(), body));
        let wrong: [&[u8]; 7] = [b"", b"sha256=", &good[7..], &good[..70], &good[..69], b"sha256=zz", b"sha1=757107ea"];
        for signature in wrong {
            assert!(!is_signed(secret, signature, body), "{}", String::from_utf8_lossy(signature));
        }
        assert!(!is_signed(b"another secret", good, body) && !is_signed(secret, good, b"Hello, World?"));
    }
}
