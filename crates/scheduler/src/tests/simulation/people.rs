//! What people do, and what breaks.

use std::collections::BTreeMap;

use mulgil_flow::backfill::{Order, Which};
use mulgil_history::read::BackfillRow;
use mulgil_history::write::Trigger as HistoryTrigger;
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::step::Mark;
use tokio::sync::oneshot;

use super::commit::Trouble;
use super::flows;
use super::world::{Happening, SECOND, World};
use crate::event::{Command, Event, Reply};
use crate::{Arrival, BackfillRequest, MarkRequest, RerunRequest, SchedulerError, TriggerRequest};

const MINUTE: i64 = 60 * SECOND;

impl World {
    /// Somebody does something, or something breaks; and so on until the troubled time is over.
    pub(super) fn act(&mut self) {
        if !self.troubled() {
            return self.mend();
        }
        match self.random.below(30) {
            0..=4 => self.trigger(),
            5 => self.arrive(),
            6 | 7 => self.cancel(),
            8..=10 => self.rerun(),
            11 | 12 => self.backfill(),
            13 => self.cancel_backfill(),
            25 | 26 => self.pause_backfill(),
            14 | 15 => self.pause(),
            16 => self.reload(),
            17 | 29 => self.cut_off(),
            28 => self.kill_elsewhere(),
            18 => self.jump(),
            19 => self.die("killed"),
            20 => {
                let times = self.random.between(1, 4) as u32;
                self.history.trouble(Trouble::Full(times));
            }
            21 => self.break_commit(Trouble::AnswerLost),
            22 => self.break_commit(Trouble::DiesBefore),
            23 | 24 => self.mark(),
            _ => self.break_commit(Trouble::DiesAfter),
        }
        let pause = if self.random.chance(60) { SECOND * 30 } else { 25 * MINUTE };
        let pause = self.random.between(1, pause);
        self.plan(pause, Happening::Act);
    }

    /// Everything works again, and nothing is paused: what is open has to come to its end.
    fn mend(&mut self) {
        self.history.trouble(Trouble::None);
        self.set_clock(0);
        for number in 0..self.texts.len() {
            self.ask_for(|reply| Command::SetPaused(format!("f{number}"), false, reply));
        }
        let open = |row: &BackfillRow| !row.status.is_terminal();
        let open: Vec<BackfillId> = self
            .history
            .look(|stored, _| stored.backfills.values().filter(|row| open(row)).map(|row| row.id).collect());
        for backfill in &open {
            self.ask_for(|reply| Command::PauseBackfill(*backfill, false, reply));
        }
        // A process that is down just now was asked in vain, and a trial pauses its backfill when it is over.
        if self.nodes.is_empty() || !open.is_empty() {
            self.plan(MINUTE, Happening::Act);
        } else {
            self.mended = true;
            self.turn(None);
        }
    }

    /// Gives a command; the answer, if it came.
    fn ask_for<T>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> Option<Result<T, SchedulerError>> {
        let (reply, mut answer) = oneshot::channel();
        self.turn(Some(Event::Command(command(reply))));
        answer.try_recv().ok()
    }

    fn some_flow(&mut self) -> String {
        format!("f{}", self.random.below(self.texts.len() as u64))
    }

    fn trigger(&mut self) {
        let flow = self.some_flow();
        let number = self.random.below(40);
        let params = BTreeMap::from([("n".to_owned(), number.into())]);
        // Some come with a key, and some of those again, with the same or with something else.
        let key = self.random.chance(50).then(|| format!("k{}", self.random.below(20)));
        self.tell(format_args!("trigger {flow} with {number}, key {key:?}"));
        let request = TriggerRequest { flow: flow.clone(), params, key: key.clone(), ..TriggerRequest::default() };
        let before = self.asked(&flow, key.as_deref());
        let answer = self.ask_for(|reply| Command::Trigger(request, reply));
        let after = self.asked(&flow, key.as_deref());
        self.history.look(|_, checker| checker.asked(key.is_some(), before, after, answer));
    }

