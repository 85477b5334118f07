//! Planning: which operators run as one stage, and how rows move between stages.
//!
//! An operator joins the stage of its input unless rows must cross: because its input has other consumers too, because it
//! has several inputs, or because equal keys must meet. An exchange is left out where it would move nothing: with one
//! subtask, or where the rows lie by the same key already.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::contest::with_contests;
use super::{
    Edge, Exchange, OperatorKind, PhysicalGraph, SideOutput, SourceRead, SourceWatermark, Stage, StageOperator,
};
use crate::chain::PORTS_MAX;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::explain::describe;
use crate::expression::NamedExpression;
use crate::graph::{AggregateCall, Graph, LogicalOperator, Node, NodeId, Window};
use crate::key::KEY_GROUP_COUNT;
use crate::operators::aggregation::Aggregation;
use crate::operators::slice_table::Form;
use crate::trigger::Trigger;

/// A graph that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} ({operator}): {reason}")]
pub struct PlanError {
    /// The node.
    pub node: NodeId,
    /// What it does.
    pub operator: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// How to plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// How many subtasks each stage has: 1 to 256. Other numbers are brought into that range.
    pub parallelism: usize,
    /// Whether the rows of each source are spread over all subtasks, batch by batch. It pays where there are fewer
    /// partitions than subtasks and the work per row is large; it gives up the order of rows.
    pub rebalance: bool,
}

/// Plans a graph for `parallelism` subtasks a stage.
///
/// # Errors
/// The graph is malformed, or asks for something that the engine cannot do.
pub fn plan(graph: &Graph, parallelism: usize) -> Result<PhysicalGraph, PlanError> {
    plan_with(graph, PlanOptions { parallelism, rebalance: false })
}

/// Plans a graph.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(graph: &Graph, options: PlanOptions) -> Result<PhysicalGraph, PlanError> {
    let graph = &with_contests(graph);
    let mut planner = Planner::new(graph, options);
    for (id, node) in graph.nodes.iter().enumerate() {
        check_inputs(id, node)?;
        planner.place(id, node)?;
    }
    Ok(planner.physical)
}

struct Planner<'a> {
    graph: &'a Graph,
    options: PlanOptions,
    /// How many nodes take each node's rows.
    consumers: Vec<usize>,
    /// Where each node placed so far has ended up.
    places: Vec<Place>,
    physical: PhysicalGraph,
}

/// Where a node's rows come out.
#[derive(Clone, Debug)]
struct Place {
    stage: usize,
    /// The last operator of the stage so far: the node's own, where it is one.
    operator: Option<usize>,
    /// The columns by whose key groups the rows lie on the subtasks, if they do.
    keyed_by: Option<Vec<usize>>,
}

fn check_inputs(id: NodeId, node: &Node) -> Result<(), PlanError> {
    let fail = |reason: String| Err(error(id, node, reason));
    if let Some(input) = node.inputs.iter().find(|input| **input >= id) {
        return fail(format!("its input {input} does not stand before it"));
    }
    let (expected, fits) = match node.operator {
        LogicalOperator::Source { .. } => ("no input", node.inputs.is_empty()),
        LogicalOperator::Union | LogicalOperator::Apply(_) => ("at least one input", !node.inputs.is_empty()),
        _ => ("one input", node.inputs.len() == 1),
    };
    if !fits {
        return fail(format!("it needs {expected}, not {}", node.inputs.len()));
    }
    match &node.operator {
        LogicalOperator::WindowAssign { window, .. } | LogicalOperator::WindowAggregate { window, .. } => {
            window.check().or_else(fail)
        }
        _ => Ok(()),
    }
}

