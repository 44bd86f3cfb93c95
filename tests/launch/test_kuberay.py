"""launch/kuberay.yaml: its fields. No package carries the schema of a RayJob, so no schema is asked.

The names of the fields are those of the KubeRay operator's API, ray.io/v1, as of its version 1.5.1.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from recipe.config import CONF, register

ROOT = Path(__file__).parents[2]

# Of the fields that the API has, those that a run of this project can have a use for.
FIELDS = {
    "job": {
        "activeDeadlineSeconds",
        "backoffLimit",
        "entrypoint",
        "rayClusterSpec",
        "runtimeEnvYAML",
        "shutdownAfterJobFinishes",
        "submissionMode",
        "submitterPodTemplate",
        "suspend",
        "ttlSecondsAfterFinished",
    },
    "cluster": {"authOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs"},
    "head": {"rayStartParams", "serviceType", "template"},
    "worker": {
        "groupName",
        "maxReplicas",
        "minReplicas",
        "numOfHosts",
        "rayStartParams",
        "replicas",
        "template",
    },
}


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "launch" / "kuberay.yaml").read_text())


@pytest.fixture(scope="module")
def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The head's group and the workers'."""
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.fixture(scope="module")
def overrides(job: dict[str, Any]) -> list[str]:
    """What the entry point is given."""
    command = shlex.split(job["spec"]["entrypoint"])
    assert command[:3] == ["python", "-m", "recipe.main_azr"]
    return command[3:]


def test_every_field_is_one_of_the_api(job: dict[str, Any]) -> None:
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert spec.keys() <= FIELDS["job"]
    assert cluster.keys() <= FIELDS["cluster"]
    assert cluster["headGroupSpec"].keys() <= FIELDS["head"]
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() <= FIELDS["worker"]
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")


def test_start_parameters_are_text_as_the_api_wants_them(groups: list[dict[str, Any]]) -> None:
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_ray_is_the_locked_version_and_asks_for_a_token(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "requirements" / "gpu.lock").read_text().splitlines()
    assert cluster["authOptions"] == {"mode": "token"}


def test_the_cluster_goes_when_the_job_ends(job: dict[str, Any]) -> None:
    assert job["spec"]["shutdownAfterJobFinishes"] is True


def test_the_run_is_one_that_composes_on_as_many_nodes_and_gpus_as_there_are(
    groups: list[dict[str, Any]], overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A job of Ray's finds the first set, and the second, which launch/ray_head.sh sets, not.
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.delenv("AZR_NNODES", raising=False)
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("azr", overrides)
    assert config.ray_kwargs.ray_init.address == "10.0.0.1:6379"
    assert config.trainer.nnodes == 1 + sum(group["replicas"] for group in groups[1:])
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == config.trainer.n_gpus_per_node
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_every_node_mounts_the_volume_that_runs_and_models_are_on(
    groups: list[dict[str, Any]], overrides: list[str]
) -> None:
    (run_dir,) = [value for key, value in (o.split("=", 1) for o in overrides) if key == "run.dir"]
    for group in groups:
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        models = {variable["name"]: variable["value"] for variable in container["env"]}["HF_HOME"]
        assert "persistentVolumeClaim" in mounts["/shared"]
        assert Path(run_dir).is_relative_to("/shared")
        assert Path(models).is_relative_to("/shared")
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
