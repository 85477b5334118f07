//! The manifest of a checkpoint: one line of JSON, and one with its checksum.
//!
//! Operators are known by what `explain` says they do and by how many of the same stand before them, not by their number:
//! a query into which a projection was put between two aggregates finds their state again. State of which no operator
//! knows anything is refused.

use std::collections::BTreeMap;
use std::path::Path;

use mulgil_dataflow::explain::describe;
use mulgil_dataflow::graph::{Graph, NodeId};
use mulgil_dataflow::key::KEY_HASH_VERSION;
use mulgil_dataflow::state::{Extent, Lies, StatePart};
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};
use serde::{Deserialize, Serialize};

use super::folder::spools;
use super::segment::{Segment, read_segment};
use super::shape::{Shapes, giver, gives_again, shapes};
use super::{CheckpointError, merge};
use crate::cut::{Cut, Owner, PartitionCut, SealedPart};

/// Moves when a manifest, or the state that operators seal, is no longer read as before.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What a checkpoint consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    key_hash_version: u32,
    /// The number of the cut.
    pub number: u64,
    /// When it was made, in milliseconds since the epoch.
    pub made_ms: i64,
    /// The parallelism of the job that made it.
    pub parallelism: usize,
    /// How many bytes the state takes on disk, changes included.
    pub size_bytes: u64,
    pub(super) partitions: Vec<Partition>,
    watermarks: Vec<NodeWatermark>,
    pub(super) parts: Vec<Part>,
    /// What sinks are to publish, by table.
    pub staged: BTreeMap<String, Vec<String>>,
    /// How the rows of sinks that are kept here have come about; in a manifest of an earlier version, of none.
    #[serde(default)]
    pub(super) shapes: Shapes,
}

/// An operator: what it does, and how many of the same come before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct OperatorName {
    does: String,
    nth: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Partition {
    operator: OperatorName,
    pub(super) partition: String,
    pub(super) position: u64,
    watermark: i64,
    is_idle: bool,
}

impl Partition {
    /// How far its event time had come.
    pub(super) fn time(&self) -> InputTime {
        let state = if self.is_idle { InputState::Idle } else { InputState::Active };
        InputTime { watermark: Watermark(self.watermark), state }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct NodeWatermark {
    operator: OperatorName,
    watermark: i64,
}

/// Whose state a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartOwner {
    Operator(OperatorName),
    Sink(String),
}

/// Rows of a part: all of one subtask's, or what has changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) owner: PartOwner,
    pub(super) subtask: usize,
    pub(super) name: String,
    lies: PartLies,
    pub(super) rows: Segment,
    /// Of changes: how many columns are the key, and the keys that are gone.
    pub(super) changes: Option<(usize, Segment)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PartLies {
    Keyed(Vec<usize>),
    Anywhere,
    Everywhere,
}

/// The names of a graph's operators, by node.
pub(super) fn names(graph: &Graph) -> Vec<OperatorName> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let name = |node| {
        let does = describe(node);
        let count = seen.entry(does.clone()).or_default();
        *count += 1;
        OperatorName { does, nth: *count - 1 }
    };
    graph.nodes.iter().map(name).collect()
}

impl Manifest {
    /// The manifest of a cut whose state is in `parts`.
    pub(super) fn new(
        cut: &Cut,
        (names, shapes): (&[OperatorName], &Shapes),
        number: u64,
        parallelism: usize,
        parts: Vec<Part>,
    ) -> Self {
        let name = |node: &NodeId| names.get(*node).cloned();
        let partition = |cut: &PartitionCut| {
            Some(Partition {
                operator: name(&cut.node)?,
                partition: cut.partition.clone(),
                position: cut.position,
                watermark: cut.time.watermark.0,
                is_idle: cut.time.state == InputState::Idle,
            })
        };
        let watermark = |(node, watermark): (&NodeId, &Watermark)| {
            Some(NodeWatermark { operator: name(node)?, watermark: watermark.0 })
        };
        let bytes = |part: &Part| part.rows.length + part.changes.as_ref().map_or(0, |(_, gone)| gone.length);
        Self {
            version: FORMAT_VERSION,
            key_hash_version: KEY_HASH_VERSION,
            number,
            made_ms: crate::clock::now_ms(),
            parallelism,
            size_bytes: parts.iter().map(bytes).sum(),
            partitions: cut.partitions.iter().filter_map(partition).collect(),
            watermarks: cut.watermarks.iter().filter_map(watermark).collect(),
            parts,
            staged: cut.staged.clone(),
            shapes: cut.shapes.as_ref().unwrap_or(shapes).clone(),
        }
    }

