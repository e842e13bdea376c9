"""The hooks that pip, uv and `python -m build` call: setuptools', built against the torch that is installed.

Were torch among the requirements in pyproject.toml, an isolated build (`pip install .`) would fetch the
newest and replace the user's by it.
"""

import sys
from types import ModuleType
from typing import Any

from build_tools import installed_torch, messages, requirements

# What a front end passes on: strings, lists of them, or nothing
Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    messages.check_platform(sys.platform)
    return installed_torch.requirements()


get_requires_for_build_editable = get_requires_for_build_wheel
get_requires_for_build_sdist = get_requires_for_build_wheel


def _setuptools() -> ModuleType:
    messages.check_platform(sys.platform)
    installed_torch.find()
    requirements.check()
    from setuptools import build_meta

    return build_meta


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    return _setuptools().prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Settings = None) -> str:
    return _setuptools().prepare_metadata_for_build_editable(metadata_directory, config_settings)


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    return _setuptools().build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    return _setuptools().build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    return _setuptools().build_sdist(sdist_directory, config_settings)
