// All views: how each is kept up to date and how far it has come, live.
import type { ViewSummary } from "../../api/types";
import { Empty, Loaded, PageHead } from "../../components/page";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { Link } from "../../router/link";
import { address } from "../../router/router";
import { useReader } from "../../text/context";
import { Problems } from "../flows/problems";
import { ViewState } from "./view-state";
import { isEnd } from "./watermark";

export function ViewsPage() {
  const { t } = useReader();
  const views = useResource(resources.views);
  const { data: problems = [] } = useResource(resources.problems);
  return (
    <>
      <PageHead title={t("nav.views")} />
      <Problems problems={problems.filter((problem) => problem.kind !== "flow" && problem.kind !== "dashboard")} />
      <Loaded snapshot={views}>
        {(list) => (list.length === 0 ? <Empty title={t("views.none")}>{t("views.none.help")}</Empty> : <ViewTable views={list} />)}
      </Loaded>
    </>
  );
}

function ViewTable({ views }: { views: readonly ViewSummary[] }) {
  const { t } = useReader();
  return (
    <div className="table-box" role="group" aria-label={t("nav.views")} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{t("views.name")}</th>
            <th scope="col">{t("views.mode")}</th>
            <th scope="col">{t("views.state")}</th>
            <th scope="col">{t("views.watermark")}</th>
            <th scope="col" className="number">{t("views.rows")}</th>
            <th scope="col" className="number">{t("views.rate")}</th>
            <th scope="col" className="number">{t("views.late")}</th>
          </tr>
        </thead>
        <tbody>{views.map((view) => <ViewRow key={view.name} view={view} />)}</tbody>
      </table>
    </div>
  );
}

function ViewRow({ view }: { view: ViewSummary }) {
  const { t, format } = useReader();
  return (
    <tr>
      <th scope="row">
        <Link className="name" href={address("/views/:view", { view: view.name })}>{view.name}</Link>
        {view.problems.length > 0 ? <span className="chip" data-tone="failed">{t("flows.broken")}</span> : null}
        {view.error ? <p className="description">{view.error}</p> : null}
      </th>
      <td>{view.mode ? t(`mode.${view.mode}`) : "–"}</td>
      <td><ViewState state={view.state} /></td>
      <td>{view.watermark ? (isEnd(view.watermark) ? t("view.watermark.end") : format.eventTime(view.watermark)) : "–"}</td>
      <td className="number">{format.number(view.rows)}</td>
      <td className="number">{format.number(view.rows_in_per_second, 0)}</td>
      <td className="number">{format.number(view.late_rows)}</td>
    </tr>
  );
}
