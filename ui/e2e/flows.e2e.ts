// The list of flows, and getting about by keyboard alone.
import { expect, it } from "vitest";
import { FLOW, mocked, open, useBrowser } from "./browser";

useBrowser();

it("lists the flows with schedule and last runs", async () => {
  const page = await open("/");
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: FLOW, exact: true }) });
  expect(await row.textContent()).toContain("0 6 * * *");
  await row.getByRole("link", { name: /succeeded|failed|running|queued/ }).first().waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
});

it.runIf(mocked)("shows a broken file with its place, the line and the remedy", async () => {
  const page = await open("/flows");
  const problems = page.getByRole("region", { name: /is broken/ });
  const text = (await problems.textContent()) ?? "";
  for (const part of ["flows/hourly_weather.yaml:7:13", "needs: [aggregat]", "did you mean aggregate?"]) expect(text).toContain(part);
});

it("is reached by keyboard: skip link, then a flow", async () => {
  const page = await open("/flows");
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to the content");
  await page.keyboard.press("Enter");
  const link = page.getByRole("link", { name: FLOW, exact: true });
  await link.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: FLOW }).waitFor();
  expect(new URL(page.url()).pathname).toBe(`/flows/${FLOW}`);
  await page.goBack();
  await page.getByRole("heading", { level: 1, name: "Flows" }).waitFor();
});

it("says so when there is no such page, flow or run", async () => {
  const page = await open("/nowhere");
  await page.getByRole("heading", { name: "There is no such page" }).waitFor();
});
