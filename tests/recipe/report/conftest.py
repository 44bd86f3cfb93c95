"""Runs to make pages of: directories with the files of a run, in which a model wrote whatever it can."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipe.report import vega
from recipe.run.evaluations import Answers, Evaluation
from recipe.run.files import JsonLinesFile
from recipe.selfplay import metrics
from recipe.selfplay.types import LedgerLine
from tasks.contract import Outcome, Role

HOSTILE = (
    "</script><script>document.title = 'taken'</script>",
    "<!-- <script> --><img src=x onerror=\"document.title = 'taken'\">",
    "\x1b]0;taken\x07\x1b[31m \u202egnihtyna\u202c \x00",
    "9" * 1_000_000,
    "half a pair: \ud800",
)
"""What a model may write."""

NUM_STEPS = 6
GROUPS = ("len-03", "len-03", "len-09", "len-09", "len-10", "len-10")

Line = dict[str, Any]


def line_of(step: int, index: int, attempt: int | None = None, **given: Any) -> Line:
    """A line of a ledger of the pack `chain`: a proposal, or with `attempt` an attempt."""
    role = Role.PROPOSE if attempt is None else Role.SOLVE
    values: Line = {
        "cell": f"{role}/deduction",
        "prompt": [{"role": "user", "content": "new\n1+2+3=" if attempt is None else "1+2+4="}],
        "response": "1+2+4=" if attempt is None else "3 7",
        "outcome": Outcome.CORRECT,
        "reason": "",
        "solve_rate": None,
        "reward": None,
        "record": {"terms": "124"},
    }
    return LedgerLine(
        step=step, role=role, kind="deduction", index=index, attempt=attempt, **values | given
    ).to_json()


def lines_of_step(step: int) -> list[Line]:
    """Four proposals: two accepted ones that are attempted twice, a duplicate, and a malformed one."""
    terms = str(123 + step), "1" * (3 + step % 3)
    lines = [
        line_of(step, 0, reward=0.5, solve_rate=0.5, record={"terms": terms[0]}),
        line_of(step, 0, 0, reward=1.0, record={"terms": terms[0]}),
        line_of(step, 0, 1, reward=-0.5, outcome="wrong", reason="wrong-step", record={"terms": terms[0]}),
        line_of(step, 1, reward=0.0, solve_rate=1.0, record={"terms": terms[1]}),
        line_of(step, 1, 0, reward=1.0, record={"terms": terms[1]}),
        line_of(step, 1, 1, reward=1.0, record={"terms": terms[1]}),
        line_of(step, 2, reward=-0.5, outcome="wrong", reason="duplicate", record=None),
        line_of(step, 3, reward=-1.0, outcome="malformed", reason="no-task", record=None),
    ]
    lines[-1]["response"] = HOSTILE[step % len(HOSTILE)]
    return lines


def metrics_of_step(step: int, is_evaluated: bool, num_right: int) -> Line:
    """A line of metrics."""
    line: Line = {"step": step, "time": 1.8e9 + 10.0 * step}
    if step > 0:
        line |= {"timing_s/step": 10.0, "timing_s/gen": 4.0, "timing_s/update_actor": 5.0}
        line |= {"response_length/clip_ratio": 0.01, "azr/propose/deduction/buffer_size": 64.0 + 2 * step}
        for role in Role:
            line[f"azr/{role}/deduction/response_tokens"] = 20.0 + step
            line[f"azr/{role}/deduction/advantage_magnitude"] = 0.5
    if is_evaluated:
        correct = [float(item < num_right) for item in range(len(GROUPS))]
        line |= metrics.held_out_metrics(GROUPS, correct, [1.0] * 6, sampled=correct, num_samples=4)
    return line


def write_lines(path: Path, lines: list[Line]) -> None:
    """Write lines at the end of a file, as a run does."""
    file = JsonLinesFile(path)
    file.append(lines)
    file.close()


def write_run(
    folder: Path, *, num_steps: int = NUM_STEPS, seed: int = 1, num_right: int = 3, held_out: str = "d"
) -> Path:
    """A run's directory: evaluated before step 1, and after the last one."""
    folder.mkdir(parents=True)
    config = {
        "pack": {"_target_": "tasks.chain.ChainPack"},
        "reward_profile": "paper",
        "azr": {"seed": seed, "attempts_per_record": 2},
        "algorithm": {
            "adv_estimator": "trr_plus_plus",
            "use_kl_in_reward": False,
            "trr": {
                "cells": "role-kind",
                "baseline": "cell-mean",
                "scale": "std",
                "statistics": "sequence",
                "proposer_share": None,
            },
        },
        "trainer": {"total_training_steps": num_steps},
        "actor_rollout_ref": {"model": {"path": "models/<tiny>"}},
    }
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    seeding = [line_of(0, 0, record={"terms": "333"})]
    steps = [line for step in range(1, num_steps + 1) for line in lines_of_step(step)]
    write_lines(folder / "ledger.jsonl", [*seeding, *steps])
    evaluated = {0: 2, num_steps: num_right}
    write_lines(
        folder / "metrics.jsonl",
        [metrics_of_step(step, step in evaluated, evaluated.get(step, 0)) for step in range(num_steps + 1)],
    )
    write_lines(
        folder / "evaluations.jsonl",
        [evaluation_line(step, right, held_out) for step, right in evaluated.items()],
    )
    return folder


def evaluation_line(step: int, num_right: int, held_out: str) -> Line:
    """A line of evaluations."""
    answers = {item: Answers(float(item < num_right), 1.0, 0.0) for item in range(len(GROUPS))}
    one = Evaluation.of_answers(step, held_out, GROUPS, 4, answers)
    return {name: getattr(one, name) for name in Evaluation.__slots__}


ALARM = {
    "step": 4,
    "role": "alarm",
    "alarm": "duplicates",
    "value": 0.97,
    "threshold": 0.9,
    "sentence": "97 % of the proposals are <b>duplicates</b>",
    "action": "warn",
}


@pytest.fixture(scope="session", autouse=True)
def scripts() -> str:
    """The scripts of charts, made once and kept where every report finds them."""
    return vega.javascript()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`write_run`, into a directory of this name."""
    return lambda name="run", **given: write_run(tmp_path / name, **given)


@pytest.fixture(scope="session")
def alarming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an alarm, which no test changes; its name is HTML."""
    run = write_run(tmp_path_factory.mktemp("alarming") / "<img src=x>")
    write_lines(run / "ledger.jsonl", [ALARM])
    return run


class Page(HTMLParser):
    """What a browser finds in a page.

    Attributes:
        tags: Every element: its tag and attributes.
        scripts: Texts of script elements, by id; those that run are `#0`, `#1`, ...
        text: All other text.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or f"#{sum(name.startswith('#') for name in self.scripts)}"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        self._script = None if tag == "script" else self._script

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        else:
            self.scripts[self._script] += data

    @property
    def data(self) -> Mapping[str, Any]:
        """The block of the charts."""
        found: Mapping[str, Any] = json.loads(self.scripts["page-data"])
        return found


@pytest.fixture
def read_page() -> Callable[[str], Page]:
    """`Page`."""
    return Page
