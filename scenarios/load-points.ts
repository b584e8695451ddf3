import { defineScenario } from "../runners/scenario.js";

/**
 * Below its capacity an engine answers in the time that its work takes; near it messages wait for each other. Steady
 * arrivals wait for the engine's own stalls alone, Poisson arrivals also for each other's bursts. Rates are fractions of
 * each engine's own closed loop, so that both are asked the same of what they can do.
 */
export default defineScenario({
  id: "load-points",
  title: "Response time against load",
  question: "How does response time grow as the load nears each engine's capacity?",
  expectation:
    "The tail grows much faster than the median, and more under Poisson than under steady arrivals; at half the capacity either is short.",
  refutedIf:
    "Under Poisson arrivals the p99 response time at the highest load is less than twice that at the lowest, in either engine.",
  figure: "responseTime",
  engines: ["partitioned-log", "commitlog"],
  baselines: [],
  topology: { topicCount: 1, partitionsPerTopic: 8 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async" },
  load: {
    inFlight: 1_024,
    open: {
      capacityFractions: { smoke: [0.7], quick: [0.5, 0.9], full: [0.5, 0.7, 0.8, 0.9] },
      arrivals: { smoke: ["poisson"], quick: ["poisson"], full: ["constant", "poisson"] },
    },
  },
  vary: [],
});
