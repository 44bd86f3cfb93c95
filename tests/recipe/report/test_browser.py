"""What a browser makes of the page: headless Chromium, at the sizes of a laptop and of a telephone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recipe.report.__main__ import main

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LAPTOP, TELEPHONE = (1280, 800), (390, 844)
DRAWN_MS = 120_000


@dataclass(slots=True)
class Opened:
    """A page in the browser, and what it did that it should not."""

    tab: Any
    said: list[str] = field(default_factory=list)  # to the console, and errors
    asked: list[str] = field(default_factory=list)  # addresses


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, by playwright."""
    if CHROMIUM is None:
        pytest.skip("no Chromium was found: install the package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a page and wait until its charts are drawn; none may say or ask anything."""
    visits = []

    def visit(page: Path, size: tuple[int, int] = LAPTOP, scheme: str = "light") -> Opened:
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=size == TELEPHONE
        )
        opened = Opened(context.new_page())
        opened.tab.on("console", lambda message: opened.said.append(message.text))
        opened.tab.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.tab.on("request", lambda request: opened.asked.append(request.url))
        opened.tab.goto(page.as_uri())
        opened.tab.wait_for_selector("body[data-drawn]", timeout=DRAWN_MS)
        opened.tab.wait_for_function("!document.querySelector('#found')?.textContent.startsWith('Reading')")
        visits.append((context, opened, page))
        return opened

    yield visit
    for context, opened, page in visits:
        assert opened.said == []
        assert {address for address in opened.asked if not address.startswith("data:")} == {page.as_uri()}
        context.close()


@pytest.fixture(scope="module")
def page(alarming: Path) -> Path:
    """The page of a run in which a model wrote scripts, with an alarm."""
    assert main([str(alarming)]) == 0
    return alarming / "report.html"


