// What a preview of a re-run says of the runs that are called.
import { expect, it } from "vitest";
import type { RerunPreview, RerunTask } from "../../api/types";
import { risky, tasksOf } from "./rerun-dialog";

const task = (name: string, attempts: number, idempotent = true): RerunTask => ({ name, attempts, idempotent, status: "failed" });
const PREVIEW: RerunPreview = {
  run: 1, name: "caller/manual", needs_confirmation: true, tasks: [task("load", 1), task("mail", 2, false), task("sub", 0)],
  called: [{ run: 2, name: "called/manual", parent: "caller/manual", task: "sub", tasks: [task("publish", 1, false), task("tell", 0, false)] }],
};

it("counts the tasks of called runs, and says in which run what has to be confirmed stands", () => {
  expect(tasksOf(PREVIEW).map(({ task, run }) => [run, task.name])).toEqual([
    [null, "load"], [null, "mail"], [null, "sub"], ["called/manual", "publish"], ["called/manual", "tell"],
  ]);
  expect(risky(PREVIEW)).toEqual(["mail", "publish (called/manual)"]);
});
