// Masks as COCO run lengths.

/** The run lengths of COCO's compressed text: 5 bits a character, little ends first, the third on as differences. */
export function readCounts(text) {
  const counts = [];
  let at = 0;
  while (at < text.length) {
    let value = 0;
    let shift = 0;
    let bits;
    do {
      bits = text.charCodeAt(at++) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16) value |= -1 << shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  return counts;
}

/**
 * Paint a mask into an RGBA picture.
 * @param {{size: [number, number], counts: string | number[]}} rle  size is height, width; runs go down the columns,
 *   the first is of zeros
 * @param {Uint8ClampedArray} pixels  height * width * 4
 * @param {number[]} color  four numbers, 0 to 255
 */
export function paintMask({ size: [height, width], counts }, pixels, color) {
  const runs = typeof counts === "string" ? readCounts(counts) : counts;
  let at = 0;
  runs.forEach((run, index) => {
    const end = at + run;
    if (index % 2) {
      for (let place = at; place < end; place++) {
        pixels.set(color, ((place % height) * width + Math.floor(place / height)) * 4);
      }
    }
    at = end;
  });
}
