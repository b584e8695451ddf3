/** The process of the device probe: its input and its results are single IPC messages. */
import { probeDevice } from "./probe.js";
import { probeInputSchema } from "./probe-protocol.js";

// The terminal sends Ctrl-C to this process too; the command decides what becomes of it.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(1));
process.once("message", (message) => {
  process.send!(probeDevice(probeInputSchema.parse(message)), () => process.exit(0));
});
