import { afterEach, expect, test } from "vitest";
import { preparePeer } from "./peer.js";

const path = process.env.PATH;

afterEach(() => {
  process.env.PATH = path;
});

test("a machine without Java is told so in one line", async () => {
  process.env.PATH = "/nonexistent";
  const setup = await preparePeer("kafka");
  expect(setup).toEqual({ state: "absent", reason: "Skipped: compatibility with kafka, because there is no Java." });
});
