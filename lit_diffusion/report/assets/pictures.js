"use strict";
// Pictures of all runs side by side, at one step of the training.

{
  const kind = document.getElementById("kind");
  if (kind) {
    const slider = document.getElementById("picture-step");
    const output = document.getElementById("picture-step-value");
    const figures = [...document.querySelectorAll("figure.picture")];
    let steps = [];
    // what the page shows without scripts is not in the data a second time
    for (const image of document.querySelectorAll("img[data-picture]")) DATA.pictures[image.dataset.picture] = image.src;

    const atOrBefore = (found, step) => {
      const before = found.filter(([at]) => at === null || at <= step);
      return before.length ? before[before.length - 1] : null;
    };

    const draw = () => {
      const step = steps[slider.valueAsNumber];
      slider.disabled = steps.length < 2;
      const text = steps.length ? `step ${format(step)}` : "does not change";
      output.textContent = text;
      slider.setAttribute("aria-valuetext", text);
      for (const figure of figures) {
        const run = Number(figure.dataset.run);
        const found = (DATA.shown[kind.value] || {})[run] || [];
        const shown = atOrBefore(found, step === undefined ? Infinity : step);
        figure.hidden = HIDDEN.has(run) || !found.length;
        const image = figure.querySelector("img");
        image.hidden = shown === null;
        const [at, number] = shown || [null, null];
        figure.querySelector(".step").textContent = shown === null ? "none yet" : at === null ? "" : `step ${format(at)}`;
        if (shown === null) continue;
        image.src = DATA.pictures[number];
        image.alt = `${kind.selectedOptions[0].textContent} of ${DATA.runs[run].name}${at === null ? "" : `, step ${at}`}`;
        figure.querySelector(".note").textContent = DATA.notes[number];
      }
    };

    const choose = () => {
      const all = Object.values(DATA.shown[kind.value]).flat().map(([step]) => step);
      steps = [...new Set(all.filter((step) => step !== null))].sort((a, b) => a - b);
      slider.max = Math.max(0, steps.length - 1);
      slider.value = slider.max;
      draw();
    };

    kind.addEventListener("change", () => {
      remember("kind", kind.value);
      choose();
    });
    slider.addEventListener("input", draw);
    for (const figure of figures) {
      const button = figure.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => {
        const image = figure.querySelector("img");
        openDialog(image.alt, make("img", { src: image.src, alt: image.alt, class: "large" }));
      });
    }
    for (const image of document.querySelectorAll("figure.picture img")) {
      image.addEventListener("load", () => {
        image.width = image.naturalWidth;
        image.height = image.naturalHeight;
      });
    }
    const before = recall("kind", kind.value);
    if ([...kind.options].some((option) => option.value === before)) kind.value = before;
    listen("selection", draw);
    choose();
  }
}
