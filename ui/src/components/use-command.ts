// A command to the server: whether it is under way and why it was refused.
import { useCallback, useState } from "react";

interface Command<A extends readonly unknown[]> {
  run: (...args: A) => Promise<void>;
  busy: boolean;
  error: Error | null;
}

export function useCommand<A extends readonly unknown[]>(action: (...args: A) => Promise<void>): Command<A> {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const run = useCallback(async (...args: A) => {
    setBusy(true);
    setError(null);
    try {
      await action(...args);
    } catch (cause) {
      setError(cause instanceof Error ? cause : new Error(String(cause)));
    } finally {
      setBusy(false);
    }
  }, [action]);
  return { run, busy, error };
}
