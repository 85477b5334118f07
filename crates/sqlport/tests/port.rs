//! The port with a service that only pretends, spoken to by a real client of PostgreSQL: what the protocol promises, whatever
//! answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use mulgil_sqlport::{Answer, Caller, PortOptions, Prepared, QueryError, QueryService, Shortcut, SqlPort};
use tokio::sync::Notify;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Nothing in these tests takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers `SELECT numbers` with numbers without end, `SELECT echo` with its parameter, `SELECT broken` with an error after a batch,
/// `SELECT panic` with a panic, `SELECT never` never; `SELECT stuck` is planned until the test lets go.
#[derive(Default)]
struct Pretender {
    batches_made: AtomicUsize,
    dropped: Arc<Notify>,
    stuck: Notify,
    held: Arc<(Mutex<bool>, Condvar)>,
}

/// The way of `SELECT echo` with `short` in it: gives a hundred times the number, does not know seven, and fails for eight.
#[derive(Debug)]
struct Short;

#[async_trait]
impl Shortcut for Short {
    async fn rows(&self, parameters: &[ArrayRef]) -> Result<Option<RecordBatch>, QueryError> {
        match parameters[0].as_primitive::<Int64Type>().value(0) {
            7 => Ok(None),
            8 => Err(QueryError::new(QueryError::OUT_OF_RANGE, "eight")),
            number => Ok(Some(batch(Arc::new(Int64Array::from(vec![number * 100]))))),
        }
    }
}

struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn batch(values: ArrayRef) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![values]).unwrap()
}

const BATCH_ROWS: i64 = 1_000;

#[async_trait]
impl QueryService for Pretender {
    async fn prepare(&self, _: &Caller, text: &str, _: &[Option<DataType>]) -> Result<Prepared, QueryError> {
        if text.contains("wrong") {
            let place = text.split("wrong").next().unwrap().chars().count() + 1;
            return Err(QueryError::new(QueryError::UNKNOWN_COLUMN, "unknown column wrong").hint("write n").at(place));
        }
        if text.contains("stuck") {
            // Not a task that could be stopped, but a thread that computes.
            self.stuck.notify_one();
            let (let_go, changed) = &*self.held;
            let _let_go = changed.wait_while(let_go.lock().unwrap(), |let_go| !*let_go).unwrap();
        }
        let parameters = if text.contains("$1") { vec![DataType::Int64] } else { Vec::new() };
        let shortcut = text.contains("short").then(|| Arc::new(Short) as Arc<dyn Shortcut>);
        Ok(Prepared { schema: schema(), parameters, shortcut })
    }

    async fn run(&self, caller: Arc<Caller>, text: &str, parameters: &[ArrayRef]) -> Result<Answer, QueryError> {
        self.prepare(&caller, text, &[]).await?;
        self.batches_made.store(0, Ordering::SeqCst);
        let told = Told(Arc::clone(&self.dropped));
        let rows = match text.split_whitespace().nth(1).unwrap_or_default() {
            "echo" => futures::stream::iter([Ok(batch(Arc::clone(&parameters[0])))]).boxed(),
            "broken" => {
                let error = QueryError::new(QueryError::DIVISION_BY_ZERO, "division by zero");
                futures::stream::iter([Ok(batch(Arc::new(Int64Array::from(vec![1])))), Err(error)]).boxed()
            }
            "panic" => futures::stream::once(async { panic!("on purpose") }).boxed(),
            "never" => futures::stream::pending().boxed(),
            _ => {
                let made = futures::stream::iter(0..).map(|at: i64| {
                    let numbers = at * BATCH_ROWS..(at + 1) * BATCH_ROWS;
                    Ok(batch(Arc::new(Int64Array::from_iter_values(numbers))))
                });
                made.boxed()
            }
        };
        let rows = rows.inspect(move |_| {
            let _ = &told;
        });
        Ok(Answer { schema: schema(), batches: rows.boxed() })
    }
}

struct Fixture {
    port: SqlPort,
    service: Arc<Pretender>,
}

impl Fixture {
    async fn open(connections_max: usize, timeout_max: Option<Duration>) -> Self {
        Self::with(PortOptions { connections_max, timeout_max, ..PortOptions::at(([127, 0, 0, 1], 0).into()) }).await
    }

    async fn with(options: PortOptions) -> Self {
        let service = Arc::new(Pretender::default());
        let port = SqlPort::listen(options).await.unwrap().open(service.clone()).unwrap();
        Self { port, service }
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        self.connect_as("user=tester").await
    }

