"""What a user wants: the options of the command line over those of a file over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from convert.options import ConvertOptions

CONFIG_FILE = "config_file"


def wanted_options(options: Mapping[str, object]) -> ConvertOptions:
    """Return the options of the command that runs.

    :param options: its parameters by name, among them the path of a file as ``config_file``.
    :raises UsageError: naming the first one that is wrong.
    """
    from convert.options import validated

    path = options.get(CONFIG_FILE)
    asked = {name: value for name, value in options.items() if name != CONFIG_FILE}
    if path is None:
        return validated(asked)
    from convert.options_file import read_options_file

    context = click.get_current_context()
    given = {
        name: value
        for name, value in asked.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    return validated({**read_options_file(str(path)), **given})
