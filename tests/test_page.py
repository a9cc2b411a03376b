"""The report page in a real browser: sorted, searched, and without a complaint on its console."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver")

from test_report import EVIL, METRICS, results, row

from easyedit_unlearn.report.pages import write_report

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
OFFLINE = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*OFFLINE.split(), f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


def record(method, group, question, after):
    return {
        "method": method, "group": group, "id": "1", "known": True, "question": question, "answer": "a",
        "target": "No.", "before": "It is" if group == "holdout" else "yes", "after": after,
        "scores_before": {"answer_rate": 1.0}, "scores_after": {"answer_rate": float(group == "forget")},
    }  # fmt: skip


@pytest.fixture
def opened(browser, tmp_path):
    rows = [row("ROME", 0.4, 0.9), row(EVIL, 0.0, 0.2), row("NPO", 0.2, None)]
    for number, one in enumerate(rows):
        one["seconds"] = 100.0 - number if number else 9.0
    samples = [record("ROME", "forget", "Who?", "Nobody."), record("ROME", "holdout", "Where?", "It is in Oslo."),
               record(EVIL, "forget", "Who?", EVIL)]  # fmt: skip
    write_report(replace(results(), rows=rows, samples=samples), tmp_path, METRICS)
    browser.get((tmp_path / "report.html").as_uri())
    return browser


def column(browser, heading):
    headers = browser.find_elements("css selector", "table.sortable thead th")
    place = next(n for n, header in enumerate(headers) if heading in header.text)
    headers[place].find_element("tag name", "button").click()
    rows = browser.find_elements("css selector", "table.sortable tbody tr")
    return [line.find_elements("tag name", "td")[place].text for line in rows], headers[place]


def shown(browser):
    return [line.text for line in browser.find_elements("css selector", "#rows tr")]


def test_a_heading_sorts_by_number_and_what_is_undefined_stays_last(opened):
    seconds, header = column(opened, "seconds")
    assert seconds == ["99.0", "98.0", "9.0", "-"]  # not as text
    assert header.get_attribute("aria-sort") == "descending"
    assert column(opened, "seconds")[0] == ["9.0", "98.0", "99.0", "-"]
    assert column(opened, "method")[0][0] == "ROME"
    assert opened.get_log("browser") == []


def test_samples_are_searched_and_filtered(opened):
    assert len(shown(opened)) == 3
    search = opened.find_element("id", "search")
    search.send_keys("oSLO")
    assert len(shown(opened)) == 1 and "in Oslo." in shown(opened)[0]
    assert opened.find_element("id", "count").text == "1 of 3 prompts"
    search.clear()
    search.send_keys(" ")
    select = pytest.importorskip("selenium.webdriver.support.ui").Select
    select(opened.find_element("name", "method")).select_by_visible_text("ROME")
    assert len(shown(opened)) == 2
    assert opened.get_log("browser") == []


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_it_fits_and_is_read_on_every_screen(opened, width, mode, tmp_path):
    """Screenshots stay in pytest's folder, or where PAGE_SCREENSHOTS says."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": mode}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    opened.refresh()
    folder = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    assert opened.save_screenshot(str(folder / f"page-{width}-{mode}.png"))
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width  # tables scroll, not the page
    for line in opened.find_elements("css selector", "#rows tr"):
        after = line.find_elements("tag name", "td")[-1].rect
        assert after["x"] + after["width"] <= width and after["width"] > 60
    ink, paper = (opened.execute_script(f"return getComputedStyle(document.{of}).{what}") for of, what in
                  (("querySelector('figure svg text')", "fill"), ("documentElement", "backgroundColor")))  # fmt: skip
    assert ("rgb(255" in ink) == (mode == "dark"), (ink, paper)
    assert opened.get_log("browser") == []


def test_what_went_wrong_comes_first_and_what_is_new_is_marked(opened):
    first = opened.find_element("css selector", "#rows tr").find_elements("tag name", "td")
    assert [cell.text for cell in first[:3]] == ["ROME", "still given", "forget"]
    assert "wrong" in first[1].get_attribute("class")
    lost = next(line for line in opened.find_elements("css selector", "#rows tr") if "holdout" in line.text)
    assert [mark.text for mark in lost.find_elements("tag name", "mark")] == ["in Oslo."]


def test_a_chart_tells_its_points(opened):
    titles = [one.get_attribute("textContent") for one in opened.find_elements("css selector", "figure svg g > title")]
    assert any(text.startswith("ROME: 60 % forgotten, 90 % of holdout kept") for text in titles)


def test_model_output_is_never_markup(opened):
    assert any("<script>alert(1)</script>" in text for text in shown(opened))
    assert opened.execute_script("return document.querySelectorAll('script').length") == 2
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert opened.get_log("browser") == []
