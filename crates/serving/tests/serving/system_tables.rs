//! Tables that the program fills itself are told what a query wants of them, so that they need not give everything.

use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use futures::{StreamExt, TryStreamExt};
use mulgil_connect::definition::TableName;
use mulgil_sql::session::Session;
use mulgil_sql::system::{System, SystemRows, SystemTables};
use mulgil_sql::wanted::Wanted;

use crate::fixture::Project;

const HOUR_US: i64 = 3_600_000_000;

/// One table of three rows, an hour apart, the last one now; it keeps in mind what was wanted of it.
struct Runs {
    now_us: i64,
    wanted: Mutex<Wanted>,
}

impl SystemTables for Runs {
    fn schema(&self, table: &TableName) -> Option<SchemaRef> {
        let fields = [
            Field::new("run", DataType::Int64, true),
            Field::new("flow", DataType::Utf8, true),
            Field::new("created_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ];
        (table.to_string() == "mulgil.runs").then(|| Arc::new(Schema::new(fields.to_vec())))
    }

    fn rows(&self, table: &TableName, wanted: &Wanted) -> SystemRows {
        *self.wanted.lock().unwrap() = wanted.clone();
        let times = [2, 1, 0].map(|hours| self.now_us - hours * HOUR_US).to_vec();
        let batch = RecordBatch::try_new(
            self.schema(table).unwrap(),
            vec![
                Arc::new(Int64Array::from(vec![1, 2, 3])),
                Arc::new(StringArray::from(vec!["a", "b", "a"])),
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
            ],
        );
        futures::stream::iter([Ok(batch.unwrap())]).boxed()
    }
}

#[tokio::test]
async fn conditions_reach_the_table_and_hold_whatever_it_gives() {
    let project = Project::new();
    let runs = Arc::new(Runs { now_us: jiff::Timestamp::now().as_microsecond(), wanted: Mutex::default() });
    let ask = async |condition: &str| {
        let system = Arc::new(System::new(runs.clone(), []));
        let session = Session::new(project.catalog(""), project.connectors.clone()).with_system(system);
        let rows = session.query(&format!("SELECT run FROM mulgil.runs WHERE {condition} ORDER BY run")).await.unwrap();
        let batches: Vec<RecordBatch> = rows.stream.try_collect().await.unwrap();
        let numbers = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        (batches.iter().flat_map(numbers).collect::<Vec<_>>(), runs.wanted.lock().unwrap().clone())
    };

    let (rows, wanted) = ask("created_at > now() - INTERVAL '90' MINUTE AND flow = 'a'").await;
    assert_eq!((rows, wanted.text("flow")), (vec![3], Some("a")));
    let since = wanted.least("created_at").expect("the time is told");
    assert!((runs.now_us - 2 * HOUR_US..runs.now_us).contains(&since), "{since}");

    let (rows, wanted) = ask("created_at <= TIMESTAMP '2013-01-01 00:00:00' AND run BETWEEN 1 AND 7").await;
    assert_eq!((rows, wanted.least("run"), wanted.most("run")), (vec![], Some(1), Some(7)));
    assert_eq!(wanted.most("created_at"), Some(1_356_998_400_000_000));

    let (rows, wanted) = ask("run = 2 OR flow = 'a'").await;
    assert_eq!((rows, wanted), (vec![1, 2, 3], Wanted::default()));
}
