// The answer to a question that changes with a form: only the newest question counts, and a question under way is
// forgotten when the form changes. A null question asks nothing.
import { useEffect, useState } from "react";

interface Answer<T> {
  answer: T | null;
  error: Error | null;
}

/** `key` says which question it is: a new key asks anew, after `settleMs` without another. */
export function useAnswer<T>(key: string | null, ask: () => Promise<T>, settleMs = 0): Answer<T> {
  const [state, setState] = useState<Answer<T>>({ answer: null, error: null });
  useEffect(() => {
    setState({ answer: null, error: null });
    if (key === null) return undefined;
    let asked = true;
    const timer = setTimeout(() => {
      ask().then(
        (answer) => asked && setState({ answer, error: null }),
        (error: unknown) => asked && setState({ answer: null, error: error instanceof Error ? error : new Error(String(error)) }),
      );
    }, settleMs);
    return () => {
      asked = false;
      clearTimeout(timer);
    };
    // The key stands for the question: `ask` is a new function at each rendering.
  }, [key, settleMs]);
  return state;
}
