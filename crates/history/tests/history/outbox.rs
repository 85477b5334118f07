//! The outbox: written with what it tells of, once for each key; due in its order, no channel before another.

use jiff::SignedDuration;
use mulgil_history::outbox::{NewAlert, NewNotice, NoticeChange, NoticeStatus};
use mulgil_history::read::{NoticeQuery, NoticeRow};
use mulgil_history::write::{RunChange, Trigger, Write};
use mulgil_sched::id::RunId;
use mulgil_sched::status::{RunStatus, TaskStatus};

use crate::sample::{T0, day, new_run, run_status, task, version};
use crate::store::Place;
use crate::suite::over_every_store;

over_every_store! {
    a_notice_is_stored_with_its_transition_or_not_at_all,
    a_key_is_one_notice_and_what_has_ended_stays,
    a_channel_with_many_notices_hides_no_other,
    an_alert_is_one_of_a_kind,
    how_long_runs_took_is_told_of_those_that_succeeded_by_themselves,
}

fn notice(key: &str, channel: &str) -> Write {
    Write::Notice(NewNotice {
        key: key.to_owned(),
        channel: channel.to_owned(),
        kind: "failure".to_owned(),
        flow: "f".to_owned(),
        run: Some(RunId(1)),
        body: serde_json::json!({"tasks": ["a \"b\" \u{0}"]}),
        at: day(1),
        refused: None,
    })
}

fn change(key: &str, to: NoticeStatus) -> Write {
    let waits = to == NoticeStatus::Waiting;
    Write::NoticeStatus(NoticeChange {
        key: key.to_owned(),
        to,
        next_at: waits.then(|| day(3)),
        error: (to != NoticeStatus::Delivered).then(|| "refused".to_owned()),
        at: day(2),
    })
}

fn keys(rows: &[NoticeRow]) -> Vec<&str> {
    rows.iter().map(|row| row.key.as_str()).collect()
}

async fn a_notice_is_stored_with_its_transition_or_not_at_all(place: &Place) {
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let transition = run_status(1, RunStatus::Queued, RunStatus::Running);
    let misfit = task(1, 0, TaskStatus::Ready, TaskStatus::Running, 1);
    history.commit(&[transition.clone(), notice("k1", "ops"), misfit]).await.unwrap_err();
    assert!(history.outbox(day(9), 9).await.unwrap().due.is_empty());
    history.commit(&[transition, notice("k1", "ops")]).await.unwrap();
    history.close().await;

    let history = place.open().await;
    assert_eq!(history.memory().await.unwrap().notices_waiting, 1);
    let outbox = history.outbox(day(1), 9).await.unwrap();
    assert_eq!((keys(&outbox.due), outbox.next_at), (vec!["k1"], None));
    assert_eq!(outbox.due[0].body["tasks"][0], "a \"b\" \u{0}");
    assert_eq!((outbox.due[0].tries, outbox.due[0].run), (0, Some(RunId(1))));
    let early = history.outbox(T0, 9).await.unwrap();
    assert_eq!((keys(&early.due), early.next_at), (vec![], Some(day(1))));
}

