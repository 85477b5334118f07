//! Tables that are looked up, played by scripts: questions are taken and answers arrive in an order chosen by the seed.

use std::collections::HashMap;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use mulgil_connect::fold::Fold;
use mulgil_dataflow::key::KeyEncoder;
use mulgil_dataflow::operator::{Answer, Question};

use super::{Random, Script, Step};
use crate::lookup::LookupService;
use crate::queue::Message;

/// A table that is looked up, and the answers that are under way, each to a subtask.
pub(super) struct Answering {
    rows: Vec<RecordBatch>,
    answers: Vec<(usize, Answer)>,
}

impl Answering {
    pub(super) fn new(service: &LookupService, scripts: &HashMap<String, Script>) -> Result<Self, ArrowError> {
        let steps = scripts.get(&service.read.table).into_iter().flatten().flatten();
        let mut rows = Vec::new();
        let mut fold: Option<Fold> = None;
        for step in steps {
            match step {
                Step::Rows(found) => rows.push(found.project(&service.read.projection)?),
                Step::Changes(changes) => {
                    let found = changes.rows.project(&service.read.projection)?;
                    let fold = fold.get_or_insert_with(|| Fold::new(found.schema()));
                    fold.add(&changes.clone().with_rows(found))?;
                }
                Step::Idle | Step::Clock(_) | Step::Turn(_) => {}
            }
        }
        while let Some(found) = fold.as_mut().map_or(Ok(None), |fold| fold.take(usize::MAX))? {
            rows.push(found);
        }
        let whole = || (0..service.ports.len()).map(|subtask| (subtask, Answer::Table(rows.clone()))).collect();
        let answers = if service.read.keys.is_none() { whole() } else { Vec::new() };
        Ok(Self { rows, answers })
    }

    /// Whether no answer is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.answers.is_empty()
    }

    /// Takes a question, or lets an answer arrive: whichever, in any order.
    pub(super) fn act(&mut self, service: &LookupService, random: &mut Random) -> Result<bool, ArrowError> {
        let lingers = random.below(2) == 0;
        if self.answers.is_empty() || lingers {
            for (subtask, port) in service.ports.iter().enumerate() {
                if let Some(Message::Question(question)) = port.questions.pop().map(|item| item.message) {
                    self.answers.push((subtask, self.answer(service, &question)?));
                    return Ok(true);
                }
            }
        }
        if self.answers.is_empty() {
            return Ok(false);
        }
        let (subtask, answer) = self.answers.swap_remove(random.below(self.answers.len()));
        if let Some(port) = service.ports.get(subtask) {
            port.answers.push(0, Message::Answer(answer), 0);
        }
        Ok(true)
    }

    fn answer(&self, service: &LookupService, question: &Question) -> Result<Answer, ArrowError> {
        let keys = service.read.keys.iter().flatten();
        let places = keys.filter_map(|key| service.read.projection.iter().position(|column| column == key));
        let places: Vec<usize> = places.collect();
        let hashes_of = |rows: &RecordBatch| -> Result<Vec<u64>, ArrowError> {
            let encoder = KeyEncoder::new(rows.columns().iter().map(|column| column.data_type().clone()))?;
            Ok(encoder.encode(rows.columns(), rows.num_rows())?.hashes().to_vec())
        };
        let wanted = hashes_of(&question.keys)?;
        let mut found = Vec::new();
        for rows in &self.rows {
            let hashes = hashes_of(&rows.project(&places)?)?;
            let is_wanted: BooleanArray = hashes.iter().map(|hash| Some(wanted.contains(hash))).collect();
            found.push(filter_record_batch(rows, &is_wanted)?);
        }
        let rows = match found.first() {
            Some(first) => concat_batches(&first.schema(), &found)?,
            // A table without rows has no columns here either.
            None => RecordBatch::new_empty(question.keys.schema()),
        };
        Ok(Answer::Rows { number: question.number, rows })
    }
}
