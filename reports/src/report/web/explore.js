// Figures that answer: to the pointer, to keys, and to the switches below them.

const tip = make("div", { id: "tip", role: "tooltip", hidden: "" });
document.body.append(tip);
let inFocus = null;

function showTip(point, svg) {
  const [name, value, ...facts] = lines(point.curve, point.of);
  tip.replaceChildren(make("b", {}, name), make("span", { class: "value" }, value), ...facts.map((f) => make("span", {}, f)));
  tip.hidden = false;
  const box = svg.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const grown = box.width / svg.viewBox.baseVal.width;
  const [x, y] = [box.left + grown * point.place[0], box.top + grown * point.place[1]];
  const left = Math.max(4, Math.min(x - own.width / 2, document.documentElement.clientWidth - own.width - 4));
  tip.style.left = left + "px";
  tip.style.top = (y - own.height - 14 > 0 ? y - own.height - 14 : y + 16) + "px";
}
const hideTip = () => (tip.hidden = true);
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
// A point in focus takes its text along.
document.addEventListener("scroll", () => (inFocus ? showTip(...inFocus) : hideTip()), { passive: true });

/** Gives a figure its switches and its own drawing. */
function bringToLife(figure, chart) {
  const id = figure.id, printed = figure.querySelector("svg");
  printed.classList.add("printed");
  const names = new Map(chart.panels.flatMap((panel) => panel.curves).reverse().map((curve) => [curve.name, curve]));
  const stage = make("div", { class: "stage" }), tools = make("div", { class: "tools", role: "group", "aria-label": "Switches of " + id });
  printed.after(stage, tools);
  chart.panels.forEach((panel, i) => (panel.id = id + "-" + i));

  const hidden = () => new Set(state.get(id + ".hide").split("|").filter(Boolean));
  const isLog = (panel, way) => (state.get(`${id}.${way}`) || (panel[way].log ? "log" : "linear")) === "log";
  const series = [...names].reverse().map(([name, curve]) => {
    const swatch = make(":svg", { viewBox: "0 0 26 12", width: 26, height: 12, "aria-hidden": "true" });
    swatch.append(line([[1, 6], [25, 6]], { stroke: curve.color, "stroke-width": 1.8, "stroke-dasharray": curve.dash.join(" ") }));
    swatch.append(sign(curve.marker, 13, 6, RADIUS, { fill: curve.color }));
    const button = make("button", { type: "button", "data-series": name }, swatch, name);
    button.addEventListener("click", () => {
      const off = hidden();
      if (!off.delete(name)) off.add(name);
      state.set(id + ".hide", [...off].join("|"));
      show();
    });
    return button;
  });
  const points = chart.panels.flatMap((panel) => panel.curves.flatMap((curve) => curve.points));
  // Runs, and times before a beginning, have no logarithm.
  const isPositive = chart.panels[0].x.unit !== "run" && points.every((point) => point.x > 0);
  const switches = (isPositive ? ["x", "y"] : ["y"]).map((way) => {
    const button = make("button", { type: "button", "data-axis": way });
    button.addEventListener("click", () => {
      const panel = chart.panels[0], next = isLog(panel, way) ? "linear" : "log";
      state.set(`${id}.${way}`, next === (panel[way].log ? "log" : "linear") ? "" : next);
      show();
    });
    return button;
  });
  tools.append(...series, ...switches);

  let current = null;
  function show() {
    const off = hidden();
    for (const button of series) button.setAttribute("aria-pressed", !off.has(button.dataset.series));
    for (const button of switches) {
      const way = button.dataset.axis;
      const kind = isLog(chart.panels[0], way) ? "log" : "linear";
      button.textContent = `${way === "x" ? "horizontal" : "vertical"} axis: ${kind}`;
    }
    const room = stage.clientWidth || 600, beside = chart.panels.length > 1 && room > 700;
    const width = Math.max(280, Math.floor(beside ? room / chart.panels.length : room));
    const pictures = chart.panels.map((panel) => {
      const shown = panel.curves.filter((curve) => !off.has(curve.name));
      const of = `${panel.y.title} against ${panel.x.title}. ${HINT}`;
      const { picture, points } = drawPanel(panel, of, shown, { x: isLog(panel, "x"), y: isLog(panel, "y") }, width);
      listen(picture, points);
      return picture;
    });
    stage.replaceChildren(...pictures);
    inFocus = null;
    hideTip();
  }

  /** Only one point of a panel is a stop of the tab key; arrows go from it to the others. */
  function listen(picture, points) {
    for (const point of points) {
      point.node.addEventListener("focus", () => showTip(...(inFocus = [point, picture])));
      point.node.addEventListener("blur", () => {
        inFocus = null;
        hideTip();
      });
    }
    const stop = (point) => {
      points.forEach((other) => other.node.setAttribute("tabindex", other === point ? "0" : "-1"));
    };
    const mine = points.find((p) => current && p.curve.name === current.curve.name && p.of.x === current.of.x);
    stop(mine ?? points[0]);
    const near = (event) => {
      const box = picture.getBoundingClientRect(), grown = picture.viewBox.baseVal.width / box.width;
      const [x, y] = [(event.clientX - box.left) * grown, (event.clientY - box.top) * grown];
      const away = (point) => Math.hypot(point.place[0] - x, point.place[1] - y);
      // Of points at one place the uppermost.
      const reach = Math.min(NEAR, ...points.map(away)) + 1.5;
      return points.find((point) => away(point) < reach && away(point) < NEAR) ?? null;
    };
    picture.addEventListener("pointermove", (event) => {
      const point = near(event);
      picture.style.cursor = point?.of.cells.length ? "pointer" : "";
      points.forEach((other) => other.node.classList.toggle("near", other === point));
      if (point) showTip(point, picture);
      else hideTip();
    });
    picture.addEventListener("pointerleave", () => {
      points.forEach((point) => point.node.classList.remove("near"));
      hideTip();
    });
    picture.addEventListener("click", (event) => {
      const point = near(event);
      if (point) open(point);
    });
    picture.addEventListener("keydown", (event) => {
      const at = points.findIndex((point) => point.node === document.activeElement);
      if (at < 0) return;
      if (event.key === "Enter" || event.key === " ") open(points[at]);
      const to = reached(points, at, event.key);
      if (to === null && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      if (to !== null) {
        stop(points[to]);
        points[to].node.focus();
      }
    });
  }

  function open(point) {
    current = point;
    hideTip();
    const panel = chart.panels.find((panel) => panel.curves.includes(point.curve));
    state.set("at", [panel.id, point.curve.name, point.of.x].join("|"));
    showNamed();
  }

  state.add(show);
  let width = stage.clientWidth;
  new ResizeObserver(() => {
    if (stage.clientWidth !== width) {
      width = stage.clientWidth;
      show();
    }
  }).observe(stage);
}

const HINT = "Arrow keys go from point to point, Enter opens the samples of one.";

/** The point that a key leads to: along a curve, to the next curve at the nearest place, to an end. */
function reached(points, at, key) {
  const { curve, of } = points[at];
  const own = points.flatMap((point, i) => (point.curve === curve ? [i] : []));
  const place = own.indexOf(at);
  switch (key) {
    case "ArrowRight":
      return own[Math.min(place + 1, own.length - 1)];
    case "ArrowLeft":
      return own[Math.max(place - 1, 0)];
    case "Home":
      return own[0];
    case "End":
      return own[own.length - 1];
    case "ArrowUp":
    case "ArrowDown": {
      const curves = [...new Set(points.map((point) => point.curve))];
      const next = curves[curves.indexOf(curve) + (key === "ArrowDown" ? 1 : -1)];
      const away = (i) => Math.abs(points[i].of.x - of.x);
      const there = points.flatMap((point, i) => (point.curve === next ? [i] : []));
      return there.length ? there.reduce((best, i) => (away(i) < away(best) ? i : best)) : at;
    }
    default:
      return null;
  }
}

/** Opens the samples of the point that the address names, or closes those of another. */
function showNamed() {
  const [id, name, x] = state.get("at").split("|");
  const panel = Object.values(data.figures).flatMap((chart) => chart.panels).find((panel) => panel.id === id);
  const curve = panel?.curves.find((curve) => curve.name === name);
  const of = curve && [...curve.points, ...(curve.stop ? [curve.stop] : [])].find((point) => String(point.x) === x);
  if (!of) {
    if (dialog.open) dialog.close();
    return;
  }
  openSamples(curve, of, () => {
    state.set("at", "");
    const nodes = document.querySelectorAll("#" + CSS.escape(id) + " .point");
    [...nodes].find((node) => node.dataset.curve === name && node.dataset.x === x)?.focus();
  });
}

for (const [id, chart] of Object.entries(data.figures)) {
  const figure = document.getElementById(id);
  if (figure?.querySelector("svg")) bringToLife(figure, chart);
}
state.add(showNamed);
window.relgrad = { text };
