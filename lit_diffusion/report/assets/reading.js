"use strict";
// Values of a chart in words: at the pointer, or where the arrow keys are, which go through its points and runs.

const LISTED = 4; // values at once

class Reading {
  constructor(curves) {
    this.curves = curves;
    this.line = curves.figure.querySelector(".readout");
    this.hint = this.line.textContent;
    this.byKeys = false; // whether keys moved last, not the pointer
    this.run = null; // that keys have chosen; null for all
    this.focused = null; // number of the series next to the pointer
    this.reset("");
    curves.place.addEventListener("mousemove", () => { this.byKeys = false; }, true);
  }

  // After a chart is drawn anew. text: in place of how to read it.
  reset(text) {
    this.index = null; // of the point where the keys are
    if (!this.curves.series.some((one) => one.run === this.run)) this.run = null;
    this.say(text || this.hint);
  }

  say(text) {
    if (this.line.textContent !== text) this.line.textContent = text; // which screen readers speak
  }

  // The values at a point, or at the last one before, the lowest first; none of runs that end before it.
  at(index) {
    const { data } = this.curves.plot;
    const found = [];
    this.curves.series.forEach((one, i) => {
      const values = data[i + 1];
      let at = data[0][index] > one.end || one.faint ? -1 : index;
      while (at >= 0 && values[at] == null) at -= 1;
      if (at >= 0) found.push({ number: i + 1, run: one.run, value: values[at] });
    });
    return found.sort((a, b) => a.value - b.value);
  }

  show(focused = this.focused) {
    this.focused = focused;
    const { plot, series, chart, isTraining } = this.curves;
    const index = plot ? plot.cursor.idx : null;
    if (index == null || !series.length) return;
    const found = this.at(index);
    const chosen = found.findIndex((one) => (this.byKeys ? one.run === this.run : one.number === focused));
    const tell = (one) => `${DATA.runs[one.run].name}: ${format(one.value)}`;
    const parts = chosen < 0 ? found.slice(0, LISTED).map(tell) : [tell(found[chosen])];
    const absent = series.filter((one) => !one.faint).length - found.length;
    if (chosen >= 0) parts[0] += ` (${chosen + 1} of ${found.length} from below)`;
    else if (found.length > LISTED) parts.push(`${found.length - LISTED} more above`);
    if (chosen < 0 && absent) parts.push(`${absent} run${absent > 1 ? "s" : ""} without a value here`);
    const x = plot.data[0][index];
    this.say(`${chart.x} ${format(isTraining ? Math.round(x) : x)}: ${parts.join("; ")}`); // means are between steps
  }

  // How far a curve is from the pointer, which brings out the nearest; the keys bring out the one that they have chosen.
  distance(number, at, pointer) {
    const { plot, series } = this.curves;
    const one = series[number - 1];
    if (!plot || !one || one.faint || plot.data[0][plot.cursor.idx] > one.end) return Infinity;
    if (this.byKeys) return one.run === this.run ? 0 : Infinity;
    return Math.abs(at - pointer);
  }

  go(index) {
    const { plot } = this.curves;
    const chosen = this.at(index).find((one) => one.run === this.run);
    this.index = index;
    plot.setCursor({ left: plot.valToPos(plot.data[0][index], "x"), top: chosen ? plot.valToPos(chosen.value, "y") : 0 });
  }

  // Left and right: from point to point, with Shift by a tenth of them. Up and down: to the run above or below, or all.
  press(key, isFar) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[key];
    const turn = { ArrowUp: 1, ArrowDown: -1 }[key];
    if (!move && !turn) return false;
    const now = this.byKeys && this.index !== null ? this.index : this.curves.plot.cursor.idx;
    this.byKeys = true;
    const points = this.points(turn ? null : this.run);
    if (turn && points.length) this.turn(now ?? points[points.length - 1], turn);
    else if (points.length) {
      const stride = move * (isFar ? Math.max(1, Math.round(points.length / 10)) : 1);
      const before = points.filter((i) => (now == null ? move < 0 : move > 0 ? i <= now : i < now)).length;
      const next = move > 0 ? before - 1 + stride : before + stride;
      this.go(points[Math.min(points.length - 1, Math.max(0, next))]);
    }
    return true;
  }

  // Those in sight, of a run or of all.
  points(run) {
    const { plot, series } = this.curves;
    const { min, max } = plot.scales.x;
    const [x, ...values] = plot.data;
    const wanted = values.filter((_, i) => !series[i].faint && (run === null || series[i].run === run));
    return x.map((_, i) => i).filter((i) => x[i] >= min && x[i] <= max && wanted.some((one) => one[i] != null));
  }

  turn(index, by) {
    const runs = [null, ...this.at(index).map((one) => one.run)];
    const place = Math.max(0, runs.indexOf(this.run)) + by;
    this.run = runs[(place + runs.length) % runs.length];
    this.go(index);
  }
}
