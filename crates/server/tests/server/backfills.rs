//! Backfills: planned, run, watched.

use mulgil_server::backfills::{BackfillAsk, BackfillStatus, Order, Which};
use mulgil_server::events::Event;

use super::fixture::{DAILY, Fixture, refusal};

fn ask(from: &str, to: &str) -> BackfillAsk {
    BackfillAsk {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        concurrency: Some(2),
        which: Which::default(),
        order: Order::default(),
        params: Default::default(),
        trial: None,
        retries: false,
        rounds: Some(0),
        dry_run: false,
        confirm: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_is_planned_run_and_its_failures_are_run_again() {
    let fixture = Fixture::start(&[DAILY]).await;
    fixture.write("broken-2013-01-07", "");
    let dry = BackfillAsk { dry_run: true, ..ask("2013-01-05", "2013-01-10") };
    let planned = fixture.call(move |client| client.start_backfill("daily", &dry)).await.unwrap();
    assert_eq!((planned.plan.total, planned.plan.to_run, planned.plan.skipped), (6, 6, 0));
    assert_eq!(planned.plan.sample[0].label, "2013-01-05");
    assert!(planned.backfill.is_none());

    let ended = fixture
        .listen(|event| match event {
            Event::Backfill(backfill) if backfill.status != BackfillStatus::Running => Some(backfill),
            _ => None,
        })
        .await;
    let begun = ask("2013-01-05", "2013-01-10");
    let begun = fixture.call(move |client| client.start_backfill("daily", &begun)).await.unwrap();
    let id = begun.backfill.unwrap().id;
    let heard = ended.await;
    assert_eq!((heard.id, heard.status, heard.succeeded, heard.failed), (id, BackfillStatus::Failed, 5, 1));
    let shown = fixture.call(move |client| client.backfill(id)).await.unwrap();
    assert_eq!((shown.total, shown.succeeded, shown.failed, shown.queued), (6, 5, 1, 0));
    assert!(shown.ended_at.is_some() && shown.remaining_seconds.is_none());

    let again = BackfillAsk { which: Which::Failed, dry_run: true, ..ask("2013-01-05", "2013-01-10") };
    let planned = fixture.call(move |client| client.start_backfill("daily", &again)).await.unwrap();
    assert_eq!((planned.plan.to_run, planned.plan.reruns, planned.plan.skipped), (1, 1, 5));
    assert_eq!(fixture.call(|client| client.backfills()).await.unwrap().len(), 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_range_or_flow_is_refused() {
    let fixture = Fixture::start(&[DAILY]).await;
    let wrong = ask("2013-01-10", "2013-01-05");
    let (status, code, message) = refusal(fixture.call(move |client| client.start_backfill("daily", &wrong)).await);
    assert_eq!((status, code.as_str()), (400, "invalid"), "{message}");
    let (status, ..) =
        refusal(fixture.call(|client| client.start_backfill("nothing", &ask("2013-01-01", "2013-01-02"))).await);
    assert_eq!(status, 404);
    let (status, ..) = refusal(fixture.call(|client| client.cancel_backfill(99)).await);
    assert_eq!(status, 404);
    fixture.stop().await;
}
