"use strict";
// Curves by uPlot: one chart a figure, made when it comes into view.

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]]; // report.css has the same for the legend
const MANY = 24; // curves in one chart: there, nothing stands behind smoothed ones
const CHARTS = [];
const VIEW = { smoothing: recall("smoothing", 0), from: null, to: null, logX: false };

// Exponential smoothing without the bias of its first values.
function smooth(values, weight) {
  let sum = 0;
  let norm = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}

function colourOf(style) {
  const probe = document.querySelector(`#probes .colour-${style.colour}`);
  return getComputedStyle(probe).stroke;
}

// The range of an axis, also of a single point.
function widen(min, max) {
  if (min === null) return [1, 10];
  return min < max ? [min, max] : [min - Math.abs(min) / 2 - 0.5, max + Math.abs(max) / 2 + 0.5];
}

function fade(colour) {
  return colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.25)");
}

class Curves {
  constructor(figure) {
    this.figure = figure;
    this.chart = DATA.charts[Number(figure.dataset.chart)];
    this.isTraining = figure.dataset.kind === "steps";
    this.place = figure.querySelector(".plot");
    this.log = figure.querySelector(".log-y");
    this.plot = null;
    this.series = [];
    this.isSeen = false;
    this.reading = new Reading(this);
    this.log.addEventListener("change", () => this.draw());
    this.place.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.fit()).observe(this.place);
  }

  // Anew, after a change of what is shown; the part that is zoomed in on stays.
  draw() {
    if (!this.place.clientWidth) return;
    this.isSeen = true;
    const logX = this.isTraining ? VIEW.logX : this.chart.logX;
    const allowed = (value, log) => !log || value > 0;
    const shown = this.chart.curves.filter(([run]) => !HIDDEN.has(run));
    const smoothing = this.isTraining ? VIEW.smoothing : 0;
    const [tables, series] = [[], []];
    const isMany = shown.length > MANY;
    const width = isMany && !smoothing ? 1 : 1.6; // thin lines are drawn several times as fast
    const add = (run, end, x, y, faint) => {
      const kept = x.map((_, i) => i).filter((i) => allowed(x[i], logX) && allowed(y[i], this.log.checked));
      tables.push([kept.map((i) => x[i]), kept.map((i) => y[i])]);
      const style = DATA.runs[run];
      series.push({
        run, end, faint, stroke: faint ? fade(colourOf(style)) : colourOf(style), width: faint ? 1 : width,
        spanGaps: true, dash: faint ? [] : DASHES[style.dash], points: { show: kept.length < 40, size: 5 },
      });
    };
    for (const [run, x, y] of smoothing && !isMany ? shown : []) add(run, x[x.length - 1], x, y, true);
    for (const [run, x, y, meanX, meanY] of shown) {
      const [drawnX, drawnY] = smoothing && meanX.length ? [meanX, meanY] : [x, y];
      add(run, x[x.length - 1], drawnX, smoothing ? smooth(drawnY, smoothing) : drawnY, false);
    }
    const isEmpty = !tables.some(([x]) => x.length);
    this.series = isEmpty ? [] : series;
    if (this.plot) this.plot.destroy();
    this.plot = null; // while the next one calls its hooks
    const reason = shown.length ? "A log axis shows none of these values: none is above 0." : "No run with this curve is shown.";
    this.reading.reset(isEmpty ? reason : "");
    if (isEmpty) return;
    this.plot = new uPlot(this.options(series, logX), uPlot.join(tables), this.place);
    this.zoom();
  }

  options(series, logX) {
    const style = getComputedStyle(this.figure);
    const [ink, line] = [style.getPropertyValue("color"), colourOf({ colour: "grid" })];
    const axis = (label, more) => ({
      stroke: ink, label, labelSize: 22, labelFont: "13px system-ui, sans-serif", font: "12px system-ui, sans-serif",
      grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 },
      values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : format(tick))), ...more,
    });
    return {
      width: this.place.clientWidth, height: this.height(),
      scales: { x: { time: false, distr: logX ? 3 : 1, range: (_, min, max) => widen(min, max) }, y: { distr: this.log.checked ? 3 : 1 } },
      series: [{}, ...series],
      axes: [axis(this.chart.x, { size: 34 }), axis("", { size: 62 })],
      padding: [10, 16, 0, 0],
      legend: { show: false },
      cursor: { focus: { prox: 30, dist: (_, number, index, at, pointer) => this.reading.distance(number, at, pointer) }, drag: { x: true, y: false }, points: { size: 7 } },
      focus: { alpha: 0.2 },
      hooks: {
        setCursor: [() => this.reading.show()], setSeries: [(_, number) => this.reading.show(number)],
        setScale: [(_, key) => this.zoomed(key)],
      },
    };
  }

  height() {
    return this.place.clientWidth < 420 ? 230 : 290;
  }

  fit() {
    if (this.plot && this.place.clientWidth && this.place.clientWidth !== this.plot.width) {
      this.plot.setSize({ width: this.place.clientWidth, height: this.height() });
    }
  }

  focus(runs) {
    if (!this.plot) return;
    this.series.forEach((one, number) => {
      this.plot.series[number + 1].alpha = !runs || runs.includes(one.run) ? 1 : 0.1;
    });
    this.plot.redraw(false);
  }

  range() {
    const x = this.plot.data[0];
    return this.isTraining ? [VIEW.from ?? x[0], VIEW.to ?? x[x.length - 1]] : [x[0], x[x.length - 1]];
  }

  // Zooms to the steps that all charts show.
  zoom() {
    if (!this.isTraining || !this.plot || !this.plot.data[0].length) return;
    const [min, max] = this.range();
    if (min < max) this.plot.setScale("x", { min, max });
  }

  // After a reader has zoomed in on this chart, or out.
  zoomed(key) {
    const u = this.plot;
    if (key !== "x" || !u || !this.isTraining || u.data[0].length < 2) return;
    const { min, max } = u.scales.x;
    const [low, high] = this.range();
    if (min === low && max === high) return;
    const x = u.data[0];
    const isWhole = min <= x[0] && max >= x[x.length - 1];
    setZoom(isWhole ? null : Math.round(min), isWhole ? null : Math.round(max), this);
  }

  press(event) {
    const u = this.plot;
    if (!u || !u.data[0].length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.isTraining && ["+", "=", "-", "0"].includes(event.key)) {
      const x = u.data[0];
      const { min, max } = u.scales.x;
      const now = this.reading.index;
      if (event.key === "0") setZoom(null, null);
      else {
        const centre = u.cursor.idx == null ? (min + max) / 2 : x[u.cursor.idx];
        const half = ((max - min) / 2) * (event.key === "-" ? 2 : 0.5);
        const [low, high] = [Math.max(x[0], centre - half), Math.min(x[x.length - 1], centre + half)];
        setZoom(low <= x[0] ? null : Math.round(low), high >= x[x.length - 1] ? null : Math.round(high));
      }
      if (now !== null) requestAnimationFrame(() => this.plot === u && this.reading.go(now)); // once uPlot has zoomed
    } else if (!this.reading.press(event.key, event.shiftKey)) return;
    event.preventDefault();
  }
}

