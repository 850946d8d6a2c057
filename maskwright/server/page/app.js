// The page: pictures come in, one after the other is cut out, and what was made can be seen, mended and saved.

import { ApiError, onTokenNeeded, send, sendForJson } from "./api.js";
import { applyStrokes, Brush } from "./brush.js";
import { paintMask } from "./rle.js";
import { Settings, colorOf } from "./settings.js";
import { Stage } from "./stage.js";
import { freeName, makeZip } from "./zip.js";

const byId = (id) => document.getElementById(id);
const PAUSE = 250; // milliseconds without another change before a picture is cut again
const STATES = { waiting: "waiting", working: "…", done: "✓", failed: "!" };
const STATE_WORDS = { waiting: "waiting", working: "working", done: "done", failed: "failed" };

const pictures = []; // see addFiles for what one holds
let current = null;
let working = null; // the picture being cut and what stops it
let timer = 0;

const settings = new Settings(() => recutSoon());
const stage = new Stage(() => placeBrush());
const brush = new Brush(byId("paint"), (stroke) => {
  current.strokes.push(stroke);
  current.undone = [];
  showTools();
  recutSoon(current);
});

// --- pictures that come in -------------------------------------------------------------------------------------------

async function addFiles(files) {
  const some = [...files];
  if (!some.length) return;
  for (const file of some) {
    const picture = {
      file,
      name: file.name || "pasted.png",
      url: URL.createObjectURL(file),
      shown: false,
      size: [4, 3],
      state: "waiting",
      result: null, // {blob, url, region, notes}
      made: "", // what the result was made with
      base: null, // {key, blob}: the mask before touching up
      mask: null, // {made, url}
      parts: null, // {key, rles}
      strokes: [],
      undone: [],
      problem: "",
      entry: null,
    };
    try {
      const decoded = new Image();
      decoded.src = picture.url;
      await decoded.decode();
      picture.shown = true;
      picture.size = [decoded.naturalWidth, decoded.naturalHeight];
    } catch {
      // a format that this browser does not know; the server may
    }
    pictures.push(picture);
    picture.entry = makeEntry(picture);
    if (!current) select(picture);
  }
  byId("empty").hidden = true;
  byId("viewer").hidden = false;
  byId("strip").hidden = false;
  show();
  work();
}

function makeEntry(picture) {
  const entry = document.createElement("li");
  const shot = Object.assign(document.createElement("button"), { type: "button", className: "shot" });
  const image = Object.assign(document.createElement("img"), { alt: "" });
  image.src = picture.url;
  image.hidden = !picture.shown;
  shot.append(image, Object.assign(document.createElement("span"), { className: "state" }));
  shot.addEventListener("click", () => select(picture));
  const drop = Object.assign(document.createElement("button"), { type: "button", className: "drop", textContent: "×" });
  drop.setAttribute("aria-label", `Take ${picture.name} away`);
  drop.addEventListener("click", () => remove(picture));
  entry.append(shot, drop);
  byId("strip").append(entry);
  return entry;
}

function remove(picture) {
  if (working?.picture === picture) working.stop.abort();
  const place = pictures.indexOf(picture);
  pictures.splice(place, 1);
  picture.entry.remove();
  for (const url of [picture.url, picture.result?.url, picture.mask?.url]) if (url) URL.revokeObjectURL(url);
  if (!pictures.length) {
    current = null;
    byId("empty").hidden = false;
    byId("viewer").hidden = true;
    byId("strip").hidden = true;
    byId("chooser").focus();
  } else if (picture === current) select(pictures[Math.min(place, pictures.length - 1)]);
  report();
}

function select(picture) {
  current = picture;
  brush.settle();
  show();
  work();
}

// --- cutting -----------------------------------------------------------------------------------------------------------

/** All that a picture's result depends on, as text. */
function wanted(picture) {
  const fields = Object.entries(settings.fields()).map(([name, value]) => [
    name,
    value instanceof File ? [value.name, value.size, value.lastModified] : value,
  ]);
  return JSON.stringify([fields, settings.parts, picture.strokes]);
}

function recutSoon() {
  if (working && working.picture.made !== wanted(working.picture)) working.stop.abort();
  clearTimeout(timer);
  timer = setTimeout(work, PAUSE);
}

