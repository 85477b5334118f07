//! Follows a generation that is being built until it has caught up, and lets it take over.
//!
//! It *has caught up* when it has taken in, of every partition, all that the live one has; and where the live one has let a
//! partition rest that gives nothing, so has it. Then what readers see is held fast for a moment, the build comes to at
//! least that point and makes a checkpoint there, and the note of the view's generations is replaced: from then on it
//! answers. So no reader ever sees less than before, and all rows that one query sees are of one generation.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_connect::source::has_reached;
use mulgil_engine::crash;
use mulgil_engine::job::JobHandle;
use mulgil_engine::status::{JobStatus, PartitionState, PartitionStatus};

use super::cell::ViewCell;
use super::slot::{Build, Slot, same_partition};
use super::{Shared, ViewError, Views};
use crate::status::ViewState;

/// How often a build is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long what readers see may stand still. What cannot take over within that time tries again later.
const PIN_PATIENCE: Duration = Duration::from_secs(10);

/// How long one waits after a swap has failed.
const REST: Duration = Duration::from_secs(5);

impl Views {
    /// Lets what is being built run, and take over when it has caught up.
    pub(super) fn go_on_building(&self, slot: &Arc<Slot>) {
        let Some(build) = slot.building() else { return };
        let (views, cell) = (self.clone(), Arc::clone(&build.cell));
        let is_first = build.is_followed_now();
        tokio::spawn(async move {
            if let Err(error) = views.start_cell(&cell).await {
                tracing::warn!(view = %cell.view.name, generation = cell.origin.number, %error, "not built");
            }
        });
        if is_first {
            tokio::spawn(follow(Arc::downgrade(&self.shared), Arc::clone(slot), build));
        }
    }

    /// Lets a build take over that has caught up; whether it has.
    async fn swap(&self, slot: &Slot, build: &Build) -> Result<bool, ViewError> {
        let _one_at_a_time = slot.turn.lock().await;
        let is_wanted = slot.building().is_some_and(|building| std::ptr::eq(&*building, build));
        if !is_wanted || self.shared.closing.load(Ordering::Acquire) {
            return Ok(false);
        }
        crash::point("caught up");
        let live = slot.live();
        let is_pinned = live.pin();
        let noted = match self.reach(&live, is_pinned, build).await {
            Ok(()) => slot.noted(),
            Err(error) => {
                live.unpin();
                return Err(error);
            }
        };
        let Some(mut noted) = noted else { return Ok(false) };
        noted.swap();
        crash::point("before the swap");
        if let Err(error) = self.note(slot, noted).await {
            live.unpin();
            return Err(error);
        }
        crash::point("after the swap");
        let former = slot.swap(build);
        self.show(slot);
        self.shared.changed.notify_one();
        {
            let _stops = former.turn_to_stop().await;
            former.stop().await;
        }
        crash::point("after the former one's last checkpoint");
        self.forget(slot).await?;
        crash::point("after the swap's clean-up");
        Ok(true)
    }

    /// Brings a build to where the live one stands, durably.
    async fn reach(&self, live: &ViewCell, is_pinned: bool, build: &Build) -> Result<(), ViewError> {
        let failed = |reason: String| ViewError::Result {
            name: live.view.name.to_string(),
            reason: format!("no swap: {reason}"),
        };
        let job = build.cell.job().ok_or_else(|| failed("it is not running".to_owned()))?;
        // Little is left: the limit would only keep readers waiting.
        build.cell.origin.pace.set(None);
        let wanted = live.job().map(|job| job.status()).filter(|_| is_pinned);
        let reached = async {
            if let Some(wanted) = wanted {
                until_reached(&job, |own| build.has_reached(live, &wanted, own)).await;
            }
            // All rows before a checkpoint are in the result.
            job.make_checkpoint().await
        };
        match tokio::time::timeout(PIN_PATIENCE, reached).await {
            Ok(made) => made.map_err(failed),
            Err(_) => Err(failed("it fell behind again".to_owned())),
        }
    }
}

async fn until_reached(job: &JobHandle, has_reached: impl Fn(&JobStatus) -> bool) {
    let mut changes = job.watch();
    while !has_reached(&job.status()) && changes.changed().await.is_ok() {}
}

/// Looks at a build until it has taken over, or nobody wants it any more.
async fn follow(views: Weak<Shared>, slot: Arc<Slot>, build: Arc<Build>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(shared) = views.upgrade() else { return };
        let is_wanted = slot.building().is_some_and(|building| Arc::ptr_eq(&building, &build));
        if !is_wanted || shared.closing.load(Ordering::Acquire) {
            return;
        }
        let live = slot.live();
        build.look(live.job().map(|job| job.status()).as_ref());
        if !build.has_caught_up(&live) {
            continue;
        }
        match (Views { shared }).swap(&slot, &build).await {
            Ok(true) => {
                tracing::info!(view = %slot.view.name, generation = build.generation.number, "it has taken over");
                return;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(view = %slot.view.name, generation = build.generation.number, %error, "it tries again");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

impl Build {
    fn has_caught_up(&self, live: &ViewCell) -> bool {
        let runs = matches!(self.cell.status().state, ViewState::Running | ViewState::Ready);
        let Some(own) = self.cell.job().filter(|_| runs) else { return false };
        match live.job() {
            Some(job) => self.has_reached(live, &job.status(), &own.status()),
            // One that answers nothing, and never will by itself, is not waited for.
            None => live.has_failed(),
        }
    }

    /// Whether the job of the build is as far as the live one was.
    fn has_reached(&self, live: &ViewCell, wanted: &JobStatus, own: &JobStatus) -> bool {
        let as_far = |wanted: &PartitionStatus| match same_partition(own, wanted) {
            Some(own) if own.state == PartitionState::Finished => true,
            Some(own) => {
                let rests = wanted.state == PartitionState::Idle && own.state == PartitionState::Active;
                has_reached(own.position, wanted.position) && !(rests && self.has_same_table(live, &wanted.table))
            }
            // A table that it does not read any more, or a partition that was gone when it began.
            None => !own.partitions.iter().any(|own| own.table == wanted.table) || self.misses(wanted),
        };
        wanted.partitions.iter().all(as_far)
    }

    /// Whether a table is declared for the build as for the live one: else other partitions may rest, or none.
    fn has_same_table(&self, live: &ViewCell, table: &str) -> bool {
        let name = TableName::parse(table);
        let text = |cell: &ViewCell| cell.origin.catalog.table(&name).map(|table| table.text.clone());
        text(live) == text(&self.cell)
    }
}
