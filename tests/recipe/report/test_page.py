"""A page is one file that fetches nothing, says what there is, and lets nothing that a model wrote act."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from recipe.report import responses
from recipe.report.__main__ import main
from recipe.report.comparing import OVERLAYS
from recipe.report.contents import read_contents
from recipe.report.page import html_of
from recipe.report.sections import OF_A_RUN

MakeRun = Callable[..., Path]
ReadPage = Callable[[str], Any]


@pytest.fixture(scope="module")
def html(alarming: Path) -> str:
    """The page of a run in which a model wrote scripts."""
    return html_of(read_contents([alarming]))


def unpacked(text: str) -> dict[str, Any]:
    """A block of responses as it was packed."""
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return found


# ------------------------------ what it may do ------------------------------


def test_nothing_is_fetched(html: str, read_page: ReadPage) -> None:
    page = read_page(html)
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "poster", "data")
    ]
    assert addresses
    assert all(address.startswith(("#", "data:,")) for address in addresses)
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import", style)


def test_no_script_runs_but_its_own(html: str, read_page: ReadPage) -> None:
    page = read_page(html)
    (policy,) = (
        attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes
    )
    running = [text for name, text in page.scripts.items() if name.startswith("#")]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert len(running) == 2
    assert policy.startswith("default-src 'none'; script-src ")
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert "unsafe-eval" not in policy
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_what_a_model_wrote_is_data(html: str, read_page: ReadPage) -> None:
    page = read_page(html)
    assert sorted(page.scripts) == ["#0", "#1", "page-data", "responses-0"]
    assert not {"img", "b"} & {tag for tag, _ in page.tags}
    assert "<img src=x>" in page.text
    assert "97 % of the proposals are <b>duplicates</b>" in page.text
    texts = unpacked(page.scripts["responses-0"])["response"]
    assert "</script><script>document.title = 'taken'</script>" in texts


# ------------------------------ what it shows ------------------------------


def test_every_chart_has_rows_or_a_sentence(html: str, read_page: ReadPage) -> None:
    page = read_page(html)
    figures = {attributes["data-chart"] for tag, attributes in page.tags if tag == "figure"}
    (run,) = page.data["runs"]
    assert figures == {chart.name for section in OF_A_RUN for chart in section.charts}
    assert figures == run["tables"].keys()  # this run has data for all
    for name, columns in run["tables"].items():
        assert len({len(column) for column in columns.values()}) == 1, name
    assert run["missing"] == {}
    assert run["alarms"]["alarm"] == ["duplicates"]


def test_run_that_has_just_begun_says_what_is_not_there(make_run: MakeRun) -> None:
    run = make_run()
    for name in ("ledger.jsonl", "metrics.jsonl"):
        (run / name).write_bytes(b"")
    (part,) = read_contents([run]).runs
    assert not any(part.tables.values())
    charts = {chart.name for section in OF_A_RUN for chart in section.charts}
    assert part.missing.keys() == charts | {"responses"}
    assert all(sentence.endswith(".") for sentence in part.missing.values())


def test_header_says_what_the_run_is(make_run: MakeRun) -> None:
    run = make_run()
    hardware = {"cores": 2, "cpu": "EPYC", "memory_gib": 15.6, "gpus": []}
    command = "python -m recipe.main_azr experiment=chain azr.seed=1"
    summary = {"command": f"/opt/bin/{command}", "commit": "c0ffee", "versions": {"verl": "0.9.1"}}
    (run / "summary.json").write_text(json.dumps(summary | {"hardware": hardware}))
    (part,) = read_contents([run]).runs
    facts = dict(part.facts)
    assert (facts["experiment"], facts["command"], facts["commit"]) == ("chain", command, "c0ffee")
    assert (facts["model"], facts["pack"], facts["steps"]) == ("models/<tiny>", "chain", "6 of 6")
    assert facts["machine"] == "2 cores of EPYC, 15.6 GiB, no GPU"
    assert part.tiles[0].value == "33.3% → 50.0%"


def test_damaged_lines_are_named(make_run: MakeRun, read_page: ReadPage) -> None:
    run = make_run()
    with (run / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'no json\n{"step": 7, "role": "prop')
    page = read_page(html_of(read_contents([run])))
    assert "run: damaged lines of the ledger, which were skipped: 50 (it is no JSON)." in page.text
    assert "run: the last 25 bytes of the ledger have no line's end yet: skipped." in page.text


@pytest.mark.parametrize(
    "chart",
    [
        *(chart for section in OF_A_RUN for chart in section.charts),
        *(overlay.chart for *_, overlays in OVERLAYS for overlay in overlays),
    ],
    ids=lambda chart: chart.name,
)
def test_specification_is_vega_lites(chart: Any) -> None:
    marks = vl_convert.vegalite_to_vega(chart.spec)["marks"]
    assert len(marks) >= len(chart.spec["layer"])


# ------------------------------ responses ------------------------------


def test_responses_have_their_rewards_explained(html: str, read_page: ReadPage) -> None:
    found = unpacked(read_page(html).scripts["responses-0"])
    names = found["names"]
    place = next(
        i
        for i, step in enumerate(found["step"])
        if step == 2 and names["reason"][found["reason"][i]] == "wrong-step"
    )
    terms = found["derivations"][found["derivation"][place]]
    # Of the step's attempts: 1, -0.5, 1, 1, so the mean is 0.625 and the deviation 0.75
    assert [name for name, *_ in terms] == ["wrong", "reward", "advantage"]
    assert [value for _, value, _ in terms] == pytest.approx([-0.5, -0.5, -1.5])
    assert terms[-1][2] == "(-0.5 - 0.6250, the mean of 4 in solve/deduction) / 0.7500"
    assert sum(found["line_after"][: place + 1]) == 12


def test_long_texts_are_cut_and_their_length_is_said(html: str, read_page: ReadPage) -> None:
    found = unpacked(read_page(html).scripts["responses-0"])
    (place,) = (i for i, length in enumerate(found["cut"]) if length)
    assert (found["cut"][place], len(found["response"][place])) == (1_000_000, responses.CUT)
    assert len(html) < 1_500_000


def test_what_does_not_fit_is_sampled_by_whole_requests(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MOST_RESPONSES", 98)
    (part,) = read_contents([make_run(num_steps=24)]).runs
    found = part.responses
    assert found is not None
    requests = set(zip(found["step"], found["index"], strict=True))
    # 193 responses came of 97 requests: every second one is kept, with all that came of it
    assert 40 <= len(requests) <= 50
    for request in requests:
        here = [i for i, at in enumerate(zip(found["step"], found["index"], strict=True)) if at == request]
        assert len(here) == (3 if request[1] < 2 and request[0] > 0 else 1)
    assert {step for step, _ in requests} >= set(range(1, 25))
    assert found["left_out"].startswith(f"{len(found['step'])} of the ledger's 193 responses are here")


# ------------------------------ the command ------------------------------


def test_page_is_written_into_the_run(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_text(encoding="utf-8").endswith("</html>\n")


def test_missing_folders_are_made_as_those_of_an_export_are(make_run: MakeRun, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "new" / "page.html"
    assert main([str(make_run()), "--out", str(page)]) == 0
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]


def test_mistake_is_one_line(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = make_run(), make_run("other", held_out="e")
    damaged = make_run("damaged")
    (damaged / "metrics.jsonl").write_text("no json\n")
    study = tmp_path / "study"
    (study / "runs").mkdir(parents=True)
    (study / "runs" / "a-1.json").write_text("{}")
    for words, said in [
        ([tmp_path / "nowhere"], "RUN must be the directory of a run, with its config.yaml"),
        ([run, other], "must have been asked the same held-out tasks as"),
        ([run, run], "more than once"),
        ([damaged], "metrics.jsonl must be what a run wrote"),
        ([study], "must be the file of a run"),
        ([run, study], "a study's folder must be given alone"),
        ([run, "--out", run / "config.yaml" / "page.html"], "cannot be written"),
        ([run, "--out", tmp_path], "--out must name a file"),
    ]:
        assert main([str(word) for word in words]) == 2, words
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
        assert said in printed.err
