// A figure drawn again from its numbers, in the place of the printed drawing.

const { ink: INK, grey: GREY, faint: FAINT, paper: PAPER } = data.style ?? {};
const RADIUS = 4.4, BESIDE = 6, NEAR = 28, LETTER = 7.6, LINE = 14;

/** Corners and the angle of the first, of each sign but the circle; of a star also how near its other corners are. */
const CORNERS = {
  square: [4, 45], triangle: [3, 0], "triangle-down": [3, 180], "triangle-left": [3, 270], "triangle-right": [3, 90], diamond: [4, 0], pentagon: [5, 0],
  star: [5, 0, 0.42], plus: [4, 0, 0.36], saltire: [4, 45, 0.36], tripod: [3, 0, 0.26], "tripod-down": [3, 180, 0.26], asterisk: [6, 0, 0.45],
};
/** Half the width and height of a bar, in radii. */
const BARS = { "bar-upright": [0.5, 1.35], "bar-flat": [1.35, 0.5] };

function sign(marker, x, y, radius, attributes) {
  if (marker === "none") return "";
  if (marker === "cross") {
    return make(":path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`, stroke: attributes.stroke, "stroke-width": 1.8 });
  }
  if (BARS[marker]) {
    const [across, up] = BARS[marker].map((side) => side * radius);
    return make(":rect", { x: x - across, y: y - up, width: 2 * across, height: 2 * up, ...attributes });
  }
  if (!CORNERS[marker]) return make(":circle", { cx: x, cy: y, r: 0.9 * radius, ...attributes });
  const [count, start, waist] = CORNERS[marker];
  const all = waist ? 2 * count : count;
  const corner = (_, i) => {
    const angle = ((start + (360 * i) / all) * Math.PI) / 180;
    const reach = radius * (waist ? 1.5 * (i % 2 ? waist : 1) : count === 3 ? 1.3 : 1.15);
    return (x + reach * Math.sin(angle)).toFixed(1) + "," + (y - reach * Math.cos(angle)).toFixed(1);
  };
  return make(":polygon", { points: Array.from({ length: all }, corner).join(" "), ...attributes });
}

const line = (places, attributes) =>
  make(":polyline", { points: places.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" "), fill: "none", ...attributes });
/** Text over data keeps a margin of paper. */
const ON_DATA = { stroke: PAPER, "stroke-width": 3, "paint-order": "stroke", "stroke-linejoin": "round" };
const label = (content, x, y, attributes) => make(":text", { x, y, fill: INK, ...attributes }, content);

