// The one stream of server-sent events of the app. It connects again by itself, waiting longer each time; after a gap, a
// `lagged` event or a restarted server, everything shown is asked for again.
import { useSyncExternalStore } from "react";
import { PREFIX } from "../api/client";
import type { Event as Change } from "../api/types";
import { store } from "./store";

export type Connection = "connecting" | "live" | "lost";

const EVENT_NAMES = ["hello", "run", "task", "attempt", "backfill", "paused", "view", "project", "lagged"] as const;
const FLUSH_MS = 60;
const HIDDEN_MAX_MS = 60_000;
const WAIT_FIRST_MS = 500;
const WAIT_MAX_MS = 10_000;

let connection: Connection = "connecting";
const watchers = new Set<() => void>();

function show(next: Connection): void {
  if (next === connection) return;
  connection = next;
  for (const changed of watchers) changed();
}

/** Opens the stream and keeps it open. Called once. */
export function follow(): void {
  let wait = WAIT_FIRST_MS;
  let server: string | null = null;
  let gap = false;
  let waiting: Change[] = [];

  const flush = (): void => {
    const events = waiting;
    waiting = [];
    store.apply(events);
  };
  const take = (message: MessageEvent<string>): void => {
    const event = JSON.parse(message.data) as Change;
    if (event.type === "hello") {
      if (gap || (server !== null && server !== event.server)) store.refetchAll();
      server = event.server;
      gap = false;
      wait = WAIT_FIRST_MS;
      show("live");
    } else if (event.type === "lagged") {
      store.refetchAll();
    } else {
      // A backfill sends hundreds of events a second: they are applied together, a few times a second at most.
      if (waiting.push(event) === 1) setTimeout(flush, FLUSH_MS);
    }
  };
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const close = (): void => {
    clearTimeout(timer);
    source?.close();
    gap = true;
    show("lost");
  };
  const open = (): void => {
    clearTimeout(timer);
    source = new EventSource(`${PREFIX}/events`);
    for (const name of EVENT_NAMES) source.addEventListener(name, take);
    source.onerror = () => {
      close();
      timer = setTimeout(open, wait);
      wait = Math.min(WAIT_MAX_MS, wait * 2);
    };
  };
  open();

  // A machine that slept or changed its network may hold a connection that is dead without a word.
  window.addEventListener("offline", close);
  window.addEventListener("online", () => {
    close();
    open();
  });
  let hiddenAt = Date.now();
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      hiddenAt = Date.now();
    } else if (Date.now() - hiddenAt > HIDDEN_MAX_MS) {
      close();
      open();
    }
  });
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (changed) => {
      watchers.add(changed);
      return () => watchers.delete(changed);
    },
    () => connection,
  );
}
