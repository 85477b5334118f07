// The latest pass of a run as bars on one axis of time: waiting light, working solid. It shows at sight what took long.
import type { TaskRun } from "../../api/types";
import { MARKS } from "../../components/glyphs";
import { useNow } from "../../components/use-now";
import { usePiece } from "../../components/use-piece";
import { numberTicks } from "../../chart/scale";
import { DRAWN_WHOLE_MAX } from "../../graph/view";
import { useReader } from "../../text/context";
import { latestPass, type Stretch } from "./timing";

/** How high a row is. */
const ROW_REM = 1.625;

export function Timeline({ tasks, live }: { tasks: readonly TaskRun[]; live: boolean }) {
  const { t, format } = useReader();
  const now = useNow(live ? 500 : 60_000);
  const pass = latestPass(tasks, now);
  const { scroller, piece, onScroll } = usePiece(tasks.length <= DRAWN_WHOLE_MAX);
  if (!pass) return null;
  const rowPx = ROW_REM * parseFloat(getComputedStyle(document.documentElement).fontSize);
  const first = Math.max(0, Math.floor(piece.top / rowPx));
  const last = Math.min(tasks.length, Math.ceil(piece.bottom / rowPx));
  const stretches = new Map<string, Stretch[]>();
  for (const stretch of pass.stretches) stretches.set(stretch.task, [...(stretches.get(stretch.task) ?? []), stretch]);
  const span = Math.max(1, pass.endMs - pass.startMs);
  const share = (ms: number): string => `${(100 * ms) / span}%`;
  const ticks = numberTicks(0, span, 5).filter((tick) => tick <= span);
  return (
    <div className="timeline" role="group" aria-label={t("run.timeline")}>
      <div className="timeline-axis" aria-hidden="true">
        {ticks.map((tick) => <span key={tick} style={{ left: share(tick) }}>{format.span(tick)}</span>)}
      </div>
      <div className="timeline-rows" ref={scroller} onScroll={onScroll}>
        <ul style={{ height: `${tasks.length * ROW_REM}rem` }}>
          {tasks.slice(first, last).map((task, i) => (
            <li key={task.name} style={{ top: `${(first + i) * ROW_REM}rem` }} aria-setsize={tasks.length} aria-posinset={first + i + 1}>
              <span className="timeline-name code">{task.name}</span>
              <div className="timeline-track">
                {ticks.map((tick) => <i key={tick} style={{ left: share(tick) }} />)}
                {stretches.get(task.name)?.map((stretch) => <Bar key={`${stretch.attempt} ${stretch.startMs}`} stretch={stretch} from={pass.startMs} share={share} />)}
              </div>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

function Bar({ stretch, from, share }: { stretch: Stretch; from: number; share: (ms: number) => string }) {
  const { t, format } = useReader();
  const waited = stretch.startMs - stretch.readyMs;
  const took = stretch.endMs - stretch.startMs;
  const words = [
    ...(stretch.attempt === null ? [] : [t("run.attempt", { number: stretch.attempt })]), t(`status.${stretch.status}`), t("flow.took", { span: format.span(took) }),
    ...(waited > 0 ? [t("run.timeline.waited", { span: format.span(waited) })] : []),
  ].join(", ");
  return (
    <>
      <span className="timeline-wait" style={{ left: share(stretch.readyMs - from), width: share(waited) }} />
      <span className="timeline-bar" data-tone={MARKS[stretch.status].tone} style={{ left: share(stretch.startMs - from), width: share(took) }} role="img" aria-label={words} title={words} />
    </>
  );
}
