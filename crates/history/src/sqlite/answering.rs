//! Answers out of SQLite: several questions are one read transaction.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::question::{Answers, Columns, Question, Read, TextsOfJson, Value};

impl Columns for SqliteRow {
    fn number(&self, column: &str) -> Read<Option<i64>> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: &str) -> Read<Option<String>> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: &str) -> Read<bool> {
        Ok(self.number(column)?.is_some_and(|number| number != 0))
    }
}

#[async_trait]
impl Answers for SqlitePool {
    type Row = SqliteRow;
    const TEXTS_OF_JSON: TextsOfJson = TextsOfJson::Sqlite;

    async fn answer(&self, questions: &[Question]) -> Read<Vec<Vec<SqliteRow>>> {
        let mut snapshot = self.begin().await?;
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            let mut query = sqlx::query(question.sql);
            for value in &question.values {
                query = match value {
                    Value::Number(number) => query.bind(*number),
                    Value::Text(text) => query.bind(text.clone()),
                };
            }
            answers.push(query.fetch_all(&mut *snapshot).await?);
        }
        Ok(answers)
    }
}
