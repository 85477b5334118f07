// Dashboards: panels that change with their views. With AB_URL, the address of the project ab-test: of a view of two layers the
// boundary between them is marked, and moves while the page is looked at.
import { expect, it } from "vitest";
import { open, shoot, useBrowser } from "./browser";

useBrowser();

const AB_URL = process.env.AB_URL;
const PATIENCE_MS = 60_000;

it("is found from the rail, and draws its panels", async () => {
  const page = await open("/dashboards");
  await page.getByRole("link", { name: "Delays from New York" }).click();
  await page.getByRole("heading", { level: 1, name: "Delays from New York" }).waitFor();
  await page.getByRole("img", { name: /^Mean delay in minutes/ }).waitFor();
  const missing = await open("/dashboards/nothing");
  await missing.getByText("There is no dashboard nothing").waitFor();
});

/** A request a minute, from a minute of the second day of the test on. */
function lines(first: number, count: number): string {
  const two = (number: number): string => String(number).padStart(2, "0");
  const line = (minute: number): string =>
    `GET 10.0.0.1 /purchase/u${minute % 40}/list?itembox=${minute % 3 === 0 ? 1 : 0}&minprice=20&since=20220831-${two(Math.floor(minute / 60))}${two(minute % 60)}00 HTTP/1.1`;
  return Array.from({ length: count }, (_, i) => line(first + i)).join("\n");
}

it.runIf(AB_URL)("marks what comes from which layer, and the boundary moves", async () => {
  const api = `${AB_URL ?? ""}/api/v1`;
  const post = async (path: string, body?: string): Promise<void> => {
    const answer = await fetch(api + path, { method: "POST", headers: { "content-type": "text/plain" }, ...(body === undefined ? {} : { body }) });
    expect(answer.status, await answer.text()).toBe(200);
  };
  const archived = async (): Promise<string> => {
    const view = (await (await fetch(`${api}/views/ab_test`)).json()) as { layers?: { archives: { watermark?: string }[] } };
    return view.layers?.archives[0]?.watermark ?? "";
  };
  const refresh = async (hour: string): Promise<void> => {
    await expect.poll(archived, { timeout: PATIENCE_MS }).toMatch(new RegExp(`T${hour}`));
    await post("/views/ab_test/refresh");
  };
  await post("/topics/access", lines(0, 200));
  const page = await open(`${AB_URL ?? ""}/dashboards/ab_test`);
  const boundary = page.locator(".boundary");
  const chart = page.getByRole("img", { name: /^Requests, every/ });
  const mark = async (): Promise<number> => Number(await chart.locator(".chart-boundary").getAttribute("x1"));
  await expect.poll(() => boundary.textContent(), { timeout: PATIENCE_MS }).toContain("none yet");
  await refresh("03");
  // The page was not loaded again: it has heard of it.
  await expect.poll(() => boundary.textContent(), { timeout: PATIENCE_MS }).toContain("Aug 31, 2022, 03:00");
  await page.getByText("from batch, up to Aug 31, 2022, 03:00").first().waitFor();
  // Nothing is behind it yet; when the stream has gone on, it stands in the middle.
  const whole = await mark();
  await post("/topics/access", lines(200, 180));
  await expect.poll(mark, { timeout: PATIENCE_MS }).toBeLessThan(whole - 100);
  const before = await mark();
  await shoot(page, "dashboard-two-layers");
  await refresh("06");
  await expect.poll(() => boundary.textContent(), { timeout: PATIENCE_MS }).toContain("Aug 31, 2022, 06:00");
  await expect.poll(mark, { timeout: PATIENCE_MS }).toBeGreaterThan(before);
  await shoot(page, "dashboard-moved");
  await page.setViewportSize({ width: 420, height: 860 });
  await shoot(page, "dashboard-narrow");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(420);
});
