//! Who decides: one server at a time, by a lease in a row of the database.
//!
//! The lease runs out on the database's clock. Whoever takes it over raises the epoch; from then on no batch of an older epoch is
//! stored ([`super::writer`]), whatever its server still believes. The server that leads measures by its own steady clock, from
//! before it asked: so it always stops before the database lets another one begin.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_postgres::Row;

use super::{PostgresHistory, connect, failed};
use crate::error::HistoryError;

/// A server, as it stands in the leader's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name, which is also its worker's.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// What tells its machine, since the machine was started, from every other.
    pub machine: String,
    /// Its process.
    pub pid: i32,
    /// When that process started, as its kernel counts.
    pub start_ticks: i64,
}

/// What came of asking for the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This server leads from now on. Before it, this one did; `None` where it had given the lease back, or nobody ever led.
    Leads(Option<Leader>),
    /// This one leads.
    Follows(Leader),
}

/// The epoch in which this server leads, if it does. What the database says is what counts.
#[derive(Default)]
pub(super) struct Epoch(AtomicI64);

impl Epoch {
    pub(super) fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::SeqCst)).filter(|epoch| *epoch != 0)
    }

    fn set(&self, epoch: Option<i64>) {
        self.0.store(epoch.unwrap_or_default(), Ordering::SeqCst);
    }
}

const ASK: &str = "SELECT epoch, name, url, machine, pid, start_ticks, expires_at < clock_timestamp() AS is_free \
                   FROM leader FOR UPDATE";
const TAKE: &str = "UPDATE leader SET epoch = epoch + 1, batch = 0, name = $1, url = $2, machine = $3, pid = $4, \
                    start_ticks = $5, expires_at = clock_timestamp() + $6 * interval '1 ms' RETURNING epoch";
const RENEW: &str = "UPDATE leader SET expires_at = clock_timestamp() + $2 * interval '1 ms' WHERE epoch = $1";
const GIVE_BACK: &str = "UPDATE leader SET expires_at = '-infinity', name = '' WHERE epoch = $1";

impl PostgresHistory {
    /// Asks for the lease once: takes it if nobody has it.
    ///
    /// # Errors
    /// The database is away. Should the lease have been taken all the same, it runs out by itself.
    pub async fn campaign(&self, candidate: &Leader, life: Duration) -> Result<Standing, HistoryError> {
        let mut client = connect(&self.address, super::PREAMBLE).await?;
        let transaction = client.transaction().await.map_err(failed)?;
        let row = transaction.query_one(ASK, &[]).await.map_err(failed)?;
        let holder = leader(&row).map_err(failed)?;
        if !row.try_get::<_, bool>("is_free").map_err(failed)? {
            self.saw(Some(holder.clone()));
            return Ok(Standing::Follows(holder));
        }
        let Leader { name, url, machine, pid, start_ticks } = candidate;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [name, url, machine, &i64::from(*pid), start_ticks, &millis(life)];
        let row = transaction.query_one(TAKE, &values).await.map_err(failed)?;
        let epoch: i64 = row.try_get(0).map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.writer.lock().await.lead(epoch);
        self.epoch.set(Some(epoch));
        self.saw(Some(candidate.clone()));
        Ok(Standing::Leads((!holder.name.is_empty()).then_some(holder)))
    }

    /// Lengthens the lease. `false` when another server has it: from now on this one follows.
    ///
    /// # Errors
    /// The database is away: whether the lease still lives, the caller's clock says.
    pub async fn renew(&self, life: Duration) -> Result<bool, HistoryError> {
        let Some(epoch) = self.epoch.get() else { return Ok(false) };
        let mut kept = self.lease.lock().await;
        let client = match kept.take() {
            Some(client) if !client.is_closed() => client,
            _ => connect(&self.address, super::PREAMBLE).await?,
        };
        let renewed = client.execute(RENEW, &[&epoch, &millis(life)]).await.map_err(failed)?;
        *kept = Some(client);
        if renewed == 0 {
            self.epoch.set(None);
        }
        Ok(renewed > 0)
    }

    /// Gives the lease back, so that another server need not wait for its end. Nothing may be written after it.
    pub async fn give_back(&self) -> Result<(), HistoryError> {
        let Some(epoch) = self.epoch.get() else { return Ok(()) };
        self.epoch.set(None);
        connect(&self.address, super::PREAMBLE).await?.execute(GIVE_BACK, &[&epoch]).await.map_err(failed)?;
        Ok(())
    }
}

fn millis(life: Duration) -> f64 {
    life.as_secs_f64() * 1e3
}

fn leader(row: &Row) -> Result<Leader, tokio_postgres::Error> {
    let pid: i64 = row.try_get("pid")?;
    Ok(Leader {
        name: row.try_get("name")?,
        url: row.try_get("url")?,
        machine: row.try_get("machine")?,
        pid: i32::try_from(pid).unwrap_or_default(),
        start_ticks: row.try_get("start_ticks")?,
    })
}
