//! The changes of a view over HTTP: followed and read page by page, cut off and gone on with, over a change of the project.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use mulgil_server::changes::{BeginReason, ChangesPage, ChangesQuery, Operation, ViewStep};
use mulgil_server::client::Client;
use mulgil_server::topics::AppendQuery;
use mulgil_server::views::RowsQuery;
use serde_json::json;

use super::fixture::{Fixture, PATIENCE, refusal};

const SOURCE: (&str, &str) = (
    "sources/sales.sql",
    "CREATE TABLE sales (shop VARCHAR, euros BIGINT) WITH ('connector' = 'log', 'topic' = 'sales', 'format' = 'json');",
);

const VIEW: (&str, &str) = (
    "views/per_shop.sql",
    "CREATE MATERIALIZED TABLE per_shop REFRESH_MODE = CONTINUOUS
     AS SELECT shop, count(*) AS sales, sum(euros) AS euros FROM sales GROUP BY shop;",
);

const TOKEN: &str = "a-token-of-good-length";

/// A reader's copy of a view, by shop.
#[derive(Debug, Default)]
struct Copy {
    rows: BTreeMap<String, serde_json::Value>,
    /// Since the last cut.
    waiting: Vec<(Operation, serde_json::Value)>,
    begun: Vec<BeginReason>,
    cursor: Option<String>,
}

impl Copy {
    fn take(&mut self, step: ViewStep) {
        match step {
            ViewStep::Begin(begin) => {
                assert_eq!(begin.columns.iter().map(|column| column.name.as_str()).next(), Some("shop"));
                self.waiting.clear();
                self.rows.clear();
                self.begun.push(begin.reason);
            }
            ViewStep::Rows(rows) => self.waiting.extend(rows.rows.into_iter().map(|row| (row.op, json!(row.row)))),
            ViewStep::Cut(cut) => {
                for (operation, row) in self.waiting.drain(..) {
                    let shop = row[0].as_str().unwrap().to_owned();
                    match operation {
                        Operation::Insert | Operation::UpdateAfter => {
                            assert!(self.rows.insert(shop, row).is_none(), "it stands twice");
                        }
                        Operation::UpdateBefore | Operation::Delete => assert_eq!(self.rows.remove(&shop), Some(row)),
                    }
                }
                self.cursor = Some(cut.cursor);
            }
        }
    }

    fn sales(&self) -> u64 {
        self.rows.values().map(|row| row[1].as_u64().unwrap()).sum()
    }
}

async fn sell(fixture: &Fixture, shop: &'static str, count: usize) {
    let lines = format!("{{\"shop\": \"{shop}\", \"euros\": 3}}\n").repeat(count);
    fixture.call(move |client| client.append("sales", &AppendQuery::default(), lines.as_bytes())).await.unwrap();
}

/// Follows the view from where the copy is, until it holds so many sales; then the connection is cut.
async fn follow_until(fixture: &Fixture, mut copy: Copy, sales: u64) -> Copy {
    let follows = move |client: &Client| {
        let from = ChangesQuery { after: copy.cursor.clone(), ..ChangesQuery::default() };
        let mut steps = client.follow_view("per_shop", &from).unwrap();
        while copy.sales() < sales || copy.begun.is_empty() {
            copy.take(steps.next().expect("the stream goes on").unwrap());
        }
        copy
    };
    fixture.call(follows).await
}

