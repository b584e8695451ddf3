/**
 * Copies bytes between heap addresses that do not overlap: 16 bytes a step, the last step overlapping the one before, so
 * that nothing is touched beyond either end. For the short runs of a message cheaper than a call to memmove; inlined where
 * the kernel itself copies.
 */
// @ts-ignore: AssemblyScript's decorator of a function, which TypeScript has none of
@inline
export function copyBytes(target: usize, source: usize, sizeBytes: usize): void {
  if (sizeBytes >= 2048) {
    memory.copy(target, source, sizeBytes);
  } else if (sizeBytes >= 16) {
    const last = sizeBytes - 16;
    let at: usize = 0;
    while (at + 64 <= sizeBytes) {
      v128.store(target + at, v128.load(source + at));
      v128.store(target + at, v128.load(source + at, 16), 16);
      v128.store(target + at, v128.load(source + at, 32), 32);
      v128.store(target + at, v128.load(source + at, 48), 48);
      at += 64;
    }
    while (at < last) {
      v128.store(target + at, v128.load(source + at));
      at += 16;
    }
    v128.store(target + last, v128.load(source + last));
  } else if (sizeBytes >= 8) {
    store<u64>(target, load<u64>(source));
    store<u64>(target + sizeBytes - 8, load<u64>(source + sizeBytes - 8));
  } else {
    for (let at: usize = 0; at < sizeBytes; at++) store<u8>(target + at, load<u8>(source + at));
  }
}
