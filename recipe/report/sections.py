"""The sections of a run's page: its charts in the order of the questions that they answer."""

from __future__ import annotations

from recipe.report.charts import SHARE, Chart, Measure, before_after, heat, lines, stack
from recipe.report.page import Section

ACCURACY = Measure("held-out accuracy", SHARE, most=1)
MEAN_REWARD = Measure("reward", ".2f")
SHARE_OF_RESPONSES = Measure("share of responses", SHARE, most=1)
SHARE_OF_TASKS = Measure("share of tasks", SHARE, most=1)

HELD_OUT = Section(
    "held-out",
    "Held-out accuracy",
    "Does the model get better at tasks that it never trains on, and at which?",
    (
        Chart(
            "accuracy",
            "All held-out tasks",
            "Share that is solved, of greedy answers with its 95 % interval (Wilson), and of sampled answers "
            "(mean@k).",
            lines(ACCURACY, has_band=True),
        ),
        Chart(
            "accuracy-ends",
            "By group, before training and now",
            "Greedy answers, with 95 % intervals.",
            before_after(ACCURACY),
        ),
        Chart(
            "accuracy-groups",
            "Each group over the steps",
            "Share that is solved, as above.",
            lines(ACCURACY, has_band=True),
            panel="group",
        ),
    ),
)

REWARDS = Section(
    "rewards",
    "Rewards and advantages",
    "Is there a signal to learn from? Responses of one cell are compared with each other.",
    (
        Chart(
            "rewards",
            "Reward by cell",
            "Mean over the responses that are trained on, with the 95 % interval of the mean.",
            lines(MEAN_REWARD, has_band=True),
        ),
        Chart(
            "advantages",
            "Size of advantages",
            "Mean absolute advantage of a response by role and kind. Near 0 nothing is learnt from them.",
            lines(Measure("mean |advantage|", ".2f")),
        ),
    ),
)

PROPOSALS = Section(
    "proposals",
    "What became of responses",
    "Are proposals accepted, and if not, why? Are attempts well-formed?",
    (
        Chart(
            "proposals",
            "Proposals",
            "Share of each step's proposals that are accepted, and of those that are not by reason.",
            stack(SHARE_OF_RESPONSES),
        ),
        Chart(
            "attempts",
            "Attempts",
            "Share of each step's attempts that are right, and of those that are not by reason.",
            stack(SHARE_OF_RESPONSES),
        ),
    ),
)

SOLVE_RATES = Section(
    "solve-rates",
    "Solve rates",
    "Are tasks of use? Those that are always or never solved teach nothing.",
    (
        Chart(
            "solve-rates",
            "Accepted tasks by solve rate",
            "Share of each step's attempted tasks, by how many of the attempts at them are right.",
            heat(SHARE_OF_TASKS, "right attempts"),
        ),
        Chart(
            "learnable",
            "Mean solve rate, and learnable tasks",
            "Learnable are tasks that are solved sometimes and not always.",
            lines(Measure("share", SHARE, most=1)),
        ),
    ),
)

FRONTIER = Section(
    "frontier",
    "Frontier",
    "Do proposals move to where the solver can learn, as it improves?",
    (
        Chart(
            "proposed-levels",
            "Levels that are proposed",
            "Share of each step's accepted proposals, by the pack's level of difficulty.",
            heat(Measure("share of accepted proposals", SHARE), "level"),
        ),
        Chart(
            "solved-levels",
            "Levels that are solved",
            "Share of right attempts at each step's tasks of a level.",
            heat(Measure("share of right attempts", SHARE, most=1), "level"),
        ),
        Chart(
            "frontier",
            "Mean level",
            "Of accepted proposals and of right attempts; level 0 is the easiest. The frontier is the "
            "hardest level that is solved at least half of the time.",
            lines(Measure("level (0: easiest)", ".1f")),
        ),
    ),
)

DIVERSITY = Section(
    "diversity",
    "Diversity",
    "Are tasks unlike each other, or does one make of task take over?",
    (
        Chart(
            "structures",
            "Tasks and structures found so far",
            "All accepted tasks of the run up to a step, and how many structures they have. A structure is "
            "what tasks of one make share: the pack's word for it, else the task with 0 for every digit.",
            lines(Measure("found so far", ",.0f")),
        ),
        Chart(
            "repeats",
            "Duplicates and near duplicates",
            "Proposals that are refused because the task is there already, and accepted ones whose structure "
            "the run had before.",
            lines(Measure("share", SHARE, most=1)),
        ),
    ),
)

LENGTHS = Section(
    "lengths",
    "Response lengths",
    "Do responses grow, or are they cut off?",
    (
        Chart(
            "lengths",
            "Tokens of a response",
            "Mean by role and kind, of responses that are trained on.",
            lines(Measure("tokens", ",.0f")),
        ),
        Chart(
            "clipped",
            "Cut-off responses",
            "Share of the responses that are trained on which reached the greatest length.",
            lines(Measure("share of responses", ".1%")),
        ),
    ),
)

RUNNING = Section(
    "running",
    "Time and buffer",
    "Where does the time go, and does the buffer grow?",
    (
        Chart(
            "phases",
            "Phases of a step",
            "Seconds by phase, without validation; in rest is what no timer has.",
            stack(Measure("seconds", ".1f")),
        ),
        Chart("buffer", "Buffer", "Records by kind of task.", lines(Measure("records", ",.0f"))),
    ),
)

OF_A_RUN = (HELD_OUT, REWARDS, PROPOSALS, SOLVE_RATES, FRONTIER, DIVERSITY, LENGTHS, RUNNING)
