// The pace of each partition, from two looks at its offsets. Topics send no events, so they are asked for while shown.
import { useEffect, useRef, useState } from "react";
import type { Topic } from "../../api/types";
import * as resources from "../../live/resources";
import { store } from "../../live/store";

const LOOK_MS = 2000;

interface Look {
  at: number;
  offsets: Map<string, number>;
}

export function useRates(topics: readonly Topic[] | undefined): ReadonlyMap<string, number> {
  const last = useRef<Look | null>(null);
  const [rates, setRates] = useState<ReadonlyMap<string, number>>(new Map());
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") store.refetch(resources.topics.path);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    if (!topics) return;
    const offsets = new Map(topics.flatMap((topic) => topic.partitions.map((p) => [`${topic.name} ${p.partition}`, p.next_offset] as const)));
    const before = last.current;
    const now = Date.now();
    last.current = { at: now, offsets };
    if (!before || now === before.at) return;
    setRates(new Map([...offsets].map(([key, next]) => [key, Math.max(0, (1000 * (next - (before.offsets.get(key) ?? next))) / (now - before.at))])));
  }, [topics]);
  return rates;
}