async fn rows(fixture: &Fixture) -> Vec<serde_json::Value> {
    let page = RowsQuery { order: Some("shop".to_owned()), ..RowsQuery::default() };
    let rows = fixture.call(move |client| client.view_rows("per_shop", &page)).await.unwrap();
    rows.rows.into_iter().map(|row| json!(row)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_followed_over_lost_connections_and_a_change_of_its_columns() {
    let fixture = Fixture::start_with(&[SOURCE, VIEW], Some(TOKEN)).await;
    sell(&fixture, "north", 2).await;
    let mut copy = follow_until(&fixture, Copy::default(), 2).await;
    for round in 1..=3 {
        // While nobody listens, too.
        sell(&fixture, "north", 1).await;
        sell(&fixture, "south", 1).await;
        copy = follow_until(&fixture, copy, 2 + round * 2).await;
    }
    assert_eq!(copy.begun, [BeginReason::Asked], "it went on where it was");
    assert_eq!(copy.rows.values().cloned().collect::<Vec<_>>(), rows(&fixture).await);
    assert_eq!(json!(copy.rows["north"]), json!(["north", 5, 15]));

    // A browser names the last event's id itself, and another name for it than the cursor there is not.
    let (url, cursor) = (fixture.url(), copy.cursor.clone().unwrap());
    sell(&fixture, "east", 1).await;
    let lines = fixture
        .call(move |_| {
            let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
            let request = agent.get(format!("{url}/api/v1/views/per_shop/changes"));
            let request = request.header("Authorization", format!("Bearer {TOKEN}"));
            let answer = request.header("Accept", "text/event-stream").header("Last-Event-ID", cursor).call().unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            let lines = BufReader::new(answer.into_body().into_reader()).lines().map(Result::unwrap);
            lines.filter(|line| !line.is_empty() && !line.starts_with(':')).take(5).collect::<Vec<String>>()
        })
        .await;
    assert_eq!(lines[0], "event: rows");
    assert_eq!(lines[1], r#"data: {"type":"rows","rows":[{"op":"+I","row":["east",1,3]}]}"#);
    assert_eq!(lines[2], "event: cut");
    assert!(lines[3..].iter().any(|line| line.starts_with("id: ")), "{lines:?}");

    // The view is declared anew while somebody follows it: the stream goes on, and begins anew.
    let mut steps = fixture
        .call(|client| {
            let now = ChangesQuery { snapshot: Some(false), ..ChangesQuery::default() };
            let mut steps = client.follow_view("per_shop", &now).unwrap();
            // That it has begun shows that the server has begun to listen for it.
            let Some(Ok(ViewStep::Begin(begin))) = steps.next() else { panic!("it does not begin") };
            assert!(!begin.snapshot && begin.key == ["shop"]);
            steps
        })
        .await;
    let heard = tokio::task::spawn_blocking(move || {
        let mut columns = Vec::new();
        while columns.len() != 4 {
            if let ViewStep::Begin(begin) = steps.next().expect("the stream goes on").unwrap() {
                columns = begin.columns;
            }
        }
        columns.pop().unwrap().name
    });
    fixture.write(VIEW.0, &VIEW.1.replace("AS euros", "AS euros, max(euros) AS most"));
    fixture.call(|client| client.reload()).await.unwrap();
    fixture.call(|client| client.replay_view("per_shop", &Default::default())).await.ok();
    assert_eq!(tokio::time::timeout(PATIENCE, heard).await.expect("it begins anew").unwrap(), "most");

    // As everywhere, only who shows the token is let in.
    let url = fixture.url();
    let refused =
        fixture.call(move |_| refusal(Client::new(&url, None).follow_view("per_shop", &ChangesQuery::default()))).await;
    assert_eq!((refused.0, refused.1.as_str()), (401, "unauthorized"));
    let (status, ..) = refusal(fixture.call(|client| client.follow_view("nothing", &ChangesQuery::default())).await);
    assert_eq!(status, 404);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_read_page_by_page_with_a_cursor() {
    let fixture = Fixture::start(&[SOURCE, VIEW]).await;
    sell(&fixture, "north", 2).await;
    let mut copy = Copy::default();
    let page = async |cursor: Option<String>, wait_ms: u32| -> ChangesPage {
        let query = ChangesQuery { after: cursor, wait_ms: Some(wait_ms), limit: Some(1), ..ChangesQuery::default() };
        fixture.call(move |client| client.view_changes("per_shop", &query)).await.unwrap()
    };
    while copy.sales() < 2 {
        let read = page(copy.cursor.clone(), 10_000).await;
        assert!(read.cursor.is_some());
        read.steps.into_iter().for_each(|step| copy.take(step));
    }
    let nothing = page(copy.cursor.clone(), 0).await;
    assert_eq!((nothing.steps, nothing.cursor), (Vec::new(), copy.cursor.clone()));
    sell(&fixture, "south", 1).await;
    while copy.sales() < 3 {
        page(copy.cursor.clone(), 10_000).await.steps.into_iter().for_each(|step| copy.take(step));
    }
    assert_eq!(copy.rows.values().cloned().collect::<Vec<_>>(), rows(&fixture).await);
    assert_eq!(copy.begun, [BeginReason::Asked]);

    // What nobody knows begins anew, and says so.
    for cursor in ["0123456789abcdef-7", "nonsense", "-", "물-길"] {
        let read = page(Some(cursor.to_owned()), 10_000).await;
        copy = Copy::default();
        read.steps.into_iter().for_each(|step| copy.take(step));
        assert_eq!((copy.begun.as_slice(), copy.sales()), ([BeginReason::UnknownCursor].as_slice(), 3), "{cursor}");
    }
    fixture.stop().await;
}
