import { defineConfig } from "vitest/config";

// The tests run the compiled JavaScript, as trials do: what is tested is what is measured.
export default defineConfig({
  test: {
    include: ["dist/**/*.test.js"],
    exclude: ["node_modules"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
  },
});
