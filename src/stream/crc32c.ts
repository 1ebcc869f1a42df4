/** The polynomial 0x1EDC6F41 with its bits reversed. */
const CASTAGNOLI = 0x82f63b78;
let table: Uint32Array | null = null;

/** CRC-32C, of Castagnoli (RFC 3720, appendix B.4); zlib's crc32() is another. */
export function crc32c(bytes: Uint8Array): number {
  table ??= makeTable();
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function makeTable(): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CASTAGNOLI : crc >>> 1;
    return crc;
  });
}
