// The head of a page: where it stands, what it is, what can be done. And what is shown while its data is not there.
import { useEffect, type ReactNode } from "react";
import { Refusal } from "../api/client";
import type { Snapshot } from "../live/store";
import { Link } from "../router/link";
import { useReader } from "../text/context";
import { Icon } from "./icon";

interface HeadProps {
  title: string;
  crumbs?: readonly { href: string; text: string }[];
  badge?: ReactNode;
  lead?: ReactNode;
  actions?: ReactNode;
}

export function PageHead({ title, crumbs = [], badge, lead, actions }: HeadProps) {
  useEffect(() => {
    document.title = [title, ...crumbs.slice(1).map((crumb) => crumb.text), "Mulgil"].join(" · ");
  });
  return (
    <div className="page-head">
      <div className="page-title">
        {crumbs.length > 0 ? (
          <ol className="crumbs">
            {crumbs.map((crumb) => (
              <li key={crumb.href}>
                <Link href={crumb.href}>{crumb.text}</Link>
                <Icon name="chevron" size={12} />
              </li>
            ))}
          </ol>
        ) : null}
        <div className="page-name">
          <h1>{title}</h1>
          {badge}
        </div>
        {lead ? <div className="page-lead">{lead}</div> : null}
      </div>
      {actions ? <div className="page-actions">{actions}</div> : null}
    </div>
  );
}

/** Shows `children` once there is data; until then that it loads, or why it does not. */
export function Loaded<T>({ snapshot, children }: { snapshot: Snapshot<T>; children: (data: T) => ReactNode }) {
  const { t } = useReader();
  if (snapshot.data !== undefined) return <>{children(snapshot.data)}</>;
  if (!snapshot.error) return <p className="loading" role="status">{t("app.loading")}</p>;
  return (
    <div className="empty" role="alert">
      <h1>{t("app.failed")}</h1>
      <Fault error={snapshot.error} />
    </div>
  );
}

/** Why something did not work: the server's sentence, detail and hint. */
export function Fault({ error }: { error: Error }) {
  const body = error instanceof Refusal ? error.body : null;
  return (
    <div className="fault">
      <p>{error.message}</p>
      {body?.detail ? <p className="code fault-detail">{body.detail}</p> : null}
      {body?.hint ? <p className="fault-hint">{body.hint}</p> : null}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <svg viewBox="0 0 120 32" width="120" height="32" aria-hidden="true" className="empty-water">
        <path d="M2 10c10-9 19-9 29 0s19 9 29 0 19-9 29 0 19 9 29 0" />
        <path d="M2 22c10-9 19-9 29 0s19 9 29 0 19-9 29 0 19 9 29 0" />
      </svg>
      <p className="empty-title">{title}</p>
      {children ? <p>{children}</p> : null}
    </div>
  );
}
