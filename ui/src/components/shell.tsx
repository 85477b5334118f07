// What stands around every page: the rail with the destinations, the project, the state of the live connection and the
// reader's settings.
import type { ReactNode } from "react";
import type { ProjectInfo } from "../api/types";
import { useConnection } from "../live/stream";
import { Link } from "../router/link";
import { useLocation } from "../router/router";
import { LANGUAGE_NAMES, type Language } from "../text/catalogue";
import { useReader } from "../text/context";
import { Icon, type IconName } from "./icon";

const PLACES: readonly { href: string; icon: IconName; text: "nav.flows" | "nav.tables" | "nav.views" | "nav.dashboards" | "nav.topics" | "nav.workers" | "nav.sql"; roots: readonly string[] }[] = [
  { href: "/flows", icon: "flow", text: "nav.flows", roots: ["", "flows", "runs"] },
  { href: "/tables", icon: "table", text: "nav.tables", roots: ["tables"] },
  { href: "/views", icon: "view", text: "nav.views", roots: ["views"] },
  { href: "/dashboards", icon: "dashboard", text: "nav.dashboards", roots: ["dashboards"] },
  { href: "/topics", icon: "topic", text: "nav.topics", roots: ["topics"] },
  { href: "/workers", icon: "worker", text: "nav.workers", roots: ["workers"] },
  { href: "/sql", icon: "sql", text: "nav.sql", roots: ["sql"] },
];

export function Shell({ project, children }: { project: ProjectInfo | undefined; children: ReactNode }) {
  const { t } = useReader();
  const root = useLocation().pathname.split("/")[1] ?? "";
  return (
    <div className="shell">
      <a className="skip" href="#content">{t("app.skip")}</a>
      <header className="rail">
        <Link href="/flows" className="brand">
          <svg viewBox="0 0 32 32" width="30" height="30" aria-hidden="true" className="brand-mark">
            <path d="M5 10c3.7-3.6 7.3-3.6 11 0s7.3 3.6 11 0" />
            <path d="M5 17c3.7-3.6 7.3-3.6 11 0s7.3 3.6 11 0" />
            <path d="M5 24c3.7-3.6 7.3-3.6 11 0s7.3 3.6 11 0" />
          </svg>
          <span className="brand-name">Mulgil</span>
        </Link>
        {project ? <p className="rail-project" title={project.folder}>{project.name}</p> : null}
        <nav aria-label={t("app.navigation")}>
          <ul className="places">
            {PLACES.map((place) => (
              <li key={place.href}>
                <Link href={place.href} aria-current={place.roots.includes(root) ? "page" : undefined}>
                  <Icon name={place.icon} />
                  {t(place.text)}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div className="rail-foot">
          <ConnectionState />
          <p className="rail-zone">{t("app.zone", { zone: project?.timezone ?? "UTC" })}</p>
          <Settings />
          {project ? <p className="rail-version">Mulgil {project.version}</p> : null}
        </div>
      </header>
      <main id="content" tabIndex={-1}>{children}</main>
    </div>
  );
}

function ConnectionState() {
  const { t } = useReader();
  const connection = useConnection();
  return (
    <p className="connection" data-connection={connection} role="status">
      <span className="connection-dot" aria-hidden="true" />
      {t(`app.connection.${connection}`)}
    </p>
  );
}

function Settings() {
  const { t, theme, setTheme, language, setLanguage } = useReader();
  const other = theme === "dark" ? "light" : "dark";
  return (
    <div className="settings">
      <select aria-label={t("app.language")} value={language} onChange={(event) => setLanguage(event.target.value as Language)}>
        {Object.entries(LANGUAGE_NAMES).map(([code, name]) => <option key={code} value={code} lang={code}>{name}</option>)}
      </select>
      <button type="button" className="theme" aria-label={`${t("app.theme")}: ${t(`app.theme.${other}`)}`} onClick={() => setTheme(other)}>
        <Icon name={other === "dark" ? "moon" : "sun"} />
        <span aria-hidden="true">{t(`app.theme.${other}`)}</span>
      </button>
    </div>
  );
}
