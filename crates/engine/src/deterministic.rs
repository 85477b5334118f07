//! Runs a physical graph on one thread, in an order chosen by a seed: the same seed, the same run.
//!
//! The subtasks, queues and exchanges are the engine's own; only the threads and tasks are replaced by a loop that picks
//! who acts next: a partition that is read, a subtask that takes a turn of random length, a sink that takes a batch. So
//! every interleaving that threads could make can be found, and found again.

mod answering;

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use mulgil_connect::time::Alignment;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::physical::PhysicalGraph;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};

use self::answering::Answering;
use crate::error::JobError;
use crate::job::JobSummary;
use crate::queue::Message;
use crate::tasklet::Turn;
use crate::view::JobView;
use crate::wiring::{PartitionRead, Wiring, WiringOptions, wire};

/// What a source partition gives, in order; after the last it is finished.
#[derive(Clone, Debug)]
pub enum Step {
    /// Rows of the table, whole: each reader takes the columns it wants.
    Rows(RecordBatch),
    /// Nothing for a while.
    Idle,
    /// The machine's clock has come to this time, in milliseconds since the epoch: once everything read so far has been
    /// worked off, so that a script says what comes before it and what after.
    Clock(i64),
}

/// The rows of a source: the steps of each partition.
pub type Script = Vec<Vec<Step>>;

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// The batches that each sink got, in order.
    pub batches: HashMap<String, Vec<Batch>>,
    /// What was counted.
    pub summary: JobSummary,
    /// The largest number of bytes that waited in one queue at any time.
    pub queued_bytes_peak: usize,
    /// The furthest that two active partitions have ever been apart in event time.
    pub drift_ms_peak: i64,
}

/// Runs `graph` over `scripts` (by table) until all input has ended.
///
/// # Errors
/// The graph cannot be wired, or an operator failed. A graph that can go on no more, which would be a defect of the
/// engine, is an error too.
pub fn run(
    graph: &PhysicalGraph,
    scripts: &HashMap<String, Script>,
    queue_bytes_max: usize,
    seed: u64,
) -> Result<Outcome, JobError> {
    run_aligned(graph, scripts, &HashMap::new(), queue_bytes_max, seed)
}

/// As [`run`], with tables whose partitions wait for each other.
///
/// # Errors
/// As [`run`].
pub fn run_aligned(
    graph: &PhysicalGraph,
    scripts: &HashMap<String, Script>,
    alignments: &HashMap<String, Alignment>,
    queue_bytes_max: usize,
    seed: u64,
) -> Result<Outcome, JobError> {
    let names = |script: &Script| (0..script.len()).map(|partition| partition.to_string()).collect();
    let partitions = scripts.iter().map(|(table, script)| (table.clone(), names(script))).collect();
    let wiring =
        wire(graph, WiringOptions { queue_bytes_max, bells: None, partitions, alignments: alignments.clone() })?;
    wiring.metrics.reads_clock.store(false, std::sync::atomic::Ordering::Relaxed);
    let run = Run::new(wiring, scripts).map_err(|error| JobError::Plan(error.to_string()))?;
    run.finish(&mut Random::new(seed))
}

struct Run<'a> {
    wiring: Wiring,
    steps: Vec<std::slice::Iter<'a, Step>>,
    reading: Vec<bool>,
    writing: Vec<bool>,
    answering: Vec<Answering>,
    view: JobView,
    batches: HashMap<String, Vec<Batch>>,
    /// Whether nobody can do anything but let the clock go on.
    stands_still: bool,
    queued_bytes_peak: usize,
    drift_ms_peak: i64,
}

/// Who can act.
#[derive(Clone, Copy)]
enum Actor {
    Reader(usize),
    Subtask(usize, usize),
    Writer(usize),
    Lookup(usize),
}

