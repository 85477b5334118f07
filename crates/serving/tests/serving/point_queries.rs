//! Queries for the rows of a key, answered from a view's index: the answer is the one of the ordinary way, whatever the query,
//! the types and the nulls; and it is of one cut while the view changes and while generations take over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::concat_batches;
use mulgil_connect::definition::TableName;
use mulgil_engine::deterministic::Random;
use mulgil_log::{Record, TopicOptions};
use mulgil_serving::run::collect;
use mulgil_serving::views::{ReplayOptions, Views, ViewsOptions};
use mulgil_sql::point_query::PointQuery;

use crate::fixture::{Project, text_rows};

const PATIENCE: Duration = Duration::from_secs(60);

const PROJECT: &str = "
CREATE TABLE facts (name VARCHAR, n INT, is_new BOOLEAN, at TIMESTAMP(3), x BIGINT, WATERMARK FOR at AS at - INTERVAL '1' HOUR)
WITH ('connector' = 'log', 'topic' = 'facts', 'format' = 'json');
CREATE MATERIALIZED TABLE by_name REFRESH_MODE = CONTINUOUS AS
SELECT max(x) AS top, name, n, count(*) AS c, sum(x) AS s, is_new FROM facts GROUP BY name, n, is_new;
CREATE MATERIALIZED TABLE by_hour REFRESH_MODE = CONTINUOUS AS
SELECT name, window_start, count(*) AS c, avg(x) AS mean FROM TUMBLE(TABLE facts, DESCRIPTOR(at), INTERVAL '1' HOUR)
GROUP BY name, window_start, window_end;
CREATE MATERIALIZED TABLE by_time REFRESH_MODE = KAPPA AS SELECT at, count(*) AS c FROM facts GROUP BY at;
CREATE MATERIALIZED TABLE keyless REFRESH_MODE = CONTINUOUS AS SELECT name, n FROM facts;
CREATE MATERIALIZED TABLE computed REFRESH_MODE = FULL AS SELECT name, count(*) AS c FROM facts GROUP BY name;
";

/// Every name, and two that nobody has.
const NAMES: [&str; 6] = ["a", "b", "", "물", "c", "'"];

/// Facts, thirty of each hour.
const FACTS: usize = 600;

fn fact(random: &mut Random, day: usize, hour: usize) -> Record {
    let or_null = |text: String, random: &mut Random| if random.below(6) == 0 { "null".to_owned() } else { text };
    let name = or_null(format!("\"{}\"", NAMES[random.below(4)]), random);
    let n = or_null(random.below(4).to_string(), random);
    let is_new = or_null((random.below(2) == 0).to_string(), random);
    let second = random.below(3);
    let x = or_null(random.below(1_000).to_string(), random);
    let at = format!("2013-01-{day:02} {hour:02}:00:{second:02}");
    let value = format!("{{\"name\":{name},\"n\":{n},\"is_new\":{is_new},\"at\":\"{at}\",\"x\":{x}}}");
    Record { timestamp_ms: 0, key: None, value: value.into() }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not {what}"));
}

/// A query with parameters, and their values.
struct Asked {
    sql: String,
    values: Vec<ArrayRef>,
}

fn random_name(random: &mut Random) -> ArrayRef {
    let name = NAMES[random.below(NAMES.len())];
    Arc::new(StringArray::from(vec![(random.below(8) > 0).then_some(name)]))
}

/// A whole number in one of the types that clients send, also one that the column cannot hold.
fn random_number(random: &mut Random) -> ArrayRef {
    let number = i64::try_from(random.below(5)).unwrap();
    match random.below(6) {
        0 => Arc::new(Int16Array::from(vec![i16::try_from(number).unwrap()])),
        1 => Arc::new(Int32Array::from(vec![i32::try_from(number).unwrap()])),
        2 => Arc::new(Int64Array::from(vec![number + (1 << 40)])),
        3 => new_null_array(&arrow::datatypes::DataType::Int64, 1),
        _ => Arc::new(Int64Array::from(vec![number])),
    }
}

fn random_hour(random: &mut Random) -> ArrayRef {
    let midnight = 1_356_998_400_000_000;
    let micros =
        midnight + i64::try_from(random.below(24)).unwrap() * 3_600_000_000 + [0, 0, 0, 1, 1_000_000][random.below(5)];
    Arc::new(TimestampMicrosecondArray::from(vec![micros]))
}

