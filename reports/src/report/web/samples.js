// The raw samples behind a point, over time in each process, in a dialog.

const dialog = make("dialog", { id: "samples", "aria-labelledby": "samples-title" });
document.body.append(dialog);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

function openSamples(curve, of, whenClosed) {
  const close = make("button", { type: "button", class: "close" }, "close");
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(
    make("h2", { id: "samples-title" }, `${curve.name}, ${of.at}: ${of.text}`),
    close,
    ...(of.note ? [make("p", {}, of.note)] : []),
  );
  if (!dialog.open) dialog.showModal();
  for (const key of of.cells.filter((key) => data.cells[key])) {
    dialog.append(...describeCell(data.cells[key], of.cells.length > 1, curve.color));
  }
  dialog.onclose = whenClosed;
  close.focus();
}

function describeCell(cell, isNamed, color) {
  const columns = data.columns[cell.columns];
  const facts = make("dl");
  cell.facts.forEach((fact, i) => fact && facts.append(make("dt", {}, columns[i]), make("dd", {}, fact)));
  const parts = [];
  if (isNamed) parts.push(make("h3", {}, cell.label));
  if (cell.processes?.length) {
    parts.push(make("div", {}, drawSamples(cell, color)), make("p", { class: "soft" }, data.samples), listProcesses(cell));
  }
  return [...parts, facts];
}

/** A part of the picture for each process, next to one another: time within it across, the time of a sample up. */
function drawSamples(cell, color) {
  const width = Math.max(280, dialog.clientWidth - 40), height = 250, bottom = height - 3 * LINE;
  const times = [...cell.y, ...cell.processes.flatMap((process) => process.seconds.map((v) => v * cell.scale))];
  const y = axis(padded(Math.min(...times), Math.max(...times)), false, "seconds", bottom - LINE, 26);
  const left = 12 + LETTER * Math.max(...y.ticks.map((tick) => tick.label.length));
  const each = (width - left - 8) / cell.processes.length;
  const up = (v) => bottom - y.at(v);
  const name = `Times of the samples of ${cell.label} over time, in ${cell.processes.length} processes. The table below lists their medians.`;
  const picture = make(":svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "live", role: "img", "aria-label": name });
  for (const tick of y.ticks) {
    picture.append(line([[left, up(tick.value)], [width - 8, up(tick.value)]], { stroke: FAINT }));
    picture.append(label(tick.label, left - 6, up(tick.value) + 4, { "text-anchor": "end" }));
  }
  cell.processes.forEach((process, i) => {
    const [from, to] = [left + i * each + 3, left + (i + 1) * each - 3];
    const look = process.counts ? { fill: color } : { fill: PAPER, stroke: color, "stroke-width": 0.8 };
    process.seconds.forEach((v, j) => {
      const x = from + ((to - from) * process.at[j]) / 1000;
      picture.append(make(":circle", { cx: x.toFixed(1), cy: up(v * cell.scale).toFixed(1), r: process.seconds.length > 30 ? 1.8 : 2.6, ...look }));
    });
    const middle = up(process.median_seconds);
    picture.append(line([[from, middle], [to, middle]], { stroke: INK, "stroke-width": 1.3 }));
    picture.append(line([[to + 3, LINE], [to + 3, bottom]], { stroke: FAINT }));
    const isNamed = each > 34 || i % Math.ceil(34 / each) === 0;
    if (isNamed) picture.append(label(process.name, (from + to) / 2, bottom + LINE, { "text-anchor": "middle" }));
    if (each > 70) picture.append(label("0 – " + process.span, (from + to) / 2, bottom + 2 * LINE, { "text-anchor": "middle", fill: GREY }));
  });
  const [value, low, high] = cell.y;
  picture.append(make(":rect", { x: left, width: width - 8 - left, y: up(high), height: Math.max(0, up(low) - up(high)), fill: color, opacity: 0.15 }));
  picture.append(line([[left, up(value)], [width - 8, up(value)]], { stroke: color, "stroke-width": 1.2, "stroke-dasharray": "5 3" }));
  picture.append(line([[left, LINE], [left, bottom], [width - 8, bottom]], { stroke: INK, "stroke-width": 1.2 }));
  picture.append(label("round", left - 6, bottom + LINE, { "text-anchor": "end", fill: GREY }));
  return picture;
}

function listProcesses(cell) {
  const titles = ["round", "began", "samples", "took", "median", "peak memory", "machine"];
  const head = make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)));
  const rows = cell.processes.map((p) =>
    make("tr", {}, ...[p.name, p.began, p.samples, p.span, p.median, p.peak, p.note].map((fact) => make("td", {}, fact))),
  );
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}
