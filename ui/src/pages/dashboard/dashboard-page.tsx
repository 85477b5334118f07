// One dashboard, live: how far the views that it follows have come, and its panels.
import type { Dashboard } from "../../api/types";
import { Loaded, PageHead } from "../../components/page";
import { useNow } from "../../components/use-now";
import * as resources from "../../live/resources";
import { useResource } from "../../live/use-resource";
import { Link } from "../../router/link";
import { address } from "../../router/router";
import { useReader } from "../../text/context";
import { isEnd } from "../views/watermark";
import { QueryPanel } from "./query-panel";

export function DashboardPage({ name }: { name: string }) {
  const { t } = useReader();
  const crumbs = [{ href: "/dashboards", text: t("nav.dashboards") }];
  return (
    <Loaded snapshot={useResource(resources.dashboards)}>
      {(list) => {
        const dashboard = list.find((other) => other.name === name);
        if (dashboard) return <Shown dashboard={dashboard} />;
        return <PageHead title={t("dashboards.missing", { name })} crumbs={crumbs} lead={<p>{t("dashboards.none.help")}</p>} />;
      }}
    </Loaded>
  );
}

function Shown({ dashboard }: { dashboard: Dashboard }) {
  const { t } = useReader();
  const views = [...new Set(dashboard.panels.map((panel) => panel.view))];
  return (
    <>
      <PageHead
        title={dashboard.title} crumbs={[{ href: "/dashboards", text: t("nav.dashboards") }]}
        lead={
          <>
            {dashboard.description ? <p>{dashboard.description}</p> : null}
            {views.map((view) => <Progress key={view} name={view} />)}
          </>
        }
      />
      <div className="dashboard">
        {dashboard.panels.map((panel) => <QueryPanel key={`${panel.title} ${panel.sql}`} panel={panel} />)}
      </div>
    </>
  );
}

/** How far a view has come, layer by layer. */
function Progress({ name }: { name: string }) {
  const { t, format } = useReader();
  const now = useNow(1000);
  const { data: view } = useResource(resources.view(name));
  const layers = view?.layers;
  const made = layers?.batch_made_at;
  return (
    <p className="lead-facts">
      <Link href={address("/views/:view", { view: name })}>{name}</Link>
      {view?.mode ? <span>{t(`mode.${view.mode}`)}</span> : null}
      {layers ? <span><b>{t("view.boundary")}</b> <span className="boundary">{layers.boundary ? format.eventTime(layers.boundary) : t("view.boundary.none")}</span></span> : null}
      {view?.watermark && !isEnd(view.watermark) ? <span><b>{t("dashboard.watermark")}</b> {format.eventTime(view.watermark)}</span> : null}
      {layers && made ? <span className="muted">{t("view.batch", { version: layers.batch_version, rows: format.number(layers.batch_rows), when: format.fromNow(Math.min(Date.parse(made), now), now) })}</span> : null}
      {view?.building ? <span className="muted">{t("dashboard.building", { number: view.building.number, done: format.percent(view.building.done) })}</span> : null}
    </p>
  );
}