async function work() {
  if (working) return;
  const stale = (picture) => picture.state === "waiting" || picture.made !== wanted(picture);
  const picture = [current, ...pictures].find((one) => one && stale(one));
  if (!picture) {
    report();
    return;
  }
  const stop = new AbortController();
  working = { picture, stop };
  picture.state = "working";
  picture.problem = "";
  const made = wanted(picture);
  report();
  try {
    const result = await cut(picture, stop.signal);
    if (picture.result) URL.revokeObjectURL(picture.result.url);
    Object.assign(picture, { result, made, state: "done" });
    if (!picture.shown) picture.size = [result.region[2] - result.region[0], result.region[3] - result.region[1]];
    picture.parts = null;
  } catch (error) {
    if (error.name === "AbortError") picture.state = "waiting";
    else Object.assign(picture, { made, state: "failed", problem: inWords(error) });
  } finally {
    working = null;
  }
  if (picture === current) {
    if (!stale(picture)) brush.settle();
    show();
  }
  report();
  setTimeout(work, picture.state === "waiting" ? PAUSE : 0);
}

function inWords(error) {
  if (error instanceof ApiError) return error.message;
  console.error(error);
  return `Something went wrong in this page: ${error.message}`;
}

async function cut(picture, signal) {
  const mask = await touchedMask(picture, signal);
  const answer = await post("/api/remove", picture, settings.fields(), mask, "image/png", signal);
  const decoded = await createImageBitmap(answer.blob);
  const region = answer.header("X-Maskwright-Crop-Region")?.split(",").map(Number) ?? [0, 0, decoded.width, decoded.height];
  const notes = JSON.parse(answer.header("X-Maskwright-Notes") ?? "[]");
  return { blob: answer.blob, url: URL.createObjectURL(answer.blob), region, notes };
}

/** The mask to send with a picture: null where the server's model decides alone. */
async function touchedMask(picture, signal) {
  const parts = settings.parts;
  if (!parts && !picture.strokes.length) return null;
  if (parts && !parts.length) throw new ApiError("Choose at least one part of people.", 0);
  const key = JSON.stringify(parts ?? settings.model);
  if (picture.base?.key !== key) {
    const path = parts ? "/api/person" : "/api/remove";
    const fields = parts ? { parts: parts.join(","), soft: "true" } : { model: settings.model, only_mask: "true" };
    const { blob } = await post(path, picture, fields, null, "image/png", signal);
    picture.base = { key, blob };
  }
  return picture.strokes.length ? applyStrokes(picture.base.blob, picture.strokes) : picture.base.blob;
}

function post(path, picture, fields, mask, accept, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", picture.file, picture.name);
  if (mask) {
    form.delete("model");
    form.append("mask", mask, "mask.png");
  }
  const busy = byId("upload");
  return send(path, {
    form,
    accept,
    signal,
    progress: (share) => {
      if (share < 1) {
        busy.value = share;
        byId("busytext").textContent = "Sending";
      } else {
        busy.removeAttribute("value");
        byId("busytext").textContent = "Cutting out";
      }
    },
    busy: (seconds) => {
      busy.removeAttribute("value");
      byId("busytext").textContent = `The server is busy; next try in ${seconds} s`;
    },
  });
}

// --- what is seen --------------------------------------------------------------------------------------------------------

async function show() {
  const picture = current;
  if (!picture) return;
  let result = picture.result;
  if (stage.view === "mask" && result) result = await maskResult(picture);
  if (stage.view === "parts") showParts(picture);
  if (picture !== current) return;
  stage.show(picture, result);
  byId("legend").hidden = stage.view !== "parts";
  tell(picture.problem);
  byId("notes").textContent = picture.result?.notes.join(" ") ?? "";
  showTools();
}

/** The mask of the picture's result, as a result. */
async function maskResult(picture) {
  if (picture.mask?.made !== picture.made) {
    try {
      const fields = { ...settings.fields(), only_mask: "true" };
      for (const layer of ["background", "outline", "shadow"]) delete fields[layer]; // a mask has none
      const mask = await touchedMask(picture);
      const { blob } = await post("/api/remove", picture, fields, mask, "image/png");
      if (picture.mask) URL.revokeObjectURL(picture.mask.url);
      picture.mask = { made: picture.made, blob, url: URL.createObjectURL(blob) };
    } catch (error) {
      picture.problem = inWords(error);
      return picture.result;
    }
  }
  return { ...picture.result, url: picture.mask.url };
}

