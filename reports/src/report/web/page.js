// What the parts share: the page's numbers, elements, and the state in the address.

const data = JSON.parse(document.getElementById("data").textContent);

/** An element of HTML, or of SVG where its name begins with a colon. Text is never read as marks. */
function make(name, attributes = {}, ...children) {
  const isSvg = name[0] === ":";
  const element = isSvg
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(1))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** The state of the page: pairs in the fragment of its address, so that a link or a reload shows the same. */
const state = {
  pairs: new URLSearchParams(),
  parts: [],
  read() {
    const fragment = location.hash.slice(1);
    // A fragment without pairs is a place in the page.
    this.pairs = new URLSearchParams(fragment.includes("=") ? fragment : "");
  },
  get(key) {
    return this.pairs.get(key) ?? "";
  },
  set(key, value) {
    if (this.get(key) === value) return;
    if (value) this.pairs.set(key, value);
    else this.pairs.delete(key);
    history.replaceState(null, "", "#" + this.pairs);
  },
  /** Adds a part that shows its state now, and again when the address changes. */
  add(show) {
    this.parts.push(show);
    show();
  },
};

window.addEventListener("hashchange", () => {
  state.read();
  state.parts.forEach((show) => show());
});
state.read();
