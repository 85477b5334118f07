//! Graphs over a table `events (key VARCHAR, ts TIMESTAMP(3), v BIGINT)`, and rows for it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{
    DataType, DurationMillisecondType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType,
};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::expression::{Expression, NamedExpression};
use mulgil_dataflow::graph::{AggregateCall, Graph, LogicalOperator, NodeId, Window};
use mulgil_dataflow::native::{Binary, BinaryOperation, Count, Literal, Sum, column};
use mulgil_dataflow::trigger::Trigger;

/// A row of `events`.
pub(crate) type Event = (Option<String>, Option<i64>, Option<i64>);

pub(crate) fn event(key: &str, ts: i64, v: i64) -> Event {
    (Some(key.to_owned()), Some(ts), Some(v))
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

pub(crate) fn schema_of(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<Field>>()))
}

pub(crate) fn events_schema() -> SchemaRef {
    schema_of(&[("key", DataType::Utf8), ("ts", time_type()), ("v", DataType::Int64)])
}

pub(crate) fn rows(events: &[Event]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(events.iter().map(|event| event.0.as_deref()).collect::<StringArray>()),
        Arc::new(events.iter().map(|event| event.1).collect::<TimestampMillisecondArray>()),
        Arc::new(events.iter().map(|event| event.2).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(events_schema(), columns).unwrap()
}

/// Every row as text, with its kind where there is one.
pub(crate) fn lines(batches: &[Batch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let kind = batch.kinds.as_ref().map_or("", |kinds| ["+I ", "-U ", "+U ", "-D "][kinds.value(row) as usize]);
            let cells: Vec<String> = batch.rows.columns().iter().map(|column| cell(column, row)).collect();
            lines.push(format!("{kind}{}", cells.join(" ")));
        }
    }
    lines
}

fn cell(column: &ArrayRef, row: usize) -> String {
    match column.data_type() {
        _ if column.is_null(row) => "null".to_owned(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        _ => column.as_primitive::<TimestampMillisecondType>().value(row).to_string(),
    }
}

/// Builds graphs, node by node.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) graph: Graph,
}

impl Builder {
    pub(crate) fn schema(&self, node: NodeId) -> SchemaRef {
        self.graph.nodes[node].schema.clone()
    }

    pub(crate) fn column(&self, node: NodeId, name: &str) -> Arc<dyn Expression> {
        column(&self.schema(node), name).unwrap().expression
    }

    pub(crate) fn source(&mut self, table: &str) -> NodeId {
        let operator =
            LogicalOperator::Source { table: table.to_owned(), projection: vec![0, 1, 2], has_changes: false };
        self.graph.push(operator, vec![], events_schema())
    }

    /// `WATERMARK FOR ts AS ts - bound`.
    pub(crate) fn watermark(&mut self, input: NodeId, bound_ms: i64) -> NodeId {
        let bound = Arc::new(arrow::array::PrimitiveArray::<DurationMillisecondType>::from(vec![bound_ms]));
        let bound = Literal::new(&format!("{bound_ms} ms"), bound);
        let bound = Arc::new(Binary::new(self.column(input, "ts"), BinaryOperation::Minus, bound));
        self.graph.push(
            LogicalOperator::Watermark { column: 1, bound, is_clock: false },
            vec![input],
            self.schema(input),
        )
    }

    pub(crate) fn filter_greater(&mut self, input: NodeId, name: &str, than: i64) -> NodeId {
        let predicate = Binary::new(self.column(input, name), BinaryOperation::Greater, number(than));
        self.filter(input, Arc::new(predicate))
    }

    pub(crate) fn filter(&mut self, input: NodeId, predicate: Arc<dyn Expression>) -> NodeId {
        self.graph.push(LogicalOperator::Filter { predicate }, vec![input], self.schema(input))
    }

    pub(crate) fn project(&mut self, input: NodeId, expressions: Vec<NamedExpression>) -> NodeId {
        let fields: Vec<(&str, DataType)> =
            expressions.iter().map(|named| (named.name.as_str(), named.expression.data_type())).collect();
        let schema = schema_of(&fields);
        self.graph.push(LogicalOperator::Project { expressions }, vec![input], schema)
    }

    /// The same columns, with `v` divided by a number.
    pub(crate) fn divide(&mut self, input: NodeId, by: i64) -> NodeId {
        let divided = Binary::new(self.column(input, "v"), BinaryOperation::Divide, number(by));
        let schema = self.schema(input);
        let mut expressions: Vec<NamedExpression> =
            schema.fields().iter().map(|field| column(&schema, field.name()).unwrap()).collect();
        expressions.last_mut().unwrap().expression = Arc::new(divided);
        self.project(input, expressions)
    }

    pub(crate) fn union(&mut self, inputs: Vec<NodeId>) -> NodeId {
        let schema = self.schema(inputs[0]);
        self.graph.push(LogicalOperator::Union, inputs, schema)
    }

    /// `key, window_start, window_end, count(*) AS n, sum(v) AS v` over tumbling windows.
    pub(crate) fn aggregate(
        &mut self,
        input: NodeId,
        keys: &[&str],
        time: &str,
        size_ms: i64,
        lateness_ms: u64,
    ) -> NodeId {
        let schema = self.schema(input);
        let mut fields: Vec<(&str, DataType)> =
            keys.iter().map(|key| (*key, schema.field_with_name(key).unwrap().data_type().clone())).collect();
        fields.extend([("window_start", time_type()), ("window_end", time_type())]);
        fields.extend([("n", DataType::Int64), ("v", DataType::Int64)]);
        let call = |name: &str, function, arguments| AggregateCall {
            name: String::from(name),
            function,
            arguments,
            filter: None,
        };
        let operator = LogicalOperator::WindowAggregate {
            column: schema.index_of(time).unwrap(),
            window: Window::Tumbling { size_ms, offset_ms: 0 },
            keys: keys.iter().map(|key| column(&schema, key).unwrap()).collect(),
            aggregates: vec![
                call("n", Arc::new(Count), vec![]),
                call("v", Arc::new(Sum), vec![self.column(input, "v")]),
            ],
            trigger: Trigger::allowing(lateness_ms),
        };
        self.graph.push(operator, vec![input], schema_of(&fields))
    }

    pub(crate) fn sink(mut self, input: NodeId, table: &str) -> Graph {
        let schema = self.schema(input);
        self.graph.push(LogicalOperator::Sink { table: table.to_owned() }, vec![input], schema);
        self.graph
    }
}

pub(crate) fn number(value: i64) -> Literal {
    Literal::new(&value.to_string(), Arc::new(Int64Array::from(vec![value])))
}

/// Counts and sums per key and 10 ms, with a watermark `bound_ms` behind, into `results`.
pub(crate) fn per_key(bound_ms: i64, lateness_ms: u64) -> Graph {
    let mut builder = Builder::default();
    let node = builder.source("events");
    let node = builder.watermark(node, bound_ms);
    let node = builder.aggregate(node, &["key"], "ts", 10, lateness_ms);
    builder.sink(node, "results")
}

/// Passes every event on, into `results`.
pub(crate) fn pass_on() -> Graph {
    let mut builder = Builder::default();
    let node = builder.source("events");
    let node = builder.watermark(node, 0);
    builder.sink(node, "results")
}
