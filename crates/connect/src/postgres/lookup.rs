//! Looking up rows by key: one statement for all keys of a question, over one connection that is kept.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::cells::RowBuilder;
use super::{PostgresTable, quoted};
use crate::error::ConnectError;
use crate::format::sql_type;
use crate::lookup::Lookup;

/// A statement that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct PostgresLookup {
    table: PostgresTable,
    /// The names of the key columns, and how each is sent.
    keys: Vec<(String, KeyType)>,
    select: String,
    schema: SchemaRef,
    /// The connection, once there is one, and the statement that suits the table's columns.
    connected: Mutex<Option<Arc<Connected>>>,
}

/// How values of a key column are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Integer,
    Text,
}

struct Connected {
    client: Client,
    statement: String,
    /// By key: whether only texts that are UUIDs can be sent.
    is_uuid: Vec<bool>,
}

/// A value of a statement, and its type.
pub(super) type Parameter = (Box<dyn ToSql + Sync + Send>, Type);

impl PostgresLookup {
    pub(super) fn new(table: PostgresTable, keys: &[usize], projection: &[usize]) -> Result<Self, ConnectError> {
        let key = |field: &Arc<arrow::datatypes::Field>| match field.data_type() {
            data_type if data_type.is_integer() => Ok((field.name().clone(), KeyType::Integer)),
            DataType::Utf8 => Ok((field.name().clone(), KeyType::Text)),
            other => Err(table.database.refusal(format!(
                "it cannot be looked up by column {}, which is {}; look it up by whole numbers or STRING, or set \
                 'lookup.cache' = 'FULL'",
                field.name(),
                sql_type(other)
            ))),
        };
        let key_fields = table.schema.project(keys)?;
        let keys = key_fields.fields().iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let select = format!("{} FROM {}", table.select(projection)?, table.relation());
        let schema = Arc::new(table.schema.project(projection)?);
        Ok(Self { table, keys, select, schema, connected: Mutex::new(None) })
    }

    /// The connection that is open, or a new one.
    async fn connected(&self) -> Result<Arc<Connected>, ConnectError> {
        let mut connected = self.connected.lock().await;
        if let Some(open) = connected.as_ref().filter(|open| !open.client.is_closed()) {
            return Ok(Arc::clone(open));
        }
        let client = self.table.database.connect().await?;
        let names: Vec<String> = self.keys.iter().map(|(name, _)| quoted(name)).collect();
        let probe = format!("SELECT {} FROM {}", names.join(", "), self.table.relation());
        let probe = client.prepare(&probe).await.map_err(|error| self.table.database.failed("ask", &error))?;
        let types: Vec<Type> = probe.columns().iter().map(|column| column.type_().clone()).collect();
        let statement = self.statement(&types);
        let is_uuid = types.iter().map(|found| *found == Type::UUID).collect();
        let open = Arc::new(Connected { client, statement, is_uuid });
        *connected = Some(Arc::clone(&open));
        Ok(open)
    }

    /// The statement: an index on the key columns can serve it where their types are what they are declared to be.
    fn statement(&self, types: &[Type]) -> String {
        let mut columns = Vec::with_capacity(self.keys.len());
        let mut values = Vec::with_capacity(self.keys.len());
        for (number, ((name, key_type), found)) in self.keys.iter().zip(types).enumerate() {
            let (name, place) = (quoted(name), number + 1);
            let is_integer = [Type::INT2, Type::INT4, Type::INT8].contains(found);
            let is_text = [Type::TEXT, Type::VARCHAR].contains(found);
            let (column, value) = match key_type {
                KeyType::Integer if is_integer => (name, format!("${place}::int8[]")),
                KeyType::Integer => (format!("{name}::int8"), format!("${place}::int8[]")),
                KeyType::Text if *found == Type::UUID => (name, format!("${place}::text[]::uuid[]")),
                KeyType::Text if is_text => (name, format!("${place}::text[]")),
                KeyType::Text => (format!("{name}::text"), format!("${place}::text[]")),
            };
            columns.push(column);
            values.push(value);
        }
        match (columns.as_slice(), values.as_slice()) {
            ([column], [value]) => format!("{} WHERE {column} = ANY({value})", self.select),
            _ => {
                let (columns, values) = (columns.join(", "), values.join(", "));
                format!("{} WHERE ({columns}) IN (SELECT * FROM unnest({values}))", self.select)
            }
        }
    }

    fn parameters(&self, wanted: &RecordBatch, is_uuid: &[bool]) -> Result<Vec<Parameter>, ConnectError> {
        let askable = |row: &usize| {
            let columns = wanted.columns().iter().zip(is_uuid);
            columns.filter(|(_, is_uuid)| **is_uuid).all(|(column, _)| {
                let texts = column.as_string_opt::<i32>();
                texts.is_none_or(|texts| texts.is_null(*row) || is_canonical_uuid(texts.value(*row)))
            })
        };
        let rows: Vec<usize> = (0..wanted.num_rows()).filter(askable).collect();
        let mut parameters: Vec<Parameter> = Vec::with_capacity(self.keys.len());
        for ((_, key_type), column) in self.keys.iter().zip(wanted.columns()) {
            parameters.push(match key_type {
                KeyType::Integer => {
                    let numbers = cast(column, &DataType::Int64)?;
                    let numbers = numbers.as_primitive::<Int64Type>();
                    let values = rows.iter().map(|row| numbers.is_valid(*row).then(|| numbers.value(*row)));
                    (Box::new(values.collect::<Vec<Option<i64>>>()), Type::INT8_ARRAY)
                }
                KeyType::Text => {
                    let texts = column.as_string::<i32>();
                    let values = rows.iter().map(|row| texts.is_valid(*row).then(|| texts.value(*row).to_owned()));
                    (Box::new(values.collect::<Vec<Option<String>>>()), Type::TEXT_ARRAY)
                }
            });
        }
        Ok(parameters)
    }

    async fn ask(&self, wanted: &RecordBatch) -> Result<RecordBatch, ConnectError> {
        let connected = self.connected().await?;
        let parameters = self.parameters(wanted, &connected.is_uuid)?;
        let failed = |error: tokio_postgres::Error| self.table.database.failed("ask", &error);
        let rows = connected.client.query_typed_raw(&connected.statement, parameters).await.map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        let mut builder = RowBuilder::new(Arc::clone(&self.schema));
        while let Some(row) = rows.next().await {
            builder.push(&row.map_err(failed)?, 0).map_err(|reason| self.table.database.refusal(reason))?;
        }
        builder.finish().map_err(|reason| self.table.database.refusal(reason))
    }
}

#[async_trait]
impl Lookup for PostgresLookup {
    async fn find(&self, wanted: &RecordBatch) -> Result<RecordBatch, ConnectError> {
        let asked = match tokio::time::timeout(TIMEOUT, self.ask(wanted)).await {
            Ok(asked) => asked,
            Err(_) => Err(self.table.database.refusal(format!(
                "{} has not answered within {} s",
                self.table.database.place(),
                TIMEOUT.as_secs()
            ))),
        };
        if asked.is_err() {
            // The connection may be what is wrong: the next question takes a new one.
            *self.connected.lock().await = None;
        }
        asked
    }
}

/// A UUID as the database writes it: what is written otherwise equals none as a text.
fn is_canonical_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}
