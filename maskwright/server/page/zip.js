// A zip of files that are compressed already: stored as they are, names in UTF-8, below 4 GiB in all.

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function record(numbers) {
  // [value, size in bytes] pairs, little-endian
  const bytes = new DataView(new ArrayBuffer(numbers.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of numbers) {
    if (size === 2) bytes.setUint16(at, value, true);
    else bytes.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(bytes.buffer);
}

/**
 * @param {{name: string, blob: Blob}[]} files
 * @returns {Promise<Blob>}
 */
export async function makeZip(files) {
  const now = new Date();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const pieces = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const label = new TextEncoder().encode(name);
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    const common = [[20, 2], [0x0800, 2], [0, 2], [time, 2], [date, 2], [crc, 4], [blob.size, 4], [blob.size, 4], [label.length, 2], [0, 2]];
    const head = record([[0x04034b50, 4], ...common]);
    directory.push(record([[0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]]), label);
    pieces.push(head, label, blob);
    offset += head.length + label.length + blob.size;
  }
  const size = directory.reduce((sum, piece) => sum + piece.length, 0);
  const end = record([[0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]]);
  return new Blob([...pieces, ...directory, end], { type: "application/zip" });
}

/** `name` with another ending, and numbered where `taken` has it already; enters it there. */
export function freeName(name, ending, taken) {
  const stem = name.replace(/\.[^.]*$/, "") || "picture";
  let free = `${stem}.${ending}`;
  for (let number = 2; taken.has(free); number++) free = `${stem}-${number}.${ending}`;
  taken.add(free);
  return free;
}
