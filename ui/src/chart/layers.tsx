// The two layers of a view on a chart: what batch has spoken of in one shade, what the stream says in another, and between them
// the boundary, which moves.
import { useReader } from "../text/context";

export interface Frame {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** `boundary` is a place within the frame, or beyond it. */
export function LayerShades({ boundary, frame }: { boundary: number; frame: Frame }) {
  const at = Math.min(frame.right, Math.max(frame.left, boundary));
  const height = frame.bottom - frame.top;
  return (
    <g>
      <rect className="chart-batch" x={frame.left} y={frame.top} width={at - frame.left} height={height} />
      <rect className="chart-speed" x={at} y={frame.top} width={frame.right - at} height={height} />
      <line className="chart-boundary" x1={at} x2={at} y1={frame.top - 4} y2={frame.bottom + 4} />
    </g>
  );
}

export function LayerNote({ boundary }: { boundary: number }) {
  const { t, format } = useReader();
  return (
    <p className="chart-note">
      <span className="chart-note-key" data-layer="batch" aria-hidden="true" />{t("chart.batch", { when: format.eventTime(boundary) })}
      <span className="chart-note-key" data-layer="speed" aria-hidden="true" />{t("chart.speed")}
    </p>
  );
}
