"""Values of a chart in words, in a real browser: as the keys go through them, and none of what is not shown."""

from tests.browser import visiting


def test_the_keyboard_reads_every_point_of_every_run_and_none_after_its_end(browser, report):
    with visiting(browser, report) as visit:
        page = visit.page
        page.locator("[data-chart='0'] .plot").focus()
        page.wait_for_selector("[data-chart='0'] canvas")
        simple, other = ("Simple, seed 0", "Simple, seed 1"), "VariationalBound, seed 0"
        for key, said in (
            ("ArrowRight", f"0: {simple[0]}: 4; {simple[1]}: 4; {other}: 4"),
            ("ArrowRight", f"1: {simple[0]}: 2; {simple[1]}: 2; {other}: 2"),
            ("Shift+ArrowRight", f"21: {simple[0]}: 0.1818; {simple[1]}: 0.1818; {other}: 0.1818"),
            ("ArrowDown", f"21: {other}: 0.1818 (3 of 3 from below)"),
            ("End", f"99: {other}: 0.04 (3 of 3 from below)"),
            ("ArrowDown", f"99: {simple[1]}: 0.04 (2 of 3 from below)"),
            ("ArrowRight", f"100: {simple[1]}: 0.0396 (2 of 2 from below)"),
            ("ArrowUp", f"100: {simple[0]}: 0.0396; {simple[1]}: 0.0396; 1 run without a value here"),
            ("Shift+ArrowLeft", f"80: {simple[0]}: 0.04938; {simple[1]}: 0.04938; {other}: 0.04938"),
        ):
            page.keyboard.press(key)
            assert page.locator("#readout-0").inner_text() == f"training step {said}", key
        page.get_by_role("button", name="None", exact=True).click()
        assert page.locator("#readout-0").inner_text() == "No run with this curve is shown."
        assert page.locator("[data-chart='0'] canvas").count() == 0
        page.get_by_role("button", name="All", exact=True).click()
        assert page.locator("[data-chart='0'] canvas").count() == 1
        assert page.locator("#readout-0").inner_text().startswith("loss against training step: point at ")
        assert not visit.messages
