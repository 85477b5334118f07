//! The outbox: what is to be told to whom, stored in the transaction of the transition that it tells of.
//!
//! A notice is written once, by its key; a second one with the same key is no second notice. It waits until somebody has delivered
//! it, or has given up. An alert is what is noticed of a run beside its status (late, longer than usual): one of a kind for each run.

use jiff::Timestamp;
use mulgil_sched::id::RunId;
use serde::{Deserialize, Serialize};

use crate::question::{Answers, Columns, Question, Read};
use crate::read::{AlertRow, NoticeCount, NoticeQuery, NoticeRow, Outbox};
use crate::row::{json, maybe_time, number, text, time, word};

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct NewNotice {
    /// Tells it from every other: the same key is the same notice, however often it is written or delivered.
    pub key: String,
    /// Where it goes: the name of a channel of the project, or a place in words of whoever delivers.
    pub channel: String,
    /// What it is about, as one word.
    pub kind: String,
    /// Of which flow.
    pub flow: String,
    /// Of which run.
    pub run: Option<RunId>,
    /// What there is to tell.
    pub body: serde_json::Value,
    /// When it happened.
    pub at: Timestamp,
    /// Why it is given up before it was tried: there is no room. `None` lets it wait for its delivery.
    pub refused: Option<String>,
}

/// What came of trying to deliver a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeChange {
    /// Which notice.
    pub key: String,
    /// What it is now.
    pub to: NoticeStatus,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// Why it did not go.
    pub error: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Something noticed of a run beside its status: one of a kind for each run, whoever writes it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlert {
    /// Of which run.
    pub run: RunId,
    /// What it is about, as one word.
    pub kind: String,
    /// It, in a sentence.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// Where a notice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeStatus {
    /// Not delivered yet.
    Waiting,
    /// Somebody took it.
    Delivered,
    /// Nobody took it, often enough.
    GivenUp,
}

impl NoticeStatus {
    const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::GivenUp];

    /// The status as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
        }
    }

    /// Reads [`Self::word`] back.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

impl NewNotice {
    /// How it begins.
    pub fn status(&self) -> NoticeStatus {
        if self.refused.is_none() { NoticeStatus::Waiting } else { NoticeStatus::GivenUp }
    }
}

fn status(row: &impl Columns) -> Read<NoticeStatus> {
    let found = text(row, "status")?;
    word("notice status", &found, NoticeStatus::from_word(&found))
}

fn notice(row: &impl Columns) -> Read<NoticeRow> {
    Ok(NoticeRow {
        seq: number(row, "seq")?,
        key: text(row, "key")?,
        channel: text(row, "channel")?,
        kind: text(row, "kind")?,
        flow: text(row, "flow")?,
        run: row.number("run")?.map(RunId),
        body: json(&text(row, "body")?)?,
        status: status(row)?,
        tries: number(row, "tries")?,
        created_at: time(row, "created_at_us")?,
        next_at: maybe_time(row, "next_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
        error: row.text("error")?,
    })
}

/// An alert, as a row.
pub(crate) fn alert(row: &impl Columns) -> Read<AlertRow> {
    Ok(AlertRow { kind: text(row, "kind")?, text: text(row, "text")?, at: time(row, "at_us")? })
}

/// The notices whose time has come, at most so many of a channel, and when the next one's comes.
pub(crate) async fn outbox(db: &impl Answers, now: Timestamp, of_channel: u32) -> Read<Outbox> {
    let due = "SELECT * FROM (SELECT n.*, row_number() OVER (PARTITION BY channel ORDER BY seq) AS place FROM notices n \
               WHERE status = 'waiting' AND next_at_us <= $1) due WHERE place <= $2 ORDER BY seq";
    let next = "SELECT min(next_at_us) AS next FROM notices WHERE status = 'waiting' AND next_at_us > $1";
    let now = crate::row::micros(now);
    let questions = [
        Question { sql: due, values: vec![now.into(), of_channel.into()] },
        Question { sql: next, values: vec![now.into()] },
    ];
    let mut answers = db.answer(&questions).await?.into_iter();
    let mut rows = || answers.next().unwrap_or_default();
    let due = rows().iter().map(notice).collect::<Read<Vec<_>>>()?;
    let next_at = rows().first().map_or(Ok(None), |row| maybe_time(row, "next"))?;
    Ok(Outbox { due, next_at })
}

/// Notices, newest first.
pub(crate) async fn notices(db: &impl Answers, query: &NoticeQuery) -> Read<Vec<NoticeRow>> {
    let sql = "SELECT * FROM notices WHERE ($1 IS NULL OR run = $1) AND ($2 IS NULL OR status = $2) \
               AND ($3 IS NULL OR seq < $3) AND ($4 IS NULL OR kind <> $4) ORDER BY seq DESC LIMIT $5";
    let values = vec![
        query.run.map(|run| run.0).into(),
        query.status.map(NoticeStatus::word).into(),
        query.before.into(),
        query.without.as_deref().into(),
        query.limit.into(),
    ];
    db.rows(sql, values).await?.iter().map(notice).collect()
}

/// Notices, counted.
pub(crate) async fn notice_counts(db: &impl Answers) -> Read<Vec<NoticeCount>> {
    let sql =
        "SELECT channel, status, count(*) AS notices FROM notices GROUP BY channel, status ORDER BY channel, status";
    let count = |row: &_| -> Read<NoticeCount> {
        Ok(NoticeCount { channel: text(row, "channel")?, status: status(row)?, notices: number(row, "notices")? })
    };
    db.rows(sql, Vec::new()).await?.iter().map(count).collect()
}
