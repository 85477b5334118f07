//! Functions that a program brings along give the same in batch and as a stream; and so do DataFusion's own.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::function::{Accumulator, AggregateFunction, Function, ScalarFunction, TableFunction, TableRows};

use crate::fixture::{Project, sorted};

/// How often a character occurs: what Nexmark's question 14 asks of a user.
#[derive(Debug)]
struct CountChar;

impl ScalarFunction for CountChar {
    fn name(&self) -> &str {
        "count_char"
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, String> {
        match arguments {
            [DataType::Utf8, DataType::Utf8] => Ok(DataType::Int64),
            _ => Err("write count_char(text, character)".to_owned()),
        }
    }

    fn evaluate(&self, arguments: &[ArrayRef], _row_count: usize) -> Result<ArrayRef, String> {
        let (texts, characters) = (arguments[0].as_string::<i32>(), arguments[1].as_string::<i32>());
        let count = |(text, character): (Option<&str>, Option<&str>)| {
            Some(i64::try_from(text?.matches(character?).count()).unwrap())
        };
        Ok(Arc::new(texts.iter().zip(characters).map(count).collect::<Int64Array>()))
    }
}

/// The longest text; of several the first in the alphabet.
#[derive(Debug)]
struct Longest;

impl AggregateFunction for Longest {
    fn name(&self) -> &str {
        "longest"
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, String> {
        Ok(DataType::Utf8)
    }

    fn state_types(&self, _: &[DataType]) -> Result<Vec<DataType>, String> {
        Ok(vec![DataType::Utf8])
    }

    fn accumulator(&self, _: &[DataType]) -> Result<Box<dyn Accumulator>, String> {
        Ok(Box::new(LongestSoFar(None)))
    }
}

#[derive(Debug)]
struct LongestSoFar(Option<String>);

impl Accumulator for LongestSoFar {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for text in values[0].as_string::<i32>().iter().flatten() {
            let longer = |known: &String| (text.len(), known.as_str()) > (known.len(), text);
            if self.0.as_ref().is_none_or(longer) {
                self.0 = Some(text.to_owned());
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Utf8(self.0.clone()))
    }

    fn size(&self) -> usize {
        self.0.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.update_batch(states)
    }
}

/// The words of a text, and how long each is.
#[derive(Debug)]
struct Words;

impl TableFunction for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn columns(&self, _: &[DataType]) -> Result<Vec<Field>, String> {
        Ok(vec![Field::new("word", DataType::Utf8, true), Field::new("length", DataType::Int64, true)])
    }

    fn evaluate(&self, arguments: &[ArrayRef], row_count: usize) -> Result<TableRows, String> {
        let (mut words, mut lengths, mut counts) = (StringBuilder::new(), Vec::new(), Vec::with_capacity(row_count));
        for text in arguments[0].as_string::<i32>() {
            let before = lengths.len();
            for word in text.unwrap_or("").split_whitespace() {
                words.append_value(word);
                lengths.push(i64::try_from(word.len()).unwrap());
            }
            counts.push(lengths.len() - before);
        }
        Ok(TableRows { counts, columns: vec![Arc::new(words.finish()), Arc::new(Int64Array::from(lengths))] })
    }
}

const TABLES: &str = "
CREATE TABLE lines (id INT, line VARCHAR, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'log', 'topic' = 'lines', 'format' = 'json');
CREATE MATERIALIZED TABLE counted AS SELECT id, count_char(line, 'o') AS os FROM lines;
";

fn functions() -> [Function; 3] {
    [Function::Scalar(Arc::new(CountChar)), Function::Aggregate(Arc::new(Longest)), Function::Table(Arc::new(Words))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_of_the_program_give_the_same_in_both_modes() {
    let project = Project::new();
    let files = [(PathBuf::from("project.sql"), TABLES.to_owned())];
    let (catalog, problems) = Catalog::load_with(&files, Some(&project.connectors), functions());
    assert_eq!(problems, []);
    let insert = "INSERT INTO lines VALUES (1, 'to be or not', TIMESTAMP '2013-01-01 00:00:01'),
        (2, 'good food', TIMESTAMP '2013-01-01 00:00:02'), (3, NULL, TIMESTAMP '2013-01-01 00:00:03')";
    project.batch(&catalog, insert).await;
    let cases: [(&str, &[&[&str]]); 7] = [
        ("SELECT * FROM counted", &[&["1", "3"], &["2", "4"], &["3", "NULL"]]),
        ("SELECT id FROM lines WHERE count_char(line, 'o') > 3", &[&["2"]]),
        ("SELECT longest(line) FROM lines", &[&["to be or not"]]),
        (
            "SELECT window_end, longest(line) FROM TUMBLE(TABLE lines, DESCRIPTOR(ts), INTERVAL '2' SECOND)
              GROUP BY window_end",
            &[&["2013-01-01T00:00:02", "to be or not"], &["2013-01-01T00:00:04", "good food"]],
        ),
        (
            "SELECT id, w, n FROM lines, LATERAL TABLE(words(line)) AS t (w, n) WHERE n > 2",
            &[&["1", "not", "3"], &["2", "food", "4"], &["2", "good", "4"]],
        ),
        (
            "SELECT id, word FROM lines LEFT JOIN LATERAL TABLE(words(line)) AS t ON TRUE WHERE id > 1",
            &[&["2", "food"], &["2", "good"], &["3", "NULL"]],
        ),
        (
            "SELECT longest(word), sum(length) FROM lines CROSS JOIN LATERAL words(line) AS t GROUP BY id % 2",
            &[&["food", "8"], &["not", "9"]],
        ),
    ];
    for (sql, expected) in cases {
        let expected: Vec<Vec<String>> =
            expected.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        assert_eq!(sorted(project.batch(&catalog, sql).await), expected, "batch: {sql}");
        assert_eq!(sorted(project.stream(&catalog, sql, 2).await), expected, "stream: {sql}");
    }
    let wrong = project.run(&catalog, "SELECT count_char(id) FROM lines", &Default::default()).await.unwrap_err();
    assert!(wrong.to_string().contains("write count_char(text, character)"), "{wrong}");
}
