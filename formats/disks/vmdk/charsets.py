"""Character sets that VMware's text files (.vmdk, .vmx) may say they are in."""

from __future__ import annotations

from collections.abc import Mapping

# Only character sets: Python's codec registry also holds codecs that expand or execute nothing
# like text (zlib, punycode), and the name comes from the input.
_ENCODINGS: Mapping[str, str] = {
    "utf8": "utf-8",
    "usascii": "ascii",
    "ascii": "ascii",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "windows31j": "cp932",
    "windows932": "cp932",
    "eucjp": "euc_jp",
    "gb2312": "gbk",
    "gbk": "gbk",
    "windows936": "gbk",
    "gb18030": "gb18030",
    "big5": "big5",
    "windows950": "cp950",
    "euckr": "cp949",
    "windows949": "cp949",
    **{f"windows125{page}": f"cp125{page}" for page in range(9)},
    **{f"iso8859{part}": f"iso8859_{part}" for part in (*range(1, 12), 13, 14, 15, 16)},
}


def charset_of(stated: str) -> str | None:
    """Return Python's name of a character set; None if it is not known."""
    return _ENCODINGS.get(stated.lower().replace("-", "").replace("_", ""))
