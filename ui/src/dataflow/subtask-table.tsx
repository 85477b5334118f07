// Every subtask: how it spent its time, how fast rows and bytes go through, what it holds, and how far its time has come.
import type { SubtaskProgress } from "../api/types";
import { isEnd } from "../pages/views/watermark";
import { useReader } from "../text/context";
import { instant } from "../text/format";
import { keyOf, type SubtaskPace } from "./pace";
import { ShareBar } from "./share-bar";

type Input = SubtaskProgress["inputs"][number];

/** The input that the others wait for. */
function slowest(inputs: readonly Input[]): Input | undefined {
  const known = inputs.filter((input) => input.state === "active");
  return known.sort((a, b) => (a.watermark ? instant(a.watermark) : -Infinity) - (b.watermark ? instant(b.watermark) : -Infinity))[0] ?? inputs[0];
}

export function SubtaskTable({ subtasks, now }: { subtasks: readonly SubtaskPace[]; now: number }) {
  const { t, format } = useReader();
  const pace = (rows: number, bytes: number | null): string =>
    t("view.rate.unit", { rate: format.number(rows, 0) }) + (bytes === null ? "" : ` · ${t("dataflow.bytes", { bytes: format.bytes(bytes) })}`);
  return (
    <div className="table-box subtasks" role="group" aria-label={t("dataflow.subtasks.label")} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>
            {(["stage", "number", "time", "in", "out", "state", "watermark"] as const).map((column) => (
              <th key={column} scope="col" className={["in", "out", "state"].includes(column) ? "number" : undefined}>{t(`dataflow.column.${column}`)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {subtasks.map((subtask) => {
            const { progress } = subtask;
            const input = slowest(progress.inputs);
            const watermark = input?.watermark ? (isEnd(input.watermark) ? t("view.watermark.end") : format.eventTime(input.watermark)) : t("view.watermark.none");
            return (
              <tr key={keyOf(progress)}>
                <th scope="row" className="stage-name" title={progress.stage}>{progress.stage}</th>
                <td>{progress.subtask}</td>
                <td><ShareBar shares={subtask.shares} /></td>
                <td className="number">{pace(progress.rows_in_per_second, subtask.bytesIn)}</td>
                <td className="number">{pace(progress.rows_out_per_second, subtask.bytesOut)}</td>
                <td className="number">{format.bytes(progress.state_bytes)}</td>
                <td title={input?.from}>{watermark}{input?.since && input.state === "active" ? <span className="stands"> {t("dataflow.since", { when: format.fromNow(Math.min(instant(input.since), now), now) })}</span> : null}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
