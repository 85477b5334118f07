//! Operators one behind the other, run as one: what an operator gives out, the next takes in at once, without a queue.

use arrow::array::RecordBatch;

use crate::batch::Batch;
use crate::graph::NodeId;
use crate::operator::{Answer, LateRows, Operator, OperatorError, Output, PutOff, Question};
use crate::state::{Lies, StatePart};
use crate::time::Watermark;

/// An operator of a chain that failed.
#[derive(Debug, thiserror::Error)]
#[error("operator {operator}: {reason}")]
pub struct ChainError {
    /// The operator, as `explain` names it.
    pub operator: String,
    /// Why.
    pub reason: OperatorError,
}

/// Operators that drop rows as too late have so many inputs at most.
pub const PORTS_MAX: usize = 2;

/// One operator of a chain.
pub struct Link {
    /// Its name, as `explain` gives it.
    pub name: String,
    /// The node of the logical graph whose state it holds, if it holds one at a cut.
    pub node: Option<NodeId>,
    /// What it does.
    pub operator: Box<dyn Operator>,
    /// By input port: the side output of the chain to which the rows go that it drops as too late; `None` where nobody
    /// takes them.
    pub late_rows_to: [Option<usize>; PORTS_MAX],
}

/// Operators one behind the other. An empty chain passes everything on.
#[derive(Default)]
pub struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// Runs `links` in this order.
    pub fn new(links: Vec<Link>) -> Self {
        Self { links }
    }

    /// Takes a batch from input `port` of the first operator through the chain.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn process(&mut self, port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), ChainError> {
        let mut failure = None;
        Downstream { links: &mut self.links, late_rows_to: [None; PORTS_MAX], out, failure: &mut failure }
            .pass(port, batch);
        failure.map_or(Ok(()), Err)
    }

    /// Whether the first operator takes rows of input `port` now, and none has put too much off.
    pub fn accepts(&self, port: usize) -> bool {
        self.links.first().is_none_or(|link| link.operator.accepts(port)) && self.put_off() < PutOff::TooMuch
    }

    /// Whether some operator has put work off.
    pub fn put_off(&self) -> PutOff {
        self.links.iter().map(|link| link.operator.put_off()).max().unwrap_or(PutOff::Nothing)
    }

    /// Lets the operator that has put most off do a piece of that.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn catch_up(&mut self, out: &mut dyn Output) -> Result<(), ChainError> {
        let most = self.put_off();
        let mut is_left = most > PutOff::Nothing;
        self.each(out, |operator, next| {
            if !is_left || operator.put_off() < most {
                return Ok(());
            }
            is_left = false;
            operator.catch_up(next)
        })
    }

    /// Tells the first operator that its input `port` has ended.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn on_input_end(&mut self, port: usize, out: &mut dyn Output) -> Result<(), ChainError> {
        let Some((first, rest)) = self.links.split_first_mut() else { return Ok(()) };
        let mut failure = None;
        let late_rows_to = first.late_rows_to;
        let mut next = Downstream { links: rest, late_rows_to, out, failure: &mut failure };
        let result = first.operator.on_input_end(port, &mut next);
        note(&mut failure, &first.name, result);
        failure.map_or(Ok(()), Err)
    }

    /// Tells every operator, from the first to the last, that a turn is over.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn flush(&mut self, out: &mut dyn Output) -> Result<(), ChainError> {
        self.each(out, |operator, next| operator.flush(next))
    }

    /// Tells every operator, from the first to the last, how far event time has come. What the operators before it have
    /// given out for that (a window that closes) belongs to the turn, so each is told first that the turn is over. Where an
    /// operator holds rows back, those behind it are told no more than it lets. Gives how far time has come behind the chain.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<Watermark, ChainError> {
        let mut reached = watermark;
        self.each(out, |operator, next| {
            operator.flush(next)?;
            if reached == Watermark::UNKNOWN {
                return Ok(());
            }
            operator.on_watermark(reached, next)?;
            reached = operator.holds_back().map_or(reached, |held| held.min(reached));
            Ok(())
        })?;
        Ok(reached)
    }

    /// Whether rows wait in an operator for something other than time.
    pub fn holds_back(&self) -> bool {
        self.links.iter().any(|link| link.operator.holds_back().is_some())
    }

    /// The questions of the first operator.
    pub fn take_questions(&mut self) -> Vec<Question> {
        self.links.first_mut().map_or_else(Vec::new, |link| link.operator.take_questions())
    }

    /// Tells the first operator an answer.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn on_answer(&mut self, answer: Answer, out: &mut dyn Output) -> Result<(), ChainError> {
        let Some((first, rest)) = self.links.split_first_mut() else { return Ok(()) };
        let mut failure = None;
        let late_rows_to = first.late_rows_to;
        let mut next = Downstream { links: rest, late_rows_to, out, failure: &mut failure };
        let result = first.operator.on_answer(answer, &mut next);
        note(&mut failure, &first.name, result);
        failure.map_or(Ok(()), Err)
    }

    /// Tells every operator, from the first to the last, what the machine's clock says.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), ChainError> {
        self.each(out, |operator, next| operator.on_clock(now_ms, next))
    }

    /// Lets every operator, from the first to the last, give out what need not be kept at a cut.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn before_cut(&mut self, out: &mut dyn Output) -> Result<(), ChainError> {
        self.each(out, |operator, next| {
            operator.before_cut(next)?;
            operator.flush(next)
        })
    }

    /// Seals the state of every operator that holds one, by node. [`Chain::before_cut`] goes before.
    ///
    /// # Errors
    /// The operator that failed. The chain is not to be used again.
    pub fn seal(&mut self, whole: bool) -> Result<Vec<(NodeId, Vec<StatePart>)>, ChainError> {
        let mut sealed = Vec::new();
        for link in &mut self.links {
            let parts = link.operator.seal(whole);
            let parts = parts.map_err(|reason| ChainError { operator: link.name.clone(), reason })?;
            sealed.extend(link.node.filter(|_| !parts.is_empty()).map(|node| (node, parts)));
        }
        Ok(sealed)
    }

    /// Tells the operator of a node that so many bytes of its state are about to be given back.
    pub fn expect(&mut self, node: NodeId, state_bytes: usize) {
        if let Some(link) = self.links.iter_mut().find(|link| link.node == Some(node)) {
            link.operator.expect(state_bytes);
        }
    }

    /// Gives the operator of a node rows of its state back.
    ///
    /// # Errors
    /// The operator refused them. The chain is not to be used again.
    pub fn restore(&mut self, node: NodeId, part: &str, lies: &Lies, rows: RecordBatch) -> Result<(), ChainError> {
        let Some(link) = self.links.iter_mut().find(|link| link.node == Some(node)) else { return Ok(()) };
        let restored = link.operator.restore_lying(part, lies, rows);
        restored.map_err(|reason| ChainError { operator: link.name.clone(), reason })
    }

    /// Tells every operator how far time had come at the cut, once all state is restored.
    pub fn resume(&mut self, watermark: Watermark) {
        self.links.iter_mut().for_each(|link| link.operator.resume(watermark));
    }

    /// Lets the operator of a node give all that stands once more.
    pub fn give_again(&mut self, node: NodeId) {
        if let Some(link) = self.links.iter_mut().find(|link| link.node == Some(node)) {
            link.operator.give_again();
        }
    }

    /// The nodes of its operators.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.links.iter().filter_map(|link| link.node)
    }

    /// Calls every operator, from the first to the last, with the rest of the chain as its output.
    fn each(
        &mut self,
        out: &mut dyn Output,
        mut call: impl FnMut(&mut dyn Operator, &mut dyn Output) -> Result<(), OperatorError>,
    ) -> Result<(), ChainError> {
        let mut failure = None;
        let mut links = self.links.as_mut_slice();
        while let Some((link, rest)) = links.split_first_mut() {
            let late_rows_to = link.late_rows_to;
            let mut next = Downstream { links: &mut *rest, late_rows_to, out: &mut *out, failure: &mut failure };
            let result = call(link.operator.as_mut(), &mut next);
            note(&mut failure, &link.name, result);
            if let Some(failure) = failure {
                return Err(failure);
            }
            links = rest;
        }
        Ok(())
    }

    /// Whether some operator wants [`Chain::on_clock`].
    pub fn wants_clock(&self) -> bool {
        self.links.iter().any(|link| link.operator.wants_clock())
    }

    /// Heap memory held by all operators as state, in bytes.
    pub fn state_size_bytes(&self) -> usize {
        self.links.iter().map(|link| link.operator.state_size_bytes()).sum()
    }

    /// What all operators have put away in files, in bytes.
    pub fn stored_bytes(&self) -> usize {
        self.links.iter().map(|link| link.operator.stored_bytes()).sum()
    }
}

