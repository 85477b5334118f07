// Reads a log as a stream of pieces; keeps the newest lines. A broken connection goes on at the byte where it stopped.
import { useEffect, useState } from "react";
import { logPath } from "../../api/client";
import type { LogChunk } from "../../api/types";

const LINES_MAX = 5000;
const AGAIN_MS = 1000;
/** So many fruitless connections in a row mean that there is no log to be had. */
const TRIES_MAX = 5;

export interface Log {
  lines: readonly string[];
  complete: boolean;
}

/** Adds a piece of text; its last line may still be open, so it is held as a line that grows. */
export function appendText(lines: readonly string[], open: boolean, text: string): { lines: string[]; open: boolean } {
  if (text === "") return { lines: [...lines], open };
  const pieces = text.split("\n");
  const ended = pieces.at(-1) === "";
  if (ended) pieces.pop();
  const first = open && lines.length > 0 ? `${lines.at(-1) ?? ""}${pieces[0] ?? ""}` : pieces[0] ?? "";
  const kept = open ? lines.slice(0, -1) : lines;
  return { lines: [...kept, first, ...pieces.slice(1)].slice(-LINES_MAX), open: !ended };
}

export function useLog(run: number, task: string, attempt: number, hasLog: boolean): Log {
  const [log, setLog] = useState<Log>({ lines: [], complete: false });
  useEffect(() => {
    if (!hasLog) return undefined;
    let offset = 0;
    let state = { lines: [] as string[], open: false };
    let source: EventSource | null = null;
    let tries = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const follow = (): void => {
      const stream = new EventSource(`${logPath(run, task, attempt)}/stream?offset=${offset}`);
      source = stream;
      stream.addEventListener("log", (message: MessageEvent<string>) => {
        const chunk = JSON.parse(message.data) as LogChunk;
        offset = chunk.next_offset;
        tries = 0;
        state = appendText(state.lines, state.open, chunk.text);
        setLog({ lines: state.lines, complete: chunk.complete });
      });
      stream.addEventListener("end", () => {
        stream.close();
        setLog({ lines: state.lines, complete: true });
      });
      stream.onerror = () => {
        stream.close();
        tries += 1;
        if (tries < TRIES_MAX) timer = setTimeout(follow, AGAIN_MS);
        else setLog({ lines: state.lines, complete: true });
      };
    };
    follow();
    return () => {
      clearTimeout(timer);
      source?.close();
    };
  }, [run, task, attempt, hasLog]);
  return log;
}