async fn a_key_is_one_notice_and_what_has_ended_stays(place: &Place) {
    use NoticeStatus as S;
    let history = place.open().await;
    history.commit(&[notice("k1", "ops"), notice("k1", "team"), notice("k2", "ops")]).await.unwrap();
    history.commit(&[notice("k1", "ops")]).await.unwrap();
    assert_eq!(keys(&history.outbox(day(1), 9).await.unwrap().due), ["k1", "k2"]);
    // A try that failed, a delivery; then the words of one who comes too late.
    history.commit(&[change("k1", S::Waiting), change("k2", S::Delivered)]).await.unwrap();
    history.commit(&[change("k2", S::GivenUp)]).await.unwrap();
    let outbox = history.outbox(day(2), 9).await.unwrap();
    assert_eq!((keys(&outbox.due), outbox.next_at), (vec![], Some(day(3))));
    let due = history.outbox(day(3), 9).await.unwrap().due;
    assert_eq!((keys(&due), due[0].tries, due[0].error.as_deref()), (vec!["k1"], 1, Some("refused")));
    history.commit(&[change("k1", S::GivenUp)]).await.unwrap();
    let all = history.notices(&NoticeQuery { limit: 9, ..NoticeQuery::default() }).await.unwrap();
    let ends: Vec<_> = all.iter().map(|row| (row.key.as_str(), row.status, row.tries, row.ended_at)).collect();
    assert_eq!(ends, [("k2", S::Delivered, 1, Some(day(2))), ("k1", S::GivenUp, 2, Some(day(2)))]);
    let given_up = NoticeQuery { status: Some(S::GivenUp), run: Some(RunId(1)), limit: 9, ..NoticeQuery::default() };
    assert_eq!(keys(&history.notices(&given_up).await.unwrap()), ["k1"]);
    let before = NoticeQuery { before: Some(all[0].seq), limit: 9, ..NoticeQuery::default() };
    assert_eq!(keys(&history.notices(&before).await.unwrap()), ["k1"]);
    let others = NoticeQuery { without: Some("failure".to_owned()), limit: 9, ..NoticeQuery::default() };
    assert!(history.notices(&others).await.unwrap().is_empty());
    let counts = history.notice_counts().await.unwrap();
    let counts: Vec<_> = counts.iter().map(|count| (count.channel.as_str(), count.status, count.notices)).collect();
    assert_eq!(counts, [("ops", S::Delivered, 1), ("ops", S::GivenUp, 1)]);
}

async fn a_channel_with_many_notices_hides_no_other(place: &Place) {
    let history = place.open().await;
    let many: Vec<Write> = (0..500).map(|number| notice(&format!("dead{number}"), "dead")).collect();
    history.commit(&many).await.unwrap();
    let Write::Notice(full) = notice("no room", "alive") else { unreachable!() };
    let refused = Write::Notice(NewNotice { refused: Some("the outbox is full".to_owned()), ..full });
    history.commit(&[notice("alive0", "alive"), refused]).await.unwrap();
    let due = history.outbox(day(1) + SignedDuration::from_secs(1), 2).await.unwrap().due;
    assert_eq!(keys(&due), ["dead0", "dead1", "alive0"]);
    let given_up = NoticeQuery { status: Some(NoticeStatus::GivenUp), limit: 9, ..NoticeQuery::default() };
    let given_up = history.notices(&given_up).await.unwrap();
    assert_eq!((keys(&given_up), given_up[0].error.as_deref()), (vec!["no room"], Some("the outbox is full")));
}

async fn an_alert_is_one_of_a_kind(place: &Place) {
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let alert = |kind: &str, text: &str| {
        Write::Alert(NewAlert { run: RunId(1), kind: kind.to_owned(), text: text.to_owned(), at: day(1) })
    };
    history.commit(&[alert("deadline", "late"), alert("slow", "long")]).await.unwrap();
    history.commit(&[alert("deadline", "late again")]).await.unwrap();
    let alerts = history.run(RunId(1)).await.unwrap().unwrap().alerts;
    let alerts: Vec<_> = alerts.iter().map(|alert| (alert.kind.as_str(), alert.text.as_str())).collect();
    assert_eq!(alerts, [("deadline", "late"), ("slow", "long")]);
}

async fn how_long_runs_took_is_told_of_those_that_succeeded_by_themselves(place: &Place) {
    use RunStatus as S;
    let history = place.open().await;
    let mut writes = vec![version()];
    for (run, end) in [(1, S::Succeeded), (2, S::Failed), (3, S::Succeeded), (4, S::Succeeded)] {
        let change = |from, to, at| Write::RunStatus(RunChange { run: RunId(run), from, to, timed_out: false, at });
        let took = SignedDuration::from_secs(10 * run);
        writes.extend([new_run(run, Trigger::Manual, None), change(S::Queued, S::Running, day(1))]);
        writes.push(change(S::Running, end, day(1) + took));
    }
    history.commit(&writes).await.unwrap();
    let took = |seconds: &[i64]| seconds.iter().map(|seconds| SignedDuration::from_secs(*seconds)).collect::<Vec<_>>();
    assert_eq!(history.durations("f", 2).await.unwrap(), took(&[40, 30]));
    assert_eq!(history.durations("f", 20).await.unwrap(), took(&[40, 30, 10]));
    assert!(history.durations("g", 20).await.unwrap().is_empty());
}
