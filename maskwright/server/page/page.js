const status = document.querySelector("#status");
const result = document.querySelector("#result");

document.querySelector("#file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  const form = new FormData();
  form.append("file", file);
  status.textContent = "Working …";
  const answer = await fetch("api/remove", { method: "POST", body: form });
  if (!answer.ok) {
    status.textContent = (await answer.json()).detail;
    return;
  }
  URL.revokeObjectURL(result.src);
  result.src = URL.createObjectURL(await answer.blob());
  result.alt = `${file.name} without its background`;
  result.hidden = false;
  status.textContent = "Done.";
});
