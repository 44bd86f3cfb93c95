"""Packaging of my_pack: the entry point that it is found by, and the YAML file that `pack=my_pack` reads."""

from setuptools import setup

setup(
    name="my_pack",
    version="0.1.0",
    description="The task pack my_pack for azr-verl.",
    python_requires=">=3.11",
    # azr-verl is not among the requirements: it is installed from its lock, which pip would resolve anew.
    packages=["my_pack"],
    package_data={"my_pack": ["conf/pack/*.yaml"]},
    entry_points={"azr.packs": ["my_pack = my_pack:MyPack"]},
)
