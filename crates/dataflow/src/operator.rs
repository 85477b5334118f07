//! The contract of a physical operator: a plain synchronous struct that turns batches into batches.

use std::borrow::Cow;

use arrow::array::RecordBatch;

use crate::batch::Batch;
use crate::expression::EvaluationError;
use crate::state::{Lies, StatePart, StoreError};
use crate::time::Watermark;

/// Where an operator puts what it makes.
pub trait Output {
    /// Passes a batch on. Empty batches are dropped.
    fn emit(&mut self, batch: Batch);
    /// Reports rows that came too late, to be counted and shown.
    fn late(&mut self, late: LateRows<'_>);
    /// Whether somebody takes the rows themselves of input `port` that this operator drops because they are too late.
    fn takes_late_rows(&self, port: usize) -> bool {
        let _ = port;
        false
    }
    /// Passes rows of input `port` aside that were dropped as too late, all of them, where [`Output::takes_late_rows`].
    fn late_rows(&mut self, port: usize, rows: Batch) {
        let _ = (port, rows);
    }
    /// Puts rows into a side output of a chain, by its number: what the chain's runner implements, and operators do not
    /// call. See [`crate::chain::Link::late_rows_to`].
    fn emit_aside(&mut self, side: usize, batch: Batch) {
        let _ = (side, batch);
    }
    /// Reports rows that were left out because their event time is null: they belong to no window.
    fn null_time(&mut self, row_count: u64);
}

/// Rows that came after the watermark had passed the end of their windows.
#[derive(Debug)]
pub struct LateRows<'a> {
    /// Some of them, or, behind a pre-aggregation, the groups they had been added up to.
    pub sample: Cow<'a, RecordBatch>,
    /// How many input rows they are.
    pub row_count: u64,
    /// How far the watermark had already passed the end of the oldest row's window.
    pub behind_ms: i64,
    /// Whether they are lost to the result; otherwise they have updated it within the allowed lateness.
    pub dropped: bool,
}

/// What can go wrong inside an operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// An expression or aggregate failed on a row.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// Arrow refused: mismatched types, overflowed offsets.
    #[error("columnar kernel failed: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Rows could not be put away, or read again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator was given something its planner should have refused.
    #[error("{0}")]
    Unsupported(String),
}

/// What an operator wants to know of a table beside the dataflow: the rows of some keys.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its number, by which the answer is known.
    pub number: u64,
    /// A column for each column by which the table is asked; each row is a key, no two are the same.
    pub keys: RecordBatch,
}

/// What an operator is told of a table beside the dataflow.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The rows of the keys of a question, and maybe others.
    Rows {
        /// The question's number.
        number: u64,
        /// The rows.
        rows: RecordBatch,
    },
    /// The whole table as it is now, in place of what was told before.
    Table(Vec<RecordBatch>),
}

/// Whether an operator has put work off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PutOff {
    /// It has done all there was.
    Nothing,
    /// There is some to do, when there is nothing else.
    Something,
    /// There is so much that it takes no more rows until some is done.
    TooMuch,
}

