// A status as a badge: mark and word together; or as a mark alone with the word for screen readers.
import { useReader } from "../text/context";
import { MARKS, type Status } from "./glyphs";

export function StatusMark({ status, small = false }: { status: Status; small?: boolean }) {
  return <span className={small ? "mark mark-small" : "mark"} data-status={status} aria-hidden="true" />;
}

export function StatusBadge({ status }: { status: Status }) {
  const { t } = useReader();
  return (
    <span className="badge" data-tone={MARKS[status].tone} data-status={status}>
      <StatusMark status={status} small />
      {t(`status.${status}`)}
    </span>
  );
}
