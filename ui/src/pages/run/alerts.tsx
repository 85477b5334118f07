// What was noticed of a run beside its status: that it is late, or takes longer than usual.
import type { Alert } from "../../api/types";
import { Icon } from "../../components/icon";
import { useReader } from "../../text/context";

export function Alerts({ alerts }: { alerts: readonly Alert[] }) {
  const { t, format } = useReader();
  return alerts.map((alert) => (
    <p key={alert.kind} className="run-alert" role="note">
      <Icon name="warning" size={18} />
      <span><b>{alert.kind === "slow" ? t("run.alert.slow") : t("run.alert.deadline")}</b>: {alert.text}</span>
      <time dateTime={alert.at}>{format.date(alert.at)}</time>
    </p>
  ));
}