@pytest.fixture
def compared(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """The page of three runs, two of one arm."""
    runs = [
        make_run("self_play-1"),
        make_run("self_play-2", seed=2, num_right=6),
        make_run("random-1", num_right=1),
    ]
    out = tmp_path / "compared.html"
    assert main([*map(str, runs), "--out", str(out)]) == 0
    return out


def num_listed(tab: Any) -> int:
    """Responses that match, by the sentence that says so."""
    tab.wait_for_timeout(400)
    return int(tab.inner_text("#found").split(" of ")[0].replace(",", ""))


# ------------------------------ charts ------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, TELEPHONE], ids=["laptop", "telephone"])
def test_every_chart_is_drawn(
    visit: Callable[..., Opened], page: Path, size: tuple[int, int], scheme: str
) -> None:
    tab = visit(page, size, scheme).tab
    figures = tab.locator("figure[data-chart]")
    for number in range(figures.count()):
        figure = figures.nth(number)
        name = figure.get_attribute("data-chart")
        assert figure.locator(".plot svg.marks").count() > 0, name
        assert figure.locator(".plot svg.marks path, .plot svg.marks rect").count() > 3, name
        assert figure.locator("svg.marks").first.bounding_box()["width"] > 150, name
    assert figures.count() == 18
    # Every chart over steps marks the alarm; the chart of groups has no steps.
    assert tab.locator("svg.marks .mark-rule line[stroke-dasharray='3,3']").count() >= 17


def test_chart_says_its_numbers_as_a_table(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    tab.click("figure[data-chart=rewards] summary")
    table = tab.locator("figure[data-chart=rewards] table")
    assert table.locator("th").all_inner_texts()[:3] == ["step", "series", "value"]
    assert table.locator("tbody tr").first.locator("td").all_inner_texts()[:3] == [
        "1",
        "propose/deduction",
        "-0.2500",
    ]


def test_pointing_at_a_chart_says_what_is_there(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    chart = tab.locator("figure[data-chart=rewards] svg.marks")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    tooltip = tab.locator("#vg-tooltip-element.visible")
    tooltip.wait_for(timeout=5000)
    assert "undefined" not in tooltip.inner_text()
    assert "solve/deduction" in tooltip.inner_text()


def test_steps_that_are_marked_in_a_chart_are_chosen(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    before = num_listed(tab)
    chart = tab.locator("figure[data-chart=proposals] svg.marks")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=4)
    tab.mouse.up()
    assert 0 < num_listed(tab) < before
    first, last = (int(tab.input_value(f"#filters input[name={name}]")) for name in ("first", "last"))
    assert 1 <= first <= last <= 6
    assert num_listed(tab) == 8 * (last - first + 1)


def test_steps_are_marked_in_one_chart_at_a_time(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    brush = "figure[data-chart={}] svg.marks .chosen_brush path"
    for name, other in (("rewards", "advantages"), ("advantages", "rewards")):
        chart = tab.locator(f"figure[data-chart={name}] svg.marks")
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60, steps=4)
        tab.mouse.up()
        assert 0 < num_listed(tab) < 49
        assert tab.locator(brush.format(name)).last.is_visible()
        assert tab.locator(brush.format(other)).last.is_hidden()


def test_theme_is_switched(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    colour_of = "getComputedStyle(document.body).backgroundColor"
    label = "figure[data-chart=rewards] svg.marks .role-axis-label text"
    light, light_label = tab.evaluate(colour_of), tab.locator(label).first.get_attribute("fill")
    tab.click("#theme")
    tab.wait_for_selector("body:not([data-drawn])", state="attached", timeout=5000)
    tab.wait_for_selector("body[data-drawn]", timeout=DRAWN_MS)
    assert tab.evaluate(colour_of) != light
    assert tab.locator(label).first.get_attribute("fill") != light_label
    assert tab.inner_text("#theme") == "Light page"


def test_runs_are_compared_and_shown_one_at_a_time(visit: Callable[..., Opened], compared: Path) -> None:
    tab = visit(compared).tab
    legend = tab.locator("figure[data-chart=compared-accuracy] .legend li")
    assert legend.all_inner_texts() == ["self_play", "random"]
    assert tab.locator("figure[data-chart=compared-accuracy] .panels > div").count() == 2
    assert tab.locator("[data-run]:visible").count() == 1
    shown = tab.locator("[data-run]:visible .tiles strong").first
    assert shown.inner_text() == "33.3% → 50.0%"
    tab.select_option("#shown-run", label="random-1")
    tab.wait_for_timeout(500)
    tab.wait_for_selector("body[data-drawn]", timeout=DRAWN_MS)
    assert shown.inner_text() == "33.3% → 16.7%"
    assert num_listed(tab) == 49


# ------------------------------ tasks ------------------------------


def test_filters_and_search_find_responses(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    assert num_listed(tab) == 49
    tab.select_option("#filters select[name=role]", label="propose")
    assert num_listed(tab) == 25
    tab.select_option("#filters select[name=reason]", label="duplicate")
    assert num_listed(tab) == 6
    tab.click("#filters button[type=reset]")
    assert num_listed(tab) == 49
    tab.fill("#filters input[name=least]", "40")
    tab.fill("#filters input[name=most]", "60")
    assert num_listed(tab) == 18  # six proposals, and the attempts at them
    tab.fill("#filters input[name=first]", "5")
    assert num_listed(tab) == 6
    tab.click("#filters button[type=reset]")
    tab.fill("#filters input[name=text]", "DOCUMENT.TITLE")
    assert num_listed(tab) == 3
    tab.select_option("#filters select[name=outcome]", label="correct")
    assert num_listed(tab) == 0


def test_rows_are_listed_as_they_are_asked_for(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    rows = tab.locator("#responses > tbody > tr")
    assert rows.count() == 40
    tab.click("#more")
    assert rows.count() == 49
    assert tab.locator("#more").is_hidden()
    steps = [int(step) for step in tab.locator("#responses > tbody > tr > td:nth-child(2)").all_inner_texts()]
    assert steps == sorted(steps, reverse=True)
    tab.select_option("#filters select[name=order]", "-reward")
    tab.wait_for_timeout(400)
    assert tab.locator("#responses > tbody > tr > td:nth-child(7)").first.inner_text() == "1"


def test_what_a_model_wrote_is_shown_and_not_run(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    tab.select_option("#filters select[name=reason]", label="no-task")
    tab.wait_for_timeout(400)
    for button in tab.locator("#responses .opener button").all():
        button.click()
    shown = tab.locator("#responses .detail").all_inner_texts()
    assert len(shown) == 6
    assert any("</script><script>document.title = 'taken'</script>" in text for text in shown)
    assert any("<img src=x onerror=\"document.title = 'taken'\">" in text for text in shown)
    assert any("␛]0;taken␇␛[31m <U+202E>gnihtyna<U+202C> ␀" in text for text in shown)
    assert any("the first 2,000 of 1,000,000 characters" in text for text in shown)
    assert tab.title() == "<img src=x>"
    assert tab.locator("main img").count() == 0


def test_reward_is_explained_term_by_term(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    tab.fill("#filters input[name=first]", "2")
    tab.fill("#filters input[name=last]", "2")
    tab.select_option("#filters select[name=reason]", label="wrong-step")
    tab.wait_for_timeout(400)
    tab.click("#responses .opener button")
    rows = tab.locator("#responses .detail table tbody tr").all_inner_texts()
    assert [row.split("\t")[:2] for row in rows] == [
        ["wrong", "-0.5"],
        ["reward", "-0.5"],
        ["advantage", "-1.5"],
    ]
    assert "attempt 2/0:1: line 12 of the ledger" in tab.inner_text("#responses .detail")


# ------------------------------ for everybody ------------------------------


def test_everything_is_reached_by_the_keyboard(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    reached = []
    for _ in range(60):
        tab.keyboard.press("Tab")
        reached.append(
            tab.evaluate(
                """() => {
                    const at = document.activeElement;
                    const outline = getComputedStyle(at);
                    return [at.tagName, at.name || at.id || at.textContent.slice(0, 20),
                            outline.outlineStyle !== "none" && parseFloat(outline.outlineWidth) >= 2];
                }"""
            )
        )
    assert all(has_focus for _, _, has_focus in reached), [one for one in reached if not one[2]]
    names = [name for _, name, _ in reached]
    assert names[:2] == ["Skip to the content", "theme"]
    order = ["theme", "text", "role", "outcome", "reason", "first", "last", "least", "most", "order"]
    assert [name for name in names if name in order] == order
    tab.locator("#responses .opener button").first.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#responses .detail").count() == 1
    assert tab.locator("#responses .opener button").first.get_attribute("aria-expanded") == "true"


def test_every_control_has_a_name(visit: Callable[..., Opened], page: Path) -> None:
    tab = visit(page).tab
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [role=graphics-document], nav, a")]
            .filter((at) => !(at.ariaLabel || at.textContent.trim() || at.labels?.[0]?.textContent.trim()))
            .map((at) => at.outerHTML.slice(0, 100))"""
    )
    assert nameless == []


OVERLAPS = """() => {
    const boxes = [...document.querySelectorAll("h1, h2, h3, h4, p, li, dt, dd, label, legend, summary, "
        + "button, select, input, th, td, figure, pre, svg.marks")]
        .filter((at) => at.checkVisibility())
        .filter((at) => !at.closest("nav, .skip, .scroll, .table, #vg-tooltip-element"))
        .map((at) => [at, at.getBoundingClientRect()]).filter(([, box]) => box.width > 1 && box.height > 1);
    const found = [];
    const inside = document.querySelector("main").getBoundingClientRect();
    for (const [at, box] of boxes) {
        const isOut = box.right > inside.right + 1 || box.left < inside.left - 1;
        if (isOut) found.push(`out: ${at.outerHTML.slice(0, 90)}`);
        for (const [other, its] of boxes) {
            if (at === other || at.contains(other) || other.contains(at)) continue;
            const width = Math.min(box.right, its.right) - Math.max(box.left, its.left);
            const height = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
            if (width > 1.5 && height > 1.5) {
                found.push(`${at.outerHTML.slice(0, 90)} | ${other.outerHTML.slice(0, 90)}`);
            }
        }
    }
    for (const svg of document.querySelectorAll("svg.marks")) {
        const texts = [...svg.querySelectorAll(".role-axis-label text, .role-axis-title text")]
            .map((at) => [at, at.getBoundingClientRect()])
            .filter(([at, box]) => box.width > 0 && at.getAttribute("opacity") !== "0");
        texts.forEach(([at, box], i) => texts.slice(i + 1).forEach(([other, its]) => {
            const width = Math.min(box.right, its.right) - Math.max(box.left, its.left);
            const height = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
            const names = `${at.textContent} | ${other.textContent} in ${svg.parentElement.ariaLabel}`;
            if (width > 1 && height > 1) found.push(names);
        }));
    }
    return found;
}"""


@pytest.mark.parametrize("size", [LAPTOP, TELEPHONE], ids=["laptop", "telephone"])
@pytest.mark.parametrize("which", ["page", "compared"])
def test_nothing_overlaps_and_the_page_is_as_wide_as_the_window(
    visit: Callable[..., Opened], request: pytest.FixtureRequest, which: str, size: tuple[int, int]
) -> None:
    tab = visit(request.getfixturevalue(which), size).tab
    for button in tab.locator("#responses .opener button").all()[:4]:
        button.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert tab.evaluate(OVERLAPS) == []
