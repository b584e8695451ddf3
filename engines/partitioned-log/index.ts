import type { EngineDefinition, OpenOptions, StorageEngine } from "../engine.js";
import { openOnDisk } from "../opening.js";
import { PartitionedLogEngine } from "./partitioned-log-engine.js";
import { settingsSchema } from "./settings.js";
import { attachPartitionedLogWriter } from "./writer.js";

/** One log per partition, byte-compatible with Apache Kafka. */
export const partitionedLog: EngineDefinition = {
  name: "partitioned-log",
  description: "one log per partition, in Apache Kafka's format",
  settingsSchema,
  storesMessages: true,
  async open(options: OpenOptions): Promise<StorageEngine> {
    const settings = settingsSchema.parse(options.settings);
    return openOnDisk(options.directory, () => new PartitionedLogEngine(options, settings));
  },
  attachWriter: attachPartitionedLogWriter,
};
