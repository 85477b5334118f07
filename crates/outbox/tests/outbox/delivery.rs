//! Webhooks: what is sent, by whom it is taken, and what becomes of it otherwise.

use jiff::SignedDuration;
use mulgil_history::outbox::NoticeStatus;

use crate::office::Office;
use crate::receiver::Receiver;

#[tokio::test]
async fn a_failed_run_is_told_with_its_tasks_the_end_of_the_log_and_a_link() {
    let office = Office::open().await;
    office.failed_run("x").await;
    let (mut hook, mut slack) = (Receiver::answering(&[204]).await, Receiver::answering(&[200]).await);
    std::fs::write(office.dir().join("slack-url"), slack.url() + "\n").unwrap();
    let _postman = office.postman(&format!("  ops: {{webhook: '{}'}}\n  chat: {{slack: file:slack-url}}", hook.url()));
    office.put("k1", "ops").await;
    let heard = hook.next().await;
    assert_eq!((heard.headers["idempotency-key"].as_str(), heard.path.as_str()), ("k1", "/hook?token=hush"));
    let body = &heard.body;
    assert_eq!((&body["event"], &body["project"], &body["flow"]), (&"failure".into(), &"shop".into(), &"f".into()));
    assert_eq!(body["url"], "https://mulgil.example.org/runs/1");
    let task = serde_json::json!({"task": "a", "attempt": 1, "error": "exit code 3", "log": "one\ntwo"});
    assert_eq!((&body["tasks"][0], &body["more_tasks"]), (&task, &2.into()));
    office.noted().await;
    let row = office.notice("k1").await;
    assert_eq!((row.status, row.tries, row.error), (NoticeStatus::Delivered, 1, None));

    office.put("k2", "chat").await;
    let text = slack.next().await.body["text"].as_str().unwrap().to_owned();
    let expected = "f/1 has failed &lt;&amp;&gt;\n\na, attempt 1: exit code 3\nthe end of its log:\none\ntwo\n\n\
                    and 2 more tasks\n\nhttps://mulgil.example.org/runs/1";
    assert_eq!(text, expected);
    assert!(hook.is_silent(), "each once");
}

#[tokio::test]
async fn what_was_not_taken_waits_and_says_why_without_the_address() {
    let office = Office::open().await;
    let mut hook = Receiver::answering(&[503]).await;
    let channels = format!("  ops: {{webhook: '{}'}}\n  unset: {{webhook: env:NOT_SET}}", hook.url());
    let _postman = office.postman(&channels);
    for (key, channel, expected) in [
        ("k1", "ops", "it answered 503 Service Unavailable: why?"),
        ("k2", "unset", "the environment variable NOT_SET is not set"),
        ("k3", "gone", "mulgil.yaml has no channel gone any more"),
    ] {
        office.put(key, channel).await;
        office.noted().await;
        let row = office.notice(key).await;
        assert_eq!((row.status, row.tries, row.error.as_deref()), (NoticeStatus::Waiting, 1, Some(expected)));
        let wait = row.created_at.duration_until(row.next_at.unwrap());
        assert!(wait >= SignedDuration::from_secs(5) && wait < SignedDuration::from_secs(60), "{wait}");
    }
    assert_eq!(hook.next().await.headers["idempotency-key"], "k1");
}

#[tokio::test]
async fn a_channel_that_never_answers_delays_no_other() {
    let office = Office::open().await;
    let (mut dead, mut alive) = (Receiver::answering(&[0]).await, Receiver::answering(&[200]).await);
    let channels = format!("  dead: {{webhook: '{}'}}\n  alive: {{webhook: '{}'}}", dead.url(), alive.url());
    let _postman = office.postman(&channels);
    for number in 0..30 {
        office.put(&format!("d{number}"), "dead").await;
    }
    assert_eq!(dead.next().await.headers["idempotency-key"], "d0");
    for number in 0..3 {
        let key = format!("a{number}");
        office.put(&key, "alive").await;
        assert_eq!(alive.next().await.headers["idempotency-key"], key);
    }
    assert!(dead.is_silent(), "one at a time");
}

#[tokio::test]
async fn what_was_taken_but_not_noted_is_sent_again_under_the_same_key() {
    let office = Office::open().await;
    let mut hook = Receiver::answering(&[200]).await;
    let channels = format!("  ops: {{webhook: '{}'}}", hook.url());
    office.lose(true);
    let postman = office.postman(&channels);
    office.put("k1", "ops").await;
    assert_eq!(hook.next().await.headers["idempotency-key"], "k1");
    office.noted().await;
    // The server dies before it is stored.
    drop(postman);
    office.lose(false);
    let postman = office.postman(&channels);
    assert_eq!(hook.next().await.headers["idempotency-key"], "k1");
    office.noted().await;
    assert_eq!(office.notice("k1").await.status, NoticeStatus::Delivered);
    drop(postman);
    // And then never again; what comes last goes out before the postman ends.
    let postman = office.postman(&channels);
    office.put("k2", "ops").await;
    postman.shutdown(std::time::Duration::from_secs(60)).await;
    assert_eq!(hook.next().await.headers["idempotency-key"], "k2");
    assert!(hook.is_silent());
}

#[tokio::test]
async fn a_webhook_of_the_flow_is_a_template_until_it_is_sent() {
    let office = Office::open().await;
    let mut hook = Receiver::answering(&[200]).await;
    let template = format!("{}&n={{{{ params.n }}}}", hook.url());
    office.failed_run(&template).await;
    let _postman = office.postman("  ops: {webhook: env:CHAT}");
    office.put("k1", &format!("webhook:{template}")).await;
    assert_eq!(hook.next().await.path, "/hook?token=hush&n=7");
    office.noted().await;
    // A connection may be a reference too.
    office.put("k2", "webhook:{{ connections.chat }}").await;
    office.noted().await;
    let error = office.notice("k2").await.error.unwrap();
    assert!(error.contains("onnect") && !error.contains("never"), "tried, and not told where: {error}");
}