function setZoom(from, to, except = null) {
  [VIEW.from, VIEW.to] = [from, to];
  document.getElementById("zoom-from").value = from ?? "";
  document.getElementById("zoom-to").value = to ?? "";
  for (const curves of CHARTS) if (curves !== except) curves.zoom();
}

{
  const drawAll = () => CHARTS.forEach((curves) => curves.isSeen && curves.draw());
  const smoothing = document.getElementById("smoothing");
  if (smoothing) {
    const output = document.getElementById("smoothing-value");
    const apply = () => {
      VIEW.smoothing = smoothing.valueAsNumber;
      output.textContent = VIEW.smoothing ? VIEW.smoothing.toFixed(2) : "none";
      remember("smoothing", VIEW.smoothing);
    };
    smoothing.value = VIEW.smoothing;
    apply();
    let waiting = 0;
    smoothing.addEventListener("input", () => {
      apply();
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(drawAll);
    });
    const [from, to] = ["zoom-from", "zoom-to"].map((id) => document.getElementById(id));
    const read = (input) => (input.value === "" ? null : input.valueAsNumber);
    for (const input of [from, to]) input.addEventListener("change", () => setZoom(read(from), read(to)));
    document.getElementById("zoom-reset").addEventListener("click", () => setZoom(null, null));
    const logX = document.getElementById("log-x");
    logX.addEventListener("change", () => {
      VIEW.logX = logX.checked;
      drawAll();
    });
  }
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const curves = CHARTS.find((one) => one.figure === target);
      if (isIntersecting && !curves.isSeen) curves.draw();
    }
  }, { rootMargin: "200px" });
  for (const figure of document.querySelectorAll("figure.chart")) {
    CHARTS.push(new Curves(figure));
    seen.observe(figure);
  }
  listen("selection", drawAll);
  listen("theme", drawAll);
  listen("focus", (runs) => CHARTS.forEach((curves) => curves.focus(runs)));
  listen("print", () => CHARTS.forEach((curves) => curves.draw()));
}