    /// What `graph` needs to go on from here.
    ///
    /// # Errors
    /// A state file is damaged; or there is state, or a source's position, that no operator of the graph can take.
    pub fn cut(&self, folder: &Path, graph: &Graph) -> Result<Cut, CheckpointError> {
        let names = names(graph);
        let node = |operator: &OperatorName| names.iter().position(|name| name == operator);
        let lost = |operator: &OperatorName| {
            CheckpointError::OtherQuery(format!("it has no operator \"{}\" that could take its state", operator.does))
        };
        let mut cut = Cut { staged: self.staged.clone(), ..Cut::default() };
        for known in &self.partitions {
            cut.partitions.push(PartitionCut {
                node: node(&known.operator).ok_or_else(|| lost(&known.operator))?,
                partition: known.partition.clone(),
                position: known.position,
                time: known.time(),
            });
        }
        for known in &self.watermarks {
            // An operator that only passes rows on may be gone.
            if let Some(node) = node(&known.operator) {
                cut.watermarks.insert(node, Watermark(known.watermark));
            }
        }
        let mut parts = self.parts.as_slice();
        while let Some(first) = parts.first() {
            let of_part = parts.iter().take_while(|part| part.is_of(first)).count();
            let (now, rest) = parts.split_at(of_part);
            parts = rest;
            let owner = match &first.owner {
                PartOwner::Operator(operator) => Owner::Node(node(operator).ok_or_else(|| lost(operator))?),
                PartOwner::Sink(table) => Owner::Sink(table.clone()),
            };
            let sealed = now.iter().map(|part| part.read(folder)).collect::<Result<Vec<StatePart>, _>>()?;
            if let Some(part) = merge::merged(sealed)? {
                cut.parts.push(SealedPart { owner, subtask: first.subtask, part });
            }
        }
        cut.again = self.again(graph)?;
        cut.shapes = Some(self.shapes.clone());
        Ok(cut)
    }

    /// The sinks whose rows, which are kept here, have another shape in the graph; and who gives them once more.
    fn again(&self, graph: &Graph) -> Result<Vec<(String, NodeId)>, CheckpointError> {
        let mut again = Vec::new();
        for (table, now) in shapes(graph) {
            let is_kept = self.parts.iter().any(|part| part.owner == PartOwner::Sink(table.clone()));
            if !is_kept || self.shapes.get(&table).is_none_or(|then| *then == now) {
                continue;
            }
            let Some(giver) = giver(graph, &table) else { continue };
            if !gives_again(graph, giver) {
                let does = graph.nodes.get(giver).map(describe).unwrap_or_default();
                return Err(CheckpointError::OtherQuery(format!(
                    "it makes other columns, or keeps other rows, of what \"{does}\" has given, which does not know any more \
                     what that was"
                )));
            }
            again.push((table, giver));
        }
        Ok(again)
    }

    /// The files that it needs.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| {
            let gone = part.changes.as_ref().map(|(_, gone)| gone.file.as_str());
            std::iter::once(part.rows.file.as_str()).chain(gone)
        })
    }

    /// The files in which rows wait to be published with it.
    pub(super) fn spools(&self) -> impl Iterator<Item = &str> {
        spools(&self.staged)
    }

    /// As it is stored.
    pub(super) fn to_text(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        let crc32 = crc32fast::hash(json.as_bytes());
        Ok(format!("{json}\n{crc32:08x}\n"))
    }

    /// Reads what was stored; says what is wrong with it otherwise.
    pub(super) fn from_text(text: &str) -> Result<Self, Unread> {
        let damaged = |reason: String| Unread::Damaged(reason);
        let torn = || damaged("it is torn: its checksum is missing".to_owned());
        let (json, rest) = text.split_once('\n').ok_or_else(torn)?;
        let stored = rest.strip_suffix('\n').and_then(|sum| u32::from_str_radix(sum, 16).ok());
        if stored != Some(crc32fast::hash(json.as_bytes())) {
            return Err(damaged("it is torn or garbled: its checksum is another".to_owned()));
        }
        let no_manifest = |error: serde_json::Error| damaged(format!("it is no manifest: {error}"));
        // Before anything else: what another format holds is not known.
        let Format { version, key_hash_version: hash } = serde_json::from_str(json).map_err(no_manifest)?;
        if (version, hash) != (FORMAT_VERSION, KEY_HASH_VERSION) {
            return Err(Unread::OtherFormat(format!(
                "it is of format {version} with key hash {hash}; this version reads format {FORMAT_VERSION} with key hash \
                 {KEY_HASH_VERSION}"
            )));
        }
        serde_json::from_str(json).map_err(no_manifest)
    }
}

/// What every manifest says, of whatever format.
#[derive(Deserialize)]
struct Format {
    version: u32,
    key_hash_version: u32,
}

/// Why a manifest could not be read.
pub(super) enum Unread {
    /// It is not what was written.
    Damaged(String),
    /// It was written by another version.
    OtherFormat(String),
}

impl Part {
    pub(super) fn new(
        owner: PartOwner,
        subtask: usize,
        part: &StatePart,
        rows: Segment,
        changes: Option<(usize, Segment)>,
    ) -> Self {
        let lies = match &part.lies {
            Lies::Keyed(columns) => PartLies::Keyed(columns.clone()),
            Lies::Anywhere => PartLies::Anywhere,
            Lies::Everywhere => PartLies::Everywhere,
        };
        Self { owner, subtask, name: part.name.to_string(), lies, rows, changes }
    }

    /// Whether it is rows of the same part of the same subtask.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.owner == other.owner && self.subtask == other.subtask && self.name == other.name
    }

    fn read(&self, folder: &Path) -> Result<StatePart, CheckpointError> {
        let lies = match &self.lies {
            PartLies::Keyed(columns) => Lies::Keyed(columns.clone()),
            PartLies::Anywhere => Lies::Anywhere,
            PartLies::Everywhere => Lies::Everywhere,
        };
        let extent = match &self.changes {
            Some((key_count, gone)) => {
                Extent::Changes { key_count: *key_count, gone: read_segment(folder, gone)?.to_batch()? }
            }
            None => Extent::Whole,
        };
        Ok(StatePart { name: self.name.clone().into(), rows: read_segment(folder, &self.rows)?, lies, extent })
    }
}
