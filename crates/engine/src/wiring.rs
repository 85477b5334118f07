//! From a physical graph to the parts that run it: subtasks, the queues between them, and the queues to and from the
//! outside.
//!
//! ```text
//!   reader task ─▶ queue ─▶ subtask ─▶ queue ─▶ subtask ─▶ queue ─▶ writer task
//!   (one a partition)       (one a stage and worker)                (one a sink and worker)
//! ```
//!
//! Partition `p` of a source is read for subtask `p % parallelism`. Subtask `s` of every stage belongs to worker `s`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use mulgil_connect::source::{Position, READ_TO_END};
use mulgil_connect::time::Alignment;
use mulgil_dataflow::chain::Chain;
use mulgil_dataflow::graph::NodeId;
use mulgil_dataflow::operator::OperatorError;
use mulgil_dataflow::operators::watermark_assign::WatermarkAssign;
use mulgil_dataflow::physical::{Edge, Exchange, PhysicalGraph, SourceRead, Stage};
use mulgil_dataflow::scatter::HashScatter;
use mulgil_dataflow::spill::StateMemory;
use mulgil_dataflow::state::StatePart;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime, WatermarkTracker};
use tokio::sync::Notify;

use crate::alignment::Aligned;
use crate::bell::Bell;
use crate::cut::{Cut, PartitionCut, SealedPart};
use crate::error::JobError;
use crate::first::First;
use crate::latency::Latency;
use crate::lookup::{LookupPort, LookupService};
use crate::metrics::{
    EdgeQueues, InputMetrics, JobMetrics, PartitionMetrics, SubtaskMetrics, TimeMetrics, WriterMetrics,
};
use crate::queue::{Queue, Signal};
use crate::route::{Choice, Route};
use crate::tasklet::{Input, SourceHead, Tasklet, operator_failed};
use crate::throughput::Throughput;

/// How the parts are to be wired.
pub(crate) struct WiringOptions {
    /// The bound of each queue.
    pub(crate) queue_bytes_max: usize,
    /// One bell a worker; `None` where one thread runs everything in turn.
    pub(crate) bells: Option<Vec<Arc<Bell>>>,
    /// The names of each table's partitions.
    pub(crate) partitions: HashMap<String, Vec<String>>,
    /// By table: the partitions that are read before its others.
    pub(crate) firsts: HashMap<String, HashSet<usize>>,
    /// The tables whose partitions wait for each other.
    pub(crate) alignments: HashMap<String, Alignment>,
    /// The positions before everything that a partition of each table holds.
    pub(crate) beginnings: HashMap<String, Position>,
    /// The cut to go on from; `None` to begin at the beginning.
    pub(crate) restored: Option<Cut>,
    /// Beyond what state is put away; `None` where all of it is held.
    pub(crate) memory: Option<StateMemory>,
}

/// The parts.
pub(crate) struct Wiring {
    /// The subtasks, by worker, in the order of the stages.
    pub(crate) workers: Vec<Vec<Tasklet>>,
    pub(crate) reads: Vec<PartitionRead>,
    pub(crate) writes: Vec<SinkWrite>,
    pub(crate) lookups: Vec<LookupService>,
    pub(crate) edges: Vec<EdgeQueues>,
    pub(crate) metrics: Arc<JobMetrics>,
    /// Whether some operator wants to know the machine's clock.
    pub(crate) wants_clock: bool,
}

/// What a reader task does.
pub(crate) struct PartitionRead {
    /// The stage that it reads for: a table may be read by several.
    pub(crate) stage: usize,
    pub(crate) table: String,
    pub(crate) partition: usize,
    pub(crate) projection: Vec<usize>,
    /// Whether it is read up to now, also where the job follows its tables.
    pub(crate) to_end: bool,
    /// Its number in the queue.
    pub(crate) sender: usize,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: Arc<PartitionMetrics>,
    /// The partitions that it waits for.
    pub(crate) aligned: Option<Arc<Aligned>>,
    /// The partition that is to be read to its end before.
    pub(crate) first: Option<Arc<First>>,
}

/// What a writer task does.
pub(crate) struct SinkWrite {
    pub(crate) table: String,
    /// Its number among the writers of the table.
    pub(crate) writer: usize,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: Arc<WriterMetrics>,
}

