// What is seen of one picture: before and after with a divider, the cut-out, the mask, coloured parts, the brush.

const byId = (id) => document.getElementById(id);

export class Stage {
  view = "compare";
  #box = byId("canvasbox");
  #frame = byId("frame");
  #before = byId("before");
  #after = byId("after");
  #slider = byId("slider");
  #size = [1, 1]; // of what is shown, width and height
  #actual = false;
  #laidOut;

  /** @param {() => void} laidOut  called when the frame has another size */
  constructor(laidOut) {
    this.#laidOut = laidOut;
    this.#slider.addEventListener("input", () => this.#cut());
    new ResizeObserver(() => this.layout()).observe(this.#box);
    byId("actual").addEventListener("click", (event) => {
      this.#actual = !this.#actual;
      event.currentTarget.setAttribute("aria-pressed", String(this.#actual));
      this.layout();
    });
    this.#cut();
  }

  /**
   * Show a picture.
   * @param {{name: string, url: string, shown: boolean, size: [number, number]}} picture  `shown`: the browser can
   *   decode it
   * @param {{url: string, region: [number, number, number, number]} | null} result  where it lies in the picture
   */
  show(picture, result) {
    const region = result?.region ?? [0, 0, ...picture.size];
    this.#size = [region[2] - region[0], region[3] - region[1]];
    const visible = picture.shown && this.view !== "mask";
    this.#before.hidden = !visible;
    this.#slider.disabled = !visible || !result;
    byId("divider").hidden = !visible || !result;
    this.#set(this.#before, visible ? picture.url : null, `${picture.name} before`);
    this.#set(this.#after, result?.url ?? null, `${picture.name} without its background`);
    this.#after.hidden = !result;
    // The picture behind keeps its place where the result is a part of it, or reaches beyond it.
    const [width, height] = this.#size;
    const percent = (value, whole) => `${(100 * value) / whole}%`;
    Object.assign(this.#before.style, {
      left: percent(-region[0], width),
      top: percent(-region[1], height),
      width: percent(picture.size[0], width),
      height: percent(picture.size[1], height),
    });
    this.#before.dataset.moved = String(Boolean(region[0] || region[1]));
    this.#frame.dataset.view = this.view;
    this.#frame.classList.toggle("alone", !result);
    this.layout();
  }

  /** Fit the frame into its box, or give each pixel its own. */
  layout() {
    const [width, height] = this.#size;
    const box = [this.#box.clientWidth, this.#box.clientHeight];
    const fit = Math.min(box[0] / width, box[1] / height, 4);
    const scale = this.#actual ? 1 / window.devicePixelRatio : Math.max(fit, 0.001);
    this.#frame.style.width = `${Math.max(1, width * scale)}px`;
    this.#frame.style.height = `${Math.max(1, height * scale)}px`;
    this.#cut();
    this.#laidOut();
  }

  #cut() {
    const share = this.#slider.value / 1000;
    this.#frame.style.setProperty("--cut", `${share * 100}%`);
    this.#slider.setAttribute("aria-valuetext", `${Math.round(share * 100)} % original`);
    // The original is cut off at the divider, which is measured in the frame and not in the original.
    const frame = this.#frame.clientWidth;
    const left = this.#before.offsetLeft;
    const width = this.#before.offsetWidth;
    const rest = width ? Math.max(0, left + width - share * frame) : 0;
    this.#before.style.setProperty("--rest", `${rest}px`);
  }

  #set(image, url, text) {
    image.alt = text;
    if (url === null) image.removeAttribute("src");
    else if (image.src !== url) image.src = url;
  }
}
