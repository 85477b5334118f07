// The newest few late rows, as they came: what late means is easiest seen.
import { Panel } from "../../components/panel";
import { useReader } from "../../text/context";

export function LateSample({ rows }: { rows: readonly string[] }) {
  const { t } = useReader();
  if (rows.length === 0) return null;
  return (
    <Panel title={t("view.late.sample")} flush>
      <div className="late-sample code" tabIndex={0} role="group" aria-label={t("view.late.sample")}>
        <ul>{[...rows].reverse().map((row, i) => <li key={i}>{row}</li>)}</ul>
      </div>
    </Panel>
  );
}
