//! Made-up rows: `'connector' = 'datagen'`, with the options of Flink's.
//!
//! A row is a function of its number and the seed, so it can be made again: unlike Flink's, this generator replays from a
//! position, and what is computed of its rows is computed exactly once. Only days and times are those of the making.

mod field;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};

use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;
use crate::sink::Sink;
use crate::source::{PartitionReader, Position, Read, Source};

use field::Field;

/// The options beside `fields.*`.
const OPTIONS: [&str; 4] = ["connector", "rows-per-second", "number-of-rows", "seed"];
/// As in Flink.
const ROWS_PER_SECOND: u64 = 10_000;
/// Rows of a batch, at most.
const BATCH_ROWS: u64 = 8192;
/// Rows come at least so often, while their rate allows it.
const STEP: Duration = Duration::from_millis(10);

/// `'connector' = 'datagen'`.
pub(crate) struct DatagenConnector;

#[async_trait]
impl Connector for DatagenConnector {
    fn name(&self) -> &'static str {
        "datagen"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        Generator::new(table).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        Ok(Arc::new(Generator::new(table)?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        self.check(table)?;
        Err(crate::options::refusal(table, "made-up rows can only be read; write to a table of connector 'print'"))
    }
}

/// A table of made-up rows.
#[derive(Clone)]
struct Generator {
    table: String,
    schema: SchemaRef,
    fields: Vec<Field>,
    rows_per_second: u64,
    /// How many rows there are; without an end where neither the table nor a sequence has one.
    end: Option<u64>,
}

impl Generator {
    fn new(table: &TableDefinition) -> Result<Self, ConnectError> {
        let schema = table.physical_schema();
        let names: Vec<String> = schema.fields().iter().flat_map(|column| field::options_of(column.name())).collect();
        let allowed: Vec<&str> = OPTIONS.into_iter().chain(names.iter().map(String::as_str)).collect();
        let options = Options::new(table, &allowed)?;
        let seed = options.number("seed")?.unwrap_or(0);
        let fields =
            schema.fields().iter().zip(0_u64..).map(|(column, place)| Field::new(&options, column, seed, place));
        let fields = fields.collect::<Result<Vec<Field>, ConnectError>>()?;
        let rows_per_second = options.number("rows-per-second")?.unwrap_or(ROWS_PER_SECOND);
        if rows_per_second == 0 {
            return Err(options.refusal("'rows-per-second' must be at least 1"));
        }
        let ends = fields.iter().filter_map(Field::end).chain(options.number("number-of-rows")?);
        Ok(Self { table: table.name.to_string(), end: ends.min(), schema, fields, rows_per_second })
    }
}

#[async_trait]
impl Source for Generator {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn is_bounded(&self) -> bool {
        self.end.is_some()
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(vec!["generator".to_owned()])
    }

    async fn open(
        &self,
        _partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        let schema = Arc::new(self.schema.project(projection)?);
        let fields = projection.iter().filter_map(|column| self.fields.get(*column).cloned()).collect();
        if self.end.is_none() && !follow {
            let reason =
                "its rows have no end: say how many there are with 'number-of-rows', or follow the table as a stream";
            return Err(ConnectError::Definition { table: self.table.clone(), reason: reason.to_owned() });
        }
        // Who asks for all rows there are does not want to wait for them.
        let rows_per_second = if follow { self.rows_per_second } else { u64::MAX };
        let began = Instant::now();
        Ok(Box::new(GeneratorReader { schema, fields, next: from, first: from, end: self.end, rows_per_second, began }))
    }
}

struct GeneratorReader {
    schema: SchemaRef,
    fields: Vec<Field>,
    next: u64,
    /// The row at which `began` was.
    first: u64,
    end: Option<u64>,
    rows_per_second: u64,
    began: Instant,
}

impl GeneratorReader {
    /// When the row with this number is due.
    fn due(&self, row: u64) -> Instant {
        let nanos = u128::from(row - self.first) * 1_000_000_000 / u128::from(self.rows_per_second);
        self.began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[async_trait]
impl PartitionReader for GeneratorReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.next));
        if left == 0 {
            return Ok(Read::End);
        }
        let step = (u128::from(self.rows_per_second) * STEP.as_millis() / 1000).clamp(1, u128::from(BATCH_ROWS));
        let count = left.min(u64::try_from(step).unwrap_or(1));
        // The last row of the batch is due one step after it was begun to be waited for.
        sleep_until(self.due(self.next + count)).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let rows = self.next..self.next + count;
        let columns: Vec<ArrayRef> = self.fields.iter().map(|field| field.values(rows.clone(), now)).collect();
        let options = RecordBatchOptions::new().with_row_count(usize::try_from(count).ok());
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.next = rows.end;
        Ok(Read::Rows(batch, self.next))
    }
}
