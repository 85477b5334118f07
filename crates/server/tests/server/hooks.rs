//! Webhooks: who signs the body starts a run, and nobody else.

use hmac::{Hmac, Mac};
use mulgil_server::status::RunStatus;
use serde_json::{Value, json};
use sha2::Sha256;

use super::fixture::Fixture;

const PROJECT: (&str, &str) = ("mulgil.yaml", "name: little\nsecrets: {hook: file:hook.secret}\n");
const FLOW: (&str, &str) = (
    "flows/push.yaml",
    "flow: push\ntriggers: [{webhook: {secret: hook, params: {repo: repository.full_name}}}]\n\
     params: {repo: {type: string}, n: {default: 1, max: 9}}\ntasks: {t: {shell: 'echo {{ params.repo }} {{ params.n }}'}}\n",
);
const PLAIN: (&str, &str) = ("flows/plain.yaml", "flow: plain\ntasks: {t: {shell: 'true'}}\n");
const SECRET: &str = "a secret of the sender";
const TOKEN: &str = "0123456789abcdef";

fn signed(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// A request by a stranger: no token, another host.
async fn call(fixture: &Fixture, flow: &str, body: &str, headers: &[(&'static str, String)]) -> (u16, Value) {
    let url = format!("{}/api/v1/hooks/{flow}", fixture.client.url());
    let (body, headers) = (body.to_owned(), headers.to_vec());
    let sent = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = headers.iter().fold(agent.post(&url), |request, (name, value)| request.header(*name, value));
        let mut answer = request.header("host", "tunnel.example").send(body.as_str()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or_default())
    });
    sent.await.unwrap()
}

async fn metrics(fixture: &Fixture) -> String {
    let url = format!("{}/metrics", fixture.client.url());
    let read = tokio::task::spawn_blocking(move || {
        let bearer = format!("Bearer {TOKEN}");
        ureq::get(&url).header("authorization", &bearer).call().unwrap().body_mut().read_to_string().unwrap()
    });
    read.await.unwrap()
}

fn body(repo: &str) -> String {
    json!({"repository": {"full_name": repo}, "n": 2, "more": [1]}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_starts_a_run_and_come_again_it_is_the_same_one() {
    let fixture = Fixture::start_with(&[PROJECT, FLOW, PLAIN, ("hook.secret", SECRET)], Some(TOKEN)).await;
    let with = |body: &str, delivery: Option<&str>| {
        let mut headers = vec![("x-hub-signature-256", signed(SECRET, body))];
        headers.extend(delivery.map(|delivery| ("x-github-delivery", delivery.to_owned())));
        headers
    };
    let text = body("a/b");
    let (status, first) = call(&fixture, "push", &text, &with(&text, Some("one"))).await;
    assert_eq!((status, &first["created"]), (200, &true.into()), "{first}");
    let name: &'static str = first["name"].as_str().unwrap().to_owned().leak();
    let run = fixture.run_with(name, RunStatus::Succeeded).await;
    assert_eq!((run.params["repo"].clone(), run.params["n"].clone()), (json!("a/b"), json!(2)));
    assert_eq!(serde_json::to_value(run.summary.origin).unwrap(), "webhook");
    // The same delivery again is the same run; another one with the same body is another, and so is one without a name.
    let (status, again) = call(&fixture, "push", &text, &with(&text, Some("one"))).await;
    assert_eq!((status, &again["created"], &again["run"]), (200, &false.into(), &first["run"]));
    let mut runs = vec![first["run"].clone()];
    for delivery in [Some("two"), None, None] {
        let (status, other) = call(&fixture, "push", &text, &with(&text, delivery)).await;
        assert_eq!((status, &other["created"]), (200, &true.into()), "{other}");
        runs.push(other["run"].clone());
    }
    runs.dedup();
    assert_eq!(runs.len(), 4);

    // What is signed may still start nothing.
    let wrong = [
        (body("a/b").replace('2', "10"), 400, "has to be at most 9"),
        ("{}".to_owned(), 400, "needs a value for its parameter repo"),
        ("repo=a".to_owned(), 400, "no JSON"),
    ];
    for (text, expected, said) in wrong {
        let (status, refused) = call(&fixture, "push", &text, &with(&text, None)).await;
        assert!(status == expected && refused["message"].as_str().unwrap().contains(said), "{status} {refused}");
    }
    fixture.call(|client| client.pause_flow("push")).await.unwrap();
    let (status, paused) = call(&fixture, "push", &text, &with(&text, Some("three"))).await;
    assert!(status == 409 && paused["message"].as_str().unwrap().contains("paused"), "{paused}");
    assert_eq!(call(&fixture, "push", &text, &with(&text, Some("one"))).await.0, 200, "it has come before");
    fixture.call(|client| client.resume_flow("push")).await.unwrap();
    assert_eq!(call(&fixture, "push", &text, &with(&text, Some("three"))).await.0, 200);

    let page = metrics(&fixture).await;
    for (outcome, count) in [("started", 5), ("known", 2), ("rejected", 4)] {
        let line = format!("mulgil_hooks_total{{flow=\"push\",outcome=\"{outcome}\"}} {count}\n");
        assert!(page.contains(&line), "{line} {page}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_sign_learns_nothing_and_starts_nothing() {
    let fixture = Fixture::start_with(&[PROJECT, FLOW, PLAIN, ("hook.secret", SECRET)], Some(TOKEN)).await;
    let text = body("a/b");
    let signature = |text: String| vec![("x-hub-signature-256", text)];
    let cases = [
        ("push", vec![]),
        ("push", signature(signed("another secret", &text))),
        ("push", signature(signed(SECRET, &body("a/c")))),
        ("push", signature(signed(SECRET, &text).replace("sha256=", ""))),
        ("push", vec![("x-hub-signature", signed(SECRET, &text))]),
        ("plain", signature(signed(SECRET, &text))),
        ("nothing", signature(signed(SECRET, &text))),
    ];
    let mut said = Vec::new();
    for (flow, headers) in cases {
        let (status, refused) = call(&fixture, flow, &text, &headers).await;
        assert_eq!(status, 401, "{flow} {headers:?} {refused}");
        said.push(refused.to_string());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "a stranger cannot tell which flows there are: {said:?}");
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    assert_eq!(call(&fixture, "push", &large, &signature(signed(SECRET, &large))).await.0, 413);
    // Without the secret nobody comes in, not even with a signature of nothing.
    std::fs::remove_file(fixture.dir.path().join("hook.secret")).unwrap();
    assert_eq!(call(&fixture, "push", &text, &signature(signed("", &text))).await.0, 401);

    let page = metrics(&fixture).await;
    for (flow, count) in [("push", 6), ("", 2)] {
        let line = format!("mulgil_hooks_total{{flow=\"{flow}\",outcome=\"refused\"}} {count}\n");
        assert!(page.contains(&line), "{line} {page}");
    }
    let runs = fixture.call(|client| client.runs(&Default::default())).await.unwrap();
    assert_eq!(runs.runs.len(), 0);
    fixture.stop().await;
}
