//! Queries built in Rust: they are what SQL says, in both modes; and the example programs, from a socket and in batch.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::JoinType;
use mulgil_serving::run::{Mode, RunOptions, StatementResult, collect, run_frame};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::frame::{Frame, aggregate, col, hop, lit, tumble};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;

use crate::fixture::{Project, sorted, text_rows};

#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/bubbles.rs"]
mod bubbles;
#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/hashtags.rs"]
mod hashtags;
#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/word_count.rs"]
mod word_count;

async fn rows_of(session: &Session, frame: &Frame, mode: Mode) -> Vec<Vec<String>> {
    let options = RunOptions { mode, parallelism: 2, ..RunOptions::default() };
    match run_frame(session, frame, &options).await.unwrap() {
        StatementResult::Rows(rows) => sorted(text_rows(&collect(rows).await.unwrap().1)),
        StatementResult::FinalRows { batches, .. } => sorted(text_rows(&batches)),
        _ => panic!("no rows"),
    }
}

const TABLES: &str = "
CREATE TABLE bid (auction BIGINT, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'log', 'topic' = 'bid', 'format' = 'json');
CREATE TABLE auction (id BIGINT, seller VARCHAR) WITH ('connector' = 'log', 'topic' = 'auction', 'format' = 'json');
CREATE MATERIALIZED TABLE dear AS SELECT auction, price FROM bid WHERE price > 20;
";

type Built = fn(&Session) -> Result<Frame, SqlError>;

const CASES: [(&str, Built); 8] = [
    ("SELECT auction, price * 2 AS twice FROM bid WHERE price > 10", |session| {
        session.table("bid")?.filter(col("price").gt(lit(10)))?.select([col("auction"), (col("price") * lit(2)).alias("twice")])
    }),
    ("SELECT * FROM dear", |session| session.table("dear")),
    (
        "SELECT auction, count(*) AS n, max(price) AS top FROM bid GROUP BY auction HAVING count(*) > 1",
        |session| {
            let calls = [aggregate::count(lit(1)).alias("n"), aggregate::max(col("price")).alias("top")];
            session.table("bid")?.group_by([col("auction")], calls)?.filter(col("n").gt(lit(1)))
        },
    ),
    (
        "SELECT window_end, auction, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC, auction) AS r
           FROM (SELECT window_end, auction, count(*) AS n FROM TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)
           GROUP BY window_start, window_end, auction)) WHERE r <= 1",
        |session| {
            session
                .table("bid")?
                .window(tumble("ts", Duration::from_secs(10)))?
                .group_by([col("window_end"), col("auction")], [aggregate::count(lit(1)).alias("n")])?
                .top_n(1, [col("window_end")], [col("n").sort(false, false), col("auction").sort(true, false)])
        },
    ),
    (
        "SELECT window_start, sum(price) FROM HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)
          GROUP BY window_start, window_end",
        |session| {
            session
                .table("bid")?
                .window(hop("ts", Duration::from_secs(5), Duration::from_secs(10)))?
                .group_by([col("window_start"), col("window_end")], [aggregate::sum(col("price")).alias("sum")])?
                .select([col("window_start"), col("sum")])
        },
    ),
    ("SELECT price, seller FROM bid LEFT JOIN auction ON bid.auction = auction.id AND price > 5", |session| {
        let on = [col("auction").eq(col("id")), col("price").gt(lit(5))];
        session.table("bid")?.join(session.table("auction")?, JoinType::Left, on)?.select([col("price"), col("seller")])
    }),
    ("SELECT auction FROM bid UNION SELECT id FROM auction", |session| {
        let bids = session.table("bid")?.select([col("auction")])?;
        bids.union(session.table("auction")?.select([col("id").alias("auction")])?)?.distinct()
    }),
    (
        "SELECT auction, price, sum(price) OVER (PARTITION BY auction ORDER BY ts ROWS 1 PRECEDING) AS two FROM bid",
        |session| {
            session.select(
                "SELECT auction, price, sum(price) OVER (PARTITION BY auction ORDER BY ts ROWS 1 PRECEDING) AS two FROM bid",
            )
        },
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_built_in_rust_is_what_sql_says() {
    let project = Project::new();
    let catalog = project.catalog(TABLES);
    let seconds = |second: u32| format!("TIMESTAMP '2013-01-01 00:00:{second:02}'");
    let bids: Vec<String> = (0..40).map(|bid| format!("({}, {}, {})", bid % 7, bid * 13 % 40, seconds(bid))).collect();
    project.batch(&catalog, &format!("INSERT INTO bid VALUES {}", bids.join(", "))).await;
    project.batch(&catalog, "INSERT INTO auction VALUES (1, 'ann'), (3, 'bob'), (9, 'cleo'), (3, 'dan')").await;
    let session = Session::new(Arc::clone(&catalog), Arc::clone(&project.connectors));
    for (sql, build) in CASES {
        let expected = sorted(project.batch(&catalog, sql).await);
        assert!(!expected.is_empty(), "{sql}");
        let frame = build(&session).unwrap_or_else(|error| panic!("{sql}: {error}"));
        for mode in [Mode::Batch, Mode::Stream] {
            assert_eq!(rows_of(&session, &frame, mode).await, expected, "{mode:?}: {sql}");
        }
        assert!(frame.explain().unwrap().contains("read bid"), "{sql}");
    }
    let unknown = session.table("bid").unwrap().filter(col("prize").gt(lit(1))).unwrap_err();
    assert!(unknown.to_string().contains("prize"), "{unknown}");
}

/// A server that sends each text to who asks first, in parts of a few bytes, and hangs up.
fn serve(text: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        for part in text.as_bytes().chunks(11) {
            connection.write_all(part).unwrap();
        }
    });
    port
}

