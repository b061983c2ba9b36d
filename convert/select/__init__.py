"""Which of an artifact's volumes is the root, and what it mounts."""

from convert.select.request import Request, SecondEngine
from convert.select.root import Selected, select_browsable, select_root, select_volume

__all__ = [
    "Request",
    "SecondEngine",
    "Selected",
    "select_browsable",
    "select_root",
    "select_volume",
]
