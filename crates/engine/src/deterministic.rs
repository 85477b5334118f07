//! Runs a physical graph on one thread, in an order chosen by a seed: the same seed, the same run.
//!
//! The subtasks, queues and exchanges are the engine's own; only the threads and tasks are replaced by a loop that picks
//! who acts next: a partition that is read, a subtask that takes a turn of random length, a sink that takes a batch. So
//! every interleaving that threads could make can be found, and found again.

mod answering;
mod random;
mod turns;

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use mulgil_connect::guarantee::Guarantee;
use mulgil_connect::time::Alignment;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::operator::PutOff;
use mulgil_dataflow::physical::PhysicalGraph;
use mulgil_dataflow::spill::StateMemory;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};

use self::answering::Answering;
pub use self::random::Random;
pub use self::turns::Before;
use self::turns::Turns;
use crate::cut::Cut;
use crate::error::JobError;
use crate::job::JobSummary;
use crate::outside::Outside;
use crate::queue::Message;
use crate::status::GuaranteeStatus;
use crate::tasklet::Turn;
use crate::view::JobView;
use crate::wiring::{PartitionRead, Wiring, WiringOptions, wire};

/// What a source partition gives, in order; after the last it is finished.
#[derive(Clone, Debug)]
pub enum Step {
    /// Rows of the table, whole: each reader takes the columns it wants.
    Rows(RecordBatch),
    /// Changes of rows of the table, whole.
    Changes(Batch),
    /// Nothing for a while.
    Idle,
    /// The machine's clock has come to this time, in milliseconds since the epoch: once everything read so far has been
    /// worked off, so that a script says what comes before it and what after.
    Clock(i64),
    /// From here on it is this turn, counted from 1: everything that all partitions give in the turns before has been worked
    /// off. So a script says in which order partitions act.
    Turn(usize),
}

/// The rows of a source: the steps of each partition.
pub type Script = Vec<Vec<Step>>;

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// The batches that each sink got, in order.
    pub batches: HashMap<String, Vec<Batch>>,
    /// What had come out when the last turn of the scripts began, where they have turns.
    pub before_last_turn: Option<Before>,
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
    let mut run = wired(graph, scripts, alignments, (queue_bytes_max, None), None)?;
    run.go(&mut Random::new(seed), None)?;
    Ok(run.outcome())
}

/// As [`run`], but that state beyond `memory` is put away.
///
/// # Errors
/// As [`run`].
pub fn run_within(
    graph: &PhysicalGraph,
    scripts: &HashMap<String, Script>,
    (queue_bytes_max, memory): (usize, Option<&StateMemory>),
    seed: u64,
) -> Result<Outcome, JobError> {
    let mut run = wired(graph, scripts, &HashMap::new(), (queue_bytes_max, memory), None)?;
    run.go(&mut Random::new(seed), None)?;
    Ok(run.outcome())
}

/// As [`run_within`], but that the run is cut again and again at moments that the seed chooses, and goes on from the cut on
/// another of `graphs`, which are the same query planned for other parallelisms: each time as after a crash, with nothing
/// left but the cut. Gives the outcome, and how many cuts there were.
///
/// # Errors
/// As [`run`]; and the state of an operator cannot be sealed or restored.
pub fn run_cut(
    graphs: &[PhysicalGraph],
    scripts: &HashMap<String, Script>,
    (queue_bytes_max, memory): (usize, Option<&StateMemory>),
    seed: u64,
) -> Result<(Outcome, usize), JobError> {
    let mut random = Random::new(seed);
    let (mut restored, mut cuts) = (None, 0);
    let mut total: Option<Outcome> = None;
    loop {
        let graph = graphs.get(cuts % graphs.len().max(1));
        let graph = graph.ok_or_else(|| JobError::Plan("there is no graph to run".to_owned()))?;
        let mut run = wired(graph, scripts, &HashMap::new(), (queue_bytes_max, memory), restored.take())?;
        let steps: usize = scripts.values().flatten().map(Vec::len).sum();
        // Enough is done between two cuts to come to an end.
        let acts = 1 + random.below(20 * (cuts + 1) * (graph.stages.len() + steps));
        restored = run.go(&mut random, Some(acts))?;
        let outcome = run.outcome();
        total = Some(match total {
            Some(total) => total.followed_by(outcome),
            None => outcome,
        });
        if restored.is_none() {
            break;
        }
        cuts += 1;
    }
    total.map(|total| (total, cuts)).ok_or_else(|| JobError::Plan("nothing was run".to_owned()))
}

