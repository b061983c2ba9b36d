"""Reading a shell script: POSIX.1-2017, "Shell Command Language", 2.9 and 2.10.

Of bash, only ``function name`` and ``name()`` in front of any compound command. Arrays, ``[[``,
process substitution and ``((`` are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import digits

from convert.packages.shell.lexer import Lexer, is_name, plain_text
from convert.packages.shell.syntax import (
    AndOr,
    Case,
    For,
    Function,
    Group,
    HereDocument,
    If,
    Node,
    Pipeline,
    Redirection,
    Script,
    Sequence,
    Simple,
    Text,
    While,
    Word,
)

_REDIRECTIONS = frozenset({"<", ">", ">>", ">|", "<>", "<&", ">&", "<<", "<<-"})
_OPENING = frozenset({"if", "case", "for", "while", "until", "{", "("})
_CLOSING = frozenset({"then", "else", "elif", "fi", "do", "done", "esac", "}"})
_ENDS_LIST = frozenset({"eof", ")", ";;"})


def parse_script(text: str) -> Script:
    """Return what a script says.

    :raises ShellSyntaxError: for what is no POSIX shell, with the line.
    """
    lexer = Lexer(text, _commands)
    body = _commands(lexer)
    if not lexer.take("eof"):
        raise lexer.error("a command ends where it should not")
    return Script(body)


def _commands(lexer: Lexer) -> Node:
    """Return commands up to what closes them: a closing word, ``)``, ``;;`` or the end."""
    lexer.enter()
    try:
        found: list[Node] = []
        while True:
            while lexer.take("\n"):
                pass
            if _is_list_end(lexer):
                return found[0] if len(found) == 1 else Sequence(tuple(found))
            found.append(_and_or(lexer))
            is_ended = lexer.take(";") or lexer.take("&") or lexer.take("\n")
            if not is_ended and not _is_list_end(lexer):
                raise lexer.error("a command does not end where it should")
    finally:
        lexer.leave()


def _is_list_end(lexer: Lexer) -> bool:
    return lexer.operator() in _ENDS_LIST or _next_word(lexer) in _CLOSING


def _next_word(lexer: Lexer) -> str | None:
    """Return the text of a plain word that comes next, not taken."""
    if lexer.operator():
        return None
    start = lexer.position
    end = start
    text = lexer.text
    while end < len(text) and text[end] not in " \t\n;&|()<>\"'\\$`":
        end += 1
    return text[start:end] if end == len(text) or text[end] in " \t\n;&|()<>" else None


def _take_word(lexer: Lexer, *expected: str) -> str:
    """Take one of these reserved words, after any line ends."""
    found = _next_word(lexer)
    if found not in expected:
        raise lexer.error(f"'{expected[0]}' is missing")
    lexer.position += len(found)
    return found


def _skip_lines(lexer: Lexer) -> None:
    while lexer.take("\n"):
        pass


def _and_or(lexer: Lexer) -> Node:
    first = _pipeline(lexer)
    rest: list[tuple[str, Node]] = []
    while (operator := lexer.operator()) in {"&&", "||"}:
        lexer.take(operator)
        _skip_lines(lexer)
        rest.append((operator, _pipeline(lexer)))
    return AndOr(first, tuple(rest)) if rest else first


def _pipeline(lexer: Lexer) -> Node:
    is_negated = _next_word(lexer) == "!"
    if is_negated:
        _take_word(lexer, "!")
        if _next_word(lexer) == "!":
            raise lexer.error("a second '!' is none of POSIX")
    commands = [_command(lexer)]
    while lexer.take("|"):
        _skip_lines(lexer)
        commands.append(_command(lexer))
    if len(commands) == 1 and not is_negated:
        return commands[0]
    return Pipeline(tuple(commands), is_negated)


def _command(lexer: Lexer) -> Node:
    word = _next_word(lexer)
    if word == "function":
        _take_word(lexer, "function")
        name = plain_text(lexer.word())
        if name is None:
            raise lexer.error("a function has no name")
        if lexer.take("("):
            lexer.expect(")")
        return _function(lexer, name)
    if lexer.operator() == "(" or word in _OPENING:
        return _compound(lexer, word)
    return _simple(lexer)


def _compound(lexer: Lexer, word: str | None) -> Node:
    lexer.enter()
    line = lexer.line
    body: Node
    if word is None:
        lexer.expect("(")
        body = Group(_commands(lexer), is_subshell=True)
        lexer.expect(")")
    else:
        _take_word(lexer, word)
        if word == "if":
            body = _if(lexer, line)
        elif word == "case":
            body = _case(lexer, line)
        elif word == "for":
            body = _for(lexer, line)
        elif word == "{":
            body = _commands(lexer)
            _take_word(lexer, "}")
        else:
            condition = _commands(lexer)
            _take_word(lexer, "do")
            body = While(condition, _commands(lexer), word == "until", line)
            _take_word(lexer, "done")
    redirections = tuple(_redirections(lexer))
    lexer.leave()
    if redirections:
        return Group(body, redirections)
    return body


def _if(lexer: Lexer, line: int) -> If:
    branches: list[tuple[Node, Node]] = []
    while True:
        condition = _commands(lexer)
        _take_word(lexer, "then")
        branches.append((condition, _commands(lexer)))
        following = _take_word(lexer, "fi", "elif", "else")
        if following != "elif":
            break
    otherwise = None
    if following == "else":
        otherwise = _commands(lexer)
        _take_word(lexer, "fi")
    return If(tuple(branches), otherwise, line)


def _case(lexer: Lexer, line: int) -> Case:
    word = lexer.word()
    if word is None:
        raise lexer.error("'case' has no word")
    _skip_lines(lexer)
    _take_word(lexer, "in")
    arms: list[tuple[tuple[Word, ...], Node]] = []
    while True:
        _skip_lines(lexer)
        if _next_word(lexer) == "esac":
            _take_word(lexer, "esac")
            return Case(word, tuple(arms), line)
        lexer.take("(")
        patterns: list[Word] = []
        while True:
            pattern = lexer.word()
            if pattern is None:
                raise lexer.error("a pattern of 'case' is missing")
            patterns.append(pattern)
            if not lexer.take("|"):
                break
        lexer.expect(")")
        arms.append((tuple(patterns), _commands(lexer)))
        if not lexer.take(";;"):
            _skip_lines(lexer)
            _take_word(lexer, "esac")
            return Case(word, tuple(arms), line)


def _for(lexer: Lexer, line: int) -> For:
    name = plain_text(lexer.word())
    if name is None or not is_name(name):
        raise lexer.error("'for' has no name")
    _skip_lines(lexer)
    words: list[Word] | None = None
    if _next_word(lexer) == "in":
        _take_word(lexer, "in")
        words = []
        while (word := lexer.word()) is not None:
            words.append(word)
    lexer.take(";")
    _skip_lines(lexer)
    _take_word(lexer, "do")
    body = _commands(lexer)
    _take_word(lexer, "done")
    return For(name, None if words is None else tuple(words), body, line)


def _function(lexer: Lexer, name: str) -> Function:
    _skip_lines(lexer)
    word = _next_word(lexer)
    if lexer.operator() != "(" and word not in _OPENING:
        raise lexer.error(f"the function '{name}' has no body")
    return Function(name, _compound(lexer, word))


def _simple(lexer: Lexer) -> Node:
    line = lexer.line
    assignments: list[tuple[str, Word]] = []
    words: list[Word] = []
    redirections: list[Redirection] = []
    while True:
        redirections += _redirections(lexer)
        word = lexer.word()
        if word is None:
            break
        assigned = None if words else _assignment(word)
        if assigned is not None:
            if not assigned[1] and lexer.text.startswith("(", lexer.position):
                raise lexer.error("arrays are none of POSIX")
            assignments.append(assigned)
            continue
        words.append(word)
        if len(words) == 1 and (name := plain_text(word)) is not None:
            if name == "[[":
                raise lexer.error("'[[' is none of POSIX")
            if lexer.operator() == "(" and not assignments:
                lexer.take("(")
                lexer.expect(")")
                return _function(lexer, name)
    if not (assignments or words or redirections):
        raise lexer.error("a command is missing")
    return Simple(line, tuple(assignments), tuple(words), tuple(redirections))


def _assignment(word: Word) -> tuple[str, Word] | None:
    """Split ``NAME=value``; the name and the equals sign must not be quoted."""
    head = word[0] if word else None
    if not isinstance(head, Text) or head.is_quoted:
        return None
    name, equals, rest = head.text.partition("=")
    if not equals or not is_name(name):
        return None
    return name, ((Text(rest), *word[1:]) if rest else word[1:])


def _redirections(lexer: Lexer) -> Iterable[Redirection]:
    while True:
        operator = lexer.operator()
        descriptor: int | None = None
        if not operator:
            position = lexer.position
            following = lexer.text[position + 1 : position + 2]
            if lexer.text[position] not in digits or following not in {"<", ">"}:
                return
            descriptor = int(lexer.text[position])
            lexer.position += 1
            operator = lexer.operator()
        if operator not in _REDIRECTIONS:
            return
        lexer.take(operator)
        target = lexer.word()
        if target is None:
            raise lexer.error(f"'{operator}' leads nowhere")
        if operator.startswith("<<"):
            document = HereDocument()
            lexer.pending_document(document, target, strips=operator == "<<-")
            yield Redirection(descriptor, operator, document)
        else:
            yield Redirection(descriptor, operator, target)
