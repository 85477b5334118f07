// The pace of a dataflow while someone looks at it: each answer is compared with the one before.
import { useEffect, useRef, useState } from "react";
import type { Dataflow } from "../api/types";
import { paces, type Look, type SubtaskPace } from "./pace";

/** Looks closer together than this say little. */
const LOOK_LEAST_MS = 900;

export function usePaces(dataflow: Dataflow): readonly SubtaskPace[] {
  const last = useRef<Look | null>(null);
  const [shown, setShown] = useState<readonly SubtaskPace[]>(() => paces({ at: 0, dataflow }, null));
  useEffect(() => {
    const now = { at: Date.now(), dataflow };
    const before = last.current;
    if (before && now.at - before.at < LOOK_LEAST_MS) return;
    last.current = now;
    setShown(paces(now, before));
  }, [dataflow]);
  return shown;
}
