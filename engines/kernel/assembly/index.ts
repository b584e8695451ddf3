// The kernel's exports. AssemblyScript, compiled by `npm run build:kernel` to dist/engines/kernel/kernel.wasm; it works on
// the heap's memory, and addresses are heap addresses. Static data (lookup tables) lies below address 65536.
export * from "./copy";
export * from "./checksum";
export { appendRecord, appendRecordWithHeaders, appendValue, openRecordBatch, sealRecordBatch } from "./record-batch";
export {
  assembleRecordBatch,
  frameRecord,
  frameRecordWithHeaders,
  frameValue,
  openFramedBatch,
} from "./framed-batch";
export * from "./commitlog-message";
