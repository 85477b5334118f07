//! Files and folders: `'connector' = 'filesystem'`.
//!
//! The path is one file, or a folder with files in it, one folder a partition (`day=2013-01-01/`) where the table is
//! `PARTITIONED BY`; in object storage, `s3://bucket/folder`. Names that begin with `.` or `_` are not data. Text files may be compressed with gzip or Zstandard.

mod bucket;
mod ledger;
mod listing;
mod marking;
mod provider;
mod reader;
mod rolling;
mod row_file;
mod sink;
mod staging;
mod target;
mod watching;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use mulgil_log::EventLog;
use tokio::sync::OnceCell;

use crate::bad_rows::{self, BadRowSample, BadRows};
use crate::connector::{AppendOnly, Connector};
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::avro::{self, AvroCodec};
use crate::format::csv::{self, CsvOptions};
use crate::format::json;
use crate::object_storage::{ObjectFolder, ObjectStorageOptions};
use crate::options::Options;
use crate::sink::Sink;
use crate::source::{PartitionReader, Position, Source};
use crate::writer::TableWriter;

use listing::DataFile;
use marking::Marking;
use provider::FilesProvider;
pub(crate) use reader::partition_array;
use rolling::Rolling;
use row_file::Compression;
use sink::FolderSink;
use target::Target;
use watching::FolderReader;
use writer::{FileSink, FilesWriter};

/// `'connector' = 'filesystem'`.
pub(crate) struct FilesystemConnector {
    project_dir: PathBuf,
    log: Option<EventLog>,
    object_storage: ObjectStorageOptions,
}

impl FilesystemConnector {
    /// Paths are relative to `project_dir`, or in object storage; dead letters go to `log`.
    pub(crate) fn new(project_dir: PathBuf, log: Option<EventLog>, object_storage: ObjectStorageOptions) -> Self {
        Self { project_dir, log, object_storage }
    }

    fn files(&self, table: &TableDefinition) -> Result<Files, ConnectError> {
        Files::new(table, (&self.project_dir, &self.object_storage), self.log.as_ref())
    }

    fn files_writer(&self, table: &TableDefinition) -> Result<FilesWriter, ConnectError> {
        FilesWriter::new(self.files(table)?, table)
    }
}

#[async_trait]
impl Connector for FilesystemConnector {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        let files = self.files(table)?;
        files.rolling(table).and_then(|_| files.marking(table)).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        let files = self.files(table)?;
        if files.monitor_interval.is_some() && files.bucket.is_none() && files.path.is_file() {
            let path = files.path.display();
            return Err(files.refusal(format!("'source.monitor-interval' watches a folder, and {path} is a file")));
        }
        Ok(Arc::new(files))
    }

    async fn provider(&self, table: &TableDefinition) -> Result<Arc<dyn TableProvider>, ConnectError> {
        Ok(Arc::new(FilesProvider::new(self.files(table)?)))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        let writer = self.files_writer(table)?;
        let (rolling, marking) = (writer.files.rolling(table)?, writer.files.marking(table)?);
        Ok(match Target::of(&writer.files) {
            Target::File(_) => Arc::new(FileSink::new(writer)),
            Target::Folder(_) => Arc::new(FolderSink::new(writer, rolling, marking)),
        })
    }

    fn writer(&self, table: &TableDefinition) -> Result<Arc<dyn TableWriter>, ConnectError> {
        let writer = self.files_writer(table)?;
        Ok(match writer.files.bucket {
            // Nothing in object storage can take the place of several objects at once.
            Some(_) => Arc::new(AppendOnly::new(table, self.sink(table)?).doubling(
                "files in object storage cannot tell what a run has appended, so a retry could double it; append to a lake table \
                 ('connector' = 'delta'), or say `idempotent: false`",
            )),
            None => Arc::new(writer),
        })
    }
}

/// How the files of a table are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    /// Comma-separated values.
    Csv(CsvOptions),
    /// JSON lines.
    Json,
    /// Parquet.
    Parquet,
    /// Avro's container files.
    Avro(AvroCodec),
}

#[derive(Clone, Copy)]
enum FormatName {
    Csv,
    Json,
    Parquet,
    Avro,
}

impl FormatName {
    const ALL: [(&'static str, Self); 4] =
        [("csv", Self::Csv), ("json", Self::Json), ("parquet", Self::Parquet), ("avro", Self::Avro)];
}

/// The options of a table, by its format.
fn allowed(table: &TableDefinition) -> Vec<&'static str> {
    let mut allowed = vec!["connector", "path", "format", "source.monitor-interval"];
    allowed.extend(bad_rows::OPTIONS);
    allowed.extend(rolling::OPTIONS.iter().chain(&marking::OPTIONS));
    match table.options.get("format").map_or("", String::as_str) {
        "csv" => allowed.extend(csv::OPTIONS.iter().chain(&["compression"])),
        "json" => allowed.extend(json::OPTIONS.iter().chain(&["compression"])),
        "parquet" => {}
        "avro" => allowed.extend(avro::FILE_OPTIONS),
        _ => {
            allowed.extend(csv::OPTIONS.iter().chain(&json::OPTIONS).chain(&avro::FILE_OPTIONS).chain(&["compression"]))
        }
    }
    allowed
}

/// A table of files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The table's name, for messages.
    table: String,
    /// The file or folder.
    path: PathBuf,
    /// Where the files are in truth, if not at `path`: then that is where they are put together.
    bucket: Option<ObjectFolder>,
    format: Format,
    /// How text is packed when it is written; what is read says so itself.
    compression: Compression,
    /// What happens with rows that cannot be read.
    bad_rows: BadRows,
    /// All columns, as the table declares them.
    schema: SchemaRef,
    /// The columns that are in the files: all but the partition columns.
    file_schema: SchemaRef,
    /// The columns that are in the names of folders.
    partitioned_by: Vec<String>,
    /// How often the folder is looked at for new files, where it is watched.
    monitor_interval: Option<Duration>,
    /// The files, once they have been listed: numbers of partitions have to stay the same.
    listed: Arc<OnceCell<Vec<DataFile>>>,
}

