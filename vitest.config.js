import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

// The tests run the compiled JavaScript, as trials do: what is tested is what is measured.
export default defineConfig({
  test: {
    include: ["dist/**/*.test.js"],
    exclude: ["node_modules"],
    setupFiles: ["./vitest.setup.js"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    // Many tests wait for processes of their own, so two at a time pay on two processors as well.
    poolOptions: { forks: { maxForks: Math.max(2, availableParallelism() - 1) } },
  },
});
