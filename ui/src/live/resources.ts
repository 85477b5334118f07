// Everything that pages ask for: the address and how events change it.
import type {
  Backfill, Dashboard, Drift, FlowDetail, FlowMatrix, FlowSummary, FlowVersion, Grid, ItemPage, Notice, PoolInfo, Problem, ProjectInfo, Records, Rows, RunDetail, RunWaits, Topic, ViewDetail, ViewSummary, Workers,
} from "../api/types";
import {
  reduceBackfills, reduceFlow, reduceFlows, reduceGrid, reduceItems, reduceRows, reduceRun, reduceView, reduceViews, reduceWaits, refetchOnProject, refetchOnRuns,
} from "./reduce";
import type { Resource } from "./store";

const GRID_MAX = 400;
const ITEMS_MAX = 100;
const name = encodeURIComponent;
const unchanged = <T>(data: T): T => data;

export const project: Resource<ProjectInfo> = { path: "/project", reduce: refetchOnProject };
export const problems: Resource<Problem[]> = { path: "/problems", reduce: refetchOnProject };
export const flows: Resource<FlowSummary[]> = { path: "/flows", reduce: reduceFlows };
export const backfills: Resource<Backfill[]> = { path: "/backfills", reduce: reduceBackfills };
export const matrix: Resource<FlowMatrix[]> = { path: "/matrix", reduce: refetchOnRuns };
export const matrixUntil = (flow: string, until: string): Resource<FlowMatrix[]> => ({
  path: `/matrix?flow=${name(flow)}&until=${name(until)}`,
  reduce: refetchOnRuns,
});
export const views: Resource<ViewSummary[]> = { path: "/views", reduce: reduceViews };
export const dashboards: Resource<Dashboard[]> = { path: "/dashboards", reduce: refetchOnProject };
export const pools: Resource<PoolInfo[]> = { path: "/pools", reduce: refetchOnRuns };
export const workers: Resource<Workers> = { path: "/workers", reduce: unchanged };
export const topics: Resource<Topic[]> = { path: "/topics", reduce: unchanged };

export const flow = (id: string): Resource<FlowDetail> => ({ path: `/flows/${name(id)}`, reduce: reduceFlow });
export const versions = (id: string): Resource<FlowVersion[]> => ({ path: `/flows/${name(id)}/versions`, reduce: refetchOnProject });
export const grid = (id: string): Resource<Grid> => ({
  path: `/flows/${name(id)}/grid?limit=${GRID_MAX}`,
  reduce: (data, event) => reduceGrid(id, data, event),
});
export const notices = (run: number): Resource<Notice[]> => ({ path: `/notices?run=${run}`, reduce: unchanged });
export const run = (id: number): Resource<RunDetail> => ({ path: `/runs/${id}`, reduce: reduceRun });
export const waits = (id: number): Resource<RunWaits> => ({ path: `/runs/${id}/why`, reduce: reduceWaits });
export const items = (run: number, task: string, status: string | null, after: number | null): Resource<ItemPage> => ({
  path: `/runs/${run}/tasks/${name(task)}/items?limit=${ITEMS_MAX}${status === null ? "" : `&status=${status}`}${after === null ? "" : `&after=${after}`}`,
  reduce: (data, event) => reduceItems(run, task, data, event),
});
export const view = (id: string): Resource<ViewDetail> => ({ path: `/views/${name(id)}`, reduce: reduceView });
// A batch view says it once: another one has another version, and so another resource.
export const drift = (id: string, version: number): Resource<Drift[]> => ({ path: `/views/${name(id)}/drift?version=${version}`, reduce: unchanged });
export const rows = (id: string, order: string | null, limit: number): Resource<Rows> => {
  let seen: number | null = null;
  return {
    path: `/views/${name(id)}/rows?limit=${limit}${order ? `&order=${name(order)}` : ""}`,
    reduce: (data, event) => {
      const next = reduceRows(id, seen, data, event);
      if (event.type === "view" && event.name === id) seen = event.version;
      return next;
    },
  };
};
export const records = (topic: string, partition: number, offset: number, limit: number): Resource<Records> => ({
  path: `/topics/${name(topic)}/records?partition=${partition}&offset=${offset}&limit=${limit}`,
  reduce: unchanged,
});
