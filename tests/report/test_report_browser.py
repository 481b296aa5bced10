"""The page in a real browser: what it shows, that the keyboard is enough, and that hostile runs do no harm."""

import http.server
import json
import threading

import pytest

from lit_diffusion.report.page import make_page
from tests.browser import visiting, wait_until
from tests.report.report_made import HOSTILE, make_report, put_run


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_page_fits_draws_and_loads_nothing(browser, report, width, scheme):
    with visiting(browser, report, width, scheme) as visit:
        page = visit.page
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("#curves").scroll_into_view_if_needed()
        page.wait_for_selector("[data-chart='0'] canvas")
        drawn = """() => { const c = document.querySelector("[data-chart='0'] canvas");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            return new Set(Array.from({length: d.length / 4}, (_, i) => d.slice(4 * i, 4 * i + 3).join())).size }"""
        assert page.evaluate(drawn) > 10
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 29)")
        assert not visit.messages and not visit.requests


def test_tables_sort_and_say_so_and_say_how_they_were_measured(browser, report):
    with visiting(browser, report) as visit:
        page = visit.page
        first = page.locator("table.scores")
        names = first.locator("tbody th[scope=row]")
        head = first.locator("thead th", has_text="FID")
        for state, order in (
            ("ascending", ["Simple", "VariationalBound"]),
            ("descending", ["VariationalBound", "Simple"]),
            ("none", ["Simple", "VariationalBound"]),
        ):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == state
            assert [text.strip() for text in names.all_inner_texts()] == order
        page.get_by_role("button", name="Protocol of Simple").click()
        dialog = page.get_by_role("dialog")
        assert "seed 1: 8.0000" in dialog.inner_text() and "digits-classifier" in dialog.inner_text()
        page.keyboard.press("Escape")
        assert not dialog.is_visible()


def test_runs_are_switched_smoothed_zoomed_and_seen_through_training(browser, report):
    with visiting(browser, report) as visit:
        page = visit.page
        page.locator("#curves").scroll_into_view_if_needed()
        page.wait_for_selector("[data-chart='0'] canvas")
        curves = "CHARTS[0].series.map((one) => one.run)"
        assert page.evaluate(curves) == [0, 1, 2]
        page.get_by_label("seed 1").uncheck()
        assert page.evaluate(curves) == [0, 2] and page.locator("figure.picture:visible").count() == 2
        assert page.locator("#selection-count").inner_text() == "2 of 3"
        assert page.evaluate("document.querySelector('#selection input').indeterminate")
        page.get_by_role("button", name="All", exact=True).click()
        page.evaluate(
            "const s = document.getElementById('smoothing'); s.value = 0.9; s.dispatchEvent(new Event('input'))"
        )
        wait_until(page, "CHARTS[0].series.length === 6")
        assert page.evaluate("smooth([4, 4, 4], 0.9)") == pytest.approx([4, 4, 4]), "no bias of the first values"
        page.get_by_label("from step").fill("50")
        page.get_by_label("from step").press("Enter")
        wait_until(page, "CHARTS[0].plot.scales.x.min === 50")
        assert page.evaluate("CHARTS[1].range()[0]") == 50, "all charts show the same steps"
        picture, slider = page.locator("figure.picture img").first, page.locator("#picture-step")
        assert slider.get_attribute("aria-valuetext") == "step 100"
        before = picture.get_attribute("src")
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == "step 50" and picture.get_attribute("src") != before
        assert picture.get_attribute("alt") == "samples of Simple, seed 0, step 50"
        assert not visit.messages


def test_everything_is_reached_by_keyboard_seen_and_named(browser, report):
    """Tab visits each control once, in the order of the page; each shows the focus and has a name to be read."""
    with visiting(browser, report) as visit:
        page = visit.page
        seen = []
        look = """() => { const e = document.activeElement, s = getComputedStyle(e);
            if (e === document.body) return null;
            const label = e.labels && e.labels.length ? e.labels[0].textContent : "";
            const by = (e.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id));
            const named = by.filter((one) => one).map((one) => one.textContent).join(" ");
            const name = e.getAttribute("aria-label") || named || label || e.textContent || e.placeholder ||
              (e.querySelector("img") || {}).alt || "";
            const id = [...document.querySelectorAll("*")].indexOf(e);
            return {id, name: name.trim(), seen: s.outlineStyle !== "none" || s.outlineWidth !== "0px"} }"""
        for _ in range(200):
            page.keyboard.press("Tab")
            found = page.evaluate(look)
            if found is None or (seen and found["id"] == seen[0]["id"]):
                break
            seen.append(found)
        assert seen[0]["name"] == "Skip to the content"
        assert not [one for one in seen if not one["name"] or not one["seen"]]
        ids = [one["id"] for one in seen]
        assert ids == sorted(set(ids))
        expected = page.evaluate("""() => [...document.querySelectorAll(
            "a[href], button, input, select, summary, [tabindex='0']")].filter(
            (e) => e.checkVisibility() && !e.disabled).length""")
        assert len(seen) == expected > 30
        page.locator("[data-chart='0'] .plot").focus()
        page.wait_for_selector("[data-chart='0'] canvas")
        page.keyboard.press("Home")
        assert page.locator("#readout-0").inner_text().startswith("training step 0: ")
        page.keyboard.press("+")
        wait_until(page, "VIEW.to !== null")


