//! A file of rows that is being written: in the table's format, packed where the table wants it.
//!
//! A packed text is a sequence of members, each of which can be read by itself: `sync` ends one, so that a file is whole at
//! every place up to which it was synced.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::arrow::ArrowWriter;
use arrow::array::RecordBatch;
use flate2::write::GzEncoder;

use super::{Files, Format};
use crate::format::avro::{self, AvroFile};
use crate::format::csv::CsvWriter;
use crate::format::json::write_lines;
use crate::format::parquet;

/// How a text is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The values of the option `compression`.
    pub(crate) const CHOICES: [(&'static str, Self); 3] =
        [("none", Self::None), ("gzip", Self::Gzip), ("zstd", Self::Zstd)];

    /// What the name of a file says.
    pub(crate) fn of_extension(extension: Option<&str>) -> Self {
        match extension {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What it adds to the name of a file.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// See the module.
pub(super) struct RowFile {
    rows: Rows,
    /// The same file.
    file: File,
    written_bytes: Arc<AtomicU64>,
}

enum Rows {
    Csv(Box<CsvWriter<Packed>>),
    Json(Box<Packed>),
    Parquet(Box<ArrowWriter<Counted>>),
    Avro(Box<AvroFile<Counted>>),
}

impl RowFile {
    /// An empty file, its header written.
    pub(super) fn new(file: File, table: &Files) -> io::Result<Self> {
        let schema = &table.file_schema;
        let written_bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { file: BufWriter::new(file.try_clone()?), bytes: Arc::clone(&written_bytes) };
        let rows = match &table.format {
            Format::Csv(options) => {
                Rows::Csv(Box::new(CsvWriter::new(Packed::new(counted, table.compression), options, schema)?))
            }
            Format::Json => Rows::Json(Box::new(Packed::new(counted, table.compression))),
            Format::Parquet => Rows::Parquet(Box::new(parquet::writer(counted, schema)?)),
            Format::Avro(codec) => Rows::Avro(Box::new(avro::writer(counted, schema, *codec)?)),
        };
        Ok(Self { rows, file, written_bytes })
    }

    /// The size of what stands before the first row, where it is not packed.
    pub(super) fn header_bytes(table: &Files) -> io::Result<u64> {
        match &table.format {
            Format::Csv(options) => {
                let header = CsvWriter::new(Vec::new(), options, &table.file_schema)?.into_inner()?;
                Ok(header.len() as u64)
            }
            Format::Json | Format::Parquet | Format::Avro(_) => Ok(0),
        }
    }

    /// Whether a file of this format can be written on after a sync.
    pub(super) fn goes_on(format: &Format) -> bool {
        matches!(format, Format::Csv(_) | Format::Json)
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        match &mut self.rows {
            Rows::Csv(writer) => writer.write(rows),
            Rows::Json(file) => write_lines(file, rows).map(|_| ()),
            Rows::Parquet(writer) => writer.write(rows).map_err(io::Error::other),
            Rows::Avro(writer) => writer.write(rows).map_err(io::Error::other),
        }
    }

    /// About how large it has grown.
    pub(super) fn bytes(&self) -> u64 {
        let gathered = match &self.rows {
            Rows::Parquet(writer) => writer.in_progress_size() as u64,
            Rows::Csv(_) | Rows::Json(_) | Rows::Avro(_) => 0,
        };
        self.written_bytes.load(Ordering::Relaxed) + gathered
    }

    /// Brings all rows to disk; up to which byte the file is whole then.
    pub(super) fn sync(&mut self) -> io::Result<u64> {
        match &mut self.rows {
            Rows::Csv(writer) => writer.flush()?,
            Rows::Json(file) => file.flush()?,
            Rows::Parquet(_) | Rows::Avro(_) => return Err(io::Error::other("it is whole when it is finished")),
        }
        self.file.sync_data()?;
        Ok(self.written_bytes.load(Ordering::Relaxed))
    }

    /// Writes all to disk, and says how much it was.
    pub(super) fn finish(self) -> io::Result<u64> {
        match self.rows {
            Rows::Csv(writer) => writer.into_inner()?.flush()?,
            Rows::Json(mut file) => file.flush()?,
            Rows::Parquet(writer) => writer.into_inner().map_err(io::Error::other)?.flush()?,
            Rows::Avro(mut writer) => writer.finish().map_err(io::Error::other)?,
        }
        self.file.sync_all()?;
        Ok(self.file.metadata()?.len())
    }
}

/// A file that knows how much was written to it.
struct Counted {
    file: BufWriter<File>,
    bytes: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A text that is packed on its way into a file; `flush` ends a member.
struct Packed {
    compression: Compression,
    member: Member,
}

enum Member {
    /// None is begun.
    Between(Counted),
    Gzip(GzEncoder<Counted>),
    Zstd(zstd::stream::write::Encoder<'static, Counted>),
    /// An error has lost the file.
    Lost,
}

impl Packed {
    fn new(file: Counted, compression: Compression) -> Self {
        Self { compression, member: Member::Between(file) }
    }

    fn begin(&mut self) -> io::Result<()> {
        match (std::mem::replace(&mut self.member, Member::Lost), self.compression) {
            (Member::Between(file), Compression::Gzip) => {
                self.member = Member::Gzip(GzEncoder::new(file, flate2::Compression::default()));
            }
            (Member::Between(file), Compression::Zstd) => {
                self.member = Member::Zstd(zstd::stream::write::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?);
            }
            (member, _) => self.member = member,
        }
        Ok(())
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        match &mut self.member {
            Member::Between(file) => file.write(bytes),
            Member::Gzip(encoder) => encoder.write(bytes),
            Member::Zstd(encoder) => encoder.write(bytes),
            Member::Lost => Err(io::Error::other("an earlier write to it has failed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut file = match std::mem::replace(&mut self.member, Member::Lost) {
            Member::Between(file) => file,
            Member::Gzip(encoder) => encoder.finish()?,
            Member::Zstd(encoder) => encoder.finish()?,
            Member::Lost => return Err(io::Error::other("an earlier write to it has failed")),
        };
        file.flush()?;
        self.member = Member::Between(file);
        Ok(())
    }
}