impl<'a> Run<'a> {
    fn new(mut wiring: Wiring, scripts: &'a HashMap<String, Script>) -> Result<Self, ArrowError> {
        let steps = |read: &PartitionRead| {
            let script = scripts.get(&read.table).and_then(|script| script.get(read.partition));
            script.map_or_else(|| [].iter(), |script| script.iter())
        };
        let view = JobView {
            name: "deterministic".to_owned(),
            metrics: wiring.metrics.clone(),
            partitions: wiring.reads.iter().map(|read| read.metrics.clone()).collect(),
            subtasks: Vec::new(),
            writers: wiring.writes.iter().map(|write| write.metrics.clone()).collect(),
            edges: std::mem::take(&mut wiring.edges),
        };
        let answering = wiring.lookups.iter().map(|service| Answering::new(service, scripts)).collect::<Result<_, _>>();
        Ok(Self {
            steps: wiring.reads.iter().map(steps).collect(),
            reading: vec![true; wiring.reads.len()],
            writing: vec![true; wiring.writes.len()],
            answering: answering?,
            wiring,
            view,
            batches: HashMap::new(),
            stands_still: false,
            queued_bytes_peak: 0,
            drift_ms_peak: 0,
        })
    }

    fn finish(mut self, random: &mut Random) -> Result<Outcome, JobError> {
        let mut actors: Vec<Actor> = (0..self.reading.len()).map(Actor::Reader).collect();
        actors.extend((0..self.writing.len()).map(Actor::Writer));
        actors.extend((0..self.answering.len()).map(Actor::Lookup));
        for (worker, tasklets) in self.wiring.workers.iter().enumerate() {
            actors.extend((0..tasklets.len()).map(|tasklet| Actor::Subtask(worker, tasklet)));
        }
        let mut vain_tries = 0;
        while self.writing.contains(&true) {
            let chosen = random.below(actors.len());
            let Some(actor) = actors.get(chosen).copied() else { break };
            let acted = self.act(actor, random)?;
            if self.is_done(actor) {
                actors.swap_remove(chosen);
            }
            vain_tries = if acted { 0 } else { vain_tries + 1 };
            if vain_tries > 100 * actors.len() && !self.act_in_turn(&actors, random)? && !self.go_on(&actors, random)? {
                return Err(JobError::Plan(
                    "the graph can go on no more; this is a defect, please report it".to_owned(),
                ));
            }
        }
        let summary = self.view.summary();
        let Self { batches, queued_bytes_peak, drift_ms_peak, .. } = self;
        Ok(Outcome { batches, summary, queued_bytes_peak, drift_ms_peak })
    }

    /// Lets the clock go on although rows wait: an operator does not take them yet, so nothing more can be worked off.
    fn go_on(&mut self, actors: &[Actor], random: &mut Random) -> Result<bool, JobError> {
        self.stands_still = true;
        let acted = self.act_in_turn(actors, random);
        self.stands_still = false;
        acted
    }

    /// Lets everybody act once; says whether anybody could.
    fn act_in_turn(&mut self, actors: &[Actor], random: &mut Random) -> Result<bool, JobError> {
        let mut acted = false;
        for actor in actors {
            acted |= self.act(*actor, random)?;
        }
        Ok(acted)
    }

    fn act(&mut self, actor: Actor, random: &mut Random) -> Result<bool, JobError> {
        let acted = match actor {
            Actor::Reader(reader) => self.read(reader)?,
            Actor::Writer(writer) => self.write(writer),
            Actor::Lookup(number) => match (self.answering.get_mut(number), self.wiring.lookups.get(number)) {
                (Some(answering), Some(service)) => answering.act(service, random).map_err(|error| {
                    JobError::Source { table: service.read.table.clone(), reason: error.to_string() }
                })?,
                _ => false,
            },
            Actor::Subtask(worker, number) => {
                let tasklet = self.wiring.workers.get_mut(worker).and_then(|tasklets| tasklets.get_mut(number));
                let Some(tasklet) = tasklet else { return Ok(false) };
                let unsettled = tasklet.unsettled;
                tasklet.run(1 + random.below(4))? == Turn::Worked || (unsettled && !tasklet.unsettled)
            }
        };
        if acted {
            self.look();
        }
        Ok(acted)
    }

    /// Whether it will never act again.
    fn is_done(&self, actor: Actor) -> bool {
        let is_over = |going: Option<&bool>| going.is_none_or(|going| !going);
        match actor {
            Actor::Reader(reader) => is_over(self.reading.get(reader)),
            Actor::Writer(writer) => is_over(self.writing.get(writer)),
            Actor::Subtask(worker, number) => {
                let tasklet = self.wiring.workers.get(worker).and_then(|tasklets| tasklets.get(number));
                tasklet.is_none_or(|tasklet| tasklet.done)
            }
            Actor::Lookup(_) => false,
        }
    }

