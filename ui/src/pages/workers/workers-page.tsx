// Who works: the server's own worker and those on other machines, and the tasks that wait for one that is not there.
import { useEffect } from "react";
import type { WorkerInfo } from "../../api/types";
import { Loaded, PageHead } from "../../components/page";
import { Panel } from "../../components/panel";
import { useNow } from "../../components/use-now";
import * as resources from "../../live/resources";
import { store } from "../../live/store";
import { useResource } from "../../live/use-resource";
import { Link } from "../../router/link";
import { useReader } from "../../text/context";
import { Pools } from "./pools";

// Workers send no events, so they are asked for while shown.
const LOOK_MS = 2000;

export function WorkersPage() {
  const { t } = useReader();
  const found = useResource(resources.workers);
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") store.refetch(resources.workers.path);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <>
      <PageHead title={t("nav.workers")} lead={t("workers.lead")} />
      <Loaded snapshot={found}>
        {({ workers, unmet }) => (
          <>
            {unmet.length > 0 ? (
              <Panel title={t("workers.unmet")}>
                <ul>
                  {unmet.map((wait) => (
                    <li key={wait.waits_for}>
                      {t("workers.waits", { count: wait.tasks, what: wait.waits_for })}{" "}
                      <Link href={`/runs/${wait.run}`}>{`${wait.flow} / ${wait.task}`}</Link>
                    </li>
                  ))}
                </ul>
              </Panel>
            ) : null}
            <Panel title={t("nav.workers")} flush>
              <WorkerTable workers={workers} />
            </Panel>
            <Pools />
          </>
        )}
      </Loaded>
    </>
  );
}

function WorkerTable({ workers }: { workers: readonly WorkerInfo[] }) {
  const { t, format } = useReader();
  const now = useNow(LOOK_MS);
  return (
    <div className="table-box" role="group" aria-label={t("nav.workers")} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{t("workers.name")}</th>
            <th scope="col">{t("workers.tags")}</th>
            <th scope="col" className="number">{t("workers.running")}</th>
            <th scope="col" className="number">{t("workers.slots")}</th>
            <th scope="col">{t("workers.heartbeat")}</th>
            <th scope="col">{t("workers.version")}</th>
          </tr>
        </thead>
        <tbody>
          {workers.map((worker) => (
            <tr key={worker.id}>
              <th scope="row" title={worker.id}>{worker.own ? t("workers.own") : worker.name}</th>
              <td>{[...worker.tags, ...(worker.untagged ? [t("workers.untagged")] : [])].join(", ")}</td>
              <td className="number">{format.number(worker.running)}</td>
              <td className="number">{format.number(worker.slots)}</td>
              <td title={format.date(worker.heartbeat_at, "precise")}>{format.fromNow(worker.heartbeat_at, now)}</td>
              <td>{worker.version}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
