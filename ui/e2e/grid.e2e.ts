// The grid of a year of runs: it scrolls smoothly, keeps few cells on the page, and is walked by keyboard.
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { FLOW, open, useBrowser } from "./browser";

useBrowser();

/** A whole year, unless the server under test has had less time to fill it. */
const COLUMNS_LEAST = Number(process.env.E2E_RUNS_LEAST ?? 365);
const FRAME_MS_MAX = 50;
const WORK_MS_MEDIAN = 12;
const TRIES = 6;
/** How much longer the longest frame may be than on the same page at rest, where that is over the limit already. */
const OVER_REST = 1.5;

interface Frames {
  /** Between frames: what the eye sees. */
  longest: number;
  /** From the start of a frame to after its painting: what the page does. */
  work: number;
}

/** Scrolls the grid from end to end in 180 frames; or, to compare with, lets as many frames pass at rest. */
async function frames(page: Page, moving: boolean): Promise<Frames> {
  return page.evaluate(async (moves) => {
    const grid = document.querySelector<HTMLElement>("[role=grid]");
    if (!grid) throw new Error("no grid");
    const steps = 180;
    const way = grid.scrollWidth - grid.clientWidth;
    const between: number[] = [];
    const work: number[] = [];
    const channel = new MessageChannel();
    let last = 0;
    for (let step = 0; step <= steps; step += 1) {
      const at = await new Promise<number>((resolve) => requestAnimationFrame(resolve));
      const start = performance.now();
      if (last > 0) between.push(at - last);
      last = at;
      if (moves) grid.scrollLeft = way * (1 - step / steps);
      await new Promise<void>((resolve) => {
        // Sent within a frame, it arrives after that frame has been laid out and painted.
        channel.port1.onmessage = () => resolve();
        channel.port2.postMessage(0);
      });
      work.push(performance.now() - start);
    }
    const sorted = (values: number[]): number[] => [...values].sort((a, b) => a - b);
    return { longest: sorted(between).at(-1) ?? 0, work: sorted(work)[Math.floor(work.length / 2)] ?? 0 };
  }, moving);
}

it("scrolls a year of runs smoothly", async () => {
  const page = await open(`/flows/${FLOW}`);
  const grid = page.getByRole("grid");
  await grid.waitFor();
  expect(Number(await grid.getAttribute("aria-colcount"))).toBeGreaterThanOrEqual(COLUMNS_LEAST + 1);
  expect(await page.getByRole("gridcell").count()).toBeLessThan(1000);
  // Other work on the machine holds up frames too, of a page at rest as well: that much is not the grid's doing.
  const passes: { rest: Frames; scrolled: Frames }[] = [];
  const smooth = ({ rest, scrolled }: { rest: Frames; scrolled: Frames }): boolean =>
    scrolled.longest <= Math.max(FRAME_MS_MAX, OVER_REST * rest.longest) && scrolled.work <= WORK_MS_MEDIAN;
  for (let i = 0; i < TRIES && !passes.some(smooth); i += 1) {
    passes.push({ rest: await frames(page, false), scrolled: await frames(page, true) });
  }
  expect(passes.some(smooth), JSON.stringify(passes)).toBe(true);
});

it("is walked with the arrow keys from end to end", async () => {
  const page = await open(`/flows/${FLOW}`);
  const grid = page.getByRole("grid");
  await grid.waitFor();
  const columns = Number(await grid.getAttribute("aria-colcount")) - 1;
  const focused = (): Promise<string | undefined> => page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset.cell);
  await grid.locator('[tabindex="0"]').first().focus();
  expect(await focused()).toBe(`0:${columns - 1}`);
  await page.keyboard.press("ArrowDown");
  expect(await focused()).toBe(`1:${columns - 1}`);
  await page.keyboard.press("Home");
  expect(await focused()).toBe("1:0");
  for (let i = 0; i < 40; i += 1) await page.keyboard.press("ArrowRight");
  expect(await focused()).toBe("1:40");
  expect(await page.evaluate(() => {
    const box = document.activeElement?.getBoundingClientRect();
    const view = document.querySelector("[role=grid]")?.getBoundingClientRect();
    return box && view ? box.left >= view.left && box.right <= view.right + 1 : false;
  })).toBe(true);
  await page.keyboard.press("Control+End");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/runs\/\d+\?task=/);
});
