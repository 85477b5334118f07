// A headless Chromium with a page, and the few things that every browser test does. Any error in the page's console or
// script fails the test that caused it.
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";

const ARGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const SCREENSHOTS = fileURLToPath(new URL("screenshots/", import.meta.url));

export const base = inject("base");
export const mocked = inject("mocked");
export const FLOW = process.env.E2E_FLOW ?? "daily_delays";
export const VIEW = process.env.E2E_VIEW ?? "delays_per_hour";

let browser: Browser;
let faults: string[] = [];
let expected: RegExp | undefined;

/** Starts the browser for a test file and closes it at its end. */
export function useBrowser(): void {
  beforeAll(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS, headless: true });
  });
  afterEach(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
    const seen = faults.filter((fault) => !expected?.test(fault));
    faults = [];
    expected = undefined;
    expect(seen, "errors in the page").toEqual([]);
  });
  afterAll(async () => {
    await browser.close();
  });
}

/** What a test does to the page on purpose may make the browser complain like this, or not: until the test's end. */
export function tolerate(fault: RegExp): void {
  expected = fault;
}

export interface Look {
  theme?: "light" | "dark";
  language?: "en" | "ko";
}

/** A fresh page at `path`, or at a whole address, with nothing remembered but the look. */
export async function open(path: string, { theme = "light", language = "en" }: Look = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: theme, locale: language === "ko" ? "ko-KR" : "en-US" });
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(message.text());
  });
  await page.goto(new URL(path, base).href);
  await page.locator("main h1").first().waitFor();
  return page;
}

export async function shoot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png` });
}
