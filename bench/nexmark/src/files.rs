//! Writes events as Parquet files: one table a folder, one file a partition.
//!
//! Rounds of fifty events go to the partitions in turn, so that each partition covers the whole time, in order, and holds
//! its share of persons, auctions and bids.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::event::{Auction, Bid, Event, Generator, Person, ROUND};

/// Rows of a Parquet row group.
const GROUP_ROWS: usize = 128 * 1024;
/// Rounds between two batches: some 7,000 rows.
const BATCH_ROUNDS: u64 = 150;
/// Rows of the side input of q13.
const SIDE_ROWS: i64 = 10_000;

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct Files {
    /// The folder with a folder for each table.
    pub dir: PathBuf,
    /// How many events there are, over all tables.
    pub events: u64,
    /// How many files each table has.
    pub partitions: u64,
    /// Which events.
    pub generator: Generator,
}

impl Files {
    /// Writes the files, unless they are there already. The folder appears when it is complete.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self) -> Result<()> {
        let finished = self.dir.join("events.json");
        let description = serde_json::json!({
            "events": self.events, "partitions": self.partitions, "seed": self.generator.seed,
            "events_per_second": self.generator.events_per_second,
        })
        .to_string();
        if fs::read_to_string(&finished).is_ok_and(|text| text == description) {
            return Ok(());
        }
        fs::create_dir_all(&self.dir).with_context(|| format!("failed to make {}", self.dir.display()))?;
        let _ = fs::remove_file(&finished);
        for table in ["person", "auction", "bid", "side_input"] {
            let folder = self.dir.join(table);
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder)?;
        }
        self.write_side_input()?;
        std::thread::scope(|scope| {
            let threads = (0..self.partitions).map(|partition| scope.spawn(move || self.write_partition(partition)));
            let threads: Vec<_> = threads.collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a writer has panicked"))?)
        })?;
        fs::write(&finished, description)?;
        Ok(())
    }

    fn write_partition(&self, partition: u64) -> Result<()> {
        let mut persons = Table::create(&self.dir.join("person"), partition, person_schema())?;
        let mut auctions = Table::create(&self.dir.join("auction"), partition, auction_schema())?;
        let mut bids = Table::create(&self.dir.join("bid"), partition, bid_schema())?;
        let rounds = (partition..self.events.div_ceil(ROUND)).step_by(self.partitions.max(1) as usize);
        for (count, round) in (1..).zip(rounds) {
            for number in (round * ROUND..(round + 1) * ROUND).take_while(|number| *number < self.events) {
                match self.generator.event(number) {
                    Event::Person(person) => persons.rows.person(&person),
                    Event::Auction(auction) => auctions.rows.auction(&auction),
                    Event::Bid(bid) => bids.rows.bid(&bid),
                }
            }
            if count % BATCH_ROUNDS == 0 {
                bids.write()?;
            }
        }
        [persons, auctions, bids].into_iter().try_for_each(Table::close)
    }

    fn write_side_input(&self) -> Result<()> {
        let schema = Schema::new(vec![number("id"), text("word")]);
        let mut table = Table::create(&self.dir.join("side_input"), 0, Arc::new(schema))?;
        for id in 0..SIDE_ROWS {
            table.rows.numbers([id]);
            table.rows.texts([&format!("word-{id}")]);
        }
        table.close()
    }
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), true)
}

fn person_schema() -> SchemaRef {
    let texts = ["name", "email_address", "credit_card", "city", "state"].map(text);
    let fields = [number("id")].into_iter().chain(texts).chain([time("date_time"), text("extra")]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn auction_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        number("id"),
        text("item_name"),
        text("description"),
        number("initial_bid"),
        number("reserve"),
        time("date_time"),
        time("expires"),
        number("seller"),
        number("category"),
        text("extra"),
    ]))
}

fn bid_schema() -> SchemaRef {
    let numbers = ["auction", "bidder", "price"].map(number);
    let rest = [text("channel"), text("url"), time("date_time"), text("extra")];
    Arc::new(Schema::new(numbers.into_iter().chain(rest).collect::<Vec<_>>()))
}

/// A file of a table, as it grows.
struct Table {
    rows: Rows,
    writer: ArrowWriter<File>,
}

impl Table {
    fn create(folder: &Path, partition: u64, schema: SchemaRef) -> Result<Self> {
        let path = folder.join(format!("part-{partition:03}.parquet"));
        let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
        Ok(Self { rows: Rows::new(schema), writer })
    }

    /// Writes the rows that have been gathered.
    fn write(&mut self) -> Result<()> {
        Ok(self.writer.write(&self.rows.take()?)?)
    }

    fn close(mut self) -> Result<()> {
        self.write()?;
        self.writer.close()?;
        Ok(())
    }
}

/// Rows as columns: the numbers, times and texts of a schema, each in their order in it.
struct Rows {
    schema: SchemaRef,
    numbers: Vec<Int64Builder>,
    times: Vec<TimestampMillisecondBuilder>,
    texts: Vec<StringBuilder>,
}

impl Rows {
    fn new(schema: SchemaRef) -> Self {
        let count =
            |wanted: fn(&DataType) -> bool| schema.fields().iter().filter(|field| wanted(field.data_type())).count();
        let numbers = count(|data_type| *data_type == DataType::Int64);
        let times = count(|data_type| matches!(data_type, DataType::Timestamp(..)));
        let texts = count(|data_type| *data_type == DataType::Utf8);
        Self {
            schema,
            numbers: (0..numbers).map(|_| Int64Builder::new()).collect(),
            times: (0..times).map(|_| TimestampMillisecondBuilder::new()).collect(),
            texts: (0..texts).map(|_| StringBuilder::new()).collect(),
        }
    }

    fn numbers<const N: usize>(&mut self, values: [i64; N]) {
        self.numbers.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
    }

    fn times<const N: usize>(&mut self, values: [i64; N]) {
        self.times.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
    }

    fn texts<const N: usize>(&mut self, values: [&str; N]) {
        self.texts.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
    }

    fn person(&mut self, row: &Person) {
        self.numbers([row.id]);
        self.times([row.date_time_ms]);
        self.texts([&row.name, &row.email_address, &row.credit_card, &row.city, &row.state, &row.extra]);
    }

    fn auction(&mut self, row: &Auction) {
        self.numbers([row.id, row.initial_bid, row.reserve, row.seller, row.category]);
        self.times([row.date_time_ms, row.expires_ms]);
        self.texts([&row.item_name, &row.description, &row.extra]);
    }

    fn bid(&mut self, row: &Bid) {
        self.numbers([row.auction, row.bidder, row.price]);
        self.times([row.date_time_ms]);
        self.texts([&row.channel, &row.url, &row.extra]);
    }

    /// The rows gathered since the last time.
    fn take(&mut self) -> Result<RecordBatch> {
        let mut numbers = self.numbers.iter_mut();
        let mut times = self.times.iter_mut();
        let mut texts = self.texts.iter_mut();
        let columns = self.schema.fields().iter().filter_map(|field| {
            Some(match field.data_type() {
                DataType::Int64 => Arc::new(numbers.next()?.finish()) as ArrayRef,
                DataType::Timestamp(..) => Arc::new(times.next()?.finish()),
                _ => Arc::new(texts.next()?.finish()),
            })
        });
        let columns = columns.collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
