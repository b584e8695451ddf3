// CRC-32 by slicing: sixteen bytes a step, one table row for each (Kounavis and Berry, 2005). The two tables are filled
// when the kernel starts, below 65536 and above whatever static data the compiler places; every instance over one
// memory writes the same values there, so starting one on another thread disturbs nobody.

const TABLE_SIZE_BYTES: usize = 16 * 256 * 4;
const IEEE_TABLE: usize = 65536 - 2 * TABLE_SIZE_BYTES;
const CASTAGNOLI_TABLE: usize = 65536 - TABLE_SIZE_BYTES;

fillTable(IEEE_TABLE, 0xedb88320);
fillTable(CASTAGNOLI_TABLE, 0x82f63b78);

/** CRC-32 (IEEE 802.3, as zip and RocketMQ's message body have it) of a heap range, going on from `previous` (0 at first). */
export function crc32(address: usize, sizeBytes: usize, previous: u32): u32 {
  return crc(IEEE_TABLE, address, sizeBytes, previous);
}

/** CRC-32C (Castagnoli, as Kafka's record batches have it) of a heap range, going on from `previous` (0 at first). */
export function crc32c(address: usize, sizeBytes: usize, previous: u32): u32 {
  return crc(CASTAGNOLI_TABLE, address, sizeBytes, previous);
}

function fillTable(table: usize, polynomial: u32): void {
  for (let i: u32 = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    store<u32>(table + (<usize>i << 2), value);
  }
  // Row n: what a byte does to the checksum n bytes later.
  for (let at: usize = 1024; at < TABLE_SIZE_BYTES; at += 4) {
    const before = load<u32>(table + at - 1024);
    store<u32>(table + at, (before >>> 8) ^ load<u32>(table + ((before & 0xff) << 2)));
  }
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function crc(table: usize, address: usize, sizeBytes: usize, previous: u32): u32 {
  let value = ~previous;
  let at = address;
  const end = address + sizeBytes;
  while (at + 16 <= end) {
    const a = load<u32>(at) ^ value;
    const b = load<u32>(at, 4);
    const c = load<u32>(at, 8);
    const d = load<u32>(at, 12);
    // The one that waits for the step before comes last.
    value = lookup(table, 8, b) ^ lookup(table, 4, c) ^ lookup(table, 0, d) ^ lookup(table, 12, a);
    at += 16;
  }
  while (at + 4 <= end) {
    value = lookup(table, 0, load<u32>(at) ^ value);
    at += 4;
  }
  while (at < end) {
    value = (value >>> 8) ^ entry(table, 0, (value ^ load<u8>(at)) & 0xff);
    at++;
  }
  return ~value;
}

/** What four bytes do to the checksum `row` bytes later. In pairs, so that no long row of operations waits for the bytes. */
// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function lookup(table: usize, row: usize, word: u32): u32 {
  return (
    (entry(table, row + 3, word & 0xff) ^ entry(table, row + 2, (word >>> 8) & 0xff)) ^
    (entry(table, row + 1, (word >>> 16) & 0xff) ^ entry(table, row, word >>> 24))
  );
}

// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
function entry(table: usize, row: usize, index: u32): u32 {
  return load<u32>(table + (row << 10) + (<usize>index << 2));
}
