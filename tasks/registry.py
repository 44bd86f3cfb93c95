"""Build a pack from its configuration, without Hydra.

A pack inside this repository is a folder of `tasks/` whose `__all__` names its `TaskPack` class. A pack of
somebody else is an entry point in the group `azr.packs`, name to class, with its YAML file in its package's
`conf/pack/`. Neither takes an edit here.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import tasks
from tasks.contract import ContractError, TaskPack
from tasks.guard import BAD_SETTING, PackError, bad_setting, short, short_error

ENTRY_POINT_GROUP = "azr.packs"


def load_pack(config: str | Mapping[str, object]) -> TaskPack:
    """Build a pack.

    Args:
        config: A pack's name, which builds it with its default knobs; or a mapping with `_target_`, a
            dotted path to the class or a pack's name, and the class's keyword arguments.

    Raises:
        ValueError: There is no such pack, or it has no such knob, or a knob has a value it cannot have.
        FileNotFoundError: A knob names a file that is not there.
        PackError: The class cannot be imported or built for a reason of its own.
    """
    if isinstance(config, str):
        config = {"_target_": config}
    knobs = {key: value for key, value in config.items() if key != "_target_"}
    target = str(config.get("_target_", "no _target_"))
    try:
        pack_class = _find_class(target)
    except ContractError as error:
        raise PackError(f"pack {target}: importing it raised {short_error(error)}") from error
    known = list(inspect.signature(pack_class).parameters)
    for knob in knobs:
        if knob not in known:
            raise ValueError(f"pack.{knob} is no knob of {target}; it has {', '.join(known) or 'none'}")
    try:
        return pack_class(**knobs)
    except BAD_SETTING as error:
        name = getattr(pack_class, "name", target)  # the class may lack it; the guard looks at that later
        given = "" if "pack." in str(error) else f" (it was given {short(knobs)})"
        raise bad_setting(f"{name}{given}", error) from error
    except Exception as error:  # the boundary to code that others wrote
        call = f"{pack_class.__name__}(**{knobs})"
        raise PackError(f"pack {target}: {call} raised {short_error(error)}") from error


def available_packs() -> list[str]:
    """Names of all packs that `load_pack` takes, sorted."""
    return sorted({*own_packs(), *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def own_packs() -> list[str]:
    """Names of the packs inside this repository, sorted."""
    inside = [module.name for module in pkgutil.iter_modules(tasks.__path__) if module.ispkg]
    return sorted(name for name in inside if _exported_class(f"tasks.{name}") is not None)


def installed_conf_folders() -> list[Path]:
    """The `conf` folders of packages that entry points lead to: `conf/pack/NAME.yaml` is for `pack=NAME`."""
    packages = {point.module.partition(".")[0] for point in entry_points(group=ENTRY_POINT_GROUP)}
    specs = [find_spec(package) for package in sorted(packages)]
    found = [Path(place, "conf") for spec in specs if spec for place in spec.submodule_search_locations or ()]
    return [folder for folder in found if folder.is_dir()]


def _find_class(target: str) -> type[TaskPack]:
    """Find the class that a dotted path or a pack's name stands for."""
    module_name, _, class_name = target.rpartition(".")
    found: object = None
    if all(part.isidentifier() for part in target.split(".")):
        found = _attribute(module_name, class_name) if module_name else _exported_class(f"tasks.{target}")
    if found is None:
        for point in entry_points(group=ENTRY_POINT_GROUP, name=target):
            found = point.load()
    if not (isinstance(found, type) and issubclass(found, TaskPack)):
        available = ", ".join(available_packs())
        raise ValueError(f"pack must name a task pack; got {target!r}. Available packs: {available}")
    return found


def _attribute(module_name: str, attribute: str) -> object:
    """Import a module and return one of its names; None if the module or the name does not exist."""
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that exists and lacks one of its own dependencies is another error, and stays one.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        return None
    return vars(module).get(attribute)


def _exported_class(module_name: str) -> type[TaskPack] | None:
    """Return the task pack that a package exports by `__all__`, if it exports one."""
    names = _attribute(module_name, "__all__")
    exported = [_attribute(module_name, name) for name in names] if isinstance(names, list | tuple) else []
    return next((each for each in exported if isinstance(each, type) and issubclass(each, TaskPack)), None)