/// One parallel instance of an operator.
///
/// # Contract
/// Called by one thread at a time. Between `process` calls a `flush`, then a watermark may come; watermarks never go back. The runtime
/// passes a watermark on after `on_watermark` has returned: an operator that holds rows back gives out, before it
/// returns, every row that a watermark downstream would make late. At `Watermark::END` everything still held is given
/// out. After an error the operator is not called again.
pub trait Operator: Send {
    /// Takes a batch from input `port`.
    fn process(&mut self, port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError>;
    /// Event time has come to `watermark` on all inputs.
    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = (watermark, out);
        Ok(())
    }
    /// A turn is over: nothing more has come for now, or enough has. An operator that gathers changes to make fewer of
    /// them (a rolling aggregate) gives them out here. Comes before [`Operator::on_watermark`].
    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = out;
        Ok(())
    }
    /// The machine's clock has come to `now_ms` (milliseconds since the epoch): comes about once a second where
    /// [`Operator::wants_clock`], also while no rows come, in no fixed relation to them. For state whose time to live is in
    /// processing time; results must not depend on it otherwise.
    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = (now_ms, out);
        Ok(())
    }
    /// Whether the operator wants [`Operator::on_clock`]. A job of which no operator does has no timer, and sleeps.
    fn wants_clock(&self) -> bool {
        false
    }
    /// Whether it takes rows of input `port` now. What it does not take waits in its queue, and stops its sender when that
    /// is full. An operator with several inputs takes one of them at any time, until all have ended.
    fn accepts(&self, port: usize) -> bool {
        let _ = port;
        true
    }
    /// Input `port` has ended: no more rows come from there.
    fn on_input_end(&mut self, port: usize, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = (port, out);
        Ok(())
    }
    /// The questions that have come up since the last call. The runtime asks in its turn for those of operators that look up
    /// a table (see [`crate::definition::OperatorDefinition::looks_up`]), after each turn.
    fn take_questions(&mut self) -> Vec<Question> {
        Vec::new()
    }
    /// An answer has come. What it lets out goes out with the next flush.
    fn on_answer(&mut self, answer: Answer, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = (answer, out);
        Ok(())
    }
    /// Where rows wait for something other than time: how far event time may go on behind the operator. `None` where none do.
    fn holds_back(&self) -> Option<Watermark> {
        None
    }
    /// Whether work is put off: see [`crate::spill`]. Then the operator holds time back.
    fn put_off(&self) -> PutOff {
        PutOff::Nothing
    }
    /// Does a piece of the work that was put off.
    fn catch_up(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = out;
        Ok(())
    }
    /// Heap memory held as state, in bytes.
    fn state_size_bytes(&self) -> usize {
        0
    }
    /// What it has put away in files, in bytes.
    fn stored_bytes(&self) -> usize {
        0
    }
    /// A cut is coming, or the subtask falls idle: gives out what need not be kept, as a pre-aggregation does with what it
    /// has added up so far. Comes
    /// before [`Operator::flush`] and [`Operator::seal`], when all rows before the cut have come.
    fn before_cut(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = out;
        Ok(())
    }
    /// What has to be kept for an instance to go on from here: see [`crate::state`]. With `whole` all of it; otherwise an
    /// operator that knows what has changed since it was last sealed or restored seals only that. The operator goes on after.
    ///
    /// An operator without state overrides this to say so: what is not sealed by oversight would be lost in silence.
    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let _ = whole;
        let reason = "its state cannot be kept in a checkpoint yet; run the query without checkpoints, and it starts from \
                      the beginning of its sources";
        Err(OperatorError::Unsupported(reason.to_owned()))
    }
    /// Takes over sealed rows of the part `name`. Called on a new instance, before any row comes; part by part, in the
    /// order in which they were sealed, several times for a part that comes in several batches. The rows of a part that
    /// lies by key are those whose key groups this subtask holds.
    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        let _ = rows;
        Err(OperatorError::Unsupported(format!(
            "it has no state of the name {name}; the checkpoint is another query's"
        )))
    }
    /// So many bytes of state are about to be restored.
    fn expect(&mut self, state_bytes: usize) {
        let _ = state_bytes;
    }
    /// As [`Operator::restore`], where it is known how the rows lie.
    fn restore_lying(&mut self, name: &str, lies: &Lies, rows: RecordBatch) -> Result<(), OperatorError> {
        let _ = lies;
        self.restore(name, rows)
    }
    /// The last part has been restored, and event time had come to `watermark`: what that let out was given out before the
    /// cut. An operator that looks at the watermark takes this one over. (The same may come again as
    /// [`Operator::on_watermark`].)
    fn resume(&mut self, watermark: Watermark) {
        let _ = watermark;
    }
    /// What was given out before has been forgotten downstream, where other columns are wanted of it now: the next flush gives
    /// all that stands once more, as new rows. Called after [`Operator::resume`], where
    /// [`crate::definition::OperatorDefinition::gives_again`] says so.
    fn give_again(&mut self) {}
}