    async fn connect_as(&self, who: &str) -> Result<Client, tokio_postgres::Error> {
        let address = self.port.local_addr();
        let config = format!("host={} port={} dbname=here {who}", address.ip(), address.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.as_db_error().map_or_else(|| panic!("no answer of the server: {error}"), |error| error.code().code())
}

#[tokio::test]
async fn plans_that_nobody_waits_for_hold_up_no_other_statement() {
    let fixture = Fixture::open(100, None).await;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    for _ in 0..(threads + 1).min(20) {
        let client = fixture.connect().await.unwrap();
        let cancel = client.cancel_token();
        let asked = tokio::spawn(async move { client.simple_query("SELECT stuck").await });
        in_time(fixture.service.stuck.notified()).await;
        cancel.cancel_query(NoTls).await.unwrap();
        assert_eq!(code(&in_time(asked).await.unwrap().unwrap_err()), "57014");
    }
    let client = fixture.connect().await.unwrap();
    let rows = in_time(client.query("SELECT echo $1", &[&7_i64])).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 7);
    let (let_go, changed) = &*fixture.service.held;
    *let_go.lock().unwrap() = true;
    changed.notify_all();
}

#[tokio::test]
async fn a_portal_gives_its_rows_piece_by_piece_and_the_query_waits_for_the_client() {
    let fixture = Fixture::open(10, None).await;
    let mut client = fixture.connect().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("SELECT numbers").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    let mut next = 0;
    for rows in [1, 10, 5_000] {
        for row in in_time(transaction.query_portal(&portal, rows)).await.unwrap() {
            assert_eq!(row.get::<_, i64>(0), next);
            next += 1;
        }
    }
    assert_eq!(next, 5_011);
    transaction.commit().await.unwrap();
    // The transaction's end ends what its portals still had to give.
    in_time(fixture.service.dropped.notified()).await;
}

#[tokio::test]
async fn a_query_without_end_is_ended_by_a_cancel_request_and_the_connection_lives_on() {
    let fixture = Fixture::open(10, None).await;
    for text in ["SELECT never", "SELECT numbers"] {
        let client = fixture.connect().await.unwrap();
        let cancel = client.cancel_token();
        let statement = client.prepare(text).await.unwrap();
        let rows = client.query_raw(&statement, Vec::<i64>::new()).await.unwrap();
        let reading = rows.try_for_each(|_| std::future::ready(Ok(())));
        let cancelling = async {
            // A request that comes before the query has begun finds nothing to end: it is made again.
            loop {
                cancel.cancel_query(NoTls).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let ended = async {
            tokio::select! {
                outcome = reading => outcome,
                () = cancelling => Ok(()),
            }
        };
        let outcome = in_time(ended).await;
        assert_eq!(code(&outcome.unwrap_err()), "57014");
        // As with PostgreSQL, a request that is still on its way ends whatever runs when it comes.
        let row = in_time(async {
            loop {
                match client.query_one("SELECT echo $1", &[&7_i64]).await {
                    Ok(row) => return row,
                    Err(error) => assert_eq!(code(&error), "57014"),
                }
            }
        });
        assert_eq!(row.await.get::<_, i64>(0), 7);
    }
}

#[tokio::test]
async fn a_statement_takes_no_longer_than_it_may() {
    let fixture = Fixture::open(10, Some(Duration::from_millis(100))).await;
    let client = fixture.connect().await.unwrap();
    let error = in_time(client.query("SELECT never", &[])).await.unwrap_err();
    assert_eq!(
        (code(&error), error.as_db_error().unwrap().message()),
        ("57014", "canceling statement due to statement timeout")
    );

    let fixture = Fixture::open(10, None).await;
    let client = fixture.connect().await.unwrap();
    client.batch_execute("SET statement_timeout = '50ms'").await.unwrap();
    let error = in_time(client.simple_query("SELECT never")).await.unwrap_err();
    assert_eq!(code(&error), "57014");
}

#[tokio::test]
async fn errors_have_code_place_and_hint_and_end_only_their_statement() {
    let fixture = Fixture::open(10, None).await;
    let client = fixture.connect().await.unwrap();
    let error = client.simple_query("SET geqo = on; SELECT '물', wrong").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code(), error.hint()), (&SqlState::UNDEFINED_COLUMN, Some("write n")));
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(28)));

    let mut received = 0;
    let rows = client.query_raw("SELECT broken", Vec::<i64>::new()).await.unwrap();
    let mut rows = std::pin::pin!(rows);
    let error = loop {
        match rows.next().await.unwrap() {
            Ok(_) => received += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((received, code(&error)), (1, "22012"));
    // Rows that stop because their query has panicked are not all rows.
    assert_eq!(code(&client.query("SELECT panic", &[]).await.unwrap_err()), "XX000");
}

#[tokio::test]
async fn a_failed_transaction_hears_only_its_end() {
    let fixture = Fixture::open(10, None).await;
    let client = fixture.connect().await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(code(&client.simple_query("SELECT wrong").await.unwrap_err()), "42703");
    assert_eq!(code(&client.query("SELECT echo $1", &[&1_i64]).await.unwrap_err()), "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(client.query("SELECT echo $1", &[&1_i64]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn settings_are_told_kept_and_reset() {
    let fixture = Fixture::open(10, None).await;
    let client = fixture.connect().await.unwrap();
    let shown = async |name: &str| {
        let messages = client.simple_query(&format!("SHOW {name}")).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        row.unwrap().to_owned()
    };
    assert_eq!(shown("timezone").await, "UTC");
    client.batch_execute("SET TIME ZONE 'Asia/Seoul'; SET my.own = 'x'").await.unwrap();
    assert_eq!((shown("TimeZone").await, shown("my.own").await), ("Asia/Seoul".to_owned(), "x".to_owned()));
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(shown("timezone").await, "UTC");
    assert_eq!(code(&client.batch_execute("SET nothing_known = 1").await.unwrap_err()), "42704");
    assert_eq!(code(&client.batch_execute("DELETE FROM x").await.unwrap_err()), "25006");
}

#[tokio::test]
async fn one_client_too_many_is_refused_and_has_room_when_another_leaves() {
    let fixture = Fixture::open(1, None).await;
    let first = fixture.connect().await.unwrap();
    assert!(fixture.connect().await.is_err());
    drop(first);
    let came_in = async {
        while fixture.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    in_time(came_in).await;
}

#[tokio::test]
async fn a_port_that_closes_ends_its_queries_and_tells_its_clients() {
    let fixture = Fixture::open(10, None).await;
    let client = fixture.connect().await.unwrap();
    let rows = client.query_raw("SELECT never", Vec::<i64>::new()).await.unwrap();
    let address = fixture.port.local_addr();
    in_time(fixture.port.close()).await;
    let error = in_time(rows.try_for_each(|_| std::future::ready(Ok(())))).await.unwrap_err();
    assert_eq!(code(&error), "57P01");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_no_protocol_ends_its_connection_only() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = Fixture::open(10, None).await;
    let garbage: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[0; 64], &[0, 0, 0, 8, 0, 3, 0, 0, b'Q'], &[0xff; 32]];
    for bytes in garbage {
        let mut wire = tokio::net::TcpStream::connect(fixture.port.local_addr()).await.unwrap();
        wire.write_all(bytes).await.unwrap();
        wire.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A connection that is reset has ended too.
        let _ = in_time(wire.read_to_end(&mut answer)).await;
    }
    assert!(fixture.connect().await.is_ok());
}

#[tokio::test]
async fn a_password_is_proved_and_asked_for_where_others_come_in() {
    let local = PortOptions::at(([127, 0, 0, 1], 0).into());
    let fixture = Fixture::with(PortOptions { password: Some("a long password".to_owned()), ..local }).await;
    let client = fixture.connect_as("user=tester password='a long password'").await.unwrap();
    assert_eq!(client.query("SELECT echo $1", &[&1_i64]).await.unwrap().len(), 1);
    let error = fixture.connect_as("user=tester password=another").await.unwrap_err();
    assert_eq!(code(&error), "28P01");
    assert!(fixture.connect_as("user=tester").await.is_err());

    let open = SqlPort::listen(PortOptions::at(([0, 0, 0, 0], 0).into())).await;
    assert!(matches!(open, Err(mulgil_sqlport::PortError::PasswordNeeded { .. })));
}

#[tokio::test]
async fn a_prepared_statement_goes_the_shorter_way_where_that_knows_the_answer() {
    let fixture = Fixture::open(10, None).await;
    let client = fixture.connect().await.unwrap();
    let statement = client.prepare("SELECT echo $1 short").await.unwrap();
    for (number, expected) in [(1_i64, 100_i64), (7, 7), (2, 200)] {
        let row = in_time(client.query_one(&statement, &[&number])).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), expected);
    }
    let error = in_time(client.query_one(&statement, &[&8_i64])).await.unwrap_err();
    assert_eq!(code(&error), "22003");
    // Many at once, in their order.
    let numbers: Vec<i64> = (10..40).collect();
    let asked =
        numbers.iter().map(|number| async { client.query_one(&statement, &[number]).await.unwrap().get::<_, i64>(0) });
    let answers = in_time(futures::future::join_all(asked)).await;
    assert_eq!(answers, (10..40).map(|number| number * 100).collect::<Vec<i64>>());
}
