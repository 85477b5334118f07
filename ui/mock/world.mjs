// The mock's world: a project with a year of runs, one of them failed, and commands that change it as the server would.

const DAY_MS = 86_400_000;
const TASKS = [
  { name: "land", kind: "transfer", needs: [], trigger_rule: "all_success", summary: "landing.departures → raw.departures", idempotent: true },
  { name: "aggregate", kind: "sql", needs: ["land"], trigger_rule: "all_success", summary: "sql/daily_delays.sql → mart.daily_delays", idempotent: true },
  { name: "publish", kind: "shell", needs: ["aggregate"], trigger_rule: "all_success", summary: "./publish.sh {{ ds }}", idempotent: false },
];
const LETTERS = { waiting: "w", ready: "y", running: "r", retrying: "t", succeeded: "s", failed: "f", skipped: "k", upstream_failed: "u", cancelled: "c" };
const FAILED_DAY = "2013-02-17";
const ERROR = {
  message: "landing/departures/2013-02-17.csv:412: column dep_delay: \"1O3\" is not a DOUBLE",
  detail: "412 | 2013,2,17,1841,1658,1O3,2010,1823,107,EV,4381,N13913,EWR,DTW\n    |                       ^^^ expected a number\nNothing of this file was written. Mend the line, then re-run the task.",
};
const YAML = `flow: daily_delays
description: What flew each day, how late, per origin and carrier
schedule: {cron: "0 6 * * *", timezone: America/New_York, start: 2013-01-01, end: 2014-01-01, catchup: none}
retries: {limit: 2, delay: 5m}
tasks:
  land:
    transfer: {from: landing.departures, to: raw.departures}
    write: replace_partition
  aggregate:
    needs: [land]
    sql: sql/daily_delays.sql
    to: mart.daily_delays
  publish:
    needs: [aggregate]
    shell: ./publish.sh {{ ds }}
    idempotent: false
deadline: 07:30
`;
export const PROBLEM = {
  kind: "flow", name: "hourly_weather", file: "flows/hourly_weather.yaml", line: 7, column: 13,
  message: "task publish needs aggregat, and there is no such task", remedy: "did you mean aggregate?", excerpt: "    needs: [aggregat]",
};

export class World {
  constructor(emit) {
    this.emit = (type, data) => emit({ type, ...data });
    this.flows = new Map([["daily_delays", { paused: false, runs: [] }], ["weekly_punctuality", { paused: true, runs: [] }]]);
    this.backfills = [];
    this.nextRun = 1;
    this.logs = new Map();
    for (let day = 0; day < 365; day += 1) this.#past("daily_delays", Date.UTC(2013, 0, 1) + day * DAY_MS, day);
    for (let week = 0; week < 12; week += 1) this.#past("weekly_punctuality", Date.UTC(2013, 0, 7) + week * 7 * DAY_MS, week);
  }

