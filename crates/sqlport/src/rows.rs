//! Rows on their way from the service to the client: made when the client takes them.
//!
//! A query runs in a task of its own, on threads for queries only, one batch ahead of the client. So a query that computes for
//! long can be ended at once and holds up nobody else, and a client that reads slowly holds its query back and nothing else.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::stream::{BoxStream, Stream, StreamExt};
use pgwire::api::results::{FieldFormat, FieldInfo, QueryResponse};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::encode::{BatchRows, Look};
use crate::query_threads::{QueryThreads, broke_off};
use crate::service::{Answer, Caller, Prepared, QueryError, QueryService};
use crate::types::wire_type_of;

/// Batches that wait for the client.
const BATCHES_AHEAD: usize = 1;

/// The columns as the client is told of them.
pub(crate) fn fields(schema: &Schema, is_binary: impl Fn(usize) -> bool) -> Vec<FieldInfo> {
    let field = |(at, field): (usize, &Arc<Field>)| {
        let wire = wire_type_of(field, is_binary(at));
        let format = if is_binary(at) { FieldFormat::Binary } else { FieldFormat::Text };
        FieldInfo::new(field.name().clone(), None, None, wire.kind, format)
            .with_type_size(wire.size)
            .with_type_modifier(wire.modifier)
    };
    schema.fields().iter().enumerate().map(field).collect()
}

/// Plans a statement on a thread of its own.
pub(crate) async fn prepare(
    service: Arc<dyn QueryService>,
    threads: &QueryThreads,
    caller: Caller,
    text: String,
    types: Vec<Option<DataType>>,
) -> Result<Prepared, QueryError> {
    threads.plan(async move { service.prepare(&caller, &text, &types).await }).await
}

/// Runs a statement: planned on a thread of its own, its rows made in a task of its own.
pub(crate) async fn run(
    service: Arc<dyn QueryService>,
    threads: &QueryThreads,
    caller: Arc<Caller>,
    text: String,
    parameters: Vec<ArrayRef>,
) -> Result<Answer, QueryError> {
    let planning = threads.plan(async move { service.run(caller, &text, &parameters).await });
    let Answer { schema, mut batches } = planning.await?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let pump = threads.spawn(async move {
        while let Some(batch) = batches.next().await {
            let is_last = batch.is_err();
            if sender.send(batch).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(Answer { schema, batches: received(receiver, AbortOnDropHandle::new(pump)) })
}

fn received(
    receiver: mpsc::Receiver<Result<RecordBatch, QueryError>>,
    pump: AbortOnDropHandle<()>,
) -> BoxStream<'static, Result<RecordBatch, QueryError>> {
    let next = async |(mut receiver, pump): (mpsc::Receiver<_>, Option<AbortOnDropHandle<()>>)| {
        if let Some(batch) = receiver.recv().await {
            return Some((batch, (receiver, pump)));
        }
        // The rows are all only if the task came to its end.
        match pump?.await {
            Ok(()) => None,
            Err(error) => Some((Err(broke_off(&error)), (receiver, None))),
        }
    };
    futures::stream::unfold((receiver, Some(pump)), next).boxed()
}

/// An answer as rows for the wire, with the columns that the client has been told of.
pub(crate) fn response(answer: Answer, described: SchemaRef, looks: Vec<Look>, tag: &str) -> QueryResponse {
    let is_binary = |at: usize| looks.get(at).is_some_and(|look| look.binary);
    let fields = Arc::new(fields(&described, is_binary));
    let mut response = QueryResponse::new(fields, encoded(answer, described, looks));
    response.set_command_tag(tag);
    response
}

fn encoded(answer: Answer, schema: SchemaRef, looks: Vec<Look>) -> impl Stream<Item = PgWireResult<DataRow>> + Send {
    let rows = answer.batches.map(move |batch| {
        let rows = batch.and_then(|batch| BatchRows::new(&batch, &schema, &looks));
        match rows {
            Ok(rows) => futures::stream::iter(rows.into_rows()).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    });
    rows.flatten().map(|row| row.map_err(PgWireError::from))
}

/// Rows of texts, such as `SHOW` gives.
pub(crate) fn of_texts(names: &[&str], rows: &[Vec<String>]) -> Result<Answer, QueryError> {
    let columns = names.iter().enumerate().map(|(at, _)| {
        let values = rows.iter().map(|row| row.get(at).cloned().unwrap_or_default());
        Arc::new(values.map(Some).collect::<StringArray>()) as ArrayRef
    });
    let schema = text_schema(names);
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect())
        .map_err(|error| QueryError::new(QueryError::INTERNAL, error.to_string()))?;
    Ok(Answer { schema, batches: futures::stream::iter([Ok(batch)]).boxed() })
}

/// Columns of texts.
pub(crate) fn text_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
}
