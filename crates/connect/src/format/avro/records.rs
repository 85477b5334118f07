//! Avro as records of a topic: each holds one row, without a schema. Which schema it was written with is said by the table
//! (`avro`), or by a number before the row, for which the registry has the schema (`avro-confluent`).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroBinaryFormat;
use bytes::{BufMut, Bytes, BytesMut};

use super::fit;
use super::registry::Registry;
use crate::error::ConnectError;
use crate::format::cells::Decoded;
use crate::options::Options;

/// The options of these formats.
pub(crate) const OPTIONS: [&str; 7] = [
    "avro.schema",
    "avro.ignore-parse-errors",
    "avro-confluent.url",
    "avro-confluent.schema-registry.url",
    "avro-confluent.subject",
    "avro-confluent.schema-registry.subject",
    "avro-confluent.ignore-parse-errors",
];

/// What stands before a framed row: a zero, and the number of its schema.
const FRAME_BYTES: usize = 5;
/// The number by which the decoder knows the one schema that it is given.
const ID: u32 = 1;

/// How a topic's records are Avro.
#[derive(Clone, Debug)]
pub(crate) enum AvroRecords {
    /// All were written with this schema; `None` for the table's own.
    Plain(Option<AvroSchema>),
    /// Each says by which schema.
    Registry(Arc<Registry>),
}

impl AvroRecords {
    /// Reads the options of `'format' = 'avro'`.
    pub(crate) fn plain(options: &Options<'_>) -> Result<Self, ConnectError> {
        let Some(text) = options.optional("avro.schema") else { return Ok(Self::Plain(None)) };
        let schema = AvroSchema::new(text.to_owned());
        decoder(&schema, 1).map_err(|error| options.refusal(format!("'avro.schema' cannot be read: {error}")))?;
        Ok(Self::Plain(Some(schema)))
    }

    /// Reads the options of `'format' = 'avro-confluent'`.
    pub(crate) fn confluent(options: &Options<'_>, topic: &str) -> Result<Self, ConnectError> {
        let either = |name: &str, old: &str| options.optional(name).or_else(|| options.optional(old));
        let url = match either("avro-confluent.url", "avro-confluent.schema-registry.url") {
            Some(url) => url,
            None => options.required("avro-confluent.url", "http://registry:8081")?,
        };
        if !url.starts_with("http://") {
            return Err(
                options.refusal(format!("'avro-confluent.url' = '{url}' must begin with http://; TLS is not spoken"))
            );
        }
        let subject = either("avro-confluent.subject", "avro-confluent.schema-registry.subject");
        let subject = subject.map_or_else(|| format!("{topic}-value"), str::to_owned);
        Ok(Self::Registry(Arc::new(Registry::new(url, subject))))
    }

    /// One record a row, in order.
    pub(crate) fn encode(&self, rows: &RecordBatch) -> Result<Vec<Bytes>, ArrowError> {
        let schema = rows.schema();
        let builder = WriterBuilder::new(schema.as_ref().clone());
        let mut encoder = builder.build_encoder::<AvroBinaryFormat>()?;
        encoder.encode(rows)?;
        let encoded = encoder.flush();
        let Self::Registry(registry) = self else { return Ok(encoded.iter().collect()) };
        let id = registry.register(&AvroSchema::try_from(schema.as_ref())?)?;
        let framed = |row: Bytes| {
            let mut frame = BytesMut::with_capacity(FRAME_BYTES + row.len());
            frame.put_u8(0);
            frame.put_u32(id);
            frame.put_slice(&row);
            frame.freeze()
        };
        Ok(encoded.iter().map(framed).collect())
    }
}

/// Decodes records into the columns of one schema.
pub(crate) struct AvroDecoder {
    format: AvroRecords,
    /// What records are written with where nobody says more: all columns of the table.
    table: AvroSchema,
    schema: SchemaRef,
}

/// What is gathered of some records.
#[derive(Default)]
struct Gathered {
    rows: Vec<RecordBatch>,
    bad: Vec<(usize, String)>,
}

