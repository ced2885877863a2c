// The texts of axis ticks. Every other text of a page comes from the program; `data.units` is its table of units.

/** So many decimals, ties to even as the program rounds, without zeros at the end, with commas and a minus. */
function fixed(value, decimals) {
  const size = Math.abs(value), power = 10 ** decimals, floor = Math.floor(size * power);
  const isTie = size * power - floor === 0.5 && (floor + 0.5) / power === size;
  const text = (isTie ? (floor + (floor % 2)) / power : size).toFixed(decimals);
  const [whole, rest = ""] = text.split(".");
  const digits = rest.replace(/0+$/, "");
  const sign = value < 0 && /[1-9]/.test(text) ? "−" : "";
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (digits && "." + digits);
}

/** `3.2×10⁷`, `10⁻⁵`. */
function powerOfTen(value) {
  const [mantissa, exponent] = Math.abs(value).toExponential(2).split("e");
  const raised = String(Number(exponent)).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
  const factor = String(Number(mantissa));
  return (value < 0 ? "−" : "") + (factor === "1" ? "" : factor + "×") + "10" + raised;
}

/** Three significant digits, or all of a whole number; a power of ten outside 0.001 to 10⁶. */
function number(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (!(size >= 0.0009995 && size < 999999.5)) return powerOfTen(value);
  const decimals = [99.95, 9.995, 0.9995, 0.09995, 0.009995].findIndex((from) => size >= from);
  return fixed(value, decimals < 0 ? 5 : decimals);
}

/** What one of the unit that fits a value holds, and its name. */
function unitOf(value, unit) {
  const table = data.units[unit];
  if (!table) return [1, unit === "ratio" ? "×" : ""];
  const found = value > 0 && table.find(([, from]) => value >= from);
  return found ? [found[0], found[2]] : [1, unit === "seconds" ? "s" : "B"];
}

/** A value as the tables show it. */
function text(value, unit) {
  if (unit === "change") {
    const percent = 100 * (value - 1);
    return (percent > 0 ? "+" : "") + number(Number(percent.toPrecision(9))) + " %";
  }
  const [scale, name] = unitOf(value, unit);
  return number(value / scale) + (name === "×" || !name ? name : " " + name);
}