fn wired<'a>(
    graph: &PhysicalGraph,
    scripts: &'a HashMap<String, Script>,
    alignments: &HashMap<String, Alignment>,
    (queue_bytes_max, memory): (usize, Option<&StateMemory>),
    restored: Option<Cut>,
) -> Result<Run<'a>, JobError> {
    let names = |script: &Script| (0..script.len()).map(|partition| partition.to_string()).collect();
    let partitions = scripts.iter().map(|(table, script)| (table.clone(), names(script))).collect();
    let alignments = alignments.clone();
    let memory = memory.cloned();
    let (beginnings, firsts) = (HashMap::new(), HashMap::new());
    let bells = None;
    let options =
        WiringOptions { queue_bytes_max, bells, partitions, firsts, alignments, beginnings, restored, memory };
    let wiring = wire(graph, options)?;
    wiring.metrics.reads_clock.store(false, std::sync::atomic::Ordering::Relaxed);
    wiring.metrics.cuts.ask_for_whole(true);
    Run::new(wiring, scripts).map_err(|error| JobError::Plan(error.to_string()))
}

impl Outcome {
    /// What two runs gave, one after the other.
    fn followed_by(mut self, next: Self) -> Self {
        self.before_last_turn = self.and_before(next.before_last_turn).or(self.before_last_turn);
        for (sink, batches) in next.batches {
            self.batches.entry(sink).or_default().extend(batches);
        }
        let (before, after) = (&mut self.summary, next.summary);
        before.rows_in += after.rows_in;
        before.rows_out += after.rows_out;
        before.late_dropped += after.late_dropped;
        before.late_updated += after.late_updated;
        before.null_event_times += after.null_event_times;
        before.skipped_rows += after.skipped_rows;
        before.elapsed += after.elapsed;
        self.queued_bytes_peak = self.queued_bytes_peak.max(next.queued_bytes_peak);
        self.drift_ms_peak = self.drift_ms_peak.max(next.drift_ms_peak);
        self
    }
}

