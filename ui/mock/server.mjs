// A stand-in for the server, for tests and for work on the UI alone: the same API over a made-up project. It also serves
// dist/, as the real server does. `node mock/server.mjs [port]`.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { StreamSide } from "./stream.mjs";
import { PROBLEM, World } from "./world.mjs";

const DIST = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const SSE = { "content-type": "text/event-stream", "cache-control": "no-store" };
const CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

const DASHBOARD = {
  name: "delays", title: "Delays from New York", description: "By scheduled hour of departure, as aircraft leave.", file: "dashboards/delays.yaml",
  panels: [
    { title: "Mean delay in minutes", view: "delays_per_hour", sql: "SELECT origin, window_start, mean_delay FROM delays_per_hour" },
  ],
};

class NotFound extends Error {}

function routes(world, stream) {
  const flow = (name) => {
    if (!world.flows.has(name)) throw new NotFound(`there is no flow ${name}`);
    return world.flows.get(name);
  };
  const run = (id) => {
    const found = world.run(Number(id));
    if (!found) throw new NotFound(`there is no run ${id}`);
    return found;
  };
  const view = (name) => {
    if (name === "late_by_carrier") return stream.failed();
    if (name !== "delays_per_hour") throw new NotFound(`there is no view ${name}`);
    return stream.detail();
  };
  const broken = () => ({ name: "hourly_weather", paused: false, timezone: "America/New_York", counts: { queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 }, recent_runs: [], problems: [PROBLEM] });
  const answer = (sql) => (/\bfail\b/i.test(sql) ? { error: { code: "invalid", message: "there is no table fail", detail: "1:15", hint: "tables are: departures, raw.departures, mart.daily_delays, delays_per_hour" } } : stream.rows(20));
  return [
    ["GET", /^\/project$/, () => ({ name: "flights", folder: "/work/flights", version: "0.1.0", timezone: "America/New_York", started_at: new Date().toISOString(), uptime_seconds: 1, problems: 1, flows: 2, views: 1 })],
    ["GET", /^\/problems$/, () => [PROBLEM]],
    ["GET", /^\/flows$/, () => [world.summary("daily_delays"), broken(), world.summary("weekly_punctuality")]],
    ["GET", /^\/flows\/([^/]+)$/, (_, name) => (flow(name), world.detail(name))],
    ["GET", /^\/flows\/([^/]+)\/grid$/, (_, name) => (flow(name), world.grid(name))],
    ["POST", /^\/flows\/([^/]+)\/(pause|resume)$/, (_, name, deed) => {
      flow(name).paused = deed === "pause";
      world.emit("paused", { flow: name, paused: deed === "pause", at: new Date().toISOString() });
    }],
    ["POST", /^\/flows\/([^/]+)\/backfills$/, ({ body }, name) => (flow(name), world.backfill(name, body))],
    ["POST", /^\/flows\/([^/]+)\/runs$/, ({ body }, name) => ({ run: flow(name).runs.find((other) => other.label === body.date) ?? flow(name).runs[0], created: false })],
    ["GET", /^\/backfills$/, () => world.backfills],
    ["GET", /^\/runs\/(\d+)$/, (_, id) => run(id)],
    ["GET", /^\/runs\/(\d+)\/why$/, (_, id) => world.why(run(id))],
    ["GET", /^\/flows\/([^/]+)\/versions$/, () => [{ version: "0".repeat(32), runs: 0, current: true }]],
    ["GET", /^\/runs\/(\d+)\/rerun-preview$/, ({ query }, id) => world.preview(run(id), query.get("scope"), query.get("task"))],
    ["POST", /^\/runs\/(\d+)\/rerun$/, ({ body }, id) => world.rerun(run(id), body.scope, body.task)],
    ["POST", /^\/runs\/(\d+)\/cancel$/, (_, id) => world.cancel(run(id))],
    ["GET", /^\/views$/, () => [stream.summary()]],
    ["GET", /^\/views\/([^/]+)$/, (_, name) => view(name)],
    ["GET", /^\/views\/([^/]+)\/rows$/, ({ query }, name) => (view(name), stream.rows(Number(query.get("limit") ?? 100)))],
    ["GET", /^\/dashboards$/, () => [DASHBOARD]],
    ["GET", /^\/topics$/, () => stream.topics()],
    ["GET", /^\/topics\/([^/]+)\/records$/, ({ query }) => stream.records(Number(query.get("offset") ?? 0), Number(query.get("limit") ?? 100))],
    ["POST", /^\/sql$/, ({ body }) => answer(body.sql)],
  ];
}

async function bodyOf(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const text = Buffer.concat(pieces).toString();
  return text === "" ? {} : JSON.parse(text);
}

/** Sends a log in pieces, as it would grow. */
async function followLog(response, text, offset) {
  response.writeHead(200, SSE);
  const lines = text.slice(offset).split(/(?<=\n)/);
  let at = offset;
  for (const [i, line] of lines.entries()) {
    at += line.length;
    response.write(`id: ${at}\nevent: log\ndata: ${JSON.stringify({ text: line, next_offset: at, complete: i === lines.length - 1 })}\n\n`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  response.end("event: end\ndata: {}\n\n");
}

async function file(response, path) {
  const safe = normalize(path).replace(/^(\.\.[/\\])+/, "");
  const name = extname(safe) === "" ? "index.html" : safe;
  try {
    const content = await readFile(join(DIST, name));
    response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "application/octet-stream", "content-security-policy": CSP }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}

/** Starts the mock; resolves to its address and a way to stop it. */
export function start(port = 0) {
  const clients = new Set();
  let id = 0;
  const emit = (event) => {
    id += 1;
    for (const client of clients) client.write(`id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  };
  const world = new World(emit);
  const stream = new StreamSide(emit);
  const table = routes(world, stream);

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://mock");
    if (!url.pathname.startsWith("/api/v1/")) return file(response, url.pathname);
    const path = url.pathname.slice("/api/v1".length);
    if (path === "/events") {
      response.writeHead(200, SSE);
      response.write(`event: hello\ndata: ${JSON.stringify({ type: "hello", version: "0.1.0", server: String(process.pid) })}\n\n`);
      clients.add(response);
      return request.on("close", () => clients.delete(response));
    }
    const log = /^\/runs\/(\d+\/)tasks\/([^/]+\/)attempts\/(\d+)\/log\/stream$/.exec(path);
    if (log) return followLog(response, world.logs.get(log.slice(1).join("")) ?? "", Number(url.searchParams.get("offset") ?? 0));
    const json = (status, data) => response.writeHead(status, { "content-type": "application/json" }).end(data === undefined ? "" : JSON.stringify(data));
    try {
      for (const [method, pattern, handle] of table) {
        const found = request.method === method ? pattern.exec(path) : null;
        if (!found) continue;
        const body = method === "POST" ? await bodyOf(request) : {};
        const data = handle({ body, query: url.searchParams }, ...found.slice(1).map(decodeURIComponent));
        return data?.error?.code ? json(400, data.error) : json(200, data);
      }
      throw new NotFound(`there is no ${path}`);
    } catch (error) {
      return json(error instanceof NotFound ? 404 : 500, { code: error instanceof NotFound ? "not_found" : "internal", message: error.message });
    }
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      const stop = () => {
        server.closeAllConnections();
        server.close();
      };
      resolve({ url: `http://127.0.0.1:${server.address().port}`, stop });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await start(Number(process.argv[2] ?? 7070));
  process.stdout.write(`mock at ${url}\n`);
}
