// A schedule in words where that is easy, always with its cron line and time zone.
import { useReader } from "../../text/context";
import { tellCron } from "./cron";

export function Schedule({ cron, zone }: { cron: string | null; zone: string }) {
  const { t } = useReader();
  if (!cron) return <span className="muted">{t("flows.manual")}</span>;
  const told = tellCron(cron);
  return (
    <span className="schedule">
      {told ? t(told.key, told.values) : <code>{cron}</code>}
      <span className="muted">{told ? <code>{cron}</code> : null} {zone}</span>
    </span>
  );
}