def test_hostile_runs_execute_nothing_and_reach_nobody(browser, tmp_path):
    """Texts with scripts stay texts; and if markup got in all the same, the policy would stop it."""
    calls = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            calls.append(self.path)

    server = http.server.HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    text = f"{HOSTILE}<img src={url}><link rel=stylesheet href={url}>" + "{{ 7 * 7 }}" + "x" * 10**6
    settings = [{"model.objective": text, text: number} for number in range(2)]
    for number, one in enumerate(settings):
        name = f"{HOSTILE.replace('/', '|')[:80]}{'n' * 160}{number}"
        run = put_run(tmp_path / "runs" / name, settings=one, scores={"fid": 1.0, text: 2.0}, git=text, seed=None)
        (run / "metrics.csv").write_text('"<b onmouseover=alert(1)>",train/loss,step\nnan,1e300,1\n2,inf,2\n1,5,3\n')
        (run / "bits_per_dim/test.json").write_text(json.dumps({text: {"value": 1.0}, "b": {"value": float("nan")}}))
    make_report(tmp_path / "runs", out=tmp_path / "report.html")
    with visiting(browser, tmp_path / "report.html", 390) as visit:
        page = visit.page
        page.on("dialog", lambda dialog: calls.append(dialog.message))
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, "long names wrap"
        for button in page.locator("button.protocol").all():
            button.click()
            page.keyboard.press("Escape")
        page.locator("#curves").scroll_into_view_if_needed()
        page.wait_for_selector("[data-chart='0'] canvas")
        assert page.title() == "runs: report" and not visit.messages and not calls and not visit.requests
        assert "<img src=x onerror=" in page.locator("main").inner_text()
        for attempt in (
            "document.body.append(Object.assign(document.createElement('img'), {src: url}))",
            "document.body.append(Object.assign(document.createElement('iframe'), {src: url}))",
            "document.head.append(Object.assign(document.createElement('link'), {rel: 'stylesheet', href: url}))",
            "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))",
            "document.querySelector('h1').setAttribute('onclick', 'document.title = 1')",
            "document.querySelector('h1').click()",
            "document.body.innerHTML += '<img src=x onerror=document.title=1>'",
            "fetch(url).catch(() => {})",
        ):
            page.evaluate(f"(url) => {{ try {{ {attempt} }} catch {{ /* trusted types */ }} }}", url)
        page.wait_for_timeout(100)
        assert page.title() == "runs: report" and not calls
    server.shutdown()


def test_a_page_that_is_renewed_reloads_itself_and_keeps_what_was_chosen(browser, tmp_path):
    put_run(tmp_path / "runs/one", status="running", steps=5)
    put_run(tmp_path / "runs/two", seed=1, steps=5)
    file = tmp_path / "report.html"
    file.write_text(make_page([str(tmp_path / "runs")], renewed=20)[0])
    with visiting(browser, file) as visit:
        page = visit.page
        page.add_init_script("window.setInterval = (action, period) => { window.timer = [action, period]; }")
        page.reload()
        page.get_by_label("seed 1").uncheck()
        page.select_option("#theme", "dark")
        with (tmp_path / "runs/one/metrics.csv").open("a") as metrics:
            metrics.write("9,5,300\n")
        file.write_text(make_page([str(tmp_path / "runs")], renewed=20)[0])
        assert page.evaluate("window.timer[1]") == 20_000
        with page.expect_navigation():
            page.evaluate("window.timer[0]()")
        assert page.evaluate("DATA.charts[0].curves[0][1].length") == 6
        assert page.locator("#selection-count").inner_text() == "1 of 2"
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.get_by_label("reload every 20 s").uncheck()
        page.evaluate("window.stays = true; window.timer[0]()")
        page.wait_for_timeout(100)
        assert page.evaluate("window.stays")


def test_without_scripts_the_page_has_its_tables_and_last_pictures_and_no_dead_controls(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("table.scores tbody tr").count() == 2
    assert page.locator("figure.picture img:visible").count() == 3
    assert page.locator("input:visible, select:visible, button:enabled:visible").count() == 0
    context.close()


def test_print_is_light_and_has_no_controls(browser, report):
    with visiting(browser, report, 794, "dark") as visit:
        page = visit.page
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.locator("input:visible, select:visible, nav:visible, aside:visible").count() == 0
        assert page.locator(".run dl:visible").count() == 3 and page.locator("canvas:visible").count() == 5
        assert page.evaluate("document.documentElement.scrollWidth") == 794