  #past(flow, start, n) {
    const label = new Date(start).toISOString().slice(0, 10);
    const bad = flow === "daily_delays" && label === FAILED_DAY;
    const at = Date.now() - 7_200_000 + n * 4000;
    const run = this.#new(flow, label, start, "backfill", at);
    run.status = bad ? "failed" : "succeeded";
    const took = [1400 + 900 * Math.abs(Math.sin(n * 1.7)), 900 + 300 * Math.abs(Math.cos(n)), 220];
    let clock = at;
    run.started_at = new Date(at).toISOString();
    for (const [i, task] of run.tasks.entries()) {
      task.status = bad ? (i === 0 ? "failed" : "upstream_failed") : "succeeded";
      if (bad && i > 0) continue;
      const error = bad ? ERROR : null;
      task.attempts.push({
        number: 1, status: bad ? "failed" : "succeeded", worker: "local-1", has_log: true, error,
        started_at: new Date(clock).toISOString(), ended_at: new Date(clock + took[i]).toISOString(),
      });
      clock += took[i];
      this.#log(run, task, 1, bad ? "failed" : "succeeded");
    }
    run.ended_at = new Date(clock).toISOString();
  }

  #new(flow, label, start, origin, at = Date.now(), backfill = null) {
    const run = {
      id: this.nextRun++, flow, label, name: `${flow} ${label}`, origin, status: "queued", backfill, created_at: new Date(at).toISOString(), started_at: null, ended_at: null,
      interval: { start: new Date(start + 5 * 3_600_000).toISOString(), end: new Date(start + DAY_MS + 5 * 3_600_000).toISOString() }, params: { carrier: "all" },
      tasks: TASKS.map((task) => ({ name: task.name, kind: task.kind, needs: task.needs, status: "waiting", retry_at: null, attempts: [] })),
    };
    this.flows.get(flow).runs.push(run);
    return run;
  }

  #log(run, task, attempt, status) {
    const day = run.label;
    const lines = {
      land: [`reading landing/departures/${day}.csv`, "schema: 14 columns, header line found", "rows read 512", "rows read 842", "staged raw.departures/day=" + day + "/part-0.parquet (61 kB)", "committed version 48: partition replaced, 842 rows"],
      aggregate: ["planning sql/daily_delays.sql", "scan raw.departures: 1 partition, 842 rows", "aggregate: 38 groups", "committed mart.daily_delays version 31: partition replaced, 38 rows"],
      publish: [`+ ./publish.sh ${day}`, "wrote reports/" + day + ".csv (39 lines)"],
    }[task.name];
    const text = status === "failed" ? [...lines.slice(0, 3), `error: ${ERROR.message}`, "nothing was committed"] : lines;
    const clock = (i) => new Date(Date.parse(run.created_at) + i * 137).toISOString().slice(11, 23);
    this.logs.set(`${run.id}/${task.name}/${attempt}`, text.map((line, i) => `${clock(i)} ${line}\n`).join(""));
  }

  run(id) {
    return [...this.flows.values()].flatMap((flow) => flow.runs).find((run) => run.id === id);
  }

  cells(run) {
    return run.tasks.map((task) => LETTERS[task.status]).join("");
  }

  summary(name) {
    const { paused, runs } = this.flows.get(name);
    const counts = { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
    for (const run of runs) counts[run.status === "cancelling" ? "running" : run.status] += 1;
    const daily = name === "daily_delays";
    return {
      name, paused, counts, problems: [], timezone: "America/New_York", schedule: daily ? "0 6 * * *" : "30 7 * * 1",
      description: daily ? "What flew each day, how late, per origin and carrier" : "Punctuality of the week, for the Monday meeting",
      next_fire: paused ? null : new Date(Date.now() + 5 * 3_600_000).toISOString(),
      recent_runs: runs.slice(-20).reverse().map(({ id, label, status }) => ({ id, label, status })),
    };
  }

  detail(name) {
    const next = Array.from({ length: 8 }, (_, i) => {
      const start = Math.floor(Date.now() / DAY_MS) * DAY_MS + i * DAY_MS + 5 * 3_600_000;
      return { interval: { start: new Date(start).toISOString(), end: new Date(start + DAY_MS).toISOString() }, fires_at: new Date(start + DAY_MS + 6 * 3_600_000).toISOString() };
    });
    const edges = TASKS.flatMap((task) => task.needs.map((from) => ({ from, to: task.name })));
    return { ...this.summary(name), tasks: TASKS, edges, params: [{ name: "carrier", type: "text", default: "all" }], file: `flows/${name}.yaml`, text: YAML.replace("daily_delays", name), next };
  }

  grid(name) {
    const runs = this.flows.get(name).runs.map((run) => ({
      id: run.id, label: run.label, status: run.status, started_at: run.started_at, cells: this.cells(run),
      duration_ms: run.started_at ? Math.round((run.ended_at ? Date.parse(run.ended_at) : Date.now()) - Date.parse(run.started_at)) : null,
    }));
    return { tasks: TASKS.map((task) => task.name), runs: runs.sort((a, b) => (a.label < b.label ? -1 : 1)), next_before: null };
  }

  why(run) {
    const waiting = run.tasks.filter((task) => task.status === "waiting");
    const open = (task) => task.needs.filter((need) => run.tasks.some((other) => other.name === need && other.status !== "succeeded"));
    const why = (task) => ({ kind: "needs", sentence: `waits for ${open(task).join(" and ")}` });
    return { name: run.name, status: run.status, tasks: waiting.map((task) => ({ task: task.name, status: task.status, why: why(task) })), left_out: 0 };
  }

  preview(run, scope, from) {
    const hit = new Set();
    for (const task of run.tasks) {
      const chosen = scope === "all" || (scope === "from" ? task.name === from : task.status !== "succeeded");
      if (chosen || task.needs.some((need) => hit.has(need))) hit.add(task.name);
    }
    const tasks = TASKS.filter((task) => hit.has(task.name)).map((task) => {
      const state = run.tasks.find((other) => other.name === task.name);
      return { name: task.name, idempotent: task.idempotent, status: state.status, attempts: state.attempts.length };
    });
    return { run: run.id, name: run.name, tasks, needs_confirmation: tasks.some((task) => !task.idempotent && task.attempts > 0) };
  }

  #setRun(run, status) {
    run.status = status;
    if (status === "running") run.started_at ??= new Date().toISOString();
    run.ended_at = ["succeeded", "failed", "cancelled"].includes(status) ? new Date().toISOString() : null;
    this.emit("run", { id: run.id, flow: run.flow, name: run.name, label: run.label, status, at: new Date().toISOString(), interval_start: run.interval.start, backfill: run.backfill });
  }

  #setTask(run, task, status) {
    task.status = status;
    this.emit("task", { flow: run.flow, run: run.id, task: task.name, status, letter: LETTERS[status], attempts: task.attempts.length, at: new Date().toISOString() });
  }

  rerun(run, scope, from) {
    for (const { name } of this.preview(run, scope, from).tasks) this.#setTask(run, run.tasks.find((task) => task.name === name), "waiting");
    void this.play(run, 350);
    return run;
  }

  /** Plays a run's waiting tasks, each taking `ms`. */
  async play(run, ms) {
    this.#setRun(run, "running");
    for (const task of run.tasks.filter((other) => other.status === "waiting")) {
      const attempt = { number: task.attempts.length + 1, status: "running", worker: "local-1", has_log: true, error: null, started_at: new Date().toISOString(), ended_at: null };
      task.attempts.push(attempt);
      this.#log(run, task, attempt.number, "succeeded");
      this.#setTask(run, task, "running");
      this.emit("attempt", { flow: run.flow, run: run.id, task: task.name, attempt: attempt.number, status: "running", at: attempt.started_at });
      await new Promise((resolve) => setTimeout(resolve, ms));
      const status = run.status === "cancelling" ? "cancelled" : "succeeded";
      Object.assign(attempt, { status, ended_at: new Date().toISOString() });
      this.emit("attempt", { flow: run.flow, run: run.id, task: task.name, attempt: attempt.number, status, at: attempt.ended_at });
      this.#setTask(run, task, status);
    }
    this.#setRun(run, run.status === "cancelling" ? "cancelled" : "succeeded");
  }

  plan(flow, ask) {
    const days = Math.round((Date.parse(ask.to) - Date.parse(ask.from)) / DAY_MS) + 1;
    const known = new Map(this.flows.get(flow).runs.map((run) => [run.label, run]));
    const all = Array.from({ length: Math.max(0, days) }, (_, i) => Date.parse(ask.from) + i * DAY_MS);
    const label = (start) => new Date(start).toISOString().slice(0, 10);
    const wanted = all.filter((start) => {
      const run = known.get(label(start));
      return ask.which === "all" || (ask.which === "failed" ? run?.status === "failed" : !run);
    });
    const planned = wanted.map((start) => ({ label: label(start), interval: { start: new Date(start).toISOString(), end: new Date(start + DAY_MS).toISOString() } }));
    const sample = planned.length > 20 ? [...planned.slice(0, 10), ...planned.slice(-10)] : planned;
    const reruns = wanted.filter((start) => known.has(label(start))).length;
    return { wanted, plan: { total: all.length, to_run: wanted.length, reruns, skipped: all.length - wanted.length, concurrency: ask.concurrency ?? 1, sample } };
  }

  backfill(flow, ask, taskMs = 120) {
    const { wanted, plan } = this.plan(flow, ask);
    if (ask.dry_run || wanted.length === 0) return { plan, backfill: null };
    const backfill = {
      id: this.backfills.length + 1, flow, from: new Date(Date.parse(ask.from) + 5 * 3_600_000).toISOString(), to: new Date(Date.parse(ask.to) + DAY_MS + 5 * 3_600_000).toISOString(),
      concurrency: plan.concurrency, status: "running", total: wanted.length, succeeded: 0, failed: 0, cancelled: 0, running: 0, queued: wanted.length,
      created_at: new Date().toISOString(), ended_at: null, remaining_seconds: null,
    };
    this.backfills.unshift(backfill);
    void this.#work(backfill, wanted, taskMs);
    return { plan, backfill };
  }

  async #work(backfill, wanted, taskMs) {
    const begun = Date.now();
    const queue = wanted.map((start) => {
      const label = new Date(start).toISOString().slice(0, 10);
      const known = this.flows.get(backfill.flow).runs.find((run) => run.label === label);
      if (!known) return this.#new(backfill.flow, label, start, "backfill", Date.now(), backfill.id);
      for (const task of known.tasks) task.status = "waiting";
      return known;
    });
    for (const run of queue) this.#setRun(run, "queued");
    const one = async () => {
      for (let run = queue.shift(); run; run = queue.shift()) {
        backfill.queued -= 1;
        backfill.running += 1;
        await this.play(run, taskMs);
        backfill.running -= 1;
        backfill.succeeded += 1;
        backfill.remaining_seconds = Math.round(((Date.now() - begun) / 1000 / backfill.succeeded) * (backfill.queued + backfill.running));
        this.emit("backfill", backfill);
      }
    };
    await Promise.all(Array.from({ length: backfill.concurrency }, one));
    Object.assign(backfill, { status: "succeeded", ended_at: new Date().toISOString(), remaining_seconds: null });
    this.emit("backfill", backfill);
  }

  cancel(run) {
    this.#setRun(run, "cancelling");
    return run;
  }
}
