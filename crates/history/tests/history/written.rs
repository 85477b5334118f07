//! Writes of tables: stored with what they come with, the latest of each interval.

use mulgil_history::write::{RunChange, Write};
use mulgil_history::written::TableWrite;
use mulgil_sched::id::RunId;
use mulgil_sched::status::RunStatus;

use crate::sample::{T0, day};
use crate::store::Place;
use crate::suite::over_every_store;

over_every_store! {
    the_latest_write_of_each_interval_counts,
}

fn wrote(table: &str, first: i64, last: i64, run: i64, at: i64) -> TableWrite {
    TableWrite {
        table: table.to_owned(),
        start: day(first),
        end: day(last),
        flow: "f".to_owned(),
        run: RunId(run),
        task: "t".to_owned(),
        at: day(at),
    }
}

async fn the_latest_write_of_each_interval_counts(place: &Place) {
    let history = place.open().await;
    let (first, second, third) = (wrote("a", 1, 2, 1, 9), wrote("a", 2, 3, 2, 9), wrote("b", 1, 3, 3, 9));
    let all = [&second, &first, &third].map(|write| Write::Table(write.clone()));
    history.commit(&all).await.unwrap();
    let again = wrote("a", 1, 2, 4, 10);
    history.commit(&[Write::Table(wrote("a", 1, 2, 5, 9)), Write::Table(again.clone())]).await.unwrap();
    let tables = ["b", "a", "c"].map(str::to_owned);
    let found = history.table_writes(&tables, day(1), day(3)).await.unwrap();
    assert_eq!(found, [third.clone(), again, second.clone()], "by table as asked, then interval");
    // Half-open: what ends where the span begins is not in it.
    assert_eq!(history.table_writes(&tables, day(2), day(9)).await.unwrap(), [third, second]);

    // With a change that is refused, nothing is written.
    let (run, from, to) = (RunId(99), RunStatus::Queued, RunStatus::Running);
    let refused =
        [Write::Table(wrote("c", 1, 2, 9, 9)), Write::RunStatus(RunChange { run, from, to, timed_out: false, at: T0 })];
    history.commit(&refused).await.unwrap_err();
    assert_eq!(history.table_writes(&tables[2..], day(0), day(9)).await.unwrap(), []);
}
