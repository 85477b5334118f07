// The app: which address shows which page, inside the shell, in the reader's language and the project's time zone.
import { useEffect, useRef, type ReactNode } from "react";
import { Shell } from "./components/shell";
import * as resources from "./live/resources";
import { useResource } from "./live/use-resource";
import { DashboardPage } from "./pages/dashboard/dashboard-page";
import { DashboardsPage } from "./pages/dashboards/dashboards-page";
import { FlowPage } from "./pages/flow/flow-page";
import { FlowsPage } from "./pages/flows/flows-page";
import { NotFoundPage } from "./pages/not-found-page";
import { RunPage } from "./pages/run/run-page";
import { SqlPage } from "./pages/sql/sql-page";
import { TablesPage } from "./pages/tables/tables-page";
import { TopicsPage } from "./pages/topics/topics-page";
import { ViewPage } from "./pages/view/view-page";
import { ViewsPage } from "./pages/views/views-page";
import { WorkersPage } from "./pages/workers/workers-page";
import { match, useLocation, type Params } from "./router/router";
import { ReaderProvider } from "./text/context";

const ROUTES: readonly (readonly [string, (params: Params) => ReactNode])[] = [
  ["/", () => <FlowsPage />],
  ["/flows", () => <FlowsPage />],
  ["/flows/:flow", ({ flow = "" }) => <FlowPage key={flow} name={flow} />],
  ["/runs/:run", ({ run = "" }) => (/^\d+$/.test(run) ? <RunPage key={run} id={Number(run)} /> : <NotFoundPage />)],
  ["/views", () => <ViewsPage />],
  ["/views/:view", ({ view = "" }) => <ViewPage key={view} name={view} />],
  ["/dashboards", () => <DashboardsPage />],
  ["/dashboards/:dashboard", ({ dashboard = "" }) => <DashboardPage key={dashboard} name={dashboard} />],
  ["/tables", () => <TablesPage />],
  ["/topics", () => <TopicsPage />],
  ["/workers", () => <WorkersPage />],
  ["/sql", () => <SqlPage />],
];

function pageAt(path: string): ReactNode {
  for (const [pattern, page] of ROUTES) {
    const params = match(pattern, path);
    if (params) return page(params);
  }
  return <NotFoundPage />;
}

export function App() {
  const { pathname } = useLocation();
  const { data: project } = useResource(resources.project);
  const before = useRef(pathname);
  useEffect(() => {
    if (before.current === pathname) return;
    before.current = pathname;
    window.scrollTo(0, 0);
    document.getElementById("content")?.focus({ preventScroll: true });
  }, [pathname]);
  return (
    <ReaderProvider zone={project?.timezone ?? "UTC"}>
      <Shell project={project}>{pageAt(pathname)}</Shell>
    </ReaderProvider>
  );
}
