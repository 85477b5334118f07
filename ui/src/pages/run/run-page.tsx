// One run: where it stands, why it failed, its graph, its attempts with their logs, and the deeds: re-run and cancel.
import { useCallback, useEffect, useRef, useState } from "react";
import { api } from "../../api/client";
import type { RunDetail, TaskRun } from "../../api/types";
import { Button } from "../../components/button";
import { Dialog } from "../../components/dialog";
import { Facts } from "../../components/fields";
import { isOver } from "../../components/glyphs";
import { Fault, Loaded, PageHead } from "../../components/page";
import { Panel } from "../../components/panel";
import { StatusBadge } from "../../components/status";
import { useCommand } from "../../components/use-command";
import { useNow } from "../../components/use-now";
import { TaskGraph } from "../../graph/task-graph";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useResource } from "../../live/use-resource";
import { Link } from "../../router/link";
import { address, navigate, useLocation } from "../../router/router";
import { useReader } from "../../text/context";
import { Alerts } from "./alerts";
import { Failure } from "./failure";
import { Told } from "./told";
import { RerunDialog } from "./rerun-dialog";
import { TaskPanel } from "./task-panel";
import { Timeline } from "./timeline";
import { Waits } from "./waits";

export function RunPage({ id }: { id: number }) {
  return <Loaded snapshot={useResource(resources.run(id))}>{(run) => <Run run={run} />}</Loaded>;
}

/** So many failures are told in full: what failed a thousand times has mostly one reason. */
const FAILURES_SHOWN_MAX = 5;

/** The task to show first: the one that failed, else the one under way, else the last. */
function mainTask(tasks: readonly TaskRun[]): TaskRun | undefined {
  const first = (statuses: readonly string[]): TaskRun | undefined => tasks.find((task) => statuses.includes(task.status));
  return first(["failed"]) ?? first(["running", "retrying", "ready"]) ?? tasks.at(-1);
}

/** How long the attempt took that decided a task, or its items or called run. A task that was stopped before it began has none of its own. */
function tookOf(task: TaskRun): number | null {
  const worked = task.worked?.at(-1);
  if (worked) return worked.ended_at && isOver(task.status) ? Date.parse(worked.ended_at) - Date.parse(worked.started_at) : null;
  const last = task.attempts.at(-1);
  const decided = last?.status === task.status || task.status === "failed";
  return decided && last?.started_at && last.ended_at && isOver(task.status) ? Date.parse(last.ended_at) - Date.parse(last.started_at) : null;
}

function Run({ run }: { run: RunDetail }) {
  const { t, format } = useReader();
  const location = useLocation();
  const [dialog, setDialog] = useState<"rerun" | "cancel" | null>(null);
  const close = useCallback(() => setDialog(null), []);
  const chosenName = location.searchParams.get("task");
  const chosen = run.tasks.find((task) => task.name === chosenName) ?? mainTask(run.tasks);
  const failed = run.tasks.filter((task) => task.status === "failed");
  const over = isOver(run.status);
  const choose = useCallback((task: string) => {
    navigate(`${address("/runs/:run", { run: String(run.id) })}?task=${encodeURIComponent(task)}`, "replace");
  }, [run.id]);
  return (
    <>
      <PageHead
        title={run.label} badge={<StatusBadge status={run.status} />}
        crumbs={[{ href: "/flows", text: t("nav.flows") }, { href: address("/flows/:flow", { flow: run.flow }), text: run.flow }]}
        actions={
          <>
            {over ? null : <Button kind="danger" icon="stop" disabled={run.status === "cancelling"} onClick={() => setDialog("cancel")}>{t("action.cancel")}</Button>}
            <Button kind="primary" icon="rerun" disabled={!over} onClick={() => setDialog("rerun")}>{t("action.rerun")}</Button>
          </>
        }
      />
      <StatusNews run={run} />
      <Alerts alerts={run.alerts ?? []} />
      <RunFacts run={run} />
      <Waits run={run} />
      {failed.slice(0, FAILURES_SHOWN_MAX).map((task) => <Failure key={task.name} task={task} blocked={run.tasks.filter((other) => other.status === "upstream_failed").length} />)}
      {failed.length > FAILURES_SHOWN_MAX ? <p className="muted">{t("run.failures.more", { count: failed.length - FAILURES_SHOWN_MAX })}</p> : null}
      <Panel title={t("run.graph")} flush>
        <TaskGraph
          label={t("run.graph.label")} chosen={chosen?.name ?? null} onChoose={choose}
          tasks={run.tasks.map((task) => ({
            id: task.name, needs: task.needs, kind: task.kind, status: task.status, flag: null,
            note: [task.kind, task.items ? t("run.items.done", { done: task.items.succeeded, total: task.items.total }) : tookOf(task) === null ? t(`status.${task.status}`) : format.span(tookOf(task))].join(" · "),
          }))}
        />
        <Timeline tasks={run.tasks} live={!over} />
      </Panel>
      {chosen ? <TaskPanel key={chosen.name} run={run.id} task={chosen} /> : null}
      <Told key={run.status} run={run.id} />
      {dialog === "rerun" ? <RerunDialog run={run} task={chosen?.name ?? null} onClose={close} /> : null}
      {dialog === "cancel" ? <CancelDialog run={run} onClose={close} /> : null}
    </>
  );
}

