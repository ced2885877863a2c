// Axes: ranges, ticks and their labels, by the rules of the printed figures.

const WIDENED_BY = 3.2, WIDENED_SHARE = 0.3, FARTHEST_PREDICTION = 100, DECADE = 6;

/** The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `step`. */
function niceStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return ([1, 2, 2.5, 5].find((m) => m * power >= step * (1 - 1e-9)) ?? 10) * power;
}

function linearTicks(low, high, unit, most) {
  // Round changes are those in percent.
  const [scale, name] = unit === "change" ? [0.01, ""] : unitOf(Math.max(Math.abs(low), Math.abs(high)), unit);
  const base = unit === "change" ? 1 : 0;
  let step = niceStep((high - low) / scale / Math.max(most, 2));
  if (unit === "run") step = Math.max(1, Math.ceil(step));
  const ticks = [];
  const last = Math.floor((high - base) / scale / step + 1e-9);
  for (let i = Math.ceil((low - base) / scale / step - 1e-9); i <= last && ticks.length < 100; i++) {
    const value = Number((base + i * step * scale).toPrecision(12));
    const bare = fixed(i * step, 6);
    const label = unit === "change" ? text(value, unit) : bare + (name && i ? (name === "×" ? name : " " + name) : "");
    ticks.push({ value, label });
  }
  return ticks;
}

/** Powers of ten with their multiples; of bytes, powers of two. */
function logTicks(low, high, unit, length, room) {
  const base = unit === "bytes" ? 2 : 10;
  const log = (value) => Math.log(value) / Math.log(base);
  const each = length / log(high / low);
  if (base === 10 && log(high / low) < 1) {
    return linearTicks(low, high, unit, length / room);
  }
  const apart = Math.max(1, Math.ceil(room / each));
  const stride = base === 10 ? apart : ([1, 2, 5].find((s) => s >= apart) ?? Math.ceil(apart / 10) * 10);
  const between = base === 10 && each * Math.log10(2) >= room;
  const ticks = [];
  for (let power = Math.floor(log(low)); power <= Math.ceil(log(high)); power++) {
    for (let digit = 1; digit < base; digit++) {
      const value = digit * base ** power;
      const labelled = digit === 1 ? power % stride === 0 : between && (digit === 2 || digit === 5);
      const shown = labelled || (digit === 1 && each >= DECADE) || (stride === 1 && each > 30);
      if (shown && value >= low && value <= high) ticks.push({ value, label: labelled ? text(value, unit) : "" });
    }
  }
  return ticks;
}

/** The ends of a vertical axis. It follows the values; what spreads around them widens it a little. */
function ends(curves, panel, isLog) {
  const usable = (v) => Number.isFinite(v) && (v > 0 || !isLog);
  const values = [...panel.levels.map(([level]) => level)];
  const spread = [];
  for (const curve of curves) {
    values.push(...curve.points.map((p) => p.y[0]), ...curve.model.map(([, v]) => v));
    spread.push(...curve.points.flatMap((p) => p.y), ...curve.processes.map(([, v]) => v));
  }
  const highest = Math.max(...values.filter(usable));
  for (const { stop } of curves) {
    if (stop?.y && stop.y[0] <= FARTHEST_PREDICTION * highest) {
      values.push(stop.y[0]);
      spread.push(...stop.y);
    }
  }
  const kept = values.filter(usable);
  if (!kept.length) return isLog ? [1, 10] : [0, 1];
  let low = Math.min(...kept), high = Math.max(...kept);
  const [least, most] = panel.y.least ?? [low, high];
  if (!isLog || least > 0) [low, high] = [Math.min(low, least), Math.max(high, most)];
  const hasZero = !isLog && ["seconds", "bytes", "ratio"].includes(panel.y.unit);
  if (hasZero) low = Math.min(low, 0);
  const reach = WIDENED_SHARE * (high - low);
  const [down, up] = isLog ? [low / WIDENED_BY, high * WIDENED_BY] : [low - reach, high + reach];
  for (const value of spread.filter(usable)) {
    low = Math.max(down, Math.min(low, value));
    high = Math.min(up, Math.max(high, value));
  }
  return isLog ? widened(low, high, panel.y.unit === "change" ? 1.05 : 1.4) : padded(low, high);
}

const widened = (low, high, factor) => [low / factor, high * factor];

function padded(low, high) {
  const margin = 0.06 * (high - low || Math.abs(high) || 1);
  return [low === 0 ? 0 : low - margin, high + margin];
}

/** From values to places along a length, with ticks. */
function axis([low, high], isLog, unit, length, room) {
  const at = isLog ? (v) => Math.log(v / low) / Math.log(high / low) : (v) => (v - low) / (high - low);
  const ticks = isLog ? logTicks(low, high, unit, length, room) : linearTicks(low, high, unit, length / room);
  return { at: (v) => length * at(v), ticks };
}
