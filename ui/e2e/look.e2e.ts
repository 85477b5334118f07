// Every page in light, dark and Korean: no accessibility violation by axe, and a screenshot to be looked at.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { base, FLOW, mocked, open, shoot, useBrowser, VIEW, type Look } from "./browser";

useBrowser();

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LOOKS: readonly (readonly [string, Look])[] = [
  ["light", { theme: "light" }], ["dark", { theme: "dark" }], ["korean", { theme: "light", language: "ko" }],
];
const PAGES = ["/flows", `/flows/${FLOW}`, "run", "/views", `/views/${VIEW}`, "/dashboards", "/dashboards/delays", "/topics", "/sql", "/nowhere", ...(mocked ? [] : ["/tables", "/workers"])];

async function pathOf(page: string): Promise<string> {
  if (page !== "run") return page;
  const grid = (await (await fetch(`${base}/api/v1/flows/${FLOW}/grid`)).json()) as { runs: { id: number; status: string }[] };
  const run = grid.runs.find((other) => other.status === "failed") ?? grid.runs.at(-1);
  return `/runs/${run?.id ?? 1}`;
}

const TOLD_MAX = 5;
const LOADED_MS = 30_000;

interface Violation {
  id: string;
  nodes: { html: string; failureSummary?: string }[];
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run: () => Promise<{ violations: Violation[] }> } };
    return (await axe.run()).violations;
  });
  const all = found.flatMap((violation) => violation.nodes.map((node) => `${violation.id}: ${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`));
  return all.slice(0, TOLD_MAX);
}

it.each(LOOKS.flatMap(([name, look]) => PAGES.map((page) => [page, name, look] as const)))("%s in %s", async (path, name, look) => {
  const page = await open(await pathOf(path), look);
  await page.waitForLoadState("load");
  // A page may load several things.
  await expect.poll(() => page.locator(".loading").count(), { timeout: LOADED_MS }).toBe(0);
  if (path === "/sql") {
    await page.keyboard.press("Tab");
    await page.getByRole("textbox").press("Control+Enter");
    await page.getByRole("table").waitFor();
  }
  await shoot(page, `${path.replace(/\W+/g, "-").replace(/^-/, "")}-${name}`);
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.lang)).toBe(look.language ?? "en");
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe(look.theme);
});

it("switches language and theme, and remembers both", async () => {
  const page = await open("/flows");
  await page.getByLabel("Language").selectOption("ko");
  await page.getByRole("heading", { level: 1, name: "플로" }).waitFor();
  await page.getByRole("button", { name: "테마: 어둡게" }).click();
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "플로" }).waitFor();
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
});

it("keeps its head on a narrow screen", async () => {
  const page = await open(`/flows/${FLOW}`);
  await page.setViewportSize({ width: 420, height: 860 });
  await shoot(page, "flow-narrow");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(420);
});
