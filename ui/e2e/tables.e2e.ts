// The matrix of tables and intervals is turned page by page, back to where the schedule begins.
import { expect, it } from "vitest";
import { FLOW, mocked, open, shoot, useBrowser } from "./browser";

useBrowser();

const PAGES_MAX = 100;
const PATIENCE = { timeout: 30_000 };

it.skipIf(mocked)("turns to earlier intervals, to the first of all, and back", async () => {
  const page = await open("/tables");
  const panel = page.getByRole("region", { name: FLOW });
  const [earlier, later] = ["Earlier intervals", "Later intervals"].map((name) => panel.getByRole("button", { name }));
  const first = () => panel.getByRole("columnheader").nth(1).innerText();
  const latest = await first();
  expect(await later?.isDisabled()).toBe(true);
  await earlier?.click();
  await expect.poll(first, PATIENCE).not.toBe(latest);
  const before = await first();
  expect(before < latest, `${before} is before ${latest}`).toBe(true);
  await shoot(page, "tables-earlier");

  const end = panel.getByText("The schedule has no earlier intervals.");
  const turnedFrom = async (shown: string) => {
    if ((await end.count()) > 0) return true;
    // While a page loads there is no head.
    const head = await panel.getByRole("columnheader").nth(1).textContent({ timeout: 100 }).catch(() => shown);
    return head !== shown;
  };
  let pages = 1;
  for (; pages < PAGES_MAX && (await end.count()) === 0; pages += 1) {
    const shown = await first();
    await earlier?.click();
    await expect.poll(() => turnedFrom(shown), PATIENCE).toBe(true);
  }
  expect(await earlier?.isDisabled()).toBe(true);
  await shoot(page, "tables-before-the-first");
  for (; pages > 0; pages -= 1) await later?.click();
  await expect.poll(first, PATIENCE).toBe(latest);
});
