"""Keys of the facts that readers of archives give, and others act on."""

from __future__ import annotations

SOURCE_TREE = "source-tree"
"""The archive is only sources; the value names the files that say so."""

ARCHITECTURE = "architecture"
"""For which processor the archive says its programs are: ``x86_64``."""

PLATFORM = "platform"
"""The system that programs in it are for: :data:`MACOS`, ``Linux``."""

MACOS = "macOS"

INTERPRETER = "interpreter"
"""Path of what a script's first line says is to run it."""

RUNS_WITH = "runs-with"
"""The same with ``env`` looked through: a path, or a name to be looked for."""