struct Run<'a> {
    wiring: Wiring,
    scripts: &'a HashMap<String, Script>,
    steps: Vec<std::slice::Iter<'a, Step>>,
    reading: Vec<bool>,
    writing: Vec<bool>,
    /// Whether a cut is being made; and the readers and writers that have had it.
    cutting: bool,
    readers_cut: Vec<bool>,
    writers_cut: Vec<bool>,
    answering: Vec<Answering>,
    view: JobView,
    batches: HashMap<String, Vec<Batch>>,
    turns: Turns,
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
            let taken = usize::try_from(read.metrics.position.load(std::sync::atomic::Ordering::Relaxed));
            let rest = script.and_then(|script| script.get(taken.unwrap_or(usize::MAX)..));
            rest.map_or_else(|| [].iter(), |rest| rest.iter())
        };
        let view = JobView {
            guarantee: GuaranteeStatus { given: Guarantee::ExactlyOnce.name(), reasons: Vec::new() },
            name: "deterministic".to_owned(),
            metrics: wiring.metrics.clone(),
            outside: Outside::default(),
            partitions: wiring.reads.iter().map(|read| read.metrics.clone()).collect(),
            subtasks: Vec::new(),
            writers: wiring.writes.iter().map(|write| write.metrics.clone()).collect(),
            edges: std::mem::take(&mut wiring.edges),
        };
        let answering = wiring.lookups.iter().map(|service| Answering::new(service, scripts)).collect::<Result<_, _>>();
        Ok(Self {
            scripts,
            steps: wiring.reads.iter().map(steps).collect(),
            reading: vec![true; wiring.reads.len()],
            writing: vec![true; wiring.writes.len()],
            cutting: false,
            readers_cut: vec![false; wiring.reads.len()],
            writers_cut: vec![false; wiring.writes.len()],
            answering: answering?,
            wiring,
            view,
            batches: HashMap::new(),
            turns: Turns::default(),
            stands_still: false,
            queued_bytes_peak: 0,
            drift_ms_peak: 0,
        })
    }

    /// Runs to the end; or to a cut, which is asked for after so many acts, and given if it comes before the end.
    fn go(&mut self, random: &mut Random, acts_before_cut: Option<usize>) -> Result<Option<Cut>, JobError> {
        let mut actors: Vec<Actor> = (0..self.reading.len()).map(Actor::Reader).collect();
        actors.extend((0..self.writing.len()).map(Actor::Writer));
        actors.extend((0..self.answering.len()).map(Actor::Lookup));
        for (worker, tasklets) in self.wiring.workers.iter().enumerate() {
            actors.extend((0..tasklets.len()).map(|tasklet| Actor::Subtask(worker, tasklet)));
        }
        let (mut vain_tries, mut acts) = (0, 0);
        while self.writing.contains(&true) {
            self.cutting = acts_before_cut.is_some_and(|before| acts >= before);
            let mut writers = self.writing.iter().zip(&self.writers_cut);
            if self.cutting && writers.all(|(writing, cut)| !writing || *cut) {
                return Ok(Some(self.wiring.metrics.cuts.take()));
            }
            acts += 1;
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
        Ok(None)
    }

    fn outcome(self) -> Outcome {
        let summary = self.view.summary();
        let Self { batches, queued_bytes_peak, drift_ms_peak, turns, .. } = self;
        Outcome { batches, before_last_turn: turns.before, summary, queued_bytes_peak, drift_ms_peak }
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
                    JobError::Source { table: service.read.table.clone(), reason: error.to_string(), of_rows: true }
                })?,
                _ => false,
            },
            Actor::Subtask(worker, number) => {
                let tasklet = self.wiring.workers.get_mut(worker).and_then(|tasklets| tasklets.get_mut(number));
                let Some(tasklet) = tasklet else { return Ok(false) };
                let (unsettled, was_done) = (tasklet.unsettled, tasklet.done);
                let turn = tasklet.run(1 + random.below(4))?;
                let may_catch_up = tasklet.catches_up_at().is_some() && (turn != Turn::Worked || random.below(8) == 0);
                let caught_up = may_catch_up && tasklet.catch_up()?;
                // Coming to the end is something too: others may go on for that.
                let has_ended = turn == Turn::Done && !was_done;
                turn == Turn::Worked || caught_up || has_ended || (unsettled && !tasklet.unsettled)
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
            && self
                .wiring
                .workers
                .iter()
                .flatten()
                .all(|tasklet| tasklet.done || !(tasklet.unsettled || tasklet.chain.put_off() > PutOff::Nothing))
    }

    /// Stops a reader for the cut, if it has not stopped or ended; whether it was stopped now.
    fn stop(&mut self, reader: usize) -> bool {
        let (Some(read), Some(stopped)) = (self.wiring.reads.get(reader), self.readers_cut.get_mut(reader)) else {
            return false;
        };
        let is_reading = self.reading.get(reader).copied().unwrap_or(false);
        if !is_reading || *stopped || read.to_end {
            return false;
        }
        *stopped = true;
        self.note_position(reader);
        let Some(read) = self.wiring.reads.get(reader) else { return false };
        read.queue.push(read.sender, Message::Cut(1), self.wiring.metrics.elapsed_ns());
        true
    }

    fn read(&mut self, reader: usize) -> Result<bool, JobError> {
        if self.stops_for_cut(reader) {
            return Ok(self.stop(reader));
        }
        let acted = self.read_on(reader)?;
        if acted {
            self.note_position(reader);
        }
        Ok(acted)
    }

    /// Says how many steps of its script a reader has taken.
    fn note_position(&self, reader: usize) {
        if let (Some(read), Some(steps)) = (self.wiring.reads.get(reader), self.steps.get(reader)) {
            let all = self.scripts.get(&read.table).and_then(|script| script.get(read.partition)).map_or(0, Vec::len);
            let position = (all - steps.len()) as u64;
            self.wiring.metrics.cuts.add_position(read.metrics.node, &read.metrics.partition, position);
        }
    }

    fn stops_for_cut(&self, reader: usize) -> bool {
        self.cutting && self.wiring.reads.get(reader).is_some_and(|read| !read.to_end)
    }

    fn read_on(&mut self, reader: usize) -> Result<bool, JobError> {
        if let Some(acted) = self.take_turn(reader) {
            return Ok(acted);
        }
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
            Some(Step::Clock(_) | Step::Turn(_)) => return Ok(false),
            Some(Step::Rows(rows)) => Message::Read(Batch::append(wanted(read, rows)?), 0),
            Some(Step::Changes(batch)) => {
                let rows = wanted(read, &batch.rows)?;
                Message::Read(batch.clone().with_rows(rows), 0)
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
            Message::Cut(_) => {
                if let Some(cut) = self.writers_cut.get_mut(writer) {
                    *cut = true;
                }
            }
            Message::Read(..) | Message::Question(_) | Message::Answer(_) => {}
        }
        true
    }
}

/// The columns that a reader wants.
fn wanted(read: &PartitionRead, rows: &RecordBatch) -> Result<RecordBatch, JobError> {
    rows.project(&read.projection).map_err(|error| JobError::Plan(format!("table {}: {error}", read.table)))
}
