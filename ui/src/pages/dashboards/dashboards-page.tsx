// The project's dashboards.
import type { Dashboard } from "../../api/types";
import { Empty, Loaded, PageHead } from "../../components/page";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { Link } from "../../router/link";
import { address } from "../../router/router";
import { useReader } from "../../text/context";
import { Problems } from "../flows/problems";

export function DashboardsPage() {
  const { t } = useReader();
  const dashboards = useResource(resources.dashboards);
  const { data: problems = [] } = useResource(resources.problems);
  return (
    <>
      <PageHead title={t("nav.dashboards")} />
      <Problems problems={problems.filter((problem) => problem.kind === "dashboard")} />
      <Loaded snapshot={dashboards}>
        {(list) => (list.length === 0 ? <Empty title={t("dashboards.none")}>{t("dashboards.none.help")}</Empty> : <DashboardTable dashboards={list} />)}
      </Loaded>
    </>
  );
}

function DashboardTable({ dashboards }: { dashboards: readonly Dashboard[] }) {
  const { t, format } = useReader();
  return (
    <div className="table-box" role="group" aria-label={t("nav.dashboards")} tabIndex={0}>
      <table className="table">
        <thead>
          <tr><th scope="col">{t("dashboards.name")}</th><th scope="col">{t("dashboards.views")}</th><th scope="col" className="number">{t("dashboards.panels")}</th></tr>
        </thead>
        <tbody>
          {dashboards.map((dashboard) => (
            <tr key={dashboard.name}>
              <th scope="row">
                <Link className="name" href={address("/dashboards/:dashboard", { dashboard: dashboard.name })}>{dashboard.title}</Link>
                {dashboard.description ? <p className="description">{dashboard.description}</p> : null}
              </th>
              <td>{[...new Set(dashboard.panels.map((panel) => panel.view))].join(", ")}</td>
              <td className="number">{format.number(dashboard.panels.length)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
