// How the app is built (into dist/, which the server crate embeds), served in development, and unit-tested.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env.MULGIL_URL ?? "http://127.0.0.1:7070";

export default defineConfig({
  plugins: [react()],
  build: { target: "es2022", sourcemap: false, assetsInlineLimit: 0 },
  server: { proxy: { "/api": { target: server, changeOrigin: false } } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