/// The rest of a chain, as the output of the operator before it.
struct Downstream<'a> {
    links: &'a mut [Link],
    /// The side outputs of that operator, by its input port.
    late_rows_to: [Option<usize>; PORTS_MAX],
    out: &'a mut dyn Output,
    failure: &'a mut Option<ChainError>,
}

impl Downstream<'_> {
    fn pass(&mut self, port: usize, batch: Batch) {
        if self.failure.is_some() || batch.num_rows() == 0 {
            return;
        }
        match self.links.split_first_mut() {
            None => self.out.emit(batch),
            Some((link, rest)) => {
                let late_rows_to = link.late_rows_to;
                let mut next =
                    Downstream { links: rest, late_rows_to, out: &mut *self.out, failure: &mut *self.failure };
                let result = link.operator.process(port, batch, &mut next);
                note(self.failure, &link.name, result);
            }
        }
    }
}

impl Output for Downstream<'_> {
    fn emit(&mut self, batch: Batch) {
        self.pass(0, batch);
    }

    fn late(&mut self, late: LateRows<'_>) {
        self.out.late(late);
    }

    fn takes_late_rows(&self, port: usize) -> bool {
        self.late_rows_to.get(port).is_some_and(Option::is_some)
    }

    fn late_rows(&mut self, port: usize, rows: Batch) {
        if let Some(Some(side)) = self.late_rows_to.get(port).copied()
            && rows.num_rows() > 0
        {
            self.out.emit_aside(side, rows);
        }
    }

    fn null_time(&mut self, row_count: u64) {
        self.out.null_time(row_count);
    }
}

/// Keeps the first failure: what comes after it is its consequence.
fn note(failure: &mut Option<ChainError>, operator: &str, result: Result<(), OperatorError>) {
    if let Err(reason) = result {
        failure.get_or_insert_with(|| ChainError { operator: operator.to_owned(), reason });
    }
}
