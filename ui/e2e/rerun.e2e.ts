// The failed run: its error with file and line, mending it, and the click on Re-run. Against a real server
// MULGIL_PROJECT_DIR is the project's folder and MULGIL_MEND_COMMAND, run in it, mends the file of the failed run.
import { execSync } from "node:child_process";
import { expect, it } from "vitest";
import { FLOW, mocked, open, shoot, useBrowser } from "./browser";

useBrowser();

const project = process.env.MULGIL_PROJECT_DIR;
const mend = process.env.MULGIL_MEND_COMMAND;
const RERUN_MS = 60_000;

it.runIf(mocked || (project !== undefined && mend !== undefined))("re-runs what failed, once its cause is gone", async () => {
  const page = await open(`/flows/${FLOW}`);
  await page.getByRole("button", { name: "Next failed run" }).click();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/runs\/\d+/);
  const failure = page.getByRole("region", { name: /failed$/ });
  await failure.waitFor();
  expect(await failure.textContent()).toMatch(/[\w./-]+\.csv:\d+/);
  await shoot(page, "run-failed");
  const attempts = await page.getByRole("tab").count();

  if (project && mend) execSync(mend, { cwd: project, stdio: "inherit" });
  await page.getByRole("button", { name: "Re-run", exact: true }).click();
  const dialog = page.getByRole("dialog");
  const again = dialog.getByRole("listitem");
  await again.first().waitFor();
  const tasks = await again.allTextContents();
  expect(tasks).toContain("land");
  await shoot(page, "rerun-preview");
  const confirm = dialog.getByRole("checkbox");
  if (await confirm.count()) await confirm.check();
  await dialog.getByRole("button", { name: `Re-run ${tasks.length} tasks` }).click();

  // Nothing is reloaded: the page learns by events that the run has succeeded.
  await page.locator(".page-name").getByText("succeeded").waitFor({ timeout: RERUN_MS });
  expect(await page.getByRole("region", { name: /failed$/ }).count()).toBe(0);
  await page.getByRole("button", { name: /^land/ }).click();
  await page.getByRole("tab", { name: `Attempt ${attempts + 1}` }).waitFor();
  await shoot(page, "run-mended");
});
