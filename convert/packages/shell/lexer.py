"""The characters of a shell script: operators, words, here-documents (2.2, 2.3, 2.7.4)."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable

from convert.packages.shell.syntax import (
    Arithmetic,
    HereDocument,
    Node,
    Output,
    Part,
    Text,
    Variable,
    Word,
)

_DEPTH_MAX = 60
"""Commands inside commands, words inside words; each takes a few frames of Python's."""


class ShellSyntaxError(ValueError):
    """A script that cannot be read as POSIX shell.

    :ivar line: counted from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


_OPERATOR = re.compile(r"&&|\|\||;;|<<-|<<|>>|>&|<&|>\||<>|[;&|()<>\n]")
_BLANK = re.compile(r"(?:[ \t]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_PLAIN = re.compile(r"[^\s;&|()<>\"'\\$`]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]")
_DOLLAR = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")
_EXPANSION_OPERATOR = re.compile(r":?[-=?+]|%%?|##?")
_IN_DOUBLE_QUOTES = re.compile(r"[^\"\\$`]+")
_IN_EXPANSION = re.compile(r"[^}\"'\\$`]+")


class Lexer:
    """A cursor over a script's text.

    :param commands: what reads the commands of a substitution up to its closing parenthesis.
    """

    def __init__(self, text: str, commands: Callable[[Lexer], Node], line: int = 1) -> None:
        self.text = text
        self.position = 0
        self.depth = 0
        self._commands = commands
        self._first_line = line
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._documents: list[tuple[HereDocument, str, bool, bool]] = []

    @property
    def line(self) -> int:
        """The line of the cursor, counted from 1."""
        return self._first_line + bisect_left(self._line_ends, self.position)

    def error(self, message: str) -> ShellSyntaxError:
        """Return an error about the place of the cursor."""
        return ShellSyntaxError(message, self.line)

    def enter(self) -> None:
        """Go one level deeper.

        :raises ShellSyntaxError: where that is too deep for any script that was written by hand.
        """
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise self.error("commands are nested too deeply")

    def leave(self) -> None:
        """Come back from a level."""
        self.depth -= 1

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match[0]

    def _run(self, pattern: re.Pattern[str]) -> str:
        """Take what matches, or else one character, which then has no meaning of its own."""
        taken = self._match(pattern)
        if not taken:
            taken = self.text[self.position]
            self.position += 1
        return taken

    def skip_blanks(self) -> None:
        """Pass blanks, continued lines and a comment."""
        self._match(_BLANK)
        self._match(_COMMENT)

    def operator(self) -> str:
        """Return the operator that comes next, not taken; "" for a word, "eof" at the end."""
        self.skip_blanks()
        if self.position >= len(self.text):
            return "eof"
        match = _OPERATOR.match(self.text, self.position)
        return match[0] if match else ""

    def take(self, operator: str) -> bool:
        """Take an operator if it comes next; the text of here-documents follows a line's end."""
        if self.operator() != operator:
            return False
        if operator != "eof":
            self.position += len(operator)
        if operator == "\n":
            self._read_documents()
        return True

    def expect(self, operator: str) -> None:
        """Take an operator.

        :raises ShellSyntaxError: if another thing comes next.
        """
        if not self.take(operator):
            raise self.error(f"'{operator}' is missing")

    def pending_document(self, document: HereDocument, delimiter: Word, *, strips: bool) -> None:
        """Have a document read once the present line has ended."""
        text = "".join(part.text for part in delimiter if isinstance(part, Text))
        is_literal = any(isinstance(part, Text) and part.is_quoted for part in delimiter)
        self._documents.append((document, text, is_literal, strips))

    def _read_documents(self) -> None:
        documents, self._documents = self._documents, []
        for document, delimiter, is_literal, strips in documents:
            lines: list[str] = []
            while True:
                if self.position >= len(self.text):
                    raise self.error(f"the here-document up to '{delimiter}' does not end")
                end = self.text.find("\n", self.position)
                end = len(self.text) if end < 0 else end
                line = self.text[self.position : end]
                self.position = end + 1
                line = line.lstrip("\t") if strips else line
                if line == delimiter:
                    break
                lines.append(line + "\n")
            body = "".join(lines)
            document.body = (Text(body, is_quoted=True),) if is_literal else self._document(body)

    def _document(self, body: str) -> Word:
        inner = Lexer(body, self._commands, self.line)
        inner.depth = self.depth
        return inner.quoted_until("")

    def word(self) -> Word | None:
        """Return the word that comes next; None before an operator and at the end."""
        if self.operator():
            return None
        parts: list[Part] = []
        while self.position < len(self.text):
            character = self.text[self.position]
            if character in " \t\n;&|()<>":
                break
            parts += self._part(character)
        return tuple(parts)

    def _part(self, character: str) -> tuple[Part, ...]:
        if character == "'":
            return (Text(self._single_quoted(), is_quoted=True),)
        if character == '"':
            self.position += 1
            return self.quoted_until('"') or (Text("", is_quoted=True),)
        if character == "\\":
            self.position += 2
            escaped = self.text[self.position - 1 : self.position]
            return () if escaped == "\n" else (Text(escaped, is_quoted=True),)
        if character in "$`":
            return (self._expansion(is_quoted=False),)
        return (Text(self._run(_PLAIN)),)

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            raise self.error("a single quote is not closed")
        text = self.text[self.position + 1 : end]
        self.position = end + 1
        return text

    def quoted_until(self, end: str) -> Word:
        """Return what double quotes hold, past the closing one; "" reads to the end of the text."""
        parts: list[Part] = []
        while self.position < len(self.text):
            character = self.text[self.position]
            if character == end:
                self.position += 1
                return tuple(parts)
            if character == "\\":
                parts.append(Text(self._escaped(), is_quoted=True))
            elif character in "$`":
                parts.append(self._expansion(is_quoted=True))
            else:
                parts.append(Text(self._run(_IN_DOUBLE_QUOTES), is_quoted=True))
        if end:
            raise self.error("a double quote is not closed")
        return tuple(parts)

    def _escaped(self) -> str:
        """Return what a backslash in double quotes stands for (2.2.3)."""
        escaped = self.text[self.position + 1 : self.position + 2]
        self.position += 2
        if escaped == "\n":
            return ""
        return escaped if escaped in {"$", "`", '"', "\\"} else "\\" + escaped

    def _expansion(self, *, is_quoted: bool) -> Part:
        self.enter()
        try:
            if self.text[self.position] == "`":
                return self._backquoted(is_quoted=is_quoted)
            self.position += 1
            if self.text.startswith("((", self.position):
                return self._arithmetic()
            if self.text.startswith("(", self.position):
                self.position += 1
                body = self._commands(self)
                self.expect(")")
                return Output(body, is_quoted)
            if self.text.startswith("{", self.position):
                self.position += 1
                return self._braced(is_quoted=is_quoted)
            name = self._match(_DOLLAR)
            return Variable(name, is_quoted=is_quoted) if name else Text("$", is_quoted)
        finally:
            self.leave()

    def _backquoted(self, *, is_quoted: bool) -> Output:
        line = self.line
        end = self.position + 1
        while end < len(self.text) and self.text[end] != "`":
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise self.error("a backquote is not closed")
        inside = self.text[self.position + 1 : end]
        self.position = end + 1
        escapes = r'\\([$`\\"])' if is_quoted else r"\\([$`\\])"
        inner = Lexer(re.sub(escapes, r"\1", inside), self._commands, line)
        inner.depth = self.depth
        body = self._commands(inner)
        if not inner.take("eof"):
            raise inner.error("a command in backquotes does not end")
        return Output(body, is_quoted)

    def _arithmetic(self) -> Arithmetic:
        depth = 0
        for end in range(self.position, len(self.text)):
            depth += {"(": 1, ")": -1}.get(self.text[end], 0)
            if not depth:
                self.position = end + 1
                return Arithmetic()
        raise self.error("an arithmetic expansion is not closed")

    def _braced(self, *, is_quoted: bool) -> Variable:
        if self.text.startswith("#", self.position) and not self.text.startswith(
            ("#}", "#:", "#-", "#+", "#="), self.position
        ):
            self.position += 1
            name = self._match(_PARAMETER)
            self._close(name)
            return Variable(name, "length", is_quoted=is_quoted)
        name = self._match(_PARAMETER)
        operator = self._match(_EXPANSION_OPERATOR)
        is_pattern = operator[:1] in {"#", "%"}  # quotes around do not quote a pattern (2.6.2)
        argument = self._argument(is_quoted=is_quoted and not is_pattern) if operator else ()
        self._close(name)
        return Variable(name, operator, argument, is_quoted)

    def _close(self, name: str) -> None:
        if not name or not self.text.startswith("}", self.position):
            raise self.error("an expansion in braces is none of POSIX")
        self.position += 1

    def _argument(self, *, is_quoted: bool) -> Word:
        parts: list[Part] = []
        while self.position < len(self.text) and self.text[self.position] != "}":
            character = self.text[self.position]
            if character in "\"'\\$`" and not (is_quoted and character == "'"):
                parts += self._part(character)
                continue
            parts.append(Text(self._run(_IN_EXPANSION), is_quoted))
        return tuple(parts)


def plain_text(word: Word | None) -> str | None:
    """Return the text of a word without any quote or expansion; None of others."""
    if word is None or len(word) != 1:
        return None
    part = word[0]
    return part.text if isinstance(part, Text) and not part.is_quoted else None


def is_name(text: str) -> bool:
    """Tell whether a text can be a variable's name."""
    return _NAME.fullmatch(text) is not None
