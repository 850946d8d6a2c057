// The options as fields of a request, kept from visit to visit.

const STORED = "maskwright-options";
const PART_COLORS = {
  hair: [230, 159, 0], face: [86, 180, 233], body: [0, 158, 115], clothes: [204, 121, 167], accessories: [240, 228, 66],
  skin: [213, 94, 0], background: [90, 100, 110],
};
const PARTS = ["hair", "face", "body", "clothes", "accessories"];
const byId = (id) => document.getElementById(id);

/** A part's colour, three numbers from 0 to 255. */
export const colorOf = (part) => PART_COLORS[part] ?? [120, 120, 220];

export class Settings {
  #form = byId("options");
  #models = [];

  /** @param {() => void} changed  called whenever the result would be another */
  constructor(changed) {
    this.#makeParts();
    this.#form.addEventListener("input", (event) => {
      if (event.target.id === "format") return;
      this.#show();
      this.#keep();
      changed();
    });
    this.#form.addEventListener("reset", () => setTimeout(() => {
      this.#show();
      this.#keep();
      changed();
    }));
    this.#form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Fill the list of models, and take up what was chosen last time. */
  setModels(models) {
    this.#models = models;
    const list = byId("model");
    const group = (label, some) => {
      if (!some.length) return;
      const box = document.createElement("optgroup");
      box.label = label;
      for (const { name } of some) box.append(new Option(name, name, name === "u2netp", name === "u2netp"));
      list.append(box);
    };
    group("Ready to use", models.filter((model) => model.here));
    group("Not on this server", models.filter((model) => !model.here));
    this.#recall();
    this.#show();
  }

  /** Whether parts of people are cut out, and which. */
  get parts() {
    if (!byId("by-parts").checked) return null;
    return [...byId("parts").querySelectorAll("input:checked")].map((box) => box.value);
  }

  get model() {
    return byId("model").value;
  }

  /** All fields of /api/remove but the picture; a File for a picture behind. */
  fields() {
    const fields = this.parts ? {} : { model: this.model };
    for (const control of this.#form.elements) {
      if (!control.name || control.disabled || control.name === "model" || control.name === "backdrop") continue;
      const value = control.type === "checkbox" ? control.checked : Number(control.value);
      if (value) fields[control.name] = String(value);
    }
    return { ...fields, ...this.#backdrop() };
  }

  #backdrop() {
    switch (this.#form.elements.backdrop.value) {
      case "color":
        return { background: byId("color").value };
      case "blur":
        return { background: `blur:${byId("radius").value}` };
      case "picture":
        return byId("backpicture").files.length ? { background: byId("backpicture").files[0] } : {};
      default:
        return {};
    }
  }

  #makeParts() {
    for (const part of PARTS) {
      const box = Object.assign(document.createElement("input"), { type: "checkbox", value: part, id: `part-${part}` });
      box.checked = part === "hair" || part === "face";
      box.defaultChecked = box.checked;
      const swatch = document.createElement("i");
      swatch.style.background = `rgb(${colorOf(part)})`;
      const label = Object.assign(document.createElement("label"), { className: "check" });
      label.append(box, swatch, part);
      byId("parts").append(label);
    }
  }

  #show() {
    byId("threshold").disabled = !byId("hard").checked;
    byId("parts").hidden = !byId("by-parts").checked;
    byId("model").disabled = byId("by-parts").checked;
    const backdrop = this.#form.elements.backdrop.value;
    for (const kind of ["color", "picture", "blur"]) byId(`for-${kind}`).hidden = backdrop !== kind;
    for (const output of this.#form.querySelectorAll("output")) {
      const input = byId(output.htmlFor.value);
      output.value = input.disabled ? "soft" : `${input.value} ${input.dataset.unit ?? ""}`.trim();
    }
    const model = this.#models.find(({ name }) => name === this.model);
    byId("about").textContent = model
      ? `${model.summary[0].toUpperCase()}${model.summary.slice(1)}. Licence: ${model.license}.`
      : "";
  }

  #keep() {
    const values = {};
    for (const control of this.#form.elements) {
      if (!control.id && control.type !== "radio" && !control.name) continue;
      if (control.type === "file" || control.type === "fieldset" || control.type === "button") continue;
      if (control.type === "radio") {
        if (control.checked) values[control.name] = control.value;
      } else if (control.type === "checkbox") values[control.id || control.name] = control.checked;
      else values[control.id || control.name] = control.value;
    }
    try {
      localStorage.setItem(STORED, JSON.stringify(values));
    } catch {
      // a browser that keeps nothing: the options begin anew each time
    }
  }

  #recall() {
    let values = {};
    try {
      values = JSON.parse(localStorage.getItem(STORED)) ?? {};
    } catch {
      // as above
    }
    for (const [key, value] of Object.entries(values)) {
      const control = byId(key) ?? this.#form.elements[key];
      if (!control) continue;
      if (control instanceof RadioNodeList) control.value = value === "picture" ? "" : value;
      else if (control.type === "checkbox") control.checked = value;
      else if (control.tagName === "SELECT" ? [...control.options].some((option) => option.value === value) : true) control.value = value;
    }
  }
}