/** Colour the parts of people over the picture. */
async function showParts(picture) {
  const legend = byId("legend");
  const overlay = byId("overlay");
  if (!picture.parts) {
    legend.textContent = "Looking for people…";
    overlay.width = overlay.height = 1;
    try {
      const form = new FormData();
      form.append("file", picture.file, picture.name);
      form.append("parts", "hair,face,body,clothes,accessories");
      picture.parts = (await sendForJson("/api/person", { form })).masks;
    } catch (error) {
      legend.textContent = "";
      picture.problem = inWords(error);
      tell(picture.problem);
      return;
    }
  }
  if (picture !== current) return;
  legend.textContent = "";
  const context = overlay.getContext("2d");
  let pixels = null;
  for (const [name, rle] of Object.entries(picture.parts)) {
    const found = rle.segmentation ?? rle;
    pixels ??= new ImageData(found.size[1], found.size[0]);
    paintMask(found, pixels.data, [...colorOf(name), 150]);
    const swatch = document.createElement("i");
    swatch.style.background = `rgb(${colorOf(name)})`;
    const entry = document.createElement("li");
    entry.append(swatch, name);
    legend.append(entry);
  }
  overlay.width = pixels.width;
  overlay.height = pixels.height;
  context.putImageData(pixels, 0, 0);
}

/** Say what went wrong with the current picture; nothing where the text is empty. */
function tell(text) {
  byId("problem").hidden = !text;
  byId("trouble").textContent = text;
}

function again() {
  current.made = "";
  current.problem = "";
  tell("");
  work();
}

function report() {
  const counts = { waiting: 0, working: 0, done: 0, failed: 0 };
  for (const picture of pictures) {
    counts[picture.state]++;
    const shot = picture.entry.querySelector(".shot");
    shot.querySelector(".state").textContent = STATES[picture.state];
    shot.setAttribute("aria-label", `${picture.name}, ${STATE_WORDS[picture.state]}`);
    shot.setAttribute("aria-current", String(picture === current));
    if (picture.result) {
      const image = shot.querySelector("img");
      image.hidden = false;
      if (image.src !== picture.result.url) image.src = picture.result.url;
    }
  }
  const rest = counts.waiting + counts.working;
  const failed = counts.failed ? `, ${counts.failed} failed` : "";
  byId("status").textContent = !pictures.length
    ? ""
    : rest
      ? `${counts.done} of ${pictures.length} done${failed}`
      : `${counts.done} ${counts.done === 1 ? "picture" : "pictures"} done${failed}`;
  const busy = working && working.picture === current;
  byId("busy").hidden = !busy;
  if (busy && !byId("busytext").textContent) byId("busytext").textContent = "Cutting out";
  if (!busy) byId("busytext").textContent = "";
  byId("frame").setAttribute("aria-busy", String(Boolean(busy)));
  byId("download").disabled = !current?.result;
  byId("download-all").disabled = !counts.done || rest > 0;
}

function showTools() {
  const painting = stage.view === "brush" && Boolean(current?.result);
  byId("tools").hidden = stage.view !== "brush";
  byId("paint").hidden = !painting;
  byId("undo").disabled = !current?.strokes.length;
  byId("clear").disabled = !current?.strokes.length;
  byId("redo").disabled = !current?.undone.length;
  if (painting) placeBrush();
}

function placeBrush() {
  if (stage.view === "brush" && current?.result) brush.place(current.result.region);
}

// --- touching up -----------------------------------------------------------------------------------------------------------

function undo() {
  if (!current?.strokes.length) return;
  current.undone.push(current.strokes.pop());
  brush.settle();
  showTools();
  recutSoon();
}

function redo() {
  if (!current?.undone.length) return;
  current.strokes.push(current.undone.pop());
  showTools();
  recutSoon();
}

function setBrush(kind) {
  brush.kind = kind;
  for (const button of document.querySelectorAll("[data-brush]")) {
    button.setAttribute("aria-pressed", String(button.dataset.brush === kind));
  }
}

function setBrushSize(size) {
  byId("size").value = size;
  // The slider counts hundredths of half the picture's shorter side, so that it feels alike on every picture.
  const side = current ? Math.min(...current.size) : 512;
  brush.size = Math.max(2, (Number(byId("size").value) / 200) * side * 0.5);
  brush.draw();
}

