"""Opens reports in a headless Chromium and uses them: hovers, clicks, switches, sorts, filters, types, prints.

Usage: check.py RELGRAD [--sweep DIR] [--screenshots DIR]

RELGRAD is the program. Three pages are opened: the report of an archived sweep with hostile text in it, that of a fresh
sweep (of DIR, or a tiny one), and a history. Without a Chromium it prints a line and ends with 0.
"""

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import chromium
from chromium import Chromium

HERE = Path(__file__).resolve().parent
ARCHIVED = HERE.parents[1] / "archive/2026-11-26-zen5-2-cores"
HOSTILE = "</script><script>window.hostile=1</script><img src=x onerror=window.hostile=1>\"'&é"
WIDTHS = {"wide": 1280, "narrow": 400}
CONTRAST = (HERE / "contrast.js").read_text()
checks = 0


def check(is_true, what):
    """Fails with `what` where it is not true."""
    global checks
    checks += 1
    if not is_true:
        raise AssertionError(what)


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def archived_report(relgrad, scratch):
    """The report of an archived sweep whose processor and whose reasons would open elements."""
    folder = scratch / "archived"
    shutil.copytree(ARCHIVED, folder, ignore=shutil.ignore_patterns("figures"))
    settings = json.loads((folder / "run.json").read_text())
    settings["machine"]["cpu"] = HOSTILE
    (folder / "run.json").write_text(json.dumps(settings))
    lines = gzip.open(folder / "records.jsonl.gz", "rt").read().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        if record["outcome"] == "failed" or record["outcome"] == "skipped":
            record["reason"] = HOSTILE
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "records.jsonl.gz").unlink()
    run(relgrad, "report", folder)
    return folder / "report.html"


def fresh_report(relgrad, scratch, sweep):
    folder = scratch / "fresh"
    if sweep:
        return Path(sweep) / "report.html"
    run(relgrad, "sweep", "--dims", "10,20,40", "--rounds", "2", "--budget", "none", "--no-roofline", "--out", folder)
    return folder / "report.html"


def history_page(relgrad, scratch):
    """Sixteen runs, slower by a quarter from the ninth on."""
    store, page = scratch / "history.jsonl", scratch / "history" / "trend.html"
    page.parent.mkdir()
    run(relgrad, "history", "add", ARCHIVED, "--store", store)
    first = store.read_text()
    lines = []
    for day in range(1, 17):
        entry = json.loads(first)
        entry["started"] = f"2026-01-{day:02}T00:00:00Z"
        entry["git_revision"] = HOSTILE if day == 9 else f"{day:040x}"
        for i, cell in enumerate(entry["cells"]):
            factor = (1.25 if day > 8 else 1.0) * (1.0 + 0.004 * ((7 * day + i) % 5))
            cell["seconds"] = {end: factor * value for end, value in cell["seconds"].items()}
        lines.append(json.dumps(entry) + "\n")
    store.write_text("".join(lines))
    run(relgrad, "history", "show", "--store", store, "--html", page)
    return page


