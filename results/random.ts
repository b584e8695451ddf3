/** The next number of a seeded sequence, uniform in [0, 1), with 32 random bits. */
export type Random = () => number;

/**
 * A seeded generator: equal seeds give equal sequences on every machine. Never for secrets.
 *
 * xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021); its state is filled
 * from the seed by splitmix32, so that neighbouring seeds give unrelated sequences.
 */
export function seededRandom(seed: number): Random {
  let mixed = seed | 0;
  const next32 = (): number => {
    mixed = (mixed + 0x9e3779b9) | 0;
    let word = mixed ^ (mixed >>> 16);
    word = Math.imul(word, 0x21f0aaad);
    word ^= word >>> 15;
    word = Math.imul(word, 0x735a2d97);
    return word ^ (word >>> 15);
  };
  let a = next32();
  let b = next32();
  let c = next32();
  let d = next32();
  return () => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return (result >>> 0) / 0x1_0000_0000;
  };
}

/** Shuffles `items` in place, every order equally likely (Fisher and Yates), and returns them. */
export function shuffle<T>(items: T[], random: Random): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const kept = items[last]!;
    items[last] = items[other]!;
    items[other] = kept;
  }
  return items;
}
