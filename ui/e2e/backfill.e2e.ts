// A backfill is planned before it runs, and watched while it runs.
import { it } from "vitest";
import { FLOW, mocked, open, useBrowser } from "./browser";

useBrowser();

it("plans a backfill as the form is filled in", async () => {
  const page = await open(`/flows/${FLOW}`);
  await page.getByRole("button", { name: "Backfill" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("From").fill("2013-02-01");
  await dialog.getByLabel("To, included").fill("2013-02-28");
  await dialog.getByLabel("Which intervals").selectOption("all");
  await dialog.getByText(/28 runs will start/).waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
});

it.runIf(mocked)("shows its progress live, in the bar and in the grid", async () => {
  const page = await open("/flows/weekly_punctuality");
  await page.getByRole("button", { name: "Backfill" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("From").fill("2014-01-01");
  await dialog.getByLabel("To, included").fill("2014-01-31");
  await dialog.getByText(/31 runs will start/).waitFor();
  await dialog.getByRole("button", { name: "Start" }).click();
  await page.getByRole("progressbar").waitFor();
  await page.getByText(/all 31 runs succeeded/).waitFor();
  await page.getByRole("columnheader", { name: /2014-01-31: succeeded/ }).waitFor();
});
