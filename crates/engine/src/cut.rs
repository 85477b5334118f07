//! A cut: the state after a prefix of every source, with nothing under way. *Stop, drain, seal.*
//!
//! ```text
//!   reader:  rows rows rows CUT · · · (rests) · · · rows
//!   subtask:      rows rows rows CUT: all senders have said it ─▶ seal, pass it on, rest
//!   writer:            rows rows rows CUT: everything before it has been written
//! ```
//!
//! Readers stop behind their last rows and put the cut into their queues. It travels behind those rows, so a subtask that
//! has it from all its senders has taken in everything before it and nothing after. It lets its operators give out what
//! need not be kept, seals what must be, passes the cut on, and rests. When the last writer has the cut, everything before
//! it has been written, and everybody goes on. Since nothing comes behind a cut before all are released, no channel has to
//! be blocked or kept: a cut is a Chandy-Lamport snapshot (ACM TOCS 1985) whose channels are empty.
//!
//! Readers of tables that are read to their end first (the build side of a join) are not stopped: what waits for them
//! could not drain. A cut waits until they have ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use mulgil_connect::source::Position;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::graph::{Graph, LogicalOperator, NodeId};
use mulgil_dataflow::scatter::HashScatter;
use mulgil_dataflow::state::{Lies, StatePart, StoreError};
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};

/// A source partition at a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCut {
    /// The node of the logical graph that reads it.
    pub node: NodeId,
    /// Its name.
    pub partition: String,
    /// Everything before this has been read.
    pub position: Position,
    /// How far its event time has come.
    pub time: InputTime,
}

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An operator's: its node of the logical graph.
    Node(NodeId),
    /// A sink's: its table.
    Sink(String),
}

/// A part of the state of one subtask of an operator, or of a sink.
#[derive(Clone, Debug)]
pub struct SealedPart {
    /// Whose it is.
    pub owner: Owner,
    /// The subtask; of a sink always 0.
    pub subtask: usize,
    /// The rows.
    pub part: StatePart,
}

/// All that a job needs to go on from a cut.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Where its sources stand.
    pub partitions: Vec<PartitionCut>,
    /// How far event time has come, by node.
    pub watermarks: HashMap<NodeId, Watermark>,
    /// The state of its operators; the parts of one subtask in the order in which they are to be restored.
    pub parts: Vec<SealedPart>,
    /// The subtasks that took part; what has ended has no state.
    pub subtasks: Vec<(NodeId, usize)>,
    /// What sinks are to publish once the cut is durable, by table.
    pub staged: BTreeMap<String, Vec<String>>,
    /// The shapes that the rows of sinks had, where they are not those of the graph: see [`crate::checkpoint`].
    pub(crate) shapes: Option<BTreeMap<String, Vec<String>>>,
    /// The sinks whose rows are to be made anew, and the operators that give them once more.
    pub(crate) again: Vec<(String, NodeId)>,
}

/// Where a source partition stands before the first checkpoint of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStart {
    /// Its name.
    pub partition: String,
    /// Everything before this is left out.
    pub position: Position,
    /// How far its event time has come there.
    pub time: InputTime,
}

/// Where the partitions of tables stand, by table.
pub type Starts = HashMap<String, Vec<PartitionStart>>;

impl Cut {
    /// The cut before the first one: where sources stand, and no state. `None` where nothing is said of any.
    pub(crate) fn at_starts(graph: &Graph, starts: &Starts) -> Option<Self> {
        let mut partitions = Vec::new();
        for (node, operator) in graph.nodes.iter().map(|node| &node.operator).enumerate() {
            let LogicalOperator::Source { table, .. } = operator else { continue };
            let of_table = starts.get(table).into_iter().flatten().cloned();
            partitions.extend(of_table.map(|start| {
                let PartitionStart { partition, position, time } = start;
                PartitionCut { node, partition, position, time }
            }));
        }
        (!partitions.is_empty()).then(|| Self { partitions, ..Self::default() })
    }

    /// Leaves out the rows of sinks that are to be made anew.
    pub(crate) fn make_anew(&mut self) {
        let again = &self.again;
        let stays = |owner: &Owner| !again.iter().any(|(table, _)| *owner == Owner::Sink(table.clone()));
        self.parts.retain(|sealed| stays(&sealed.owner));
        self.shapes = None;
    }

    /// Where a partition stands.
    pub(crate) fn partition(&self, node: NodeId, partition: &str) -> Option<&PartitionCut> {
        self.partitions.iter().find(|cut| cut.node == node && cut.partition == partition)
    }

    /// How far event time has come at all of some nodes.
    pub(crate) fn watermark(&self, nodes: impl Iterator<Item = NodeId>) -> Watermark {
        nodes.filter_map(|node| self.watermarks.get(&node).copied()).min().unwrap_or(Watermark::UNKNOWN)
    }

    /// The parts of a node, in the order in which they are to be restored.
    pub(crate) fn parts_of(&self, node: NodeId) -> Vec<&SealedPart> {
        let parts = self.parts.iter().filter(|sealed| sealed.owner == Owner::Node(node));
        let mut by_name: Vec<(&str, Vec<&SealedPart>)> = Vec::new();
        for sealed in parts {
            match by_name.iter_mut().find(|(name, _)| *name == sealed.part.name) {
                Some((_, parts)) => parts.push(sealed),
                None => by_name.push((&sealed.part.name, vec![sealed])),
            }
        }
        by_name.into_iter().flat_map(|(_, parts)| parts).collect()
    }
}

