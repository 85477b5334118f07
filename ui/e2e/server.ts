// The server under test: the one at BASE_URL, else the mock over the built dist/.
import type { TestProject } from "vitest/node";
import { start } from "../mock/server.mjs";

declare module "vitest" {
  export interface ProvidedContext {
    base: string;
    mocked: boolean;
  }
}

export default async function setup(project: TestProject): Promise<(() => void) | undefined> {
  const given = process.env.BASE_URL?.replace(/\/$/, "");
  if (given) {
    project.provide("base", given);
    project.provide("mocked", false);
    return undefined;
  }
  const mock = await start();
  project.provide("base", mock.url);
  project.provide("mocked", true);
  return mock.stop;
}
