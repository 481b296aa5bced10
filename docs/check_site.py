"""Checks the built site, every link and anchor, and in a headless browser every page: `python docs/check_site.py site`.

In the browser: no error on the console, no file missing, no request to another machine, all formulas drawn, nothing
wider than a phone, no two pages of one title, and the search finds, from a server and from the disk. It needs
playwright and an installed Chromium; without them that part is skipped, and the last line says why. `--screenshots
FOLDER` keeps pictures of the main pages, wide and narrow, light and dark.
"""

import argparse
import shutil
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

SEARCHES = {"DDIMSampler": "Samplers", "beta_1": "Mathematics", "Parzen": "Scores", "lecturer": "lecturers"}
PICTURED = ["index", "tutorial", "gallery", "lecturers", "mathematics", "comparison", "results/README", "api/diffusion"]


class Targets(HTMLParser):
    """The anchors of a page, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value:
                self.references.append(value)


def broken_links(site: Path) -> list[str]:
    """References within the site to a file or an anchor that it does not have."""
    pages = {}
    for path in site.rglob("*.html"):
        pages[path.resolve()] = targets = Targets()
        targets.feed(path.read_text(encoding="utf-8"))
    broken = []
    for path, targets in pages.items():
        for reference in targets.references:
            url = urlsplit(reference)
            if url.scheme or url.netloc:
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchor = unquote(url.fragment)
            if not file.is_file() or (anchor and file in pages and anchor not in pages[file].anchors):
                broken.append(f"{path.relative_to(site.resolve())}: {reference}")
    return broken


class Browser:
    """Opens pages of a site, which a local server and the disk have, and notes what goes wrong in them."""

    def __init__(self, playwright, chromium: str, address: str, folder: str):
        self.browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        self.address, self.folder, self.problems, self.where = address, folder, [], ""
        self.pages: dict[str, str] = {}  # by title

    def tab(self, width: int = 390, scheme: str = "light"):
        tab = self.browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.on("console", lambda m: self.note(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: self.note(str(error)))
        ours = (self.address, self.folder, "data:", "blob:")
        tab.on("request", lambda r: None if r.url.startswith(ours) else self.note(r.url))
        tab.on("response", lambda r: self.note(f"{r.status} {r.url}") if r.status >= 400 else None)
        return tab

    def note(self, text: str) -> None:
        self.problems.append(f"{self.where}: {text}")

    def check(self, tab, page: str) -> int:
        """The number of formulas of a page."""
        self.where = page
        tab.goto(f"{self.address}/{page}", wait_until="load")
        title = tab.evaluate("(document.querySelector('h1') ?? document.querySelector('title')).textContent").strip("¶")
        if (other := self.pages.setdefault(title, page)) != page:
            self.note(f"{other} has the same title, {title}")
        formulas, drawn = (tab.locator(css).count() for css in (".math", ".math > .katex, .math > .katex-display"))
        if formulas != drawn:
            self.note(f"{formulas - drawn} of {formulas} formulas are not drawn")
        width = tab.evaluate("document.scrollingElement.scrollWidth")
        if width > tab.viewport_size["width"]:
            self.note(f"{width} pixels wide on a screen of {tab.viewport_size['width']}")
        return formulas

    def search(self, tab, address: str, words: str, title: str) -> None:
        self.where = f"{address}: search for {words}"
        tab.goto(f"{address}/search.html?q={words}")
        try:
            tab.locator("#search-results li a", has_text=title).first.wait_for(timeout=15_000)
        except Exception:
            self.note(f"no page {title!r} among the results")

    def photograph(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for width in (1440, 390):
            for scheme in ("light", "dark"):
                tab = self.tab(width, scheme)
                for page in PICTURED:
                    tab.goto(f"{self.address}/docs/{page}.html", wait_until="load")
                    tab.screenshot(path=folder / f"{page.replace('/', '_')}_{width}_{scheme}.png")
                tab.close()


def in_browser(site: Path, screenshots: Path | None) -> tuple[list[str], str]:
    """What goes wrong in a browser, and a line on what was done."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return [], "browser: skipped, no Chromium is installed (Debian: apt-get install chromium)"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return [], "browser: skipped, playwright is not installed (pip install -e '.[browser]')"

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = Browser(playwright, chromium, f"http://127.0.0.1:{server.server_port}", site.resolve().as_uri())
        tab = browser.tab()
        pages = [path.relative_to(site) for path in sorted(site.rglob("*.html"))]
        pages = [path for path in pages if path.parts[0] not in ("_modules", "index.html")]
        formulas = sum(browser.check(tab, path.as_posix()) for path in pages)
        if screenshots:
            browser.photograph(screenshots)
        for address in (browser.address, browser.folder):
            for words, title in SEARCHES.items():
                browser.search(tab, address, words, title)
    server.shutdown()
    return browser.problems, f"browser: {len(pages)} pages, {formulas} formulas, {len(SEARCHES)} searches each way"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    problems = [f"dead link in {link}" for link in broken_links(arguments.site)]
    more, done = in_browser(arguments.site, arguments.screenshots)
    for problem in problems + more:
        print(problem)
    print(f"{len(problems + more)} problems; {done}")
    return 1 if problems or more else 0


if __name__ == "__main__":
    sys.exit(main())