fn random_query(random: &mut Random) -> Asked {
    let limit = ["", "", "", " LIMIT 1", " LIMIT 0", " LIMIT 5 OFFSET 0", " LIMIT 1 OFFSET 1"][random.below(7)];
    let (select, predicates, values): (&str, Vec<String>, Vec<ArrayRef>) = match random.below(4) {
        0 | 1 => {
            let select = ["*", "s, name AS who, s AS again", "c + 1 AS d, name", "v.n, v.c", "count(*) AS many"]
                [random.below(5)];
            let n = match random.below(3) {
                0 => format!("{} = n", random.below(5)),
                1 => "v.n = $3".to_owned(),
                _ => "n = $3".to_owned(),
            };
            let mut predicates = vec!["name = $1".to_owned(), n, "is_new = $2".to_owned()];
            match random.below(6) {
                0 => predicates.push(format!("c = {}", random.below(4))),
                1 => predicates.push("n = 2".to_owned()),
                2 => predicates.push("s > 100".to_owned()),
                3 => drop(predicates.pop()),
                _ => {}
            }
            let is_new: ArrayRef = Arc::new(BooleanArray::from(vec![[Some(true), Some(false), None][random.below(3)]]));
            return Asked {
                sql: format!("SELECT {select} FROM by_name AS v WHERE {}{limit}", predicates.join(" AND ")),
                values: vec![random_name(random), is_new, random_number(random)],
            };
        }
        2 => {
            let select = ["*", "mean, window_start", "c AS \"Count\""][random.below(3)];
            let second = ["window_start = $2", "$2 = window_start", "window_start = $2 AND c = 1"][random.below(3)];
            (select, vec!["name = $1".to_owned(), second.to_owned()], vec![random_name(random), random_hour(random)])
        }
        _ => {
            let sql = format!("SELECT c, at FROM public.by_time WHERE at = $1{limit}");
            return Asked { sql, values: vec![random_hour(random)] };
        }
    };
    Asked { sql: format!("SELECT {select} FROM by_hour WHERE {}{limit}", predicates.join(" AND ")), values }
}

fn point_of(views: &Views, asked: &Asked) -> Option<PointQuery> {
    let types: Vec<_> = asked.values.iter().map(|value| Some(value.data_type().clone())).collect();
    views.session().prepare(&asked.sql, &types).unwrap().point
}

async fn looked_up(views: &Views, asked: &Asked) -> Option<RecordBatch> {
    views.look_up(&point_of(views, asked)?, &asked.values).await.unwrap()
}

async fn text_of(views: &Views, sql: &str) -> Vec<Vec<String>> {
    text_rows(&collect(views.query(sql).await.unwrap()).await.unwrap().1)
}