/// Builds the parts of `graph`.
///
/// # Errors
/// An operator or exchange cannot be made.
pub(crate) fn wire(graph: &PhysicalGraph, options: WiringOptions) -> Result<Wiring, JobError> {
    let mut wirer = Wirer {
        graph,
        options,
        inputs: HashMap::new(),
        sender_counts: HashMap::new(),
        outputs: HashMap::new(),
        moved: HashMap::new(),
        wiring: Wiring {
            workers: (0..graph.parallelism).map(|_| Vec::new()).collect(),
            reads: Vec::new(),
            writes: Vec::new(),
            lookups: Vec::new(),
            edges: Vec::new(),
            metrics: JobMetrics::new(),
            wants_clock: false,
        },
    };
    for (id, stage) in graph.stages.iter().enumerate() {
        if let Some(source) = &stage.source {
            wirer.wire_source(id, source);
        }
    }
    wirer.align();
    for edge in &graph.edges {
        wirer.wire_edge(edge)?;
    }
    for (id, stage) in graph.stages.iter().enumerate() {
        wirer.build_stage(id, stage)?;
    }
    Ok(wirer.wiring)
}

impl Wiring {
    /// Lets nobody read for subtasks that had come to the end of time before the cut that the job goes on from.
    pub(crate) fn leave_out_what_has_ended(&mut self) {
        let subtasks = self.workers.iter().flatten();
        let ended: HashSet<Subtask> = subtasks
            .filter(|tasklet| tasklet.reached == Watermark::END)
            .map(|tasklet| (tasklet.metrics.stage, tasklet.metrics.subtask))
            .collect();
        let parallelism = self.workers.len().max(1);
        self.reads.retain(|read| !ended.contains(&(read.stage, read.partition % parallelism)));
    }
}

/// A subtask: its stage and its number.
type Subtask = (usize, usize);

struct Wirer<'a> {
    graph: &'a PhysicalGraph,
    options: WiringOptions,
    /// With the name of the stage or table that each comes from.
    inputs: HashMap<Subtask, Vec<(String, Input)>>,
    sender_counts: HashMap<Subtask, usize>,
    outputs: HashMap<Subtask, Vec<Route>>,
    /// Told when the time of a partition has moved, by group of partitions that wait for each other.
    moved: HashMap<(bool, String), Arc<Notify>>,
    wiring: Wiring,
}

