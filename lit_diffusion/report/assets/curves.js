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
    this.readout = figure.querySelector(".readout");
    this.log = figure.querySelector(".log-y");
    this.plot = null;
    this.log.addEventListener("change", () => this.draw());
    this.place.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.fit()).observe(this.place);
  }

  // Anew, after a change of what is shown; the part that is zoomed in on stays.
  draw() {
    if (!this.place.clientWidth) return;
    const logX = this.isTraining ? VIEW.logX : this.chart.logX;
    const allowed = (value, log) => !log || value > 0;
    const shown = this.chart.curves.filter(([run]) => !HIDDEN.has(run));
    const smoothing = this.isTraining ? VIEW.smoothing : 0;
    const [tables, series] = [[], []];
    const isMany = shown.length > MANY;
    const width = isMany && !smoothing ? 1 : 1.6; // thin lines are drawn several times as fast
    const add = (run, x, y, faint) => {
      const kept = x.map((_, i) => i).filter((i) => allowed(x[i], logX) && allowed(y[i], this.log.checked));
      tables.push([kept.map((i) => x[i]), kept.map((i) => y[i])]);
      const style = DATA.runs[run];
      series.push({
        run, faint, stroke: faint ? fade(colourOf(style)) : colourOf(style), width: faint ? 1 : width, spanGaps: true,
        dash: faint ? [] : DASHES[style.dash], points: { show: kept.length < 40, size: 5 },
      });
    };
    for (const [run, x, y] of smoothing && !isMany ? shown : []) add(run, x, y, true);
    for (const [run, x, y, meanX, meanY] of shown) {
      if (!smoothing) add(run, x, y, false);
      else add(run, meanX.length ? meanX : x, smooth(meanY.length ? meanY : y, smoothing), false);
    }
    this.series = series;
    const data = tables.length ? uPlot.join(tables) : [[], []];
    if (this.plot) this.plot.destroy();
    this.plot = null; // while the next one calls its hooks
    this.plot = new uPlot(this.options(series, logX), data, this.place);
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
      series: [{}, ...(series.length ? series : [{}])],
      axes: [axis(this.chart.x, { size: 34 }), axis("", { size: 62 })],
      padding: [10, 16, 0, 0],
      legend: { show: false },
      cursor: { focus: { prox: 30 }, drag: { x: true, y: false }, points: { size: 7 } },
      focus: { alpha: 0.2 },
      hooks: { setCursor: [() => this.read()], setSeries: [(_, number) => this.read(number)], setScale: [(_, key) => this.zoomed(key)] },
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

  // What stands below the chart: the values at the cursor, that of the curve next to it first.
  read(focused = this.focused) {
    const u = this.plot;
    this.focused = focused;
    const index = u ? u.cursor.idx : null;
    if (index === null || index === undefined || !this.series.length) return;
    const near = [];
    this.series.forEach((one, number) => {
      const values = u.data[number + 1];
      let at = index;
      while (at >= 0 && (values[at] === undefined || values[at] === null)) at -= 1;
      if (at >= 0 && !one.faint) near.push([one, values[at], number + 1]);
    });
    near.sort((a, b) => a[1] - b[1]);
    const nearest = near.filter(([, , number]) => number === focused);
    const listed = nearest.length ? nearest : near.slice(0, 4);
    const texts = listed.map(([one, value]) => `${DATA.runs[one.run].name}: ${format(value)}`);
    const more = near.length > 4 && !nearest.length ? `; ${near.length - 4} more above` : "";
    this.readout.textContent = `${this.chart.x} ${format(u.data[0][index])}: ${texts.join("; ")}${more}`;
  }

  focus(runs) {
    if (!this.plot || !this.series.length) return;
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
    const x = u.data[0];
    const { min, max } = u.scales.x;
    const stride = Math.max(1, Math.round(x.length / 100));
    const moves = { ArrowLeft: -stride, ArrowRight: stride, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      const inside = x.map((_, i) => i).filter((i) => x[i] >= min && x[i] <= max);
      const now = u.cursor.idx ?? (moves[event.key] > 0 ? inside[0] - 1 : inside[inside.length - 1] + 1);
      const next = Math.min(inside[inside.length - 1], Math.max(inside[0], now + moves[event.key]));
      u.setCursor({ left: u.valToPos(x[next], "x"), top: u.bbox.height / devicePixelRatio / 2 });
    } else if (this.isTraining && ["+", "=", "-", "0"].includes(event.key)) {
      if (event.key === "0") setZoom(null, null);
      else {
        const centre = u.cursor.idx == null ? (min + max) / 2 : x[u.cursor.idx];
        const half = ((max - min) / 2) * (event.key === "-" ? 2 : 0.5);
        const [low, high] = [Math.max(x[0], centre - half), Math.min(x[x.length - 1], centre + half)];
        setZoom(low <= x[0] ? null : Math.round(low), high >= x[x.length - 1] ? null : Math.round(high));
      }
    } else return;
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
  const drawAll = () => CHARTS.forEach((curves) => curves.plot && curves.draw());
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
      if (isIntersecting && !curves.plot) curves.draw();
    }
  }, { rootMargin: "200px" });
  for (const figure of document.querySelectorAll("figure.chart")) {
    CHARTS.push(new Curves(figure));
    seen.observe(figure);
  }
  listen("selection", drawAll);
  listen("theme", drawAll);
  listen("focus", (runs) => CHARTS.forEach((curves) => curves.focus(runs)));
  addEventListener("beforeprint", () => CHARTS.forEach((curves) => curves.draw()));
}