function paintKeys(event) {
  if (stage.view !== "brush" || event.target.matches("input[type=text], input[type=password], select")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") (event.shiftKey ? redo : undo)();
  else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") redo();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (event.key === "[" || event.key === "]") setBrushSize(Number(byId("size").value) + (event.key === "]" ? 10 : -10));
  else if (event.key.toLowerCase() === "k") setBrush("keep");
  else if (event.key.toLowerCase() === "r") setBrush("remove");
  else return;
  event.preventDefault();
}

// --- saving ------------------------------------------------------------------------------------------------------------------

const ENDINGS = { "image/png": "png", "image/webp": "webp", "image/jpeg": "jpg", mask: "png" };

/** A picture's result in the format that is chosen. */
async function saved(picture) {
  const format = byId("format").value;
  if (format === "mask") {
    await maskResult(picture);
    if (!picture.mask) throw new ApiError(picture.problem, 0);
    return picture.mask.blob;
  }
  if (format === "image/png") return picture.result.blob;
  return (await post("/api/remove", picture, settings.fields(), await touchedMask(picture), format)).blob;
}

function hand(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function saveOr(make) {
  const buttons = [byId("download"), byId("download-all")];
  for (const button of buttons) button.disabled = true;
  try {
    hand(...(await make()));
    tell("");
  } catch (error) {
    tell(inWords(error));
  } finally {
    report();
  }
}

async function saveOne() {
  return [await saved(current), freeName(current.name, ENDINGS[byId("format").value], new Set())];
}

async function saveAll() {
  const taken = new Set();
  const files = [];
  for (const picture of pictures.filter((one) => one.state === "done")) {
    files.push({ name: freeName(picture.name, ENDINGS[byId("format").value], taken), blob: await saved(picture) });
  }
  return [await makeZip(files), "maskwright.zip"];
}

// --- wiring --------------------------------------------------------------------------------------------------------------------

function setView(view) {
  stage.view = view;
  for (const button of document.querySelectorAll("[data-view]")) {
    if (button.tagName === "BUTTON") button.setAttribute("aria-pressed", String(button.dataset.view === view));
  }
  if (view === "brush") setBrushSize(byId("size").value);
  show();
}

function setTheme(theme) {
  const words = { "": "like the system", light: "light", dark: "dark" };
  const button = byId("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  button.title = `Colours: ${words[theme]}`;
  button.setAttribute("aria-label", button.title);
  try {
    localStorage.setItem("maskwright-theme", theme);
  } catch {
    // a browser that keeps nothing
  }
}

function nextTheme() {
  const order = ["", "light", "dark"];
  setTheme(order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3]);
}

function askForToken() {
  const dialog = byId("ask");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "send" ? byId("token").value : null), { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}

async function start() {
  onTokenNeeded(askForToken);
  try {
    setTheme(localStorage.getItem("maskwright-theme") ?? "");
  } catch {
    setTheme("");
  }
  byId("theme").addEventListener("click", nextTheme);
  byId("add").addEventListener("click", () => byId("chooser").click());
  byId("chooser").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => addFiles(event.clipboardData?.files ?? []));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  for (const end of ["dragleave", "drop"]) document.addEventListener(end, () => document.body.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    addFiles(event.dataTransfer.files);
  });
  for (const button of document.querySelectorAll("button[data-view]")) {
    button.addEventListener("click", () => setView(button.dataset.view));
  }
  for (const button of document.querySelectorAll("button[data-brush]")) {
    button.addEventListener("click", () => setBrush(button.dataset.brush));
  }
  byId("size").addEventListener("input", (event) => setBrushSize(event.target.value));
  byId("undo").addEventListener("click", undo);
  byId("redo").addEventListener("click", redo);
  byId("clear").addEventListener("click", () => {
    current.undone = [];
    current.strokes = [];
    brush.settle();
    showTools();
    recutSoon();
  });
  byId("again").addEventListener("click", again);
  document.addEventListener("keydown", paintKeys);
  byId("download").addEventListener("click", () => saveOr(saveOne));
  byId("download-all").addEventListener("click", () => saveOr(saveAll));
  try {
    settings.setModels((await sendForJson("/api/models")).models.filter((model) => model.family !== "parts"));
  } catch (error) {
    byId("status").textContent = inWords(error);
  }
}

start();