impl Wirer<'_> {
    fn wire_source(&mut self, stage: usize, source: &SourceRead) {
        let names = self.options.partitions.get(&source.table).cloned().unwrap_or_default();
        let group = self.alignment_group(&source.table);
        let moved = group.map(|group| Arc::clone(self.moved.entry(group).or_default()));
        let firsts = self.options.firsts.get(&source.table).cloned().unwrap_or_default();
        let moved = moved.or_else(|| (!firsts.is_empty()).then(Arc::default));
        let mut queues = Vec::new();
        for subtask in 0..self.graph.parallelism {
            let queue = self.queue(self.bell_of(subtask), Signal::Tasks(Arc::new(Notify::new())));
            let mine = names.iter().enumerate().filter(|(partition, _)| partition % self.graph.parallelism == subtask);
            for (sender, (partition, name)) in mine.clone().enumerate() {
                let comes_first = firsts.contains(&partition);
                let position = self.position(source, (name, comes_first));
                if position > 0 {
                    // It stands there until its reader has read on.
                    self.wiring.metrics.cuts.add_position(source.node, name, position);
                }
                let metrics = Arc::new(PartitionMetrics {
                    node: source.node,
                    table: source.table.clone(),
                    partition: name.clone(),
                    index: partition,
                    comes_first,
                    position: position.into(),
                    progress: OnceLock::new(),
                    read: Throughput::default(),
                    skipped_rows: 0.into(),
                    time: TimeMetrics::default(),
                    waits_for_others: false.into(),
                    moved: moved.clone(),
                });
                self.wiring.reads.push(PartitionRead {
                    stage,
                    table: source.table.clone(),
                    partition,
                    projection: source.projection.clone(),
                    to_end: source.to_end,
                    sender,
                    queue: Arc::clone(&queue),
                    metrics,
                    aligned: None,
                    first: None,
                });
            }
            self.take_from(source.table.clone(), (stage, subtask), 0, Arc::clone(&queue), mine.count());
            queues.push(queue);
        }
        self.add_edge(source.table.clone(), self.stage_name(stage), "read", queues);
        self.let_first_go_first(stage);
    }

    /// Lets the partitions of a stage wait for the one that comes before them.
    fn let_first_go_first(&mut self, stage: usize) {
        let reads = || self.wiring.reads.iter().filter(|read| read.stage == stage);
        let Some(partition) = reads().map(|read| &read.metrics).find(|metrics| metrics.comes_first) else { return };
        let Some(moved) = partition.moved.clone() else { return };
        let first = Arc::new(First { partition: Arc::clone(partition), moved });
        for read in self.wiring.reads.iter_mut().filter(|read| read.stage == stage && !read.metrics.comes_first) {
            read.first = Some(Arc::clone(&first));
        }
    }

    /// Where a partition is read on. One that has come since the cut to go on from is read from its beginning, whatever the
    /// table says of where reading starts; but what comes before all others had been read when those had been.
    fn position(&self, source: &SourceRead, (partition, comes_first): (&str, bool)) -> Position {
        let Some(cut) = &self.options.restored else { return 0 };
        match cut.partition(source.node, partition) {
            Some(known) => known.position,
            None if comes_first && cut.partitions.iter().any(|known| known.node == source.node) => READ_TO_END,
            None if cut.partitions.iter().any(|known| known.node == source.node) => {
                self.options.beginnings.get(&source.table).copied().unwrap_or(0)
            }
            None => 0,
        }
    }

    /// Where a partition stood at the cut to go on from.
    fn restored(&self, node: NodeId, partition: &str) -> Option<&PartitionCut> {
        self.options.restored.as_ref()?.partition(node, partition)
    }

    /// Which partitions wait for those of a table: those of a group, or the table's own.
    fn alignment_group(&self, table: &str) -> Option<(bool, String)> {
        let alignment = self.options.alignments.get(table)?;
        Some((alignment.group.is_some(), alignment.group.clone().unwrap_or_else(|| table.to_owned())))
    }

    /// Lets partitions wait for the others of their group.
    fn align(&mut self) {
        let groups: Vec<_> = self.wiring.reads.iter().map(|read| self.alignment_group(&read.table)).collect();
        let members = |group: &(bool, String)| {
            let of_group = self.wiring.reads.iter().zip(&groups).filter(|(_, other)| other.as_ref() == Some(group));
            of_group.map(|(read, _)| Arc::clone(&read.metrics)).collect::<Vec<_>>()
        };
        let aligned = |(read, group): (&PartitionRead, &Option<(bool, String)>)| {
            let group = group.as_ref()?;
            let drift_max = self.options.alignments.get(&read.table)?.drift_max;
            let drift_max_ms = i64::try_from(drift_max.as_millis()).unwrap_or(i64::MAX);
            let moved = Arc::clone(self.moved.get(group)?);
            Some(Arc::new(Aligned { partitions: members(group), drift_max_ms, moved }))
        };
        let aligned: Vec<_> = self.wiring.reads.iter().zip(&groups).map(aligned).collect();
        for (read, aligned) in self.wiring.reads.iter_mut().zip(aligned) {
            read.aligned = aligned;
        }
    }

    fn wire_edge(&mut self, edge: &Edge) -> Result<(), JobError> {
        let parallelism = self.graph.parallelism;
        let one_to_one = edge.exchange == Exchange::Forward;
        let senders = |subtask: usize| if one_to_one { subtask..subtask + 1 } else { 0..parallelism };
        let queues: Vec<Arc<Queue>> = (0..parallelism)
            .map(|subtask| self.queue(self.bell_of(subtask), self.bells_of(senders(subtask))))
            .collect();
        for (subtask, queue) in queues.iter().enumerate() {
            let from = self.stage_name(edge.from);
            self.take_from(from, (edge.to, subtask), edge.port, Arc::clone(queue), senders(subtask).len());
        }
        for subtask in 0..parallelism {
            let choice = match &edge.exchange {
                Exchange::Forward | Exchange::Broadcast => Choice::All,
                Exchange::RoundRobin => Choice::Next(subtask),
                Exchange::Hash(columns) => Choice::ByKey(self.scatter(edge.from, columns)?),
            };
            let route = match queues.get(subtask).filter(|_| one_to_one) {
                Some(queue) => Route::new(choice, 0, vec![Arc::clone(queue)]),
                None => Route::new(choice, subtask, queues.clone()),
            };
            self.outputs.entry((edge.from, subtask)).or_default().push(route.of_side(edge.side));
        }
        self.add_edge(self.stage_name(edge.from), self.stage_name(edge.to), edge.exchange.name(), queues);
        Ok(())
    }

    fn scatter(&self, stage: usize, columns: &[usize]) -> Result<HashScatter, JobError> {
        let stage = self.graph.stages.get(stage).ok_or_else(|| JobError::Plan(format!("there is no stage {stage}")))?;
        HashScatter::new(&stage.schema, columns.to_vec(), self.graph.parallelism)
            .map_err(|error| JobError::Plan(format!("stage {}: {error}", stage.name)))
    }

    fn wire_sink(&mut self, id: usize, stage: &Stage, table: &str) {
        let first_writer = self.wiring.writes.iter().filter(|write| write.table == table).count();
        let mut queues = Vec::new();
        for subtask in 0..self.graph.parallelism {
            let queue = self.queue(Signal::Tasks(Arc::new(Notify::new())), self.bell_of(subtask));
            let route = Route::new(Choice::All, 0, vec![Arc::clone(&queue)]);
            self.outputs.entry((id, subtask)).or_default().push(route);
            self.wiring.writes.push(SinkWrite {
                table: table.to_owned(),
                writer: first_writer + subtask,
                queue: Arc::clone(&queue),
                metrics: Arc::new(WriterMetrics {
                    table: table.to_owned(),
                    written: Throughput::default(),
                    latency: Latency::default(),
                    time: TimeMetrics::default(),
                }),
            });
            queues.push(queue);
        }
        self.add_edge(stage.name.clone(), table.to_owned(), "write", queues);
    }

    fn build_stage(&mut self, id: usize, stage: &Stage) -> Result<(), JobError> {
        if let Some(table) = &stage.sink {
            self.wire_sink(id, stage, table);
        } else if !self.graph.edges.iter().any(|edge| edge.from == id && edge.side.is_none()) {
            return Err(JobError::Plan(format!("the rows of stage {id} ({}) go nowhere: add a sink", stage.name)));
        }
        if let Some(read) = &stage.lookup {
            let port = |subtask| LookupPort {
                questions: self.queue(Signal::Tasks(Arc::new(Notify::new())), Signal::Nobody),
                answers: self.queue(self.bell_of(subtask), Signal::Tasks(Arc::new(Notify::new()))),
            };
            let ports = (0..self.graph.parallelism).map(port).collect();
            self.wiring.lookups.push(LookupService { read: read.clone(), ports });
        }
        for subtask in 0..self.graph.parallelism {
            let tasklet = self.tasklet(id, stage, subtask)?;
            if let Some(worker) = self.wiring.workers.get_mut(subtask) {
                worker.push(tasklet);
            }
        }
        Ok(())
    }

    fn tasklet(&mut self, id: usize, stage: &Stage, subtask: usize) -> Result<Tasklet, JobError> {
        let watermark = stage.source.as_ref().and_then(|source| source.watermark.as_ref());
        let before = watermark.map_or(0, |watermark| watermark.after);
        let not_made =
            |reason: OperatorError| JobError::Operator { operator: stage.name.clone(), reason: reason.to_string() };
        let head = match &stage.source {
            Some(_) => Some(SourceHead {
                before: stage.chain(0..before, None).map_err(not_made)?,
                assign: watermark.map(|watermark| WatermarkAssign::new(Arc::clone(&watermark.bound))),
                is_clock: watermark.is_some_and(|watermark| watermark.is_clock),
                partitions: self.partitions_of(id, subtask),
            }),
            None => None,
        };
        let inputs = self.inputs.remove(&(id, subtask)).unwrap_or_default();
        let metrics = SubtaskMetrics {
            stage: id,
            name: stage.name.clone(),
            subtask,
            taken: Throughput::default(),
            given: Throughput::default(),
            busy_ns: 0.into(),
            blocked_ns: 0.into(),
            blocked_since_ns: 0.into(),
            state_size_bytes: 0.into(),
            stored_bytes: 0.into(),
            inputs: inputs
                .iter()
                .map(|(from, _)| InputMetrics { from: from.clone(), time: TimeMetrics::default() })
                .collect(),
        };
        let mut chain = stage.chain(before..stage.operators.len(), self.options.memory.as_ref()).map_err(not_made)?;
        let reached = self.restore(&mut chain, subtask)?;
        let mut senders = WatermarkTracker::new(self.sender_counts.get(&(id, subtask)).copied().unwrap_or(0));
        let partitions = head.iter().flat_map(|head| &head.partitions).enumerate();
        for (sender, partition) in partitions {
            if let Some(cut) = self.restored(partition.node, &partition.partition) {
                senders.set(sender, restored_time(cut.time));
            }
        }
        let wants_clock = chain.wants_clock() || head.as_ref().is_some_and(|head| head.before.wants_clock());
        let clock_ms = wants_clock.then_some(i64::MIN);
        self.wiring.wants_clock |= wants_clock;
        Ok(Tasklet {
            inputs: inputs.into_iter().map(|(_, input)| input).collect(),
            senders,
            head,
            chain,
            routes: self.outputs.remove(&(id, subtask)).unwrap_or_default(),
            lookup: stage.lookup.as_ref().and_then(|_| self.wiring.lookups.last()?.ports.get(subtask).cloned()),
            metrics: Arc::new(metrics),
            job: Arc::clone(&self.wiring.metrics),
            told: InputTime { watermark: Watermark::UNKNOWN, state: InputState::Active },
            reached,
            cut: None,
            rests_for: 0,
            oldest_ns: u64::MAX,
            now_ns: 0,
            unsettled: true,
            clock_ms,
            next_input: 0,
            rests_until_ns: 0,
            catching_up_since_ns: None,
            done: false,
        })
    }

    /// Gives the operators of a chain their state back, and tells them how far time had come; gives that.
    fn restore(&self, chain: &mut Chain, subtask: usize) -> Result<Watermark, JobError> {
        let Some(cut) = &self.options.restored else { return Ok(Watermark::UNKNOWN) };
        for node in chain.nodes().collect::<Vec<NodeId>>() {
            let (parts, parallelism) = (cut.parts_of(node), self.graph.parallelism);
            let size_bytes = |sealed: &&SealedPart| sealed.part.rows.memory_bytes() + sealed.part.rows.stored_bytes();
            chain.expect(node, parts.iter().map(size_bytes).sum::<usize>() / parallelism);
            for sealed in &parts {
                let alike = parts.iter().find(|other| other.part.name == sealed.part.name);
                let first = alike.map_or(sealed.subtask, |first| first.subtask);
                for rows in sealed.rows_of((subtask, parallelism), first) {
                    let rows = rows.map_err(|error| JobError::Plan(format!("state of node {node}: {error}")))?;
                    let StatePart { name, lies, .. } = &sealed.part;
                    chain.restore(node, name, lies, rows).map_err(operator_failed)?;
                }
            }
        }
        let reached = cut.watermark(chain.nodes());
        if reached != Watermark::UNKNOWN {
            chain.resume(reached);
        }
        cut.again.iter().for_each(|(_, node)| chain.give_again(*node));
        Ok(reached)
    }

    /// What is counted of the partitions that a subtask reads, by sender.
    fn partitions_of(&self, stage: usize, subtask: usize) -> Vec<Arc<PartitionMetrics>> {
        let parallelism = self.graph.parallelism;
        let reads = self.wiring.reads.iter().filter(|read| read.stage == stage);
        reads.filter(|read| read.partition % parallelism == subtask).map(|read| Arc::clone(&read.metrics)).collect()
    }

    /// Lets a subtask take from a queue with that many senders.
    fn take_from(&mut self, from: String, (stage, subtask): Subtask, port: usize, queue: Arc<Queue>, senders: usize) {
        let count = self.sender_counts.entry((stage, subtask)).or_default();
        let input = Input { queue, port, senders: *count..*count + senders };
        *count += senders;
        self.inputs.entry((stage, subtask)).or_default().push((from, input));
    }

    fn queue(&self, arrived: Signal, room: Signal) -> Arc<Queue> {
        Queue::new(self.options.queue_bytes_max, arrived, room)
    }

    fn bell_of(&self, worker: usize) -> Signal {
        self.bells_of(worker..worker + 1)
    }

    fn bells_of(&self, workers: std::ops::Range<usize>) -> Signal {
        match self.options.bells.as_ref().and_then(|bells| bells.get(workers)) {
            Some(bells) => Signal::Workers(bells.to_vec()),
            None => Signal::Nobody,
        }
    }

    fn stage_name(&self, stage: usize) -> String {
        self.graph.stages.get(stage).map_or_else(String::new, |stage| stage.name.clone())
    }

    fn add_edge(&mut self, from: String, to: String, exchange: &'static str, queues: Vec<Arc<Queue>>) {
        let size_bytes_max = self.options.queue_bytes_max;
        self.wiring.edges.push(EdgeQueues { from, to, exchange, size_bytes_max, queues });
    }
}

/// The time of a partition when a job goes on: what had ended then says so again, if it still has.
fn restored_time(time: InputTime) -> InputTime {
    let state = if time.state == InputState::Finished { InputState::Active } else { time.state };
    InputTime { state, ..time }
}
