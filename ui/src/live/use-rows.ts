// The rows of a query, asked for again when what it reads has another version. Until the new ones are there the old ones stay;
// while an answer is under way no second one is asked for, however fast versions change.
import { useCallback, useEffect, useRef, useState } from "react";
import { api } from "../api/client";
import type { Rows } from "../api/types";
import type { Snapshot } from "./store";

/** Nothing is asked while there is no `version` yet. */
export function useRows(sql: string, limit: number, version: string | undefined): Snapshot<Rows> {
  const [snapshot, setSnapshot] = useState<Snapshot<Rows>>({ data: undefined, error: undefined });
  const asking = useRef({ busy: false, again: false });
  const ask = useCallback(async () => {
    const state = asking.current;
    state.again = state.busy;
    if (state.busy) return;
    state.busy = true;
    do {
      state.again = false;
      try {
        setSnapshot({ data: await api.sql(sql, limit), error: undefined });
      } catch (error) {
        setSnapshot((before) => ({ data: before.data, error: error instanceof Error ? error : new Error(String(error)) }));
      }
    } while (state.again);
    state.busy = false;
  }, [sql, limit]);
  useEffect(() => {
    if (version !== undefined) void ask();
  }, [ask, version]);
  return snapshot;
}
