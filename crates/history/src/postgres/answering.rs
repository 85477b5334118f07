//! Answers out of PostgreSQL: several questions are one transaction that sees one moment, sent in one go.

use async_trait::async_trait;
use futures::future::try_join_all;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::failed;
use super::readers::Readers;
use crate::error::HistoryError;
use crate::question::{Answers, Columns, Question, Read, TextsOfJson, Value};

impl Columns for Row {
    fn number(&self, column: &str) -> Read<Option<i64>> {
        self.try_get(column).map_err(misread)
    }

    fn text(&self, column: &str) -> Read<Option<String>> {
        self.try_get(column).map_err(misread)
    }

    fn flag(&self, column: &str) -> Read<bool> {
        Ok(self.try_get::<_, Option<bool>>(column).map_err(misread)?.unwrap_or(false))
    }
}

fn misread(error: Error) -> HistoryError {
    HistoryError::Damaged(mulgil_postgres::failure::words(&error))
}

#[async_trait]
impl Answers for Readers {
    type Row = Row;
    const TEXTS_OF_JSON: TextsOfJson = TextsOfJson::Postgres;

    async fn answer(&self, questions: &[Question]) -> Read<Vec<Vec<Row>>> {
        let turn = self.turn().await?;
        // A connection that has lain idle may have been closed meanwhile, which is only seen when it is used.
        while let Some(client) = self.idle() {
            match ask(&client, questions).await {
                Ok(answers) => return Ok(self.keep(client, answers)),
                Err(_) if client.is_closed() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let client = self.connect().await?;
        let answers = ask(&client, questions).await.map_err(failed)?;
        drop(turn);
        Ok(self.keep(client, answers))
    }
}

async fn ask(client: &Client, questions: &[Question]) -> Result<Vec<Vec<Row>>, Error> {
    if let [question] = questions {
        return Ok(vec![rows(client, question).await?]);
    }
    let begin = client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    let answers = try_join_all(questions.iter().map(|question| rows(client, question)));
    let ((), answers) = tokio::try_join!(biased; begin, answers)?;
    client.batch_execute("COMMIT").await?;
    Ok(answers)
}

async fn rows(client: &Client, question: &Question) -> Result<Vec<Row>, Error> {
    let values = question.values.iter().map(|value| match value {
        Value::Number(number) => (number as &(dyn ToSql + Sync), Type::INT8),
        Value::Text(text) => (text as &(dyn ToSql + Sync), Type::TEXT),
    });
    client.query_typed(question.sql, &values.collect::<Vec<_>>()).await
}
