// All flows: when each runs next and how its last runs went; on top, the files that are broken.
import type { FlowSummary } from "../../api/types";
import { Empty, Loaded, PageHead } from "../../components/page";
import { StatusMark } from "../../components/status";
import { useNow } from "../../components/use-now";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { Link } from "../../router/link";
import { address } from "../../router/router";
import { useReader } from "../../text/context";
import { Problems } from "./problems";
import { RecentRuns } from "./recent-runs";
import { Schedule } from "./schedule";

export function FlowsPage() {
  const { t } = useReader();
  const flows = useResource(resources.flows);
  const { data: problems = [] } = useResource(resources.problems);
  return (
    <>
      <PageHead title={t("nav.flows")} />
      <Problems problems={problems} />
      <Loaded snapshot={flows}>
        {(list) => (list.length === 0 ? <Empty title={t("flows.none")}>{t("flows.none.help")}</Empty> : <FlowTable flows={list} />)}
      </Loaded>
    </>
  );
}

function FlowTable({ flows }: { flows: readonly FlowSummary[] }) {
  const { t } = useReader();
  return (
    <div className="table-box" role="group" aria-label={t("nav.flows")} tabIndex={0}>
      <table className="table flows-table">
        <thead>
          <tr>
            <th scope="col">{t("flows.name")}</th>
            <th scope="col">{t("flows.schedule")}</th>
            <th scope="col">{t("flows.next")}</th>
            <th scope="col">{t("flows.recent")}</th>
            <th scope="col">{t("flows.counts")}</th>
          </tr>
        </thead>
        <tbody>{flows.map((flow) => <FlowRow key={flow.name} flow={flow} />)}</tbody>
      </table>
    </div>
  );
}

const COUNTED = ["succeeded", "failed", "running", "queued", "cancelled"] as const;

function FlowRow({ flow }: { flow: FlowSummary }) {
  const { t, format } = useReader();
  const now = useNow();
  const broken = flow.problems.length > 0;
  return (
    <tr data-broken={broken || undefined}>
      <th scope="row">
        <Link className="name" href={address("/flows/:flow", { flow: flow.name })}>{flow.name}</Link>
        {flow.paused ? <span className="chip">{t("flows.paused")}</span> : null}
        {broken ? <span className="chip" data-tone="failed">{t("flows.broken")}</span> : null}
        {flow.description ? <p className="description">{flow.description}</p> : null}
      </th>
      <td><Schedule cron={flow.schedule ?? null} zone={flow.timezone} /></td>
      <td>
        {flow.next_fire ? (
          <>
            {format.date(flow.next_fire)}
            <p className="muted">{format.fromNow(flow.next_fire, now)}</p>
          </>
        ) : <span className="muted">{t("flows.never")}</span>}
      </td>
      <td><RecentRuns runs={flow.recent_runs} /></td>
      <td>
        <ul className="counts">
          {COUNTED.filter((status) => flow.counts[status] > 0).map((status) => (
            <li key={status} title={t(`status.${status}`)}>
              <StatusMark status={status} small />
              <span className="visually-hidden">{t(`status.${status}`)}</span>
              {format.number(flow.counts[status])}
            </li>
          ))}
        </ul>
      </td>
    </tr>
  );
}
