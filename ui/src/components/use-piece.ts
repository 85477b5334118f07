// The piece of a scrolling box that can be seen, in steps: whoever draws much draws only that.
import { useCallback, useEffect, useLayoutEffect, useRef, useState, type RefObject } from "react";
import { isSame, pieceOf, WHOLE } from "../graph/view";
import type { Box } from "../graph/layout";

export interface Piece {
  scroller: RefObject<HTMLDivElement | null>;
  piece: Box;
  onScroll: () => void;
}

/** `whole` draws everything: the box is then not watched. */
export function usePiece(whole: boolean): Piece {
  const scroller = useRef<HTMLDivElement>(null);
  const frame = useRef(0);
  const [piece, setPiece] = useState<Box>(() => pieceOf(0, 0, 0, 0));
  const measure = useCallback(() => {
    const box = scroller.current;
    if (!box || whole) return;
    const next = pieceOf(box.scrollLeft, box.scrollTop, box.clientWidth, box.clientHeight);
    setPiece((now) => (isSame(now, next) ? now : next));
  }, [whole]);
  useLayoutEffect(measure, [measure]);
  useEffect(() => {
    const box = scroller.current;
    if (!box || whole) return undefined;
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    return () => {
      observer.disconnect();
      cancelAnimationFrame(frame.current);
    };
  }, [measure, whole]);
  const onScroll = useCallback(() => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(measure);
  }, [measure]);
  return { scroller, piece: whole ? WHOLE : piece, onScroll };
}
