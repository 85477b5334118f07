// Calls the API. An answer that is no success becomes a Refusal, with the server's own sentence and remedy.
import type {
  Backfill, BackfillAnswer, BackfillAsk, Difference, ErrorBody, MarkAsk, ReplayAsk, RerunAsk, RerunPreview, RerunsAnswer, RerunsAsk, Rows, RunDetail, StartRun, StartedRun, ViewDetail,
} from "./types";

export const PREFIX = "/api/v1";

export class Refusal extends Error {
  constructor(readonly status: number, readonly body: ErrorBody) {
    super(body.message);
  }
}

async function refusalOf(response: Response): Promise<Refusal> {
  const text = await response.text();
  try {
    const body = JSON.parse(text) as ErrorBody;
    if (typeof body.message === "string") return new Refusal(response.status, body);
  } catch {
    // Not the server's own words; a proxy's page, perhaps. The status has to do.
  }
  return new Refusal(response.status, { code: "http", message: `${response.status} ${response.statusText}` });
}

async function call<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(`${PREFIX}${path}`, init);
  if (!response.ok) throw await refusalOf(response);
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

export function get<T>(path: string): Promise<T> {
  return call<T>(path, { headers: { accept: "application/json" } });
}

function post<T>(path: string, body?: unknown): Promise<T> {
  return call<T>(path, {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const flow = (name: string): string => `/flows/${encodeURIComponent(name)}`;

export const api = {
  pause: (name: string) => post<void>(`${flow(name)}/pause`),
  resume: (name: string) => post<void>(`${flow(name)}/resume`),
  start: (name: string, ask: StartRun) => post<StartedRun>(`${flow(name)}/runs`, ask),
  backfill: (name: string, ask: BackfillAsk) => post<BackfillAnswer>(`${flow(name)}/backfills`, ask),
  pauseBackfill: (id: number) => post<Backfill>(`/backfills/${id}/pause`),
  resumeBackfill: (id: number) => post<Backfill>(`/backfills/${id}/resume`),
  rerunBackfill: (id: number) => post<Backfill>(`/backfills/${id}/rerun`, { confirm: false }),
  cancelBackfill: (id: number) => post<Backfill>(`/backfills/${id}/cancel`),
  rerunPreview: (run: number, ask: RerunAsk) => {
    const query = new URLSearchParams({ scope: ask.scope ?? "failed", ...(ask.task ? { task: ask.task } : {}), ...(ask.group ? { group: ask.group } : {}), ...(ask.latest ? { latest: "true" } : {}) });
    return get<RerunPreview>(`/runs/${run}/rerun-preview?${query}`);
  },
  rerun: (run: number, ask: RerunAsk) => post<RunDetail>(`/runs/${run}/rerun`, ask),
  rerunMany: (ask: RerunsAsk) => post<RerunsAnswer>("/runs/rerun", ask),
  mark: (run: number, task: string, ask: MarkAsk) => post<RerunPreview>(`/runs/${run}/tasks/${encodeURIComponent(task)}/mark`, ask),
  difference: (name: string, from: string, to: string) => get<Difference>(`${flow(name)}/difference?${new URLSearchParams({ from, to })}`),
  cancel: (run: number) => post<RunDetail>(`/runs/${run}/cancel`),
  refresh: (view: string) => post<ViewDetail>(`/views/${encodeURIComponent(view)}/refresh`),
  resumeView: (view: string) => post<ViewDetail>(`/views/${encodeURIComponent(view)}/resume`),
  replayView: (view: string, ask: ReplayAsk) => post<ViewDetail>(`/views/${encodeURIComponent(view)}/replay`, ask),
  cancelReplay: (view: string) => post<ViewDetail>(`/views/${encodeURIComponent(view)}/replay/cancel`),
  rollBackView: (view: string) => post<ViewDetail>(`/views/${encodeURIComponent(view)}/rollback`),
  sql: (sql: string, limit: number) => post<Rows>("/sql", { sql, limit }),
};

export function logPath(run: number, task: string, attempt: number): string {
  return `${PREFIX}/runs/${run}/tasks/${encodeURIComponent(task)}/attempts/${attempt}/log`;
}