class Page:
    """A page with what the checks of any page need."""

    def __init__(self, browser, path):
        self.browser, self.url = browser, path.resolve().as_uri()
        self.name = path.parent.name + " " + path.name

    def open(self, fragment=""):
        self.browser.open(self.url + fragment)

    def run(self, expression):
        return self.browser.run(expression)

    def count(self, selector):
        return self.run(f"document.querySelectorAll({json.dumps(selector)}).length")

    def middle(self, selector):
        """The middle of the first such element, scrolled into view."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{found}.scrollIntoView({{ block: 'center' }})")
        self.browser.settle()
        return self.run(f"(() => {{ const b = {found}.getBoundingClientRect(); "
                        "return [b.left + b.width / 2, b.top + b.height / 2]; })()")

    def hover(self, selector):
        # A scroll hides what the pointer showed: it moves after it.
        x, y = self.middle(selector)
        self.browser.move(x + 40, y + 40)
        self.browser.move(x, y)

    def click(self, selector):
        self.browser.click(*self.middle(selector))

    def fragment(self):
        return self.run("decodeURIComponent(location.hash)")

    def check(self, is_true, what):
        check(is_true, f"{self.name}: {what}")

    def check_sound(self):
        self.check(not self.browser.errors(), f"errors: {self.browser.errors()}")
        outside = [url for url in self.browser.requests() if not url.startswith(("file:", "data:"))]
        self.check(not outside, f"asked for {outside}")
        self.check(self.run("window.hostile") is None, "text of a file ran as a script")
        self.check(self.count("img") == 0, "text of a file became an element")


def check_units(page):
    """The script writes numbers as the program does: on a list, and on every value of the page."""
    for unit, pairs in json.loads((HERE / "units.json").read_text()).items():
        for value, text in pairs:
            found = page.run(f"relgrad.text({value!r}, '{unit}')")
            page.check(found == text, f"{value} {unit} reads {found}, not {text}")
    points = page.run("""Object.values(JSON.parse(document.getElementById('data').textContent).figures)
        .flatMap((c) => c.panels.flatMap((p) => p.curves.flatMap((k) => k.points.map((q) => [q.y[0], p.y.unit, q.text]))))
        .filter(([, unit]) => unit !== 'change').map(([v, unit, text]) => [relgrad.text(v, unit), text])""")
    wrong = [(mine, text) for mine, text in points if not (text + " ").startswith(mine + " ")]
    page.check(not wrong, f"{len(wrong)} of {len(points)} values read otherwise: {wrong[:3]}")


def check_figures(page, figure, facts):
    """Pointer, click, switches and keys of one figure."""
    page.open()
    page.check_sound()
    page.check(page.count(f"#{figure} svg.live .point") > 2, "the figure has no points")
    page.check(page.run(f"getComputedStyle(document.querySelector('#{figure} .printed')).display") == "none",
               "the printed drawing shows twice")
    point = f"#{figure} .point:nth-last-of-type(2)"
    page.hover(point)
    shown = page.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText")
    page.check(all(fact in shown for fact in facts), f"the pointer shows {shown!r}, not {facts}")

    page.click(point)
    page.check(page.run("document.getElementById('samples').open"), "a click opens nothing")
    page.check("at=" in page.fragment(), f"the address does not name the open point: {page.fragment()}")
    page.browser.press("Escape")
    page.check(not page.run("document.getElementById('samples').open"), "Escape does not close")
    page.check("at=" not in page.fragment(), "the address names a point that is closed")

    before = page.count(f"#{figure} .point")
    page.click(f"#{figure} [data-series]")
    off = page.count(f"#{figure} .point")
    page.check(off < before, "a series cannot be switched off")
    axes = page.count(f"#{figure} [data-axis]")
    ticks = page.run(f"document.querySelector('#{figure} svg.live').textContent")
    if axes:
        page.click(f"#{figure} [data-axis=y]")
        page.check(ticks != page.run(f"document.querySelector('#{figure} svg.live').textContent"), "the axis does not switch")
        page.check(f"{figure}.y=" in page.fragment(), f"the axis is not in the address: {page.fragment()}")
    page.check(f"{figure}.hide=" in page.fragment(), f"the series is not in the address: {page.fragment()}")
    kind = page.run(f"document.querySelector('#{figure} [data-axis=y]')?.textContent")
    page.browser.reload()
    page.check(page.count(f"#{figure} .point") == off, "a reload forgets the series")
    page.check(page.run(f"document.querySelector('#{figure} [data-axis=y]')?.textContent") == kind, "a reload forgets the axis")
    page.check(page.run(f"document.querySelector('#{figure} [data-series]').getAttribute('aria-pressed')") == "false",
               "a switch does not tell its state")
    page.check_sound()


def check_keys(page, figure):
    page.open()
    page.check(page.count(f"#{figure} .point[tabindex='0']") == 1, "a figure is more than one stop of the tab key")
    page.run(f"document.querySelector('#{figure} .point[tabindex=\"0\"]').focus()")
    active = "document.activeElement.getAttribute('aria-label')"
    first = page.run(active)
    page.browser.press("ArrowRight")
    second = page.run(active)
    page.check(first != second and "samples" in second or "commit" in second, f"an arrow leads from {first} to {second}")
    page.check(not page.run("document.getElementById('tip').hidden"), "a point in focus shows nothing")
    page.browser.press("ArrowDown")
    page.check(page.run(active) not in (first, second), "no arrow leads to another curve")
    page.browser.press("Home")
    third = page.run(active)
    page.browser.press("Enter")
    page.check(page.run("document.getElementById('samples').open"), "Enter opens nothing")
    page.browser.press("Escape")
    page.check(page.run(active) == third, "after Escape the focus is elsewhere")
    page.browser.press("Tab")
    page.check(page.run("document.activeElement.tagName") == "BUTTON", "the tab key does not lead to the switches")
    series = page.run("document.activeElement.getAttribute('aria-pressed')")
    page.browser.press("Enter")
    page.check(page.run("document.activeElement.getAttribute('aria-pressed')") != series, "Enter switches nothing")


def check_samples(page, figure):
    """The dialog has the samples of each process, and a link to it opens it."""
    page.open()
    page.click(f"#{figure} .point:nth-last-of-type(2)")
    link = page.run("location.hash")
    dots, rows = page.count("#samples circle"), page.count("#samples tbody tr")
    page.check(dots >= rows >= 1, f"{dots} samples of {rows} processes")
    page.check(page.run("document.activeElement.textContent") == "close", "the dialog has no focus")
    page.open(link)
    page.check(page.count("#samples[open] circle") == dots, f"{link} does not open the dialog")
    page.run("[...document.querySelectorAll('#samples .close')][0].click()")
    page.browser.settle()
    page.check(page.run("location.hash") in ("", "#"), "a closed dialog stays in the address")


def check_tables(page):
    """Sorting and filtering of the largest table."""
    page.open()
    tables = "[...document.querySelectorAll('.scroll > table')]"
    at = page.run(f"{tables}.reduce((b, t, i, all) => t.tBodies[0].rows.length > all[b].tBodies[0].rows.length ? i : b, 0)")
    page.run(f"{tables}[{at}].id = 'largest'")
    column = page.run("[...document.querySelectorAll('#largest th')].findIndex((t, i) => i > 0 && t.classList.contains('n'))")
    cells = f"[...document.querySelectorAll('#largest tbody tr')].map((r) => r.cells[{column}])"
    values = f"{cells}.map((c) => Number(c.dataset.value)).filter((v) => !Number.isNaN(v))"
    title, original = f"#largest th:nth-child({column + 1})", page.run(f"{cells}.map((c) => c.textContent)")
    for state, direction in [("ascending", 1), ("descending", -1)]:
        page.click(title + " button")
        found = page.run(values)
        page.check(found == sorted(found, reverse=direction < 0), f"{state}: {found}")
        page.check(page.run(f"document.querySelector('{title}').getAttribute('aria-sort')") == state, f"aria-sort is not {state}")
    page.run(f"document.querySelector('{title} button').focus()")
    page.browser.press("Enter")
    page.check(page.run(f"{cells}.map((c) => c.textContent)") == original, "the third click does not restore the order")

    rows = page.count("#largest tbody tr")
    word = page.run("document.querySelector('#largest tbody tr:last-child').cells[0].textContent")
    page.run("document.querySelector('#largest').closest('.scroll').previousElementSibling.querySelector('input').focus()")
    page.browser.type(word)
    shown = page.count("#largest tbody tr:not([hidden])")
    page.check(1 <= shown < rows, f"the filter {word!r} leaves {shown} of {rows} rows")
    page.check(f"t{at}.find=" in page.fragment(), "the filter is not in the address")
    page.browser.reload()
    page.check(page.run(f"{tables}[{at}].querySelectorAll('tbody tr:not([hidden])').length") == shown, "a reload forgets the filter")


def check_without_script(page):
    """Without a script, and on paper, the page is the one of before."""
    page.browser.scripts(False)
    page.open()
    page.check(page.count("svg.live") == 0 and page.count("button") == 0, "without a script there are switches")
    page.check(page.run("getComputedStyle(document.querySelector('figure svg')).display") != "none", "a figure is missing")
    page.browser.scripts(True)
    page.open()
    page.browser.media("print")
    for selector, is_shown in [(".printed", True), (".stage", False), (".tools", False)]:
        shown = page.run(f"getComputedStyle(document.querySelector('{selector}')).display") != "none"
        page.check(shown == is_shown, f"on paper {selector} is {'shown' if shown else 'missing'}")
    page.browser.media()


def check_looks(page, screenshots, figure):
    """Contrast, and no scrolling to the side, in both schemes at both widths; pictures for people."""
    for scheme in ["light", "dark"]:
        for name, width in WIDTHS.items():
            page.browser.media(scheme=scheme)
            page.browser.size(width, 900)
            page.open()
            page.hover(f"#{figure} .point:nth-last-of-type(3)")
            weak = page.run(CONTRAST)
            page.check(not weak, f"{scheme}: too little contrast: {weak}")
            reach = page.run("document.documentElement.scrollWidth")
            page.check(reach <= width, f"{name}: the page is {reach} wide on {width}")
            look = f"{page.name.replace(' ', '-').removesuffix('.html')}-{scheme}-{name}"
            page.browser.screenshot(screenshots / f"{look}-hover.png")
            page.click(f"#{figure} .point:nth-last-of-type(3)")
            weak = page.run(CONTRAST)
            page.check(not weak, f"{scheme}: too little contrast in the dialog: {weak}")
            page.browser.screenshot(screenshots / f"{look}-samples.png")
            page.browser.press("Escape")
            if name == "wide" or scheme == "light":
                page.browser.screenshot(screenshots / f"{look}-page.png", whole=True)
    page.browser.media()
    page.browser.size(1280, 900)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("relgrad", help="the program")
    parser.add_argument("--sweep", help="folder of a fresh sweep with its report")
    parser.add_argument("--screenshots", help="folder for pictures of the pages")
    arguments = parser.parse_args()
    program = chromium.find()
    if not program:
        print("SKIPPED: there is no Chromium to open the reports with (Debian: apt-get install chromium)")
        return 0
    with tempfile.TemporaryDirectory(prefix="relgrad-browser-") as scratch:
        scratch = Path(scratch)
        screenshots = Path(arguments.screenshots or scratch / "screenshots")
        screenshots.mkdir(parents=True, exist_ok=True)
        relgrad = Path(arguments.relgrad).resolve()
        pages = [(archived_report(relgrad, scratch), "fig3", ["[", "peak memory", "samples"]),
                 (fresh_report(relgrad, scratch, arguments.sweep), "fig3", ["peak memory", "samples"]),
                 (history_page(relgrad, scratch), "trend-1", ["commit", "since the first run", "["])]
        with Chromium(program) as browser:
            browser.size(1280, 900)
            for path, figure, facts in pages:
                page = Page(browser, path)
                try:
                    check_figures(page, figure, facts)
                    check_units(page)
                    check_keys(page, figure)
                    if figure != "trend-1":
                        check_samples(page, figure)
                    check_tables(page)
                    check_without_script(page)
                    check_looks(page, screenshots, figure)
                except (AssertionError, RuntimeError) as cause:
                    browser.screenshot(screenshots / "failed.png")
                    print(f"FAILED: {page.name}: {cause}", file=sys.stderr)
                    return 1
                print(f"{page.name}: {path.stat().st_size / 1000:.0f} kB, ok")
    print(f"{checks} checks of {len(pages)} pages passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
