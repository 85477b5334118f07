import { expect, it } from "vitest";
import { tellCron } from "./cron";

it.each([
  ["0 6 * * *", { key: "cron.daily", values: { time: "06:00" } }],
  ["30 23 * * *", { key: "cron.daily", values: { time: "23:30" } }],
  ["5 * * * *", { key: "cron.hourly", values: { minute: "5" } }],
  ["0 6 * * 1", null],
  ["*/5 * * * *", null],
  ["0 6-8 * * *", null],
])("%s", (cron, told) => {
  expect(tellCron(cron)).toEqual(told);
});