/** Tells screen readers when the run's status changes while they are here. */
function StatusNews({ run }: { run: RunDetail }) {
  const { t } = useReader();
  const first = useRef(run.status);
  const [news, setNews] = useState("");
  useEffect(() => {
    if (run.status === first.current) return;
    first.current = run.status;
    setNews(t("run.status.changed", { label: run.label, status: t(`status.${run.status}`) }));
  }, [run.status, run.label, t]);
  return <p className="visually-hidden" role="status">{news}</p>;
}

function RunFacts({ run }: { run: RunDetail }) {
  const { t, format } = useReader();
  const now = useNow(isOver(run.status) ? 60_000 : 1000);
  const took = run.started_at ? (run.ended_at ? Date.parse(run.ended_at) : now) - Date.parse(run.started_at) : null;
  const params = Object.entries(run.params);
  return (
    <Facts
      facts={[
        ...(run.interval ? [[t("run.interval"), `${format.date(run.interval.start)} – ${format.date(run.interval.end)}`] as const] : []),
        [t("run.origin"), t(`run.origin.${run.origin}`, { backfill: run.backfill ?? "" })],
        ...(run.parent ? [[t("run.parent"), <Parent key="parent" parent={run.parent} />] as const] : []),
        [t("run.started"), format.date(run.started_at, "precise")],
        [t("run.took"), run.timed_out ? t("run.timed_out", { span: format.span(took) }) : format.span(took)],
        ...(run.version ? [[t("run.version"), <Version key="version" run={run} />] as const] : []),
        ...(params.length > 0 ? [[t("run.params"), <code key="params">{params.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(" ")}</code>] as const] : []),
      ]}
    />
  );
}

function Parent({ parent }: { parent: NonNullable<RunDetail["parent"]> }) {
  const { t } = useReader();
  return <>{t("run.parent.task", { task: parent.task })} <Link href={address("/runs/:run", { run: String(parent.id) })}>{parent.name}</Link></>;
}

function Version({ run }: { run: RunDetail }) {
  const { t } = useReader();
  return <><code>{run.version.slice(0, 8)}</code> {run.is_latest ? null : <span className="muted">{t("run.version.older")}</span>}</>;
}

function CancelDialog({ run, onClose }: { run: RunDetail; onClose: () => void }) {
  const { t } = useReader();
  const cancel = useCommand(useCallback(async () => {
    store.put(resources.run(run.id).path, await api.cancel(run.id));
    onClose();
  }, [run.id, onClose]));
  return (
    <Dialog
      title={t("cancel.title", { label: run.label })} onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{t("action.dismiss")}</Button>
          <Button kind="danger" icon="stop" busy={cancel.busy} onClick={() => void cancel.run()}>{t("action.cancel")}</Button>
        </>
      }
    >
      <p>{t("cancel.help")}</p>
      {cancel.error ? <Fault error={cancel.error} /> : null}
    </Dialog>
  );
}