fn error(id: NodeId, node: &Node, reason: impl Into<String>) -> PlanError {
    PlanError { node: id, operator: describe(node), reason: reason.into() }
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, options: PlanOptions) -> Self {
        let consumers = graph.consumers();
        let parallelism = options.parallelism.clamp(1, KEY_GROUP_COUNT);
        let physical = PhysicalGraph { parallelism, stages: Vec::new(), edges: Vec::new() };
        Self { graph, options, consumers, places: Vec::new(), physical }
    }

    fn place(&mut self, id: NodeId, node: &Node) -> Result<(), PlanError> {
        let mut place = match &node.operator {
            LogicalOperator::Source { table, projection, .. } => {
                let source = SourceRead {
                    node: id,
                    table: table.clone(),
                    projection: projection.clone(),
                    watermark: None,
                    to_end: false,
                };
                let stage = self.new_stage(format!("read {table}"), Some(source), &node.schema, false);
                Place { stage, operator: None, keyed_by: None }
            }
            LogicalOperator::ProcessingTime => self.place_processing_time(id, node)?,
            LogicalOperator::Watermark { bound, is_clock, .. } => {
                let place = self.input_place(node, 0);
                let watermark = SourceWatermark { after: 0, bound: Arc::clone(bound), is_clock: *is_clock };
                self.place_watermark(id, node, place.stage, watermark)?;
                place
            }
            LogicalOperator::Project { expressions } => {
                let mut place = self.extend(node);
                place.keyed_by = place.keyed_by.and_then(|columns| project_columns(&columns, expressions));
                self.push(place.stage, node, OperatorKind::Project(expressions.clone()));
                place
            }
            LogicalOperator::Filter { predicate } => {
                let place = self.extend(node);
                self.push(place.stage, node, OperatorKind::Filter(Arc::clone(predicate)));
                place
            }
            LogicalOperator::WindowAssign { column, window } => {
                let place = self.extend(node);
                self.push(place.stage, node, OperatorKind::WindowAssign { column: *column, window: *window });
                place
            }
            LogicalOperator::WindowAggregate { column, window, keys, aggregates, trigger } => {
                let aggregation = bound_aggregation(*column, *window, keys, aggregates, *trigger, &node.schema);
                self.place_aggregate(id, node, Arc::new(aggregation))?
            }
            LogicalOperator::Apply(definition) => self.place_definition(id, node, definition)?,
            LogicalOperator::LateRows { port } => self.place_late_rows(id, node, *port)?,
            LogicalOperator::Union => self.place_union(id, node),
            LogicalOperator::Sink { table } => {
                let place = self.extend(node);
                if let Some(stage) = self.physical.stages.get_mut(place.stage) {
                    stage.sink = Some(table.clone());
                    if stage.name.is_empty() {
                        stage.name = format!("write {table}");
                    }
                }
                place
            }
        };
        if let Some(stage) = self.physical.stages.get_mut(place.stage) {
            stage.schema = Arc::clone(&node.schema);
            stage.is_updating = self.graph.is_updating(id);
            place.operator = stage.operators.len().checked_sub(1);
        }
        self.places.push(place);
        Ok(())
    }

    fn place_processing_time(&mut self, id: NodeId, node: &Node) -> Result<Place, PlanError> {
        let place = self.input_place(node, 0);
        let shared = node.inputs.iter().any(|input| self.consumers.get(*input).is_some_and(|count| *count > 1));
        let stage = self.physical.stages.get(place.stage);
        if shared || !stage.is_some_and(|stage| stage.source.is_some() && stage.operators.is_empty()) {
            let reason = "processing time is taken where rows are read, so it stands on a source";
            return Err(error(id, node, reason));
        }
        self.push(place.stage, node, OperatorKind::ProcessingTime);
        Ok(place)
    }

    /// A watermark belongs to its source: it must see every row read, and know the partition.
    fn place_watermark(
        &mut self,
        id: NodeId,
        node: &Node,
        stage: usize,
        watermark: SourceWatermark,
    ) -> Result<(), PlanError> {
        let misplaced = || error(id, node, "a watermark must stand on a source, with nothing but projections between");
        let shared = node.inputs.iter().any(|input| self.consumers.get(*input).is_some_and(|count| *count > 1));
        let stage = self.physical.stages.get_mut(stage).filter(|_| !shared).ok_or_else(misplaced)?;
        let is_early = |kind: &OperatorKind| matches!(kind, OperatorKind::Project(_) | OperatorKind::ProcessingTime);
        let projections = stage.operators.iter().all(|operator| is_early(&operator.kind));
        let after = stage.operators.len();
        let source = stage.source.as_mut().filter(|source| projections && source.watermark.is_none());
        source.ok_or_else(misplaced)?.watermark = Some(SourceWatermark { after, ..watermark });
        Ok(())
    }

    fn place_aggregate(&mut self, id: NodeId, node: &Node, aggregation: Arc<Aggregation>) -> Result<Place, PlanError> {
        if node.inputs.iter().any(|input| self.graph.is_updating(*input)) {
            let reason = "its input is a changelog, which windows cannot take yet; leave out the early results and the \
                          allowed lateness of the aggregation before it";
            return Err(error(id, node, reason));
        }
        aggregation
            .key_encoder()
            .map_err(|reason| error(id, node, format!("it cannot group by its keys: {reason}")))?;
        let key_count = aggregation.keys.len();
        let place = self.extend(node);
        let keyed_by = Some((0..key_count).collect::<Vec<usize>>());
        let key_columns: Option<Vec<usize>> = aggregation.keys.iter().map(|key| key.expression.as_column()).collect();
        let lies_so = key_count > 0 && place.keyed_by.is_some() && place.keyed_by == key_columns;
        if self.physical.parallelism == 1 || lies_so {
            self.push(place.stage, node, OperatorKind::WindowAggregate(aggregation, Form::Rows));
            return Ok(Place { keyed_by, ..place });
        }
        if self.graph.gives_late_rows(id) {
            return self.place_aggregate_of_rows(id, node, (aggregation, key_columns), place);
        }
        let partial_schema = aggregation.partial_schema();
        if let Some(stage) = self.physical.stages.get_mut(place.stage) {
            let name = format!("pre-{}", describe(node));
            let kind = OperatorKind::PreAggregate(Arc::clone(&aggregation));
            stage.operators.push(StageOperator { node: None, name, kind, schema: Arc::clone(&partial_schema) });
            stage.schema = partial_schema;
        }
        let stage = self.new_stage(String::new(), None, &node.schema, false);
        let exchange = Exchange::Hash((0..key_count).collect());
        self.physical.edges.push(Edge { from: place.stage, side: None, to: stage, port: 0, exchange });
        self.push(stage, node, OperatorKind::WindowAggregate(aggregation, Form::States));
        Ok(Place { stage, operator: None, keyed_by })
    }

    /// As [`Planner::place_aggregate`], where late rows are wanted as they are: then rows cross the exchange, not states.
    fn place_aggregate_of_rows(
        &mut self,
        id: NodeId,
        node: &Node,
        (aggregation, key_columns): (Arc<Aggregation>, Option<Vec<usize>>),
        place: Place,
    ) -> Result<Place, PlanError> {
        let not_columns = || error(id, node, "its keys must be columns of its input where its late rows are taken");
        let exchange = Exchange::Hash(key_columns.ok_or_else(not_columns)?);
        let keyed_by = Some((0..aggregation.keys.len()).collect());
        let stage = self.new_stage(String::new(), None, &node.schema, false);
        self.physical.edges.push(Edge { from: place.stage, side: None, to: stage, port: 0, exchange });
        self.push(stage, node, OperatorKind::WindowAggregate(aggregation, Form::Rows));
        Ok(Place { stage, operator: None, keyed_by })
    }

    /// A stage of its own takes what an operator passes aside.
    fn place_late_rows(&mut self, id: NodeId, node: &Node, port: usize) -> Result<Place, PlanError> {
        let of = node.inputs.first().and_then(|input| self.graph.nodes.get(*input));
        let drops = of.is_some_and(|of| {
            matches!(of.operator, LogicalOperator::WindowAggregate { .. } | LogicalOperator::Apply(_))
                && port < of.inputs.len().min(PORTS_MAX)
        });
        let place = self.input_place(node, 0);
        let (Some(operator), true) = (place.operator, drops) else {
            return Err(error(id, node, "its input drops no late rows"));
        };
        let stage = self.new_stage(String::new(), None, &node.schema, self.graph.is_updating(id));
        let Some(from) = self.physical.stages.get_mut(place.stage) else {
            return Err(error(id, node, "its input has no stage"));
        };
        let output = SideOutput { operator, port };
        let side = from.sides.iter().position(|side| *side == output).unwrap_or_else(|| {
            from.sides.push(output);
            from.sides.len() - 1
        });
        let exchange = Exchange::Forward;
        self.physical.edges.push(Edge { from: place.stage, side: Some(side), to: stage, port: 0, exchange });
        Ok(Place { stage, operator: None, keyed_by: None })
    }

    /// Places an operator where its inputs lie as it asks: in the stage of its input if it has one that does, else in a
    /// stage of its own behind exchanges.
    fn place_definition(
        &mut self,
        id: NodeId,
        node: &Node,
        definition: &Arc<dyn OperatorDefinition>,
    ) -> Result<Place, PlanError> {
        let ports = self.ports(node);
        let updating: Vec<bool> = ports.iter().map(|port| port.is_updating).collect();
        definition.check(&updating).map_err(|reason| error(id, node, reason))?;
        let keyed_by = definition.keyed_by();
        if let [port] = ports.as_slice() {
            let place = self.extend(node);
            let exchange = self.exchange_for(&place, definition.distribution(0));
            let lookup = definition.looks_up();
            if exchange == Exchange::Forward && lookup.is_none() {
                self.push(place.stage, node, OperatorKind::Apply(Arc::clone(definition), ports));
                return Ok(Place { keyed_by, ..place });
            }
            let (definition, ports, exchange) = if self.graph.gives_late_rows(id) {
                (Arc::clone(definition), vec![port.clone()], exchange)
            } else {
                self.place_local_part(&place, definition, port, exchange)
            };
            let stage = self.new_stage(String::new(), None, &node.schema, false);
            self.physical.edges.push(Edge { from: place.stage, side: None, to: stage, port: 0, exchange });
            self.push(stage, node, OperatorKind::Apply(definition, ports));
            if let Some(stage) = self.physical.stages.get_mut(stage) {
                stage.lookup = lookup;
            }
            return Ok(Place { stage, operator: None, keyed_by });
        }
        let stage = self.new_stage(String::new(), None, &node.schema, false);
        for port in 0..ports.len() {
            let input = self.input_place(node, port);
            let exchange = self.exchange_for(&input, definition.distribution(port));
            if definition.reads_to_end(port) {
                self.read_to_end(input.stage);
            }
            self.physical.edges.push(Edge { from: input.stage, side: None, to: stage, port, exchange });
        }
        self.push(stage, node, OperatorKind::Apply(Arc::clone(definition), ports));
        Ok(Place { stage, operator: None, keyed_by })
    }

    /// Lets the tables that lead to a stage be read up to now.
    fn read_to_end(&mut self, stage: usize) {
        if let Some(source) = self.physical.stages.get_mut(stage).and_then(|stage| stage.source.as_mut()) {
            source.to_end = true;
        }
        let before = self.physical.edges.iter().filter(|edge| edge.to == stage).map(|edge| edge.from);
        for stage in before.collect::<Vec<usize>>() {
            self.read_to_end(stage);
        }
    }

    /// Puts the local part of an operator, if it has one, at the end of the stage before the exchange.
    fn place_local_part(
        &mut self,
        place: &Place,
        definition: &Arc<dyn OperatorDefinition>,
        port: &Port,
        exchange: Exchange,
    ) -> (Arc<dyn OperatorDefinition>, Vec<Port>, Exchange) {
        let unsplit = (Arc::clone(definition), vec![port.clone()], exchange);
        let Some(local) = definition.local_part(port) else { return unsplit };
        let Some(stage) = self.physical.stages.get_mut(place.stage) else { return unsplit };
        let name = local.before.describe();
        let is_updating = local.before.is_updating(&[port.is_updating]);
        let kind = OperatorKind::Apply(local.before, vec![port.clone()]);
        stage.operators.push(StageOperator { node: None, name, kind, schema: Arc::clone(&local.schema) });
        stage.schema = Arc::clone(&local.schema);
        stage.is_updating = is_updating;
        let exchange = match local.after.distribution(0) {
            Distribution::Any => Exchange::Forward,
            Distribution::Keyed(columns) => Exchange::Hash(columns),
            Distribution::Broadcast => Exchange::Broadcast,
        };
        (local.after, vec![Port { schema: local.schema, is_updating }], exchange)
    }

    fn ports(&self, node: &Node) -> Vec<Port> {
        let port = |input: &NodeId| {
            let schema =
                self.graph.nodes.get(*input).map_or_else(|| Arc::clone(&node.schema), |n| Arc::clone(&n.schema));
            Port { schema, is_updating: self.graph.is_updating(*input) }
        };
        node.inputs.iter().map(port).collect()
    }

    /// The exchange that brings rows from `place` to lie as is asked: none where they do.
    fn exchange_for(&self, place: &Place, asked: Distribution) -> Exchange {
        if self.physical.parallelism == 1 {
            return Exchange::Forward;
        }
        match asked {
            Distribution::Any => Exchange::Forward,
            Distribution::Keyed(columns) if !columns.is_empty() && place.keyed_by.as_ref() == Some(&columns) => {
                Exchange::Forward
            }
            Distribution::Keyed(columns) => Exchange::Hash(columns),
            Distribution::Broadcast => Exchange::Broadcast,
        }
    }

    fn place_union(&mut self, id: NodeId, node: &Node) -> Place {
        let updating = self.graph.is_updating(id);
        let stage = self.new_stage(String::new(), None, &node.schema, updating);
        let inputs: Vec<Place> = (0..node.inputs.len()).map(|port| self.input_place(node, port)).collect();
        for (port, input) in inputs.iter().enumerate() {
            let exchange = Exchange::Forward;
            self.physical.edges.push(Edge { from: input.stage, side: None, to: stage, port, exchange });
        }
        self.push(stage, node, OperatorKind::Union);
        let keyed_by = inputs.first().and_then(|first| first.keyed_by.clone());
        let alike = inputs.iter().all(|input| input.keyed_by == keyed_by);
        Place { stage, operator: None, keyed_by: keyed_by.filter(|_| alike) }
    }

    fn input_place(&self, node: &Node, port: usize) -> Place {
        let input = node.inputs.get(port).and_then(|input| self.places.get(*input));
        // `check_inputs` has seen to it that inputs are placed before.
        input.cloned().unwrap_or(Place { stage: 0, operator: None, keyed_by: None })
    }

    /// The stage that a node with one input goes on with: its input's, or a new one behind it.
    fn extend(&mut self, node: &Node) -> Place {
        let input = self.input_place(node, 0);
        let shared = node.inputs.iter().any(|input| self.consumers.get(*input).is_some_and(|count| *count > 1));
        let leaves_source = node.inputs.iter().any(|input| self.ends_source(*input));
        let updating = node.inputs.iter().any(|input| self.graph.is_updating(*input));
        // The changes of a row have to stay together.
        let rebalance = self.options.rebalance && self.physical.parallelism > 1 && leaves_source && !updating;
        if !shared && !rebalance {
            return input;
        }
        let stage = self.new_stage(String::new(), None, &node.schema, updating);
        let (exchange, keyed_by) =
            if rebalance { (Exchange::RoundRobin, None) } else { (Exchange::Forward, input.keyed_by) };
        self.physical.edges.push(Edge { from: input.stage, side: None, to: stage, port: 0, exchange });
        Place { stage, operator: None, keyed_by }
    }

    /// Whether a node is where reading ends: the watermark, or the source itself where no watermark is to come.
    fn ends_source(&self, id: NodeId) -> bool {
        let Some(node) = self.graph.nodes.get(id) else { return false };
        match node.operator {
            LogicalOperator::Watermark { .. } => true,
            LogicalOperator::Source { .. } => !self.leads_to_watermark(id),
            _ => false,
        }
    }

    fn leads_to_watermark(&self, id: NodeId) -> bool {
        let takers = self.graph.nodes.iter().enumerate().filter(|(_, node)| node.inputs.contains(&id));
        takers.into_iter().any(|(taker, node)| match node.operator {
            LogicalOperator::Watermark { .. } => true,
            LogicalOperator::Project { .. } | LogicalOperator::ProcessingTime => self.leads_to_watermark(taker),
            _ => false,
        })
    }

    fn new_stage(&mut self, name: String, source: Option<SourceRead>, schema: &SchemaRef, is_updating: bool) -> usize {
        let schema = Arc::clone(schema);
        let (operators, sides) = Default::default();
        let stage = Stage { name, source, lookup: None, operators, sides, sink: None, schema, is_updating };
        self.physical.stages.push(stage);
        self.physical.stages.len() - 1
    }

    fn push(&mut self, stage: usize, node: &Node, kind: OperatorKind) {
        let Some(stage) = self.physical.stages.get_mut(stage) else { return };
        let name = describe(node);
        if stage.name.is_empty() {
            stage.name = name.clone();
        }
        // Nodes are placed in turn, and each gives its place when it is placed.
        let id = Some(self.places.len());
        stage.operators.push(StageOperator { node: id, name, kind, schema: Arc::clone(&node.schema) });
    }
}

fn bound_aggregation(
    column: usize,
    window: Window,
    keys: &[NamedExpression],
    aggregates: &[AggregateCall],
    trigger: Trigger,
    schema: &SchemaRef,
) -> Aggregation {
    Aggregation {
        column,
        window,
        keys: keys.to_vec(),
        aggregates: aggregates.to_vec(),
        trigger,
        schema: Arc::clone(schema),
    }
}

/// Where the columns of a key are after a projection; `None` when one of them is gone.
fn project_columns(columns: &[usize], expressions: &[NamedExpression]) -> Option<Vec<usize>> {
    let passed_on = |column: &usize| expressions.iter().position(|named| named.expression.as_column() == Some(*column));
    columns.iter().map(passed_on).collect()
}
