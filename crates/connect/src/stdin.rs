//! Lines of standard input: `'connector' = 'stdin'`, as `zcat log.gz | mulgil sql ...` gives them. Each line is the one column of
//! a row.
//!
//! It can be read once, by one reader: what has been read before a failure is gone. So it gives *at-most-once*. The table ends when the
//! input does; a last line without a line break counts.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;
use crate::sink::Sink;
use crate::socket::Lines;
use crate::source::{PartitionReader, Position, Read, Source};

const OPTIONS: [&str; 2] = ["connector", "format"];
/// How much is read at once, at most.
const READ_BYTES: usize = 256 << 10;
/// Reads that may wait to be taken.
const READS_WAITING_MAX: usize = 4;

/// Whether somebody in this process reads it already.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// `'connector' = 'stdin'`.
pub(crate) struct StdinConnector;

#[async_trait]
impl Connector for StdinConnector {
    fn name(&self) -> &'static str {
        "stdin"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        Stdin::new(table).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        Ok(Arc::new(Stdin::new(table)?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        let options = Options::new(table, &OPTIONS)?;
        Err(options.refusal("standard input can only be read; write to a table of connector 'print'"))
    }
}

struct Stdin {
    table: String,
    schema: SchemaRef,
}

impl Stdin {
    fn new(table: &TableDefinition) -> Result<Self, ConnectError> {
        let options = Options::new(table, &OPTIONS)?;
        options.one_of("format", &[("raw", ())], ())?;
        let schema = table.physical_schema();
        if !matches!(&schema.fields()[..], [field] if field.data_type() == &DataType::Utf8) {
            return Err(options.refusal(
                "standard input gives lines: it needs exactly one physical column, a STRING; make others of it as computed columns",
            ));
        }
        Ok(Self { table: table.name.to_string(), schema })
    }
}

#[async_trait]
impl Source for Stdin {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn replays(&self) -> bool {
        false
    }

    /// It ends by itself, sooner or later.
    fn is_bounded(&self) -> bool {
        true
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(vec!["standard input".to_owned()])
    }

    async fn open(
        &self,
        _partition: usize,
        from: Position,
        projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            let reason = "standard input can be read once; read it into a table first, and that as often as you like";
            return Err(ConnectError::Definition { table: self.table.clone(), reason: reason.to_owned() });
        }
        let lines = Lines::new(Arc::new(self.schema.project(projection)?));
        Ok(Box::new(StdinReader { table: self.table.clone(), reads: reads(), lines, position: from, is_at_end: false }))
    }
}

/// What is read, by a thread of its own: a read of standard input cannot be called off.
fn reads() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(READS_WAITING_MAX);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut buffer = vec![0; READ_BYTES];
            let read = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    buffer.truncate(length);
                    Ok(buffer)
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_over = read.is_err();
            if sender.blocking_send(read).is_err() || is_over {
                return;
            }
        }
    });
    receiver
}

struct StdinReader {
    table: String,
    reads: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    lines: Lines,
    position: Position,
    is_at_end: bool,
}

#[async_trait]
impl PartitionReader for StdinReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        let failed = |reason: String| ConnectError::Definition { table: self.table.clone(), reason };
        loop {
            if let Some(rows) = self.lines.take(self.is_at_end)? {
                self.position += rows.num_rows() as u64;
                return Ok(Read::Rows(rows, self.position));
            }
            if self.is_at_end {
                return Ok(Read::End);
            }
            match self.reads.recv().await {
                Some(Ok(bytes)) => self.lines.push(&bytes).map_err(failed)?,
                Some(Err(error)) => return Err(failed(format!("read standard input: {error}"))),
                None => self.is_at_end = true,
            }
        }
    }

    fn skipped_rows(&self) -> u64 {
        self.lines.skipped_rows()
    }
}