async fn ordinarily(views: &Views, asked: &Asked) -> RecordBatch {
    let result = views.session().query_with(&asked.sql, &asked.values).await;
    let result = result.unwrap_or_else(|error| panic!("{}: {error}", asked.sql));
    let (schema, batches) = collect(result).await.unwrap();
    concat_batches(&schema, &batches).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_from_the_index_is_the_ordinary_one() {
    let seed: u64 = std::env::var("MULGIL_SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let project = Project::new();
    let topic = project.log.topic_or_create("facts", TopicOptions::default()).unwrap();
    let mut facts: Vec<Record> = (0..FACTS).map(|at| fact(&mut random, 1, at / 30)).collect();
    // With it all windows before it have ended.
    facts.push(fact(&mut random, 3, 0));
    topic.append(0, &facts).await.unwrap();
    let options = ViewsOptions { parallelism: 2, ..ViewsOptions::default() };
    let views = Views::new(project.catalog(PROJECT), project.connectors.clone(), options);
    views.start_all().await;
    for (view, count) in [("by_name", FACTS + 1), ("by_hour", FACTS), ("by_time", FACTS + 1)] {
        let sql = format!("SELECT CAST(sum(c) AS BIGINT) FROM {view}");
        until("caught up", async || text_of(&views, &sql).await == [[count.to_string()]]).await;
    }
    let (mut short, mut with_rows) = (0, 0);
    for case in 0..400 {
        let asked = random_query(&mut random);
        let Some(found) = looked_up(&views, &asked).await else { continue };
        let expected = ordinarily(&views, &asked).await;
        let context = format!("seed {seed}, case {case}: {} with {:?}", asked.sql, asked.values);
        assert_eq!(text_rows(std::slice::from_ref(&found)), text_rows(std::slice::from_ref(&expected)), "{context}");
        for (found, expected) in found.schema().fields().iter().zip(expected.schema().fields()) {
            assert_eq!((found.name(), found.data_type()), (expected.name(), expected.data_type()), "{context}");
        }
        assert_eq!(found.num_columns(), expected.num_columns(), "{context}");
        short += 1;
        with_rows += usize::from(found.num_rows() > 0);
    }
    println!("{short} answers from an index, {with_rows} with a row");
    assert!(short > 100 && with_rows > 20, "{short} answers from an index, {with_rows} with a row");
    what_is_not_a_key_goes_the_ordinary_way(&views).await;
    views.shutdown().await;
}

async fn what_is_not_a_key_goes_the_ordinary_way(views: &Views) {
    let one = || -> ArrayRef { Arc::new(StringArray::from(vec!["a"])) };
    views.refresh(&TableName::parse("computed")).await.unwrap();
    for sql in [
        "SELECT n FROM keyless WHERE name = $1",
        "SELECT c FROM by_hour WHERE name = $1",
        "SELECT c FROM computed WHERE name = $1",
        "SELECT name FROM by_name WHERE name = $1 AND n = 1 OR is_new",
        "SELECT DISTINCT name FROM by_name WHERE name = $1 AND n = 1 AND is_new = true",
        "SELECT name FROM by_name WHERE name = $1 AND n = 1 AND is_new = true ORDER BY c",
        "SELECT a.c FROM by_name AS a JOIN by_name AS b ON a.c = b.c WHERE a.name = $1 AND a.n = 1 AND a.is_new = true",
        "SELECT name FROM facts WHERE name = $1",
    ] {
        let asked = Asked { sql: sql.to_owned(), values: vec![one()] };
        assert_eq!(looked_up(views, &asked).await, None, "{sql}");
    }
    let asked = Asked {
        sql: "SELECT name FROM by_name WHERE name = $1 AND n = 1 AND is_new = true".to_owned(),
        values: vec![one()],
    };
    assert!(looked_up(views, &asked).await.is_some());
}

/// The topic holds the numbers from 0 on, in order: the count of a digit says which prefixes of it an answer may be about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_are_about_a_prefix_and_never_go_back_while_generations_take_over() {
    let project = Project::new();
    let catalog = project.catalog(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');
         CREATE MATERIALIZED TABLE digits WITH ('checkpoint-interval' = '20 ms') REFRESH_MODE = KAPPA AS
         SELECT n % 10 AS digit, count(*) AS c FROM numbers GROUP BY n % 10;",
    );
    let options = ViewsOptions {
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    let views = Views::new(catalog, project.connectors.clone(), options);
    views.start_all().await;
    let topic = project.log.topic_or_create("numbers", TopicOptions::default()).unwrap();
    let (written, is_done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let produce = {
        let (written, is_done) = (Arc::clone(&written), Arc::clone(&is_done));
        async move {
            while !is_done.load(Ordering::SeqCst) {
                let first = written.fetch_add(113, Ordering::SeqCst);
                let record = |n| Record { timestamp_ms: 0, key: None, value: format!("{{\"n\": {n}}}").into() };
                topic.append(0, &(first..first + 113).map(record).collect::<Vec<_>>()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    let producer = tokio::spawn(produce);
    let digits = TableName::parse("digits");
    until("there", async || views.status(&digits).unwrap().rows == 10).await;
    let readers =
        [1, 2].map(|seed| tokio::spawn(read(views.clone(), Arc::clone(&written), Arc::clone(&is_done), seed)));
    for generation in [2, 3] {
        views.replay(&digits, &ReplayOptions::default()).await.unwrap();
        until("replayed", async || views.status(&digits).unwrap().generation == generation).await;
    }
    views.roll_back(&digits).await.unwrap();
    until("rolled back", async || views.status(&digits).unwrap().generation == 2).await;
    is_done.store(true, Ordering::SeqCst);
    producer.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "nobody has looked anything up");
    }
    let total = written.load(Ordering::SeqCst);
    until("all counted", async || {
        text_of(&views, "SELECT CAST(sum(c) AS BIGINT) FROM digits").await == [[total.to_string()]]
    })
    .await;
    views.shutdown().await;
}

/// Looks digits up until told to stop; gives how often it was answered from the index.
async fn read(views: Views, written: Arc<AtomicU64>, is_done: Arc<AtomicBool>, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let prepared = views.session().prepare("SELECT c FROM digits WHERE digit = $1", &[]).unwrap();
    let point = prepared.point.expect("it asks for a key");
    let (mut at_least, mut answers) = (0_u64, 0);
    while !is_done.load(Ordering::SeqCst) {
        let digit = random.below(10) as u64;
        let value: ArrayRef = Arc::new(Int64Array::from(vec![digit as i64]));
        tokio::task::yield_now().await;
        let Some(found) = views.look_up(&point, &[value]).await.unwrap() else { continue };
        let found = text_rows(&[found]);
        let [row] = found.as_slice() else { panic!("{digit}: {found:?} after {at_least} numbers") };
        let count: u64 = row[0].parse().unwrap();
        // So often the digit is in the prefixes from `10 (count - 1) + digit + 1` to `10 count + digit`.
        assert!(10 * count + digit >= at_least, "{digit} {count} times, and before at least {at_least} numbers");
        at_least = at_least.max(10 * count.saturating_sub(1) + digit + 1);
        assert!(at_least <= written.load(Ordering::SeqCst), "{digit} {count} times");
        answers += 1;
    }
    answers
}