impl AvroDecoder {
    /// A decoder for the columns `schema` of a table whose records have the columns `table`.
    pub(crate) fn new(format: AvroRecords, table: &Schema, schema: SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self { format, table: AvroSchema::try_from(table)?, schema })
    }

    /// Decodes records, one row each.
    pub(crate) fn decode(&self, records: &[&[u8]]) -> Result<Decoded, ArrowError> {
        let mut gathered = Gathered::default();
        let mut first = 0;
        while let Some(record) = records.get(first) {
            let (id, skipped) = match self.id_of(record) {
                Ok(found) => found,
                Err(reason) => {
                    gathered.bad.push((first, reason));
                    first += 1;
                    continue;
                }
            };
            let run = records.iter().skip(first).take_while(|record| self.id_of(record) == Ok((id, skipped)));
            let run: Vec<&[u8]> = run.map(|record| record.get(skipped..).unwrap_or_default()).collect();
            match self.writer(id) {
                Ok(writer) => self.decode_range(&writer, &run, first, &mut gathered)?,
                Err(Unknown::Schema(reason)) => {
                    gathered.bad.extend((first..first + run.len()).map(|row| (row, reason.clone())));
                }
                Err(Unknown::Registry(error)) => return Err(error),
            }
            first += run.len();
        }
        let rows = concat_batches(&self.schema, &gathered.rows)?;
        Ok(Decoded { rows, kinds: None, bad: gathered.bad })
    }

    /// The number of the schema of a record, and where its row begins.
    fn id_of(&self, record: &[u8]) -> Result<(u32, usize), String> {
        match (&self.format, record) {
            (AvroRecords::Plain(_), _) => Ok((ID, 0)),
            (AvroRecords::Registry(_), [0, a, b, c, d, ..]) => Ok((u32::from_be_bytes([*a, *b, *c, *d]), FRAME_BYTES)),
            (AvroRecords::Registry(_), _) => {
                Err("the value does not begin with a zero and the number of a schema, as the registry's clients write"
                    .to_owned())
            }
        }
    }

    fn writer(&self, id: u32) -> Result<AvroSchema, Unknown> {
        match &self.format {
            AvroRecords::Plain(schema) => Ok(schema.clone().unwrap_or_else(|| self.table.clone())),
            AvroRecords::Registry(registry) => match registry.schema(id) {
                Ok(Some(schema)) => Ok(schema),
                Ok(None) => Err(Unknown::Schema(format!("the registry knows no schema {id}"))),
                Err(error) => Err(Unknown::Registry(error)),
            },
        }
    }

    /// Decodes `rows`, the first of which has the index `first`; halves them where they do not decode together.
    fn decode_range(
        &self,
        writer: &AvroSchema,
        rows: &[&[u8]],
        first: usize,
        gathered: &mut Gathered,
    ) -> Result<(), ArrowError> {
        match (decode_together(writer, rows)?, rows) {
            (Ok(decoded), _) => {
                let fitted = fit(&decoded, &self.schema)?;
                gathered.bad.extend(fitted.bad.into_iter().map(|(row, reason)| (first + row, reason)));
                gathered.rows.push(fitted.rows);
            }
            (Err(_), []) => {}
            (Err(reason), [_]) => gathered.bad.push((first, format!("not Avro of the writer's schema: {reason}"))),
            (Err(_), _) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                self.decode_range(writer, left, first, gathered)?;
                self.decode_range(writer, right, first + left.len(), gathered)?;
            }
        }
        Ok(())
    }
}

/// Why a schema is not there.
enum Unknown {
    /// There is none of that number.
    Schema(String),
    /// The registry does not answer.
    Registry(ArrowError),
}

/// All rows at once, or why one of them is not exactly one row of that schema.
fn decode_together(writer: &AvroSchema, rows: &[&[u8]]) -> Result<Result<RecordBatch, String>, ArrowError> {
    // One more than there are, so that it never waits for a flush.
    let mut decoder = decoder(writer, rows.len() + 1)?;
    let mut framed = Vec::new();
    for row in rows {
        framed.clear();
        framed.push(0);
        framed.extend_from_slice(&ID.to_be_bytes());
        framed.extend_from_slice(row);
        match decoder.decode(&framed) {
            Ok(read) if read == framed.len() => {}
            Ok(read) => return Ok(Err(format!("it has {} bytes, of which a row takes {read}", framed.len()))),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    match decoder.flush() {
        Ok(Some(batch)) if batch.num_rows() == rows.len() => Ok(Ok(batch)),
        Ok(_) => Ok(Err("the value ends in the middle of the row".to_owned())),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn decoder(writer: &AvroSchema, batch_rows: usize) -> Result<arrow_avro::reader::Decoder, ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(ID), writer.clone())?;
    ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(ID))
        .with_batch_size(batch_rows)
        .build_decoder()
}
