import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Event } from "../api/types";
import { REFETCH } from "./reduce";
import { Store, type Resource } from "./store";

const EVENT: Event = { type: "project", problems: 0 };

/** A fetcher whose answers are given by hand. */
function byHand(): { fetcher: (path: string) => Promise<unknown>; answer: (value: unknown) => Promise<void>; calls: () => number } {
  const waiting: ((value: unknown) => void)[] = [];
  let calls = 0;
  return {
    fetcher: () => {
      calls += 1;
      return new Promise((resolve) => waiting.push(resolve));
    },
    answer: async (value) => {
      waiting.shift()?.(value);
      await Promise.resolve();
      await Promise.resolve();
    },
    calls: () => calls,
  };
}

const counter: Resource<number> = { path: "/n", reduce: (n) => n + 1 };
const stale: Resource<number> = { path: "/n", reduce: () => REFETCH };

describe("Store", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("asks once for all that watch the same, and forgets when nobody watches", async () => {
    const server = byHand();
    const store = new Store(server.fetcher);
    const stop = [store.watch(counter, () => {}), store.watch(counter, () => {})];
    await server.answer(5);
    expect(store.snapshot("/n").data).toBe(5);
    expect(server.calls()).toBe(1);
    for (const end of stop) end();
    expect(store.snapshot("/n").data).toBeUndefined();
  });

  it("applies events in order and tells watchers once a batch", async () => {
    const server = byHand();
    const store = new Store(server.fetcher);
    const told = vi.fn();
    store.watch(counter, told);
    await server.answer(0);
    told.mockClear();
    store.apply([EVENT, EVENT, EVENT]);
    expect(store.snapshot("/n").data).toBe(3);
    expect(told).toHaveBeenCalledTimes(1);
  });

  it("applies events that came while the answer was under way", async () => {
    const server = byHand();
    const store = new Store(server.fetcher);
    store.watch(counter, () => {});
    store.apply([EVENT]);
    await server.answer(10);
    expect(store.snapshot("/n").data).toBe(11);
  });

  it("asks again at once, then at most once a second, and not when idle", async () => {
    const server = byHand();
    const store = new Store(server.fetcher);
    store.watch(stale, () => {});
    await server.answer(1);
    for (let i = 0; i < 50; i += 1) store.apply([EVENT]);
    expect(server.calls()).toBe(2);
    await server.answer(2);
    vi.advanceTimersByTime(1000);
    expect(server.calls()).toBe(3);
    await server.answer(3);
    vi.advanceTimersByTime(10_000);
    expect(server.calls()).toBe(3);
    expect(store.snapshot("/n").data).toBe(3);
  });

  it("shows only the newest of two answers under way", async () => {
    const server = byHand();
    const store = new Store(server.fetcher);
    store.watch(counter, () => {});
    store.refetch("/n");
    await server.answer("old");
    expect(store.snapshot("/n").data).toBeUndefined();
    await server.answer("new");
    expect(store.snapshot("/n").data).toBe("new");
  });

  it("keeps what it has when asking again fails", async () => {
    let fail = false;
    const store = new Store(() => (fail ? Promise.reject(new Error("gone")) : Promise.resolve(1)));
    store.watch(counter, () => {});
    await vi.runAllTimersAsync();
    fail = true;
    store.refetch("/n");
    await vi.runAllTimersAsync();
    expect(store.snapshot("/n")).toMatchObject({ data: 1, error: { message: "gone" } });
  });
});
