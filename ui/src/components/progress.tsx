// Progress by status: one bar of coloured stretches, told to screen readers as one progress bar.
import { useReader } from "../text/context";
import { MARKS, type Status } from "./glyphs";

interface Props {
  label: string;
  total: number;
  parts: readonly { status: Status; count: number }[];
}

export function Progress({ label, total, parts }: Props) {
  const { t } = useReader();
  const done = parts.filter((part) => ["succeeded", "failed", "cancelled"].includes(part.status)).reduce((sum, part) => sum + part.count, 0);
  return (
    <div className="progress">
      <div className="progress-bar" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={total} aria-valuenow={done}>
        {parts.map((part) =>
          part.count > 0 ? (
            <span key={part.status} data-tone={MARKS[part.status].tone} style={{ width: `${(100 * part.count) / Math.max(1, total)}%` }} />
          ) : null,
        )}
      </div>
      <ul className="progress-legend">
        {parts.filter((part) => part.count > 0).map((part) => (
          <li key={part.status}>
            <span className="mark mark-small" data-status={part.status} aria-hidden="true" />
            {t(`status.${part.status}`)} <b>{part.count.toLocaleString()}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}