impl SealedPart {
    /// The rows that belong to `subtask` of `parallelism`, batch by batch. Of parts that all subtasks have sealed alike, the
    /// `first` is given.
    pub(crate) fn rows_of(
        &self,
        (subtask, parallelism): (usize, usize),
        first: usize,
    ) -> impl Iterator<Item = Result<RecordBatch, StoreError>> {
        let belongs = match &self.part.lies {
            Lies::Keyed(_) => true,
            Lies::Anywhere => self.subtask % parallelism == subtask,
            Lies::Everywhere => self.subtask == first,
        };
        let batches = belongs.then(|| self.part.rows.batches()).into_iter().flatten();
        let keyed = move |rows: RecordBatch| match &self.part.lies {
            Lies::Keyed(columns) => keyed_rows(&rows, columns, subtask, parallelism),
            Lies::Anywhere | Lies::Everywhere => Ok(Some(rows)),
        };
        let rows = batches.filter_map(move |rows| match rows.map(&keyed) {
            Ok(Ok(rows)) => rows.map(Ok),
            Ok(Err(error)) => Some(Err(StoreError(error.to_string()))),
            Err(error) => Some(Err(error)),
        });
        rows.filter(|rows| rows.as_ref().map_or(true, |rows| rows.num_rows() > 0))
    }
}

/// The rows whose keys `subtask` holds.
fn keyed_rows(
    rows: &RecordBatch,
    columns: &[usize],
    subtask: usize,
    parallelism: usize,
) -> Result<Option<RecordBatch>, ArrowError> {
    let scatter = HashScatter::new(&rows.schema(), columns.to_vec(), parallelism)?;
    let mut parts = scatter.scatter(Batch::append(rows.clone()))?.into_iter();
    Ok(parts.find(|(holder, _)| *holder == subtask).map(|(_, batch)| batch.rows))
}

/// Where those who take part in a cut meet: what has been asked for, what has been sealed, who may go on.
#[derive(Debug, Default)]
pub(crate) struct CutBoard {
    /// The number of the cut that was released last: who has taken part in a later one rests.
    released: AtomicU64,
    /// Whether all state is to be sealed, or what has changed will do.
    whole: AtomicBool,
    gathered: Mutex<Gathered>,
}

impl CutBoard {
    /// Says how much is to be sealed in the cuts to come.
    pub(crate) fn ask_for_whole(&self, whole: bool) {
        self.whole.store(whole, Ordering::Release);
    }

    /// Whether all state is to be sealed.
    pub(crate) fn wants_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Whether who has taken part in cut `number` still has to rest.
    pub(crate) fn holds(&self, number: u64) -> bool {
        number > self.released.load(Ordering::Acquire)
    }

    /// Lets those who have taken part in cut `number` go on.
    pub(crate) fn release(&self, number: u64) {
        self.released.fetch_max(number, Ordering::AcqRel);
    }

    /// A reader has stopped here. (What its rows say of time, its subtask adds.)
    pub(crate) fn add_position(&self, node: NodeId, partition: &str, position: Position) {
        let cut = &mut self.gathered().cut;
        let time = InputTime { watermark: Watermark::UNKNOWN, state: InputState::Active };
        cut.partitions.retain(|known| known.node != node || known.partition != partition);
        cut.partitions.push(PartitionCut { node, partition: partition.to_owned(), position, time });
    }

    /// A subtask has sealed its state.
    pub(crate) fn add_subtask(&self, sealed: SubtaskSeal) {
        let cut = &mut self.gathered().cut;
        for node in sealed.nodes {
            cut.subtasks.push((node, sealed.subtask));
            let least = cut.watermarks.entry(node).or_insert(sealed.watermark);
            *least = sealed.watermark.min(*least);
        }
        for (node, parts) in sealed.parts {
            let subtask = sealed.subtask;
            let owner = Owner::Node(node);
            cut.parts.extend(parts.into_iter().map(|part| SealedPart { owner: owner.clone(), subtask, part }));
        }
        for (node, partition, time) in sealed.partitions {
            let known = cut.partitions.iter_mut().find(|cut| cut.node == node && cut.partition == partition);
            if let Some(known) = known {
                known.time = time;
            }
        }
    }

    /// A subtask has ended: its operators have come to the end of time.
    pub(crate) fn add_ended(&self, nodes: impl Iterator<Item = NodeId>) {
        self.gathered().ended.extend(nodes);
    }

    /// What has been sealed, once all writers have had the cut. What has ended stays: it says so once.
    pub(crate) fn take(&self) -> Cut {
        let mut gathered = self.gathered();
        let partitions = gathered.cut.partitions.clone();
        let mut cut = std::mem::replace(&mut gathered.cut, Cut { partitions, ..Cut::default() });
        for node in &gathered.ended {
            cut.watermarks.entry(*node).or_insert(Watermark::END);
        }
        cut
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        // Nothing in it panics half way.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has come for the cut that is being made.
#[derive(Debug, Default)]
struct Gathered {
    cut: Cut,
    /// The nodes of which a subtask has ended.
    ended: HashSet<NodeId>,
}

/// What a subtask brings to a cut.
#[derive(Debug)]
pub(crate) struct SubtaskSeal {
    pub(crate) subtask: usize,
    /// The nodes of its operators, all of which event time has come to.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) watermark: Watermark,
    pub(crate) parts: Vec<(NodeId, Vec<StatePart>)>,
    /// The source partitions that it takes rows of, with their time.
    pub(crate) partitions: Vec<(NodeId, String, InputTime)>,
}
