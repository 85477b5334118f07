// What the pages have asked for, kept while someone looks at it, and changed by events. A resource is an address of the
// API with a reducer; an event that cannot be applied makes its resource be asked for again, at most once a second.
import { get } from "../api/client";
import type { Event } from "../api/types";
import { REFETCH, type Reduced } from "./reduce";

export interface Resource<T> {
  path: string;
  reduce: (data: T, event: Event) => Reduced<T>;
}

export interface Snapshot<T> {
  data: T | undefined;
  error: Error | undefined;
}

interface Entry {
  resource: Resource<unknown>;
  snapshot: Snapshot<unknown>;
  watchers: Set<() => void>;
  /** Events that came while the answer was under way: it may be older than they are. */
  early: Event[] | null;
  stale: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
}

const REFETCH_MS = 1000;
const EMPTY: Snapshot<never> = { data: undefined, error: undefined };

export class Store {
  readonly #entries = new Map<string, Entry>();

  constructor(private readonly fetcher: (path: string) => Promise<unknown> = get) {}

  snapshot<T>(path: string): Snapshot<T> {
    return (this.#entries.get(path)?.snapshot as Snapshot<T> | undefined) ?? EMPTY;
  }

  watch<T>(resource: Resource<T>, changed: () => void): () => void {
    let entry = this.#entries.get(resource.path);
    if (!entry) {
      entry = { resource: resource as Resource<unknown>, snapshot: EMPTY, watchers: new Set(), early: null, stale: false, timer: undefined };
      this.#entries.set(resource.path, entry);
      void this.#load(entry);
    }
    const watched = entry;
    watched.watchers.add(changed);
    return () => {
      watched.watchers.delete(changed);
      if (watched.watchers.size === 0) {
        clearTimeout(watched.timer);
        this.#entries.delete(resource.path);
      }
    };
  }

  /** Events in their order, to everything that is shown; each watcher is told once. */
  apply(events: readonly Event[]): void {
    for (const entry of this.#entries.values()) {
      entry.early?.push(...events);
      this.#reduce(entry, events);
    }
  }

  /** After a gap nothing is known to be fresh. */
  refetchAll(): void {
    for (const entry of this.#entries.values()) void this.#load(entry);
  }

  refetch(path: string): void {
    const entry = this.#entries.get(path);
    if (entry) void this.#load(entry);
  }

  /** Puts in an answer that a command brought along. */
  put(path: string, data: unknown): void {
    const entry = this.#entries.get(path);
    if (entry) this.#show(entry, { data, error: undefined });
  }

  #reduce(entry: Entry, events: readonly Event[]): void {
    const before = entry.snapshot.data;
    if (before === undefined) return;
    let data: unknown = before;
    let stale = false;
    for (const event of events) {
      const next = entry.resource.reduce(data, event);
      if (next === REFETCH) stale = true;
      else data = next;
    }
    if (data !== before) this.#show(entry, { data, error: undefined });
    if (stale) this.#loadSoon(entry);
  }

  #loadSoon(entry: Entry): void {
    if (entry.timer !== undefined) {
      entry.stale = true;
      return;
    }
    void this.#load(entry);
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      if (entry.stale) {
        entry.stale = false;
        this.#loadSoon(entry);
      }
    }, REFETCH_MS);
  }

  async #load(entry: Entry): Promise<void> {
    const early: Event[] = [];
    entry.early = early;
    try {
      const data = await this.fetcher(entry.resource.path);
      if (entry.early !== early) return;
      entry.early = null;
      this.#show(entry, { data, error: undefined });
      this.#reduce(entry, early);
    } catch (error) {
      if (entry.early !== early) return;
      entry.early = null;
      this.#show(entry, { data: entry.snapshot.data, error: error instanceof Error ? error : new Error(String(error)) });
    }
  }

  #show(entry: Entry, snapshot: Snapshot<unknown>): void {
    entry.snapshot = snapshot;
    for (const changed of entry.watchers) changed();
  }
}

export const store = new Store();
