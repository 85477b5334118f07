// The last few rows that could not be read: where each is, what is wrong with it, how it begins.
import type { BadRow } from "../../api/types";
import { Panel } from "../../components/panel";
import { instant } from "../../text/format";
import { useReader } from "../../text/context";

export function BadRows({ rows, now }: { rows: readonly BadRow[]; now: number }) {
  const { t, format } = useReader();
  if (rows.length === 0) return null;
  return (
    <Panel title={t("view.bad")} flush>
      <div className="bad-rows" tabIndex={0} role="group" aria-label={t("view.bad")}>
        <ul>
          {[...rows].reverse().map((row, i) => (
            <li key={i}>
              <p><b>{row.place}</b>{row.read_at ? <span className="muted"> {t("view.bad.read", { when: format.fromNow(Math.min(instant(row.read_at), now), now) })}</span> : null}</p>
              <p>{row.reason}</p>
              {row.raw == null ? null : <code className="code">{row.raw}{row.is_cut ? "…" : ""}</code>}
            </li>
          ))}
        </ul>
      </div>
    </Panel>
  );
}
