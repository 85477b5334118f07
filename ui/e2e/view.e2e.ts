// A view in motion: its numbers, chart and table change without the page being loaded again.
import { expect, it } from "vitest";
import { base, mocked, open, shoot, tolerate, useBrowser, VIEW } from "./browser";

useBrowser();

const CHANGE_MS = 30_000;

async function stateOf(): Promise<string> {
  return ((await (await fetch(`${base}/api/v1/views/${VIEW}`)).json()) as { state: string }).state;
}

it("lists the view with its watermark and late rows", async () => {
  const page = await open("/views");
  await page.getByRole("link", { name: VIEW, exact: true }).waitFor();
  for (const column of ["Watermark", "Late rows"]) await page.getByRole("columnheader", { name: column }).waitFor();
});

it("updates live", async () => {
  const page = await open(`/views/${VIEW}`);
  await page.getByRole("img", { name: /by window_start, one line for each origin/ }).waitFor();
  await page.evaluate(() => Object.assign(window, { stays: true }));
  const numbers = page.locator(".number-value");
  const watermark = numbers.first();
  const before = await watermark.textContent();
  // A view whose input has ended stands still, rightly.
  if ((await stateOf()) === "running") await expect.poll(() => watermark.textContent(), { timeout: CHANGE_MS }).not.toBe(before);
  expect(await page.evaluate(() => "stays" in window)).toBe(true);
  await shoot(page, "view-live");
});

it("reads the chart with the keyboard and changes what is drawn", async () => {
  const page = await open(`/views/${VIEW}`);
  const chart = page.getByRole("img", { name: /by window_start/ });
  await chart.focus();
  await page.keyboard.press("ArrowLeft");
  await page.getByRole("status").filter({ hasText: "JFK" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "mean_delay" }).click();
  await page.getByRole("heading", { name: /^mean_delay by window_start/ }).waitFor();
  const answer = page.waitForResponse(/limit=1500/);
  await page.getByRole("button", { name: "1,500" }).click();
  await answer;
  await page.getByRole("heading", { name: /^mean_delay by window_start/ }).waitFor();
});

it("shows what its stages are doing", async () => {
  const page = await open(`/views/${VIEW}`);
  const panel = page.getByRole("region", { name: "Dataflow" });
  // Of a view whose input has ended, nothing runs any more.
  if ((await stateOf()) !== "running") return;
  await panel.getByText(/% full/).first().waitFor();
  for (const column of ["Stage", "Time", "State", "Watermark"]) await panel.getByRole("columnheader", { name: column }).waitFor();
  expect(await panel.getByText(/% busy/).count()).toBeGreaterThan(1);
  await page.getByText("Latency", { exact: true }).waitFor();
  await panel.scrollIntoViewIfNeeded();
  await shoot(page, "view-dataflow");
});

// A view of the mock has what the demo has not: a system that is away, rows that cannot be read, a failure.
it.runIf(mocked)("says what it waits for, which rows it cannot read, and why it has failed", async () => {
  for (const language of ["en", "ko"] as const) {
    const page = await open(`/views/${VIEW}`, { language });
    await page.getByRole("status").filter({ hasText: "Connection refused" }).waitFor();
    const bad = page.getByRole("group", { name: language === "en" ? "Rows that cannot be read" : "읽을 수 없는 행" });
    await bad.getByText("topic departures, partition 0, offset 40211").waitFor();
    // What somebody else has written is text, whatever it looks like.
    await bad.getByText("<script>alert(").waitFor();
    expect(await bad.locator("script").count()).toBe(0);
    await shoot(page, `view-waits-${language}`);
    await bad.scrollIntoViewIfNeeded();
    await shoot(page, `view-recovery-${language}`);
    const failed = await open("/views/late_by_carrier", { language });
    await failed.getByRole("alert").filter({ hasText: "mulgil view resume late_by_carrier" }).waitFor();
    await failed.getByRole("button", { name: language === "en" ? "Resume" : "재개" }).waitFor();
    await shoot(failed, `view-failed-${language}`);
  }
});

it("comes back after the connection was lost", async () => {
  const page = await open(`/views/${VIEW}`);
  await page.getByText("Live", { exact: true }).waitFor();
  // What the page happens to ask for while it is cut off fails, and the browser says so.
  tolerate(/ERR_INTERNET_DISCONNECTED/);
  await page.context().setOffline(true);
  await page.getByText("Connection lost, trying again").waitFor();
  await page.context().setOffline(false);
  await page.getByText("Live", { exact: true }).waitFor();
  if ((await stateOf()) !== "running") return;
  const watermark = page.locator(".number-value").first();
  const before = await watermark.textContent();
  await expect.poll(() => watermark.textContent(), { timeout: CHANGE_MS }).not.toBe(before);
});

it("answers SQL", async () => {
  const page = await open("/sql");
  await page.getByLabel("SQL statement").fill(`SELECT * FROM ${VIEW} ORDER BY window_start DESC LIMIT 20`);
  await page.keyboard.press("Control+Enter");
  await page.getByRole("columnheader", { name: /window_start/ }).waitFor();
  expect(await page.getByRole("row").count()).toBeGreaterThan(1);
});
