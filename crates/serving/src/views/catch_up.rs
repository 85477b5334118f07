//! Follows a generation that is being built until it has caught up, and lets it take over, whatever mode either has.
//!
//! It *has caught up* when it has taken in, of every partition, all that the live one has; and where the live one has let a
//! partition rest that gives nothing, so has it. Then what readers see is held fast for a moment, the build comes to at
//! least that point and makes a checkpoint there, and the note of the view's generations is replaced: from then on it
//! answers. So no reader ever sees less than before, and all rows that one query sees are of one generation.
//!
//! One that is computed as a whole (`FULL`) is computed while what readers see is held fast. One in layers (`LAMBDA`), beside one of
//! which batch speaks already, lets batch speak of as much first.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mulgil_engine::crash;
use mulgil_engine::job::JobHandle;
use mulgil_engine::status::JobStatus;

use super::cell::ViewCell;
use super::slot::{Build, Slot};
use super::{Shared, ViewError, Views};

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
        if cell.keeps_stream() {
            tokio::spawn(async move {
                if let Err(error) = views.start_cell(&cell).await {
                    tracing::warn!(view = %cell.view.name, generation = cell.origin.number, %error, "not built");
                }
            });
        }
        if is_first {
            tokio::spawn(follow(Arc::downgrade(&self.shared), Arc::clone(slot), build));
        }
    }

    /// Lets a build take over if it has caught up; whether it has.
    async fn try_swap(&self, slot: &Slot, build: &Build) -> Result<bool, ViewError> {
        if !build.cell.keeps_stream() {
            return self.swap_to_whole(slot, build).await;
        }
        let live = slot.live();
        if !live.keeps_stream() && !build.has_goal() {
            // What readers see until then is computed once, not with each question.
            if live.answer().is_none() {
                let _one_at_a_time = live.turn.lock().await;
                self.compute(&live).await?;
            }
            build.set_goal(self.goal_of(&build.cell).await?);
        }
        build.look(live.job().map(|job| job.status()).as_ref());
        if !build.has_caught_up(&live) {
            return Ok(false);
        }
        if build.cell.has_less_from_batch_than(&live) {
            self.speak_as_before(slot, &build.cell).await?;
        }
        self.swap(slot, build).await
    }

    /// Lets a build take over that has caught up; whether it has.
    async fn swap(&self, slot: &Slot, build: &Build) -> Result<bool, ViewError> {
        let _one_at_a_time = slot.turn.lock().await;
        if !self.is_wanted(slot, build) || build.cell.has_less_from_batch_than(&slot.live()) {
            return Ok(false);
        }
        crash::point("caught up");
        let live = slot.live();
        let pinned = Pinned::new(&live);
        self.reach(&live, pinned.sees, build).await?;
        self.take_over(slot, build, pinned).await
    }

    /// Computes a `FULL` generation, and lets it take over; whether it has.
    pub(super) async fn swap_to_whole(&self, slot: &Slot, build: &Build) -> Result<bool, ViewError> {
        let _one_at_a_time = slot.turn.lock().await;
        let live = slot.live();
        if !self.is_wanted(slot, build) {
            return Ok(false);
        }
        let pinned = Pinned::new(&live);
        if !pinned.sees && !live.has_failed() {
            // It is being started: what is computed now may be of a shorter prefix than what it shows then.
            return Ok(false);
        }
        crash::point("caught up");
        self.unless_closing(self.compute(&build.cell)).await?;
        self.take_over(slot, build, pinned).await
    }

    fn is_wanted(&self, slot: &Slot, build: &Build) -> bool {
        slot.building().is_some_and(|building| std::ptr::eq(&*building, build))
            && !self.shared.closing.load(Ordering::Acquire)
    }

    /// Notes that a build answers from now on, and stops what has answered so far. The slot's turn is held.
    async fn take_over(&self, slot: &Slot, build: &Build, pinned: Pinned<'_>) -> Result<bool, ViewError> {
        let Some(mut noted) = slot.noted() else { return Ok(false) };
        noted.swap();
        crash::point("before the swap");
        self.note(slot, noted).await?;
        // Whoever has taken hold of the former one sees what it shows now for as long as it is there.
        pinned.forever();
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

/// What readers see is held fast, until this is dropped.
struct Pinned<'a> {
    cell: Option<&'a ViewCell>,
    /// Whether there is anything to see.
    sees: bool,
}

impl<'a> Pinned<'a> {
    fn new(cell: &'a ViewCell) -> Self {
        Self { sees: cell.pin(), cell: Some(cell) }
    }

    fn forever(mut self) {
        self.cell = None;
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell {
            cell.unpin();
        }
    }
}

/// Looks at a build until it has taken over, or nobody wants it any more.
async fn follow(views: Weak<Shared>, slot: Arc<Slot>, build: Arc<Build>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(shared) = views.upgrade() else { return };
        let views = Views { shared };
        if !views.is_wanted(&slot, &build) {
            return;
        }
        match views.try_swap(&slot, &build).await {
            Ok(true) => {
                tracing::info!(view = %slot.view.name, generation = build.generation.number, "it has taken over");
                return;
            }
            Ok(false) => build.set_trouble(None),
            Err(error) if build.cell.keeps_stream() => {
                tracing::warn!(view = %slot.view.name, generation = build.generation.number, %error, "it tries again");
                build.set_trouble(Some(error.to_string()));
                drop(views);
                tokio::time::sleep(REST).await;
            }
            Err(error) => {
                // A person refreshes it when what was wrong is mended.
                tracing::warn!(view = %slot.view.name, generation = build.generation.number, %error, "not computed");
                return;
            }
        }
    }
}
