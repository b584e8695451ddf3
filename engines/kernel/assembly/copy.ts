/** Copies bytes between heap addresses, 16 at a time: for the short runs of a message cheaper than a call to memmove. */
export function copyBytes(target: usize, source: usize, sizeBytes: usize): void {
  if (sizeBytes >= 512) {
    memory.copy(target, source, sizeBytes);
    return;
  }
  let at: usize = 0;
  while (at + 16 <= sizeBytes) {
    v128.store(target + at, v128.load(source + at));
    at += 16;
  }
  while (at < sizeBytes) {
    store<u8>(target + at, load<u8>(source + at));
    at++;
  }
}