impl Files {
    /// The table that a definition describes. Touches no file.
    pub(crate) fn new(
        table: &TableDefinition,
        (project_dir, object_storage): (&Path, &ObjectStorageOptions),
        log: Option<&EventLog>,
    ) -> Result<Self, ConnectError> {
        let options = Options::new(table, &allowed(table))?;
        options.required("format", "csv")?;
        let place = options.required("path", "data/flights.csv")?;
        let bucket = ObjectFolder::is_url(place).then(|| ObjectFolder::open(place, object_storage)).transpose()?;
        let path = match &bucket {
            Some(_) => project_dir.join(".mulgil/working/files").join(place.trim_start_matches("s3://")),
            None => project_dir.join(place),
        };
        let format = options.one_of("format", &FormatName::ALL, FormatName::Csv)?;
        let compression = Compression::of_extension(path.extension().and_then(|extension| extension.to_str()));
        let compression = options.one_of("compression", &Compression::CHOICES, compression)?;
        let schema = table.physical_schema();
        let partitioned_by = table.partitioned_by.clone();
        let file_fields = schema.fields().iter().filter(|field| !partitioned_by.contains(field.name())).cloned();
        let file_schema = Arc::new(Schema::new(file_fields.collect::<Vec<_>>()));
        let (format, ignore_parse_errors) = match format {
            FormatName::Csv => {
                csv::check_columns(&file_schema).map_err(|reason| options.refusal(reason))?;
                (Format::Csv(CsvOptions::new(&options)?), options.boolean("csv.ignore-parse-errors", false)?)
            }
            FormatName::Json => (Format::Json, options.boolean("json.ignore-parse-errors", false)?),
            FormatName::Parquet => (Format::Parquet, false),
            FormatName::Avro => {
                avro::check_columns(&file_schema).map_err(|reason| options.refusal(reason))?;
                (Format::Avro(AvroCodec::new(&options)?), options.boolean("avro.ignore-parse-errors", false)?)
            }
        };
        if file_schema.fields().is_empty() {
            return Err(options.refusal("all columns are partition columns; the files need at least one"));
        }
        let bad_rows = BadRows::new(table, &options, ignore_parse_errors, log)?;
        let table = table.name.to_string();
        Ok(Self {
            table,
            path,
            bucket,
            format,
            compression,
            bad_rows,
            monitor_interval: options.duration("source.monitor-interval")?,
            schema,
            file_schema,
            partitioned_by,
            listed: Arc::default(),
        })
    }

    /// When a stream closes its files.
    fn rolling(&self, table: &TableDefinition) -> Result<Rolling, ConnectError> {
        Rolling::new(&Options::new(table, &allowed(table))?)
    }

    /// Which partitions a stream marks.
    fn marking(&self, table: &TableDefinition) -> Result<Option<Marking>, ConnectError> {
        Marking::new(table, &Options::new(table, &allowed(table))?)
    }

    /// The same table with just these files.
    fn with_files(&self, files: Vec<DataFile>) -> Self {
        Self { listed: Arc::new(OnceCell::new_with(Some(files))), ..self.clone() }
    }

    async fn files(&self) -> Result<&[DataFile], ConnectError> {
        self.listed.get_or_try_init(|| self.list()).await.map(Vec::as_slice)
    }

    fn refusal(&self, reason: impl Into<String>) -> ConnectError {
        ConnectError::Definition { table: self.table.clone(), reason: reason.into() }
    }
}

#[async_trait]
impl Source for Files {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn is_bounded(&self) -> bool {
        self.monitor_interval.is_none()
    }

    fn bad_rows(&self) -> Option<BadRowSample> {
        Some(self.bad_rows.sample())
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        if self.monitor_interval.is_some() {
            return Ok(vec![self.place().display().to_string()]);
        }
        let files = self.files().await?;
        Ok(files.iter().map(|file| file.path.display().to_string()).collect())
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        if let Some(interval) = self.monitor_interval {
            return Ok(Box::new(FolderReader::new(self.clone(), interval, from, projection, follow)));
        }
        let file = self.files().await?.get(partition).cloned();
        let file = file.ok_or_else(|| self.refusal(format!("there is no file number {partition}")))?;
        Ok(Box::new(reader::FileReader::open(self, file, from, projection)?))
    }

    async fn state(&self) -> Result<Option<String>, ConnectError> {
        self.stamps().await.map(Some)
    }

    fn renewed(&self) -> Option<Arc<dyn Source>> {
        Some(Arc::new(Self { listed: Arc::default(), ..self.clone() }))
    }
}