    /// Sees how full the queues are, and how far the partitions are apart.
    fn look(&mut self) {
        let fullest = self.view.edges.iter().flat_map(|edge| &edge.queues).map(|queue| queue.size_bytes()).max();
        self.queued_bytes_peak = self.queued_bytes_peak.max(fullest.unwrap_or(0));
        let times = self.view.partitions.iter().map(|partition| partition.time.get());
        let known = times.filter(|time| time.state == InputState::Active && time.watermark != Watermark::UNKNOWN);
        let (least, most) = known.fold((i64::MAX, i64::MIN), |(least, most), time| {
            (least.min(time.watermark.0), most.max(time.watermark.0))
        });
        let drift_ms = if least < most { most - least } else { 0 };
        self.drift_ms_peak = self.drift_ms_peak.max(drift_ms);
    }

    /// Whether nothing is under way between the readers and the writers.
    fn is_quiet(&self) -> bool {
        let ports = self.wiring.lookups.iter().flat_map(|service| &service.ports);
        let mut asking = ports.flat_map(|port| [&port.questions, &port.answers]);
        self.view.edges.iter().flat_map(|edge| &edge.queues).all(|queue| queue.size_bytes() == 0)
            && asking.all(|queue| queue.size_bytes() == 0)
            && self.answering.iter().all(Answering::is_quiet)
            && self.wiring.workers.iter().flatten().all(|tasklet| tasklet.done || !tasklet.unsettled)
    }

    fn read(&mut self, reader: usize) -> Result<bool, JobError> {
        let waits_for_quiet =
            self.steps.get(reader).is_some_and(|s| matches!(s.as_slice().first(), Some(Step::Clock(_))));
        let is_quiet = waits_for_quiet && (self.stands_still || self.is_quiet());
        let (Some(read), Some(steps), Some(reading)) =
            (self.wiring.reads.get(reader), self.steps.get_mut(reader), self.reading.get_mut(reader))
        else {
            return Ok(false);
        };
        let may_read = read.aligned.as_ref().is_none_or(|aligned| aligned.may_read(&read.metrics));
        if !*reading || !read.queue.has_room() || !may_read {
            return Ok(false);
        }
        if let Some(Step::Clock(now_ms)) = steps.as_slice().first() {
            if is_quiet {
                self.wiring.metrics.clock_ms.fetch_max(*now_ms, std::sync::atomic::Ordering::Relaxed);
                steps.next();
                for tasklet in self.wiring.workers.iter_mut().flatten() {
                    // Whoever hears of the clock does so before anything else is read.
                    tasklet.unsettled |= tasklet.clock_ms.is_some();
                }
            }
            return Ok(is_quiet);
        }
        let message = match steps.next() {
            Some(Step::Clock(_)) => return Ok(false),
            Some(Step::Rows(rows)) => {
                let rows = rows.project(&read.projection);
                Message::Read(rows.map_err(|error| JobError::Plan(format!("table {}: {error}", read.table)))?, 0)
            }
            Some(Step::Idle) => Message::Time(InputTime { watermark: Watermark::UNKNOWN, state: InputState::Idle }),
            None => {
                *reading = false;
                Message::Time(InputTime { watermark: Watermark::UNKNOWN, state: InputState::Finished })
            }
        };
        read.queue.push(read.sender, message, self.wiring.metrics.elapsed_ns());
        Ok(true)
    }

    fn write(&mut self, writer: usize) -> bool {
        let (Some(write), Some(writing)) = (self.wiring.writes.get(writer), self.writing.get_mut(writer)) else {
            return false;
        };
        let Some(item) = write.queue.pop() else { return false };
        match item.message {
            Message::Batch(batch) => {
                write.metrics.written.add(batch.num_rows() as u64, 0, 0);
                self.batches.entry(write.table.clone()).or_default().push(batch);
            }
            Message::Time(time) => *writing = time.state != InputState::Finished,
            Message::Read(..) | Message::Question(_) | Message::Answer(_) => {}
        }
        true
    }
}

/// A small random generator (SplitMix64, Steele et al., OOPSLA 2014): for choosing, not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed, the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next_u64() % bound as u64) as usize }
    }
}
