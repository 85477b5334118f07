// A run: its graph, its attempts, its log as it grows.
import { expect, it } from "vitest";
import { FLOW, open, useBrowser } from "./browser";

useBrowser();

it("shows a task's attempt and follows its log", async () => {
  const page = await open(`/flows/${FLOW}`);
  const done = page.getByRole("columnheader", { name: /: succeeded/ });
  await done.last().click();
  await page.waitForURL(/\/runs\/\d+/);
  await page.getByRole("button", { name: /^aggregate/ }).click();
  await page.waitForURL(/task=aggregate/);
  await page.getByRole("tab", { name: "Attempt 1" }).waitFor();
  const log = page.getByRole("log");
  await expect.poll(async () => ((await log.textContent()) ?? "").length, { timeout: 20_000 }).toBeGreaterThan(20);
});