/// Runs an example over lines from a socket as a stream, and over the same lines from a log in batch.
async fn check_example(
    columns: &str,
    lines: &[&str],
    build: impl Fn(Frame) -> Result<Frame, SqlError>,
) -> Vec<Vec<String>> {
    let project = Project::new();
    let port = serve(lines.join("\n"));
    let tables = format!(
        "CREATE TABLE live ({columns}) WITH ('connector' = 'socket', 'hostname' = '127.0.0.1', 'port' = '{port}');
         CREATE TABLE stored ({columns}) WITH ('connector' = 'log', 'topic' = 'stored', 'format' = 'raw');"
    );
    let catalog: Arc<Catalog> = project.catalog(&tables);
    let values: Vec<String> = lines.iter().map(|line| format!("('{line}')")).collect();
    project.batch(&catalog, &format!("INSERT INTO stored VALUES {}", values.join(", "))).await;
    let session = Session::new(catalog, Arc::clone(&project.connectors));
    let streamed = rows_of(&session, &build(session.table("live").unwrap()).unwrap(), Mode::Stream).await;
    let batch = rows_of(&session, &build(session.table("stored").unwrap()).unwrap(), Mode::Batch).await;
    assert_eq!(streamed, batch);
    streamed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_counted_from_a_socket_as_in_batch() {
    let lines = ["to be or not to be", "", "that is  the question", "to be"];
    let counts = check_example("line VARCHAR", &lines, word_count::word_count).await;
    let expected = ["be 3", "is 1", "not 1", "or 1", "question 1", "that 1", "the 1", "to 3"];
    assert_eq!(counts.iter().map(|row| row.join(" ")).collect::<Vec<String>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hashtags_used_most_are_found() {
    let lines = ["#Rust is fun! #rust", "we like #streams, and #Water #water", "#rust #streams #", "no tag#here"];
    let top = check_example("line VARCHAR", &lines, |messages| hashtags::top_hashtags(messages, 2)).await;
    assert_eq!(top, [["#rust", "3"], ["#streams", "2"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bubbles_popped_in_a_tunnel_count_for_their_minutes() {
    let minute = 60_000;
    let plays: Vec<String> = (0..10)
        .flat_map(|at| [format!("ann,1,{}", at * minute / 2), format!("bob,2,{}", at * minute / 2 + 10)])
        // Cleo's train leaves the tunnel.
        .chain((0..6).map(|at| format!("cleo,100,{}", at * minute / 2)))
        .collect();
    let plays: Vec<&str> = plays.iter().map(String::as_str).collect();
    let minutes = check_example(bubbles::PLAYS, &plays, bubbles::bubbles_per_minute).await;
    let bubbles: Vec<&str> = minutes.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(bubbles, ["206", "206", "206", "6", "6"]);
}
