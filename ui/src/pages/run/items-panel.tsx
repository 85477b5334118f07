// The items of a task: how they stand as one bar, and the items themselves page by page; the chosen one shows its attempts
// and log below.
import { useState } from "react";
import type { ItemCounts, ItemPage, ItemRun } from "../../api/types";
import { Button } from "../../components/button";
import type { Status } from "../../components/glyphs";
import { Fault } from "../../components/page";
import { Progress } from "../../components/progress";
import { StatusBadge } from "../../components/status";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { useReader } from "../../text/context";
import { WorkView } from "./work-view";

const FILTERS = ["all", "failed", "running", "succeeded"] as const;
type Filter = (typeof FILTERS)[number];

interface Props {
  run: number;
  task: string;
  counts: ItemCounts;
}

export function ItemsPanel({ run, task, counts }: Props) {
  const { t } = useReader();
  const [filter, setFilter] = useState<Filter>(counts.failed > 0 ? "failed" : "all");
  // The last number of each page before this one: none on the first.
  const [pages, setPages] = useState<readonly number[]>([]);
  const [name, setName] = useState<string | null>(null);
  const { data: page, error } = useResource(resources.items(run, task, filter === "all" ? null : filter, pages.at(-1) ?? null));
  const chosen = page?.items.find((item) => item.name === name);
  return (
    <div className="items">
      <Progress label={t("run.items.progress", { task })} total={counts.total} parts={partsOf(counts)} />
      <div className="items-bar">
        <div className="segments" role="group" aria-label={t("run.items.filter")}>
          {FILTERS.map((value) => (
            <button key={value} type="button" aria-pressed={value === filter} onClick={() => { setFilter(value); setPages([]); }}>
              {value === "all" ? t("run.items.all") : t(`status.${value}`)}
            </button>
          ))}
        </div>
        <Pages page={page} back={pages.length > 0} onBack={() => setPages(pages.slice(0, -1))} onNext={(after) => setPages([...pages, after])} />
      </div>
      {error ? <Fault error={error} /> : null}
      {page?.items.length === 0 ? <p className="panel-note muted">{t("run.items.none")}</p> : null}
      {page && page.items.length > 0 ? <ItemTable items={page.items} label={t("run.items", { task })} chosen={name} onChoose={setName} /> : null}
      {chosen?.note ? <p className="panel-note">{chosen.note}</p> : null}
      {chosen ? <WorkView key={chosen.name} run={run} task={chosen} /> : null}
    </div>
  );
}

export function partsOf(counts: ItemCounts): { status: Status; count: number }[] {
  const statuses = ["succeeded", "failed", "cancelled", "running", "waiting"] as const;
  return statuses.map((status) => ({ status, count: counts[status] }));
}

interface PagesProps {
  page: ItemPage | undefined;
  back: boolean;
  onBack: () => void;
  onNext: (after: number) => void;
}

function Pages({ page, back, onBack, onNext }: PagesProps) {
  const { t } = useReader();
  const next = page?.next_after ?? null;
  if (!back && next === null) return null;
  return (
    <span className="items-pages">
      <Button disabled={!back} onClick={onBack}>{t("run.items.before")}</Button>
      <Button disabled={next === null} onClick={() => { if (next !== null) onNext(next); }}>{t("run.items.next")}</Button>
    </span>
  );
}

interface TableProps {
  items: readonly ItemRun[];
  label: string;
  chosen: string | null;
  onChoose: (name: string) => void;
}

function ItemTable({ items, label, chosen, onChoose }: TableProps) {
  const { t, format } = useReader();
  return (
    <div className="table-box rows-box" role="group" aria-label={label} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{t("run.items.name")}</th>
            <th scope="col">{t("run.items.item")}</th>
            <th scope="col">{t("run.items.status")}</th>
            <th scope="col" className="number">{t("run.attempts")}</th>
            <th scope="col" className="number">{t("run.took")}</th>
          </tr>
        </thead>
        <tbody>
          {items.map((item) => (
            <tr key={item.name}>
              <td><button type="button" className="link-button code" aria-pressed={item.name === chosen} onClick={() => onChoose(item.name)}>{item.name}</button></td>
              <td className="code">{textOf(item.item)}</td>
              <td><StatusBadge status={item.status} /></td>
              <td className="number">{format.number(item.attempts.length)}</td>
              <td className="number">{format.span(tookOf(item))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A text as it is, everything else as JSON. */
export function textOf(item: unknown): string {
  return typeof item === "string" ? item : JSON.stringify(item);
}

/** How long its latest attempt took, if it is over. */
export function tookOf(item: Pick<ItemRun, "attempts">): number | null {
  const last = item.attempts.at(-1);
  return last?.started_at && last.ended_at ? Date.parse(last.ended_at) - Date.parse(last.started_at) : null;
}
