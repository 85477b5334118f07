// How far the newest backfill of a flow has come, live; once it has ended, how it ended, for as long as that is news.
import { useCallback } from "react";
import { api } from "../../api/client";
import type { Backfill } from "../../api/types";
import { Button } from "../../components/button";
import { Fault } from "../../components/page";
import { Progress } from "../../components/progress";
import { StatusMark } from "../../components/status";
import { useCommand } from "../../components/use-command";
import { useNow } from "../../components/use-now";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";

const NEWS_MS = 10 * 60_000;

export function BackfillProgress({ flow }: { flow: string }) {
  const { data = [] } = useResource(resources.backfills);
  const now = useNow();
  const newest = data.filter((backfill) => backfill.flow === flow).reduce<Backfill | null>((a, b) => (a && a.id > b.id ? a : b), null);
  if (!newest) return null;
  const news = newest.status === "running" || newest.status === "paused" || (newest.ended_at && now - Date.parse(newest.ended_at) < NEWS_MS);
  return news ? <Strip backfill={newest} /> : null;
}

function Strip({ backfill }: { backfill: Backfill }) {
  const { t, format } = useReader();
  const cancel = useCommand(useCallback(async () => {
    await api.cancelBackfill(backfill.id);
  }, [backfill.id]));
  const turn = useCommand(useCallback(async () => {
    await (backfill.status === "paused" ? api.resumeBackfill(backfill.id) : api.pauseBackfill(backfill.id));
  }, [backfill.id, backfill.status]));
  const again = useCommand(useCallback(async () => {
    await api.rerunBackfill(backfill.id);
  }, [backfill.id]));
  // The range is half-open; its last day is the one before its end.
  const range = { from: format.date(backfill.from, "day"), to: format.date(Date.parse(backfill.to) - 1, "day") };
  const paused = backfill.status === "paused";
  if (backfill.status !== "running" && backfill.status !== "paused") {
    const failed = backfill.failed + backfill.cancelled;
    return (
      <>
        <p className="strip" data-tone={backfill.status} role="status">
          <StatusMark status={backfill.status} small />
          {t(`backfill.ended.${backfill.status}`, { ...range, total: backfill.total, failed: backfill.failed })}
          {failed > 0 ? <Button kind="quiet" icon="play" busy={again.busy} onClick={() => void again.run()}>{t("action.rerun.backfill", { count: failed })}</Button> : null}
        </p>
        {again.error ? <Fault error={again.error} /> : null}
      </>
    );
  }
  const done = backfill.succeeded + backfill.failed + backfill.cancelled;
  // Told aloud at each tenth of the way, not at each run.
  const tenth = Math.floor((10 * done) / Math.max(1, backfill.total));
  const told = t("backfill.progress.done", { done: Math.round((tenth * backfill.total) / 10), total: backfill.total });
  return (
    <section className="backfill" aria-label={t("backfill.progress", range)}>
      <header>
        <h2>{t("backfill.progress", range)}</h2>
        <p>
          <b>{t("backfill.progress.done", { done, total: backfill.total })}</b>
          {backfill.remaining_seconds ? <span className="muted"> {t("backfill.progress.left", { span: format.span(backfill.remaining_seconds * 1000) })}</span> : null}
        </p>
        {paused ? <p className="chip">{t("backfill.paused")}</p> : null}
        {backfill.round > 0 ? <p className="muted">{t("backfill.round", { round: backfill.round, rounds: backfill.rounds })}</p> : null}
        {backfill.pace < backfill.concurrency ? <p className="muted">{t("backfill.pace", { pace: backfill.pace, concurrency: backfill.concurrency })}</p> : null}
        <Button kind="quiet" icon={paused ? "play" : "pause"} busy={turn.busy} onClick={() => void turn.run()}>{t(paused ? "action.resume.backfill" : "action.pause.backfill")}</Button>
        <Button kind="quiet" icon="stop" busy={cancel.busy} onClick={() => void cancel.run()}>{t("action.cancel.backfill")}</Button>
      </header>
      <p className="visually-hidden" role="status">{told}</p>
      <Progress
        label={t("backfill.progress", range)} total={backfill.total}
        parts={[
          { status: "succeeded", count: backfill.succeeded }, { status: "failed", count: backfill.failed }, { status: "cancelled", count: backfill.cancelled },
          { status: "running", count: backfill.running }, { status: "queued", count: backfill.queued },
        ]}
      />
      {cancel.error ?? turn.error ? <Fault error={(cancel.error ?? turn.error)!} /> : null}
    </section>
  );
}
