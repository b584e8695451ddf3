import type { EngineDefinition } from "../engine.js";
import { openOnDisk } from "../opening.js";
import { attachCommitlogWriter } from "./attach.js";
import { openCommitlog } from "./open.js";
import { settingsSchema } from "./settings.js";

/** RocketMQ's layout: one commitlog of mapped files for all queues, and a consumequeue of fixed units for each. */
export const commitlog: EngineDefinition = {
  name: "commitlog",
  description: "RocketMQ's layout: one shared commitlog of mapped files, and a consumequeue per queue.",
  settingsSchema,
  storesMessages: true,
  open: (options) => openOnDisk(options.directory, () => openCommitlog(options)),
  attachWriter: attachCommitlogWriter,
};