    /// Something comes from outside, perhaps not for the first time.
    fn arrive(&mut self) {
        let (flow, id) = (self.some_flow(), format!("a{}", self.random.below(6)));
        self.tell(format_args!("{id} arrives for {flow}"));
        let arrival = Some(Arrival { trigger: HistoryTrigger::File, id: Some(id.clone()) });
        let request = TriggerRequest { flow: flow.clone(), arrival, ..TriggerRequest::default() };
        if let Some(Ok(told)) = self.ask_for(|reply| Command::Trigger(request, reply)) {
            self.history.look(|_, checker| checker.arrived(flow, id, &told));
        }
    }

    /// The run that a key stands for.
    fn asked(&self, flow: &str, key: Option<&str>) -> Option<RunId> {
        let key = (flow.to_owned(), key?.to_owned());
        self.history.look(|stored, _| stored.asked.get(&key).map(|asked| asked.run))
    }

    fn some_run(&mut self, ended: bool) -> Option<RunId> {
        let runs: Vec<RunId> = self.history.look(|stored, _| {
            let fitting = stored.runs.iter().filter(|(_, run)| run.row.status.is_terminal() == ended);
            fitting.map(|(id, _)| *id).collect()
        });
        self.random.one_of(&runs).copied()
    }

    fn cancel(&mut self) {
        if let Some(run) = self.some_run(false) {
            self.tell(format_args!("cancel run {run}"));
            self.ask_for(|reply| Command::CancelRun(run, reply));
        }
    }

    fn rerun(&mut self) {
        let Some(run) = self.some_run(true) else { return };
        let scope = match self.random.below(10) {
            0..=4 => RerunScope::Failed,
            5 | 6 => RerunScope::All,
            7 | 8 => RerunScope::From(self.some_task(run)),
            _ => RerunScope::Group("g".to_owned()),
        };
        let mut runs = vec![run];
        if self.random.chance(30) {
            runs.extend(self.some_run(true));
        }
        let (latest, confirmed) = (self.random.chance(40), self.random.chance(60));
        self.tell(format_args!("re-run {runs:?}: {scope:?}, latest: {latest}, confirmed: {confirmed}"));
        self.confirm(&runs, confirmed);
        let request = RerunRequest { runs, scope, latest, confirmed };
        let preview = request.clone();
        let foretold = self.ask_for(|reply| Command::PreviewRerun(preview, reply));
        let happened = self.ask_for(|reply| Command::Rerun(request, reply));
        if let (Some(Ok(foretold)), Some(Ok(happened))) = (foretold, happened) {
            self.history.look(|_, checker| checker.foretold(&foretold, &happened));
        }
    }

    fn some_task(&mut self, run: RunId) -> String {
        let tasks: Vec<String> = self.history.look(|stored, _| {
            stored.runs.get(&run).into_iter().flat_map(|run| run.tasks.iter().map(|task| task.name.clone())).collect()
        });
        self.random.one_of(&tasks).cloned().unwrap_or_default()
    }

    fn mark(&mut self) {
        let ended = self.random.chance(70);
        let Some(run) = self.some_run(ended) else { return };
        let task = self.some_task(run);
        let mark = if self.random.chance(70) { Mark::Succeeded } else { Mark::Failed };
        self.tell(format_args!("mark {task} of run {run}: {mark:?}"));
        self.history.look(|_, checker| checker.marked_runs.insert(run));
        let request = MarkRequest { run, task, mark, who: "somebody".to_owned(), why: String::new() };
        self.ask_for(|reply| Command::Mark(request, reply));
    }

    /// Whatever becomes of the question: from now on each task of these runs may begin once more, if that is confirmed. (The answer may
    /// be lost with the process after the re-run was stored.)
    fn confirm(&mut self, runs: &[RunId], confirmed: bool) {
        self.history.look(|stored, checker| {
            for run in runs {
                let tasks = stored.runs.get(run).into_iter().flat_map(|run| run.tasks.iter().map(|task| task.index));
                checker.rerun(*run, tasks.filter(|_| confirmed));
            }
        });
    }