/** One panel of a figure at a width in pixels. Returns the drawing and its points with their places. */
function drawPanel(panel, name, shown, isLog, width) {
  const height = Math.round(Math.min(420, Math.max(260, 0.62 * width)));
  const all = shown.length ? shown : panel.curves;
  const yEnds = ends(all, panel, isLog.y);
  const bottom = height - 3.2 * LINE;
  const y = axis(yEnds, isLog.y, panel.y.unit, bottom - LINE, 32);
  const left = 2.2 * LINE + LETTER * Math.max(1, ...y.ticks.map((tick) => tick.label.length));
  const right = width - 26;
  const xs = panel.curves.flatMap((c) => [...c.points.map((p) => p.x), ...c.model.map(([v]) => v), ...(c.stop ? [c.stop.x] : [])]);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const xEnds = isLog.x ? widened(first, last, 1.25) : panel.x.unit === "run" ? [first - 0.5, last + 0.5] : padded(Math.min(0, first), last);
  const x = axis(xEnds, isLog.x, panel.x.unit, right - left, 52);
  const at = (vx, vy) => [left + x.at(vx), bottom - y.at(vy)];
  const inside = (v) => Math.min(yEnds[1], Math.max(yEnds[0], v));
  const fits = ([px, py]) => px >= left - 1 && px <= right + 1 && py >= LINE - 1 && py <= bottom + 1;

  const picture = make(":svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "live", id: panel.id, role: "group", "aria-label": name });
  const clip = "clip-" + panel.id;
  picture.append(
    make(":clipPath", { id: clip }, make(":rect", { x: left, y: LINE, width: right - left, height: bottom - LINE })),
  );
  const inner = make(":g", { "clip-path": `url(#${clip})`, "aria-hidden": "true" });
  const outer = make(":g", { "aria-hidden": "true" }), grid = make(":g", { "aria-hidden": "true" });
  drawAxes(grid, panel, { x, y, left, right, bottom });

  const points = [];
  for (const curve of [...shown].reverse()) {
    // Curves without lines stand next to one another.
    const shift = panel.joined ? 0 : BESIDE * (shown.indexOf(curve) - (shown.length - 1) / 2);
    const at = (vx, vy) => [left + x.at(vx) + shift, bottom - y.at(vy)];
    if (panel.joined) inner.append(band(curve, at, inside));
    const stroke = { stroke: curve.color, "stroke-width": 1.8, "stroke-dasharray": curve.dash.join(" ") };
    const places = curve.points.map((p) => at(p.x, p.y[0]));
    const last = places.length ? [places[places.length - 1]] : [];
    inner.append(line(curve.model.map(([vx, vy]) => at(vx, vy)), { ...stroke, "stroke-width": 1.2, "stroke-dasharray": "5 3" }));
    if (panel.joined) inner.append(line(places, stroke));
    for (const [vx, vy] of curve.processes) {
      const [px, py] = at(vx, vy);
      if (fits([px, py])) inner.append(make(":circle", { cx: px.toFixed(1), cy: py.toFixed(1), r: 1.5, fill: curve.color }));
    }
    for (const p of curve.points) inner.append(bar(p, at, inside, curve.color));
    for (const p of curve.points) points.push(pointOf(curve, p, at(p.x, p.y[0]), "measured"));
    beyond(curve, yEnds).forEach(([vx, isUp]) => inner.append(wedge(at(vx, yEnds[isUp ? 1 : 0]), isUp, curve.color)));
    if (curve.stop && !curve.stop.y) {
      points.push(pointOf(curve, curve.stop, [at(curve.stop.x, yEnds[1])[0], LINE + 8], "failed"));
    }
    if (curve.stop?.y) {
      const place = at(curve.stop.x, curve.stop.y[0]);
      if (last.length) inner.append(line([...last, place], { ...stroke, "stroke-dasharray": "1.5 2.5" }));
      inner.append(bar(curve.stop, at, inside, curve.color));
      points.push(pointOf(curve, curve.stop, place, "predicted"));
    }
  }
  drawReferences(inner, outer, panel, { at, xEnds, yEnds, left, right, fits, taken: points.map((point) => point.place) });
  picture.append(grid, inner, outer);
  const drawn = points.filter((point) => fits(point.place));
  const order = (point) => shown.indexOf(point.curve);
  drawn.forEach((point) => picture.append(point.node));
  drawn.sort((a, b) => order(a) - order(b) || a.of.x - b.of.x);
  return { picture, points: drawn };
}

function drawAxes(group, panel, { x, y, left, right, bottom }) {
  for (const tick of x.ticks) {
    const px = left + x.at(tick.value);
    if (tick.label) {
      group.append(line([[px, LINE], [px, bottom]], { stroke: FAINT }), label(tick.label, px, bottom + LINE + 3, { "text-anchor": "middle" }));
    }
    group.append(line([[px, bottom], [px, bottom + (tick.label ? 5 : 3)]], { stroke: INK }));
  }
  for (const tick of y.ticks) {
    const py = bottom - y.at(tick.value);
    if (tick.label) group.append(line([[left, py], [right, py]], { stroke: FAINT }), label(tick.label, left - 7, py + 4, { "text-anchor": "end" }));
    group.append(line([[left, py], [left - (tick.label ? 5 : 3), py]], { stroke: INK }));
  }
  group.append(line([[left, LINE], [left, bottom], [right, bottom]], { stroke: INK, "stroke-width": 1.2 }));
  const middle = (LINE + bottom) / 2;
  group.append(
    label(panel.x.title, (left + right) / 2, bottom + 2.4 * LINE, { "text-anchor": "middle" }),
    label(panel.y.title, LINE, middle, { "text-anchor": "middle", transform: `rotate(-90 ${LINE} ${middle})` }),
  );
}

/** Levels, guide slopes through the lower right corner, and marks across the panel. */
function drawReferences(inner, outer, panel, { at, xEnds, yEnds, left, right, fits, taken }) {
  const dashed = { stroke: GREY, "stroke-width": 1.2, "stroke-dasharray": "5 3" };
  for (const [level, name] of panel.levels) {
    const py = at(xEnds[1], level)[1];
    if (!fits([left, py])) continue;
    inner.prepend(line([[left, py], [right, py]], dashed));
    const wide = LETTER * name.length;
    const hits = ([x, y]) => taken.filter(([px, py]) => px > x - 6 && px < x + wide + 6 && py > y - LINE && py < y + 4).length;
    const corners = [right - 4 - wide, left + 6].flatMap((x) => [[x, py - 5], [x, py + LINE]]).filter(fits);
    const [x, y] = corners.reduce((best, corner) => (hits(corner) < hits(best) ? corner : best));
    outer.append(label(name, x, y, { fill: GREY, ...ON_DATA }));
  }
  // On linear axes the slopes would be curves that nobody compares with.
  const isSlope = panel.slopes.length && xEnds[0] > 0 && yEnds[0] > 0;
  for (const [power, name] of isSlope ? panel.slopes : []) {
    const [from, to] = [xEnds[1] / (xEnds[1] / xEnds[0]) ** 0.32, xEnds[1] / (xEnds[1] / xEnds[0]) ** 0.1];
    const foot = yEnds[0] * 1.5;
    const places = [from, to].map((v) => at(v, foot * (v / from) ** power));
    inner.prepend(line(places, { stroke: GREY, "stroke-width": 1.2 }));
    outer.append(label(name, places[1][0] + 4, places[1][1] + 4, { fill: GREY }));
  }
  let freeFrom = 0;
  for (const [vx, name] of panel.marks) {
    const px = at(vx, yEnds[0])[0], half = (LETTER * name.length) / 2;
    inner.prepend(line([at(vx, yEnds[0]), at(vx, yEnds[1])], dashed));
    if (px - half < freeFrom) continue;
    outer.append(label(name, px, LINE - 3, { "text-anchor": "middle", fill: GREY }));
    freeFrom = px + half + 4;
  }
}

/** The interval of a point, up to the ends of the axis. */
function bar(point, at, inside, color) {
  const [, low, high] = point.y;
  if (!(low < high)) return "";
  const [top, foot] = [at(point.x, inside(high)), at(point.x, inside(low))];
  const cap = ([x, y]) => `M${(x - 3).toFixed(1)} ${y.toFixed(1)}h6`;
  const path = `M${top[0].toFixed(1)} ${top[1].toFixed(1)}L${foot[0].toFixed(1)} ${foot[1].toFixed(1)}`;
  return make(":path", { d: path + cap(top) + cap(foot), stroke: color, "stroke-width": 1.3, fill: "none" });
}

/** The intervals along a curve. */
function band(curve, at, inside) {
  if (curve.points.length < 2 || !curve.points.some(({ y: [, low, high] }) => low < high)) return "";
  const side = (end) => curve.points.map((p) => at(p.x, inside(p.y[end])).map((v) => v.toFixed(1)).join(","));
  const corners = [...side(2), ...side(1).reverse()].join(" ");
  return make(":polygon", { points: corners, fill: curve.color, "fill-opacity": 0.2 });
}

/** The places where an interval or a process goes beyond an end of the axis. */
function beyond(curve, [low, high]) {
  const stop = curve.stop?.y ? [curve.stop] : [];
  const spread = [...curve.points, ...stop].flatMap((p) => [[p.x, p.y[1]], [p.x, p.y[2]]]).concat(curve.processes);
  const outside = spread.filter(([, v]) => v < low || v > high).map(([x, v]) => x + " " + (v > high ? 1 : 0));
  return [...new Set(outside)].map((place) => place.split(" ").map(Number));
}

function wedge([x, y], isUp, color) {
  const foot = y + (isUp ? 8 : -8);
  return make(":polygon", { points: `${x},${y} ${x - 4.4},${foot} ${x + 4.4},${foot}`, fill: color });
}

/** A point that can be pointed at, reached by keys and opened. */
function pointOf(curve, of, place, kind) {
  const [x, y] = place, isHollow = kind !== "measured";
  const look = { fill: isHollow ? PAPER : curve.color, stroke: isHollow ? curve.color : PAPER, "stroke-width": isHollow ? 1.6 : 0.6 };
  const node = make(
    ":g",
    { class: "point", role: "button", tabindex: "-1", "aria-label": spoken(curve, of), "data-x": of.x, "data-curve": curve.name },
    make(":circle", { class: "halo", cx: x, cy: y, r: 9 }),
    of.ringed ? make(":circle", { cx: x, cy: y, r: 7, fill: PAPER, stroke: INK, "stroke-width": 1.2 }) : "",
    sign(kind === "failed" ? "cross" : curve.marker, x, y, RADIUS, look),
  );
  return { curve, of, place, node };
}

/** What a point shows: its name, its value, and of each cell behind it the facts that are read first. */
function lines(curve, of) {
  const isFirst = (name) => data.first.some((first) => name.startsWith(first));
  const facts = of.cells.filter((key) => data.cells[key]).map((key) => {
    const cell = data.cells[key], columns = data.columns[cell.columns];
    const shown = cell.facts.map((fact, i) => [columns[i], fact]).filter(([name, fact]) => fact && fact !== of.text && isFirst(name));
    const own = of.cells.length > 1 ? cell.label + ": " : "";
    return own + shown.map(([name, fact]) => name + " " + fact).join(", ");
  });
  return [curve.name + ", " + of.at, of.text, ...facts, ...(of.note ? [of.note] : [])];
}
const spoken = (curve, of) => lines(curve, of).join(". ");
