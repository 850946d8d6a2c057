// Touching up: strokes that say keep or remove, in pixels of the picture.

const COLORS = { keep: "rgb(0 160 90 / .55)", remove: "rgb(220 40 60 / .55)" };

/**
 * Put strokes onto a mask.
 * @param {Blob} mask  a gray picture
 * @param {{kind: "keep" | "remove", size: number, points: [number, number][]}[]} strokes
 * @returns {Promise<Blob>} PNG, the mask as its transparency
 */
export async function applyStrokes(mask, strokes) {
  const picture = await createImageBitmap(mask);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  for (const stroke of strokes) {
    drawStroke(context, stroke, stroke.kind === "keep" ? "white" : "black", ([x, y]) => [x, y], 1);
  }
  // A canvas always has transparency, and where a picture has some the server reads that as the mask.
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) pixels.data[at + 3] = pixels.data[at];
  context.putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

function drawStroke(context, { size, points }, color, place, scale) {
  context.strokeStyle = context.fillStyle = color;
  context.lineWidth = size * scale;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  const [x, y] = place(points[0]);
  context.moveTo(x, y);
  for (const point of points.length > 1 ? points.slice(1) : [points[0]]) context.lineTo(...place(point));
  context.stroke();
}

/** The canvas one paints on. It knows where it lies in the picture and hands finished strokes on. */
export class Brush {
  kind = "keep";
  size = 40; // pixels of the picture
  #canvas;
  #stroke = null;
  #pending = []; // strokes whose result is not here yet
  #cursor = null;
  #region = [0, 0, 1, 1];
  #finished;

  /** @param {HTMLCanvasElement} canvas  @param {(stroke: object) => void} finished */
  constructor(canvas, finished) {
    this.#canvas = canvas;
    this.#finished = finished;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", () => this.#lift());
    canvas.addEventListener("pointercancel", () => this.#lift());
    canvas.addEventListener("pointerleave", () => {
      if (!this.#stroke) this.#cursor = null;
      this.draw();
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.draw());
    canvas.addEventListener("focus", () => this.draw());
  }

  /** Say which part of the picture the canvas shows: x1, y1, x2, y2. */
  place(region) {
    this.#region = region;
    const box = this.#canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    this.#canvas.width = Math.max(1, Math.round(box.width * ratio));
    this.#canvas.height = Math.max(1, Math.round(box.height * ratio));
    this.draw();
  }

  /** The strokes so far are in the picture: show them no longer. */
  settle() {
    this.#pending = [];
    this.draw();
  }

  draw() {
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const place = ([x, y]) => [(x - this.#region[0]) * this.#scale, (y - this.#region[1]) * this.#scale];
    for (const stroke of [...this.#pending, ...(this.#stroke ? [this.#stroke] : [])]) {
      drawStroke(context, stroke, COLORS[stroke.kind], place, this.#scale);
    }
    if (!this.#cursor) return;
    const [x, y] = place(this.#cursor);
    for (const [color, width] of [["#000", 3], ["#fff", 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = width * window.devicePixelRatio;
      context.beginPath();
      context.arc(x, y, (this.size / 2) * this.#scale, 0, 7);
      context.stroke();
    }
  }

  // device pixels of the canvas for one of the picture
  get #scale() {
    return this.#canvas.width / (this.#region[2] - this.#region[0]);
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    const [x1, y1, x2, y2] = this.#region;
    return [
      x1 + ((event.clientX - box.left) / box.width) * (x2 - x1),
      y1 + ((event.clientY - box.top) / box.height) * (y2 - y1),
    ];
  }

  #press(event) {
    if (event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#cursor = this.#point(event);
    this.#stroke = { kind: this.kind, size: this.size, points: [this.#cursor] };
    this.draw();
  }

  #move(event) {
    this.#cursor = this.#point(event);
    if (this.#stroke) this.#stroke.points.push(...(event.getCoalescedEvents?.() ?? [event]).map((one) => this.#point(one)));
    this.draw();
  }

  #lift() {
    if (!this.#stroke) return;
    const stroke = this.#stroke;
    this.#stroke = null;
    this.#add(stroke);
  }

  #add(stroke) {
    this.#pending.push(stroke);
    this.draw();
    this.#finished(stroke);
  }

  #key(event) {
    const [x1, y1, x2, y2] = this.#region;
    this.#cursor ??= [(x1 + x2) / 2, (y1 + y2) / 2];
    const step = Math.max(1, this.size / (event.shiftKey ? 1 : 4));
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      const [dx, dy] = moves[event.key];
      this.#cursor = [
        Math.min(Math.max(this.#cursor[0] + dx, x1), x2),
        Math.min(Math.max(this.#cursor[1] + dy, y1), y2),
      ];
    } else if (event.key === " " || event.key === "Enter") {
      this.#add({ kind: this.kind, size: this.size, points: [[...this.#cursor]] });
    } else return;
    event.preventDefault();
    this.draw();
  }
}
