//! Lines of text from a TCP server: `'connector' = 'socket', 'hostname' = 'localhost', 'port' = '9999'`, as `nc -lk 9999`
//! gives them. Each line is the one column of a row.
//!
//! A socket can be read once: what was sent while nobody listened, or before a failure, is gone. So it gives
//! *at-most-once*, and is meant for trying things out. The table ends when the server closes the connection; a last line
//! without a line break counts.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;
use crate::sink::Sink;
use crate::source::{PartitionReader, Position, Read, Source};

const OPTIONS: [&str; 4] = ["connector", "hostname", "port", "format"];
/// The port of the examples of most stream processors.
const DEFAULT_PORT: u16 = 9999;
/// A longer line is refused: it would have to be held in memory whole.
const LINE_BYTES_MAX: usize = 16 << 20;
/// How much is read at once, at most.
const READ_BYTES: usize = 256 << 10;

/// `'connector' = 'socket'`.
pub(crate) struct SocketConnector;

#[async_trait]
impl Connector for SocketConnector {
    fn name(&self) -> &'static str {
        "socket"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        Socket::new(table).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        Ok(Arc::new(Socket::new(table)?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        let options = Options::new(table, &OPTIONS)?;
        Err(options.refusal("a socket can only be read; write to a table of connector 'log' or 'print'"))
    }
}

/// A table over one connection.
#[derive(Clone)]
struct Socket {
    table: String,
    hostname: String,
    port: u16,
    schema: SchemaRef,
}

impl Socket {
    fn new(table: &TableDefinition) -> Result<Self, ConnectError> {
        let options = Options::new(table, &OPTIONS)?;
        options.one_of("format", &[("raw", ())], ())?;
        let schema = table.physical_schema();
        if !matches!(&schema.fields()[..], [field] if field.data_type() == &DataType::Utf8) {
            return Err(options.refusal(
                "a socket gives lines: it needs exactly one physical column, a STRING; make others of it as computed columns",
            ));
        }
        Ok(Self {
            table: table.name.to_string(),
            hostname: options.optional("hostname").unwrap_or("localhost").to_owned(),
            port: options.number("port")?.unwrap_or(DEFAULT_PORT),
            schema,
        })
    }

    fn failed(&self, action: &str, error: &std::io::Error) -> ConnectError {
        let Self { table, hostname, port, .. } = self;
        let reason =
            format!("{action} {hostname}:{port}: {error}; start a server there first, for example nc -lk {port}");
        ConnectError::Away { table: table.clone(), reason, retry_after: None }
    }
}

#[async_trait]
impl Source for Socket {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn replays(&self) -> bool {
        false
    }

    fn is_bounded(&self) -> bool {
        false
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(vec![format!("{}:{}", self.hostname, self.port)])
    }

    async fn open(
        &self,
        _partition: usize,
        from: Position,
        projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        let connection = TcpStream::connect((self.hostname.as_str(), self.port)).await;
        let connection = connection.map_err(|error| self.failed("connect to", &error))?;
        let schema = Arc::new(self.schema.project(projection)?);
        let lines = Lines::new(schema);
        Ok(Box::new(SocketReader { socket: self.clone(), connection, lines, position: from, is_at_end: false }))
    }
}

struct SocketReader {
    socket: Socket,
    connection: TcpStream,
    lines: Lines,
    position: Position,
    is_at_end: bool,
}

#[async_trait]
impl PartitionReader for SocketReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            if let Some(rows) = self.lines.take(self.is_at_end)? {
                self.position += rows.num_rows() as u64;
                return Ok(Read::Rows(rows, self.position));
            }
            if self.is_at_end {
                return Ok(Read::End);
            }
            if self.lines.rest.len() > LINE_BYTES_MAX {
                let error = std::io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes"));
                return Err(self.socket.failed("read", &error));
            }
            self.lines.rest.reserve(READ_BYTES);
            // What was read stands in the buffer, even when this future is dropped.
            let read = self.connection.read_buf(&mut self.lines.rest).await;
            self.is_at_end = read.map_err(|error| self.socket.failed("read", &error))? == 0;
        }
    }

    fn skipped_rows(&self) -> u64 {
        self.lines.skipped_rows
    }
}

/// Bytes on their way to lines.
pub(crate) struct Lines {
    schema: SchemaRef,
    rest: BytesMut,
    /// So many bytes of the rest hold no line break.
    searched: usize,
    skipped_rows: u64,
}

impl Lines {
    /// Nothing has come yet. The schema has the one column, or none where it is not wanted.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, rest: BytesMut::new(), searched: 0, skipped_rows: 0 }
    }

    /// Adds what has come.
    ///
    /// # Errors
    /// A line is too long.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.rest.len() > LINE_BYTES_MAX {
            return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes"));
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Lines that were no text.
    pub(crate) fn skipped_rows(&self) -> u64 {
        self.skipped_rows
    }

    /// The lines that are there, with the last one if nothing comes behind it. Lines that are no UTF-8 are skipped and
    /// counted.
    pub(crate) fn take(&mut self, is_at_end: bool) -> Result<Option<RecordBatch>, ConnectError> {
        let unsearched = self.rest.get(self.searched..).unwrap_or_default();
        let end = match unsearched.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => self.searched + at + 1,
            None if is_at_end => self.rest.len(),
            None => 0,
        };
        let mut whole = self.rest.split_to(end);
        self.searched = self.rest.len();
        if whole.is_empty() {
            return Ok(None);
        }
        if whole.last() == Some(&b'\n') {
            whole.truncate(whole.len() - 1);
        }
        let mut lines: Vec<&str> = Vec::new();
        for line in whole.chunk().split(|byte| *byte == b'\n') {
            match std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)) {
                Ok(line) => lines.push(line),
                Err(_) => self.skipped_rows += 1,
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let columns = self.schema.fields().iter().map(|_| Arc::new(StringArray::from(lines.clone())) as ArrayRef);
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::AsArray;
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let text = "to be\r\nor not\n\nto be\u{e9}\nthe end".as_bytes();
        for size in 1..=text.len() {
            let schema = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, true)]));
            let mut lines = Lines { schema, rest: BytesMut::new(), searched: 0, skipped_rows: 0 };
            let mut found: Vec<String> = Vec::new();
            let mut gather = |rows: Option<RecordBatch>| {
                let rows = rows.iter().flat_map(|rows| rows.column(0).as_string::<i32>().iter().flatten());
                found.extend(rows.map(str::to_owned).collect::<Vec<String>>());
            };
            for part in text.chunks(size) {
                lines.rest.extend_from_slice(part);
                gather(lines.take(false).unwrap());
            }
            gather(lines.take(true).unwrap());
            assert_eq!(found, ["to be", "or not", "", "to be\u{e9}", "the end"], "in parts of {size}");
            assert!(lines.take(true).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_no_text_is_counted() {
        let schema = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, true)]));
        let mut lines = Lines { schema, rest: BytesMut::from(&b"a\n\xFF\nb\n"[..]), searched: 0, skipped_rows: 0 };
        assert_eq!(lines.take(false).unwrap().unwrap().num_rows(), 2);
        assert_eq!(lines.skipped_rows, 1);
    }
}