    fn backfill(&mut self) {
        let flow = self.some_flow();
        let which = *self.random.one_of(&[Which::Missing, Which::Failed, Which::All]).unwrap();
        let day = jiff::civil::date(2026, 1, 1);
        let request = BackfillRequest {
            flow: flow.clone(),
            from: day,
            to: day,
            concurrency: Some(self.random.between(1, 3) as u32),
            which,
            order: if self.random.chance(50) { Order::NewestFirst } else { Order::default() },
            params: BTreeMap::new(),
            trial: if self.random.chance(40) { Some(self.random.between(1, 4) as u32) } else { None },
            retries: self.random.chance(50),
            rounds: self.random.below(4) as u32,
            confirmed: self.random.chance(50),
        };
        self.tell(format_args!("backfill {flow}: {which:?}"));
        let of_flow: Vec<RunId> = self
            .history
            .look(|stored, _| stored.runs.iter().filter(|(_, run)| run.row.flow == flow).map(|(id, _)| *id).collect());
        self.confirm(&of_flow, request.confirmed);
        self.ask_for(|reply| Command::StartBackfill(request, reply));
    }

    fn cancel_backfill(&mut self) {
        let all: Vec<BackfillId> = self.history.look(|stored, _| stored.backfills.keys().copied().collect());
        if let Some(backfill) = self.random.one_of(&all).copied() {
            self.tell(format_args!("cancel backfill {backfill}"));
            self.ask_for(|reply| Command::CancelBackfill(backfill, reply));
        }
    }

    fn pause_backfill(&mut self) {
        let all: Vec<BackfillId> = self.history.look(|stored, _| stored.backfills.keys().copied().collect());
        if let Some(backfill) = self.random.one_of(&all).copied() {
            let paused = self.random.chance(60);
            self.tell(format_args!("backfill {backfill}: paused: {paused}"));
            self.ask_for(|reply| Command::PauseBackfill(backfill, paused, reply));
        }
    }

    fn pause(&mut self) {
        let (flow, paused) = (self.some_flow(), self.random.chance(50));
        self.tell(format_args!("{flow}: paused: {paused}"));
        self.ask_for(|reply| Command::SetPaused(flow, paused, reply));
    }

    fn reload(&mut self) {
        self.version += 1;
        let version = self.version;
        self.tell(format_args!("version {version} of the definitions"));
        self.sources = self.texts.iter().map(|text| flows::source(text, version)).collect();
        let sources = self.sources.clone();
        self.ask_for(|reply| Command::Reload(sources, None, reply));
    }

    fn cut_off(&mut self) {
        let lasts = self.random.between(SECOND, 3 * MINUTE);
        let until = self.time() + lasts;
        let own = self.nodes.len();
        let number = self.random.below((own + self.fars.len()).max(1) as u64) as usize;
        let far = self.fars.get_mut(number.wrapping_sub(own)).map(|far| &mut far.node);
        if let Some(node) = self.nodes.get_mut(number).or(far) {
            node.cut_off_until = until;
            self.tell(format_args!("worker {number} is cut off for {} s", lasts / SECOND));
        }
    }

    fn kill_elsewhere(&mut self) {
        let number = self.random.below(self.fars.len().max(1) as u64) as usize;
        if number < self.fars.len() {
            self.far_dies(number);
        }
    }

    fn jump(&mut self) {
        let error = if self.random.chance(30) { 0 } else { self.random.between(-40 * MINUTE, 40 * MINUTE) };
        self.tell(format_args!("the clock is wrong by {} s", error / SECOND));
        self.history.look(|_, checker| checker.tally.clock_jumps += 1);
        self.set_clock(error);
        self.turn(None);
    }

    fn break_commit(&mut self, trouble: Trouble) {
        self.tell(format_args!("the next commit: {trouble:?}"));
        self.history.look(|_, checker| match trouble {
            Trouble::AnswerLost => checker.tally.answers_lost += 1,
            _ => checker.tally.deaths_in_commit += 1,
        });
        self.history.trouble(trouble);
    }
}
