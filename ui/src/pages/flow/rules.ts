// What a schedule does beside firing, in the words of the flow's file.
import type { FlowDetail } from "../../api/types";

export function rulesText(rules: NonNullable<FlowDetail["rules"]>): string {
  const shown = [["calendar", rules.calendar], ["catchup", rules.catchup], ["overlap", rules.overlap], ["dst", rules.dst]];
  return shown.filter(([, word]) => word).map(([key, word]) => `${key}: ${word}`).join(" · ");
}
