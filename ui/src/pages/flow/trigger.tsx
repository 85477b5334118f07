// What starts runs of a flow from outside: files, or a webhook with its address.
import type { FlowDetail } from "../../api/types";
import { useReader } from "../../text/context";

export function Trigger({ trigger }: { trigger: NonNullable<FlowDetail["triggers"]>[number] }) {
  const { t } = useReader();
  const taken = trigger.params.map((param) => `${param.name} ← ${param.from}`).join(", ");
  return (
    <span title={taken}>
      {t(trigger.kind === "file" ? "flow.trigger.file" : "flow.trigger.webhook")}: <code>{trigger.kind === "file" ? trigger.place : `POST ${trigger.place}`}</code>
    </span>
  );
}
