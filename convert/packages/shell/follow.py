"""Following what a shell script says, as far as it is known, without running any of it.

Commands are looked up by whoever follows (:class:`Host`); where a condition is not known, all its
branches are followed *in doubt*: what they would do is told, not done, and what they assign is not
known afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy

from convert.packages.shell import syntax
from convert.packages.shell.builtins import BUILTINS, LeaveError
from convert.packages.shell.outcome import DONE, UNKNOWN, Call, Host, Outcome, after
from convert.packages.shell.syntax import Node
from convert.packages.shell.values import Effort, Expander, Value, Variables

_STEPS_MAX = 20_000
_VARIABLE_EFFORT = 8
"""To copy one, and to compare it where branches meet."""
_CALLS_MAX = 24
"""Functions inside functions; what is deeper is not followed."""

_LOOPED = Outcome(status=True, output=None)


class Follower:
    """Follows one script.

    :param host: looks up commands.
    :param variables: what is set when the script starts.
    """

    def __init__(self, host: Host, variables: Variables) -> None:
        self.host = host
        self.variables = variables
        self.functions: dict[str, Node] = {}
        self._steps = 0
        self._effort = Effort()
        self._is_over = False
        self._calls = 0
        self._doubts: list[str] = []
        self._leaves: list[tuple[str, str]] = []
        """Ways out that may have been taken: what of, and why that is not known."""
        self._line = 1
        self._stdin: str | None = None

    def follow(self, node: Node) -> Outcome:
        """Follow a script to its end."""
        try:
            return self._node(node)
        except LeaveError as leave:
            return Outcome(leave.status, leave.output)

    @property
    def _doubt(self) -> str:
        doubts = (*self._doubts, *(reason for _, reason in self._leaves))
        return doubts[0] if doubts else ""

    def _expander(self) -> Expander:
        return Expander(self.variables, self._output_of, self.host.matching, self._effort)

    def _output_of(self, node: Node) -> Value:
        """Return what commands print in a shell of their own."""
        return self._in_subshell(node).output

    def _then(self, first: Outcome, node: Node) -> Outcome:
        """Follow what comes after ``first``; return what both come to."""
        try:
            return after(first, self._node(node))
        except LeaveError as leave:
            leave.output = after(first, Outcome(output=leave.output)).output
            raise

    def _in_subshell(self, node: Node) -> Outcome:
        variables, self.variables = self.variables, self._copied(self.variables)
        try:
            return self._node(node)
        except LeaveError as leave:
            return Outcome(leave.status, leave.output)
        finally:
            self.variables = variables

    def _node(self, node: Node) -> Outcome:
        self._steps += 1
        self._check_effort()
        if self._effort.is_deep:
            self.host.cannot(self._line, "commands are nested too deeply")
            return UNKNOWN
        self._effort.depth += 1
        try:
            outcome = self._followed(node)
        finally:
            self._effort.depth -= 1
        status = {True: "0", None: None}.get(outcome.status)
        self.variables.status = status
        return outcome

    def _check_effort(self) -> None:
        """Leave a script that takes too long.

        :raises LeaveError: then, and each time from then on.
        """
        is_long = self._steps > _STEPS_MAX
        if not is_long and self._effort.left >= 0:
            return
        if not self._is_over:
            self._is_over = True
            reason = f"it takes more than {_STEPS_MAX:,} steps" if is_long else "it takes too long"
            self.host.cannot(self._line, reason)
        raise LeaveError("exit")

    def _followed(self, node: Node) -> Outcome:
        match node:
            case syntax.Simple():
                return self._simple(node)
            case syntax.Sequence():
                outcome = DONE
                for command in node.commands:
                    outcome = self._then(outcome, command)
                return outcome
            case syntax.AndOr():
                return self._and_or(node)
            case syntax.Pipeline():
                return self._pipeline(node)
            case syntax.If():
                return self._if(node)
            case syntax.Case():
                return self._case(node)
            case syntax.For():
                return self._for(node)
            case syntax.While():
                return self._while(node)
            case syntax.Group():
                return self._group(node)
            case syntax.Function():
                self.functions[node.name] = node.body
                return DONE

    @contextmanager
    def _in_doubt(self, reason: str) -> Iterator[None]:
        """Follow something that may not be reached; a way out of it is one that may be taken.

        A script is taken to succeed: that it may fail is no reason to doubt what comes after.
        """
        self._doubts.append(reason)
        try:
            yield
        except LeaveError as leave:
            if leave.kind != "exit" or leave.status is not False:
                self._leaves.append((leave.kind, f"{reason}, and '{leave.kind}' depends on it"))
        finally:
            self._doubts.pop()

    @contextmanager
    def _reading(self, stdin: str | None) -> Iterator[None]:
        """Follow what has this as its standard input, however it is left."""
        former, self._stdin = self._stdin, stdin
        try:
            yield
        finally:
            self._stdin = former

    @contextmanager
    def _ending(self, *kinds: str) -> Iterator[None]:
        """Follow what a way out of these kinds leads to the end of."""
        count = len(self._leaves)
        try:
            yield
        finally:
            later = self._leaves[count:]
            self._leaves[count:] = [leave for leave in later if leave[0] not in kinds]

    def _alternatives(self, reason: str, branches: Sequence[Callable[[], Outcome]]) -> Outcome:
        """Follow branches of which one may be taken."""
        before = self._copied(self.variables)
        results: list[Variables] = [before]
        for branch in branches:
            self.variables = self._copied(before)
            with self._in_doubt(reason):
                branch()
            results.append(self.variables)
        self.variables = _merged(results)
        return UNKNOWN

    def _and_or(self, node: syntax.AndOr) -> Outcome:
        outcome = self._node(node.first)
        for operator, following in node.rest:
            wanted = operator == "&&"
            if outcome.status is wanted:
                outcome = self._then(outcome, following)
            elif outcome.status is None:
                outcome = self._may_follow(following, is_end=not wanted)
        return outcome

    def _may_follow(self, node: Node, *, is_end: bool) -> Outcome:
        """Follow what is only reached if what comes before turns out so.

        :param is_end: the status of all if it is not reached.
        """
        statuses: list[bool | None] = []

        def followed() -> Outcome:
            outcome = self._node(node)
            statuses.append(outcome.status)
            return outcome

        self._alternatives(f"line {self._line}, what comes before is not known", [followed])
        is_sure = statuses == [is_end]  # `… || true` is true in either case
        return Outcome(is_end if is_sure else None, None)

    def _pipeline(self, node: syntax.Pipeline) -> Outcome:
        outcome = DONE
        with self._reading(self._stdin):
            for number, command in enumerate(node.commands):
                if number:
                    self._stdin = outcome.output
                is_one = len(node.commands) == 1
                outcome = self._node(command) if is_one else self._in_subshell(command)
        if node.is_negated and outcome.status is not None:
            return Outcome(not outcome.status, outcome.output)
        return outcome

    def _if(self, node: syntax.If) -> Outcome:
        outcome = DONE
        for place, (condition, body) in enumerate(node.branches):
            outcome = self._then(outcome, condition)
            if outcome.status is True:
                return self._then(outcome, body)
            if outcome.status is None:
                return self._unknown_if(node, place)
        return outcome if node.otherwise is None else self._then(outcome, node.otherwise)

    def _unknown_if(self, node: syntax.If, place: int) -> Outcome:
        """Follow the branches of which one may be taken, from that at ``place`` on."""

        def branch(condition: Node, body: Node) -> Callable[[], Outcome]:
            def followed() -> Outcome:
                is_out = self._node(condition).status is False
                return UNKNOWN if is_out else self._node(body)

            return followed

        first = node.branches[place][1]
        branches = [lambda: self._node(first)]
        branches += [branch(*following) for following in node.branches[place + 1 :]]
        otherwise = node.otherwise
        if otherwise is not None:
            branches.append(lambda: self._node(otherwise))
        return self._alternatives(f"line {node.line}, a condition is not known", branches)

    def _case(self, node: syntax.Case) -> Outcome:
        expander = self._expander()
        text = expander.text(node.word)
        doubtful: list[Node] = []
        for patterns, body in node.arms:
            known = [expander.pattern(pattern) for pattern in patterns]
            found = [item for item in known if item is not None]
            if text is not None and any(expander.matches(text, item) for item in found):
                if not doubtful:
                    return self._node(body)
                doubtful.append(body)
                break
            if text is None or None in known:
                doubtful.append(body)
        reason = f"line {node.line}, a word of 'case' is not known"
        branches = [lambda body=body: self._node(body) for body in doubtful]
        return self._alternatives(reason, branches) if branches else DONE

    def _for(self, node: syntax.For) -> Outcome:
        if node.words is None:
            positional = self.variables.positional
            values = [None] if positional is None else list(positional)
        else:
            values = self._expander().fields(node.words)
        if None in values:
            return self._unknown_rounds(node.body, node.line, node.name)
        with self._ending("break", "continue"):
            for value in values:
                self.variables.named[node.name] = value
                if not self._round(node.body):
                    break
        return _LOOPED

    def _round(self, body: Node) -> bool:
        """Follow a loop's body; tell whether the loop goes on."""
        try:
            self._node(body)
        except LeaveError as leave:
            if leave.kind not in {"break", "continue"}:
                raise
            if leave.levels > 1:
                raise LeaveError(leave.kind, leave.levels - 1) from None
            return leave.kind == "continue"
        return True

    def _unknown_rounds(self, body: Node, line: int, name: str | None) -> Outcome:
        """Follow a body once that may be followed any number of times."""

        def once() -> Outcome:
            if name is not None:
                self.variables.named[name] = None
            self._round(body)
            return UNKNOWN

        with self._ending("break", "continue"):
            return self._alternatives(f"line {line}, the rounds of a loop are not known", [once])

    def _while(self, node: syntax.While) -> Outcome:
        while True:
            status = self._node(node.condition).status
            if status is None:
                return self._unknown_rounds(node.body, node.line, None)
            if status is node.is_until or not self._round(node.body):
                return _LOOPED

    def _group(self, node: syntax.Group) -> Outcome:
        with self._reading(self._stdin_of(node.redirections)):
            outcome = self._in_subshell(node.body) if node.is_subshell else self._node(node.body)
        call = Call(("{ … }",), self._line, doubt=self._doubt)
        return self._redirected(outcome, node.redirections, call)

    def _simple(self, node: syntax.Simple) -> Outcome:
        self._line = node.line
        expander = self._expander()
        words = tuple(expander.fields(node.words))
        self._check_effort()
        if not words:
            return self._assign(node)
        stdin = self._stdin_of(node.redirections)
        call = Call(words, node.line, stdin, self._doubt)
        former = {name: self.variables.get(name) for name, _ in node.assignments}
        self._assign(node)
        outcome = self.called(call)
        for name, (value, is_set) in former.items():
            if is_set:
                self.variables.named[name] = value
            else:
                self.variables.named.pop(name, None)
        return self._redirected(outcome, node.redirections, call)

    def _assign(self, node: syntax.Simple) -> Outcome:
        for name, word in node.assignments:
            self.variables.named[name] = self._expander().text(word)
        call = Call((":",), node.line, doubt=self._doubt)
        return self._redirected(DONE, node.redirections, call) if not node.words else DONE

    def _stdin_of(self, redirections: Sequence[syntax.Redirection]) -> str | None:
        stdin = self._stdin
        for redirection in redirections:
            if redirection.descriptor not in {None, 0}:
                continue
            if isinstance(redirection.target, syntax.HereDocument):
                stdin = self._expander().text(redirection.target.body)
            elif redirection.operator == "<":
                path = self._expander().text(redirection.target)
                stdin = None if path is None else self.host.read(path)
                self._effort.spend(len(stdin or ""))
        return stdin

    def _redirected(
        self, outcome: Outcome, redirections: Sequence[syntax.Redirection], call: Call
    ) -> Outcome:
        for redirection in redirections:
            target = redirection.target
            is_output = redirection.operator in {">", ">>", ">|", ">&"}
            if not is_output or redirection.descriptor not in {None, 1}:
                continue
            if isinstance(target, syntax.HereDocument):
                continue
            path = self._expander().text(target)
            if redirection.operator == ">&":
                is_lost = path is not None and path.isdigit()
                outcome = Outcome(outcome.status, "" if is_lost else outcome.output)
                continue
            if path is None:
                self.host.cannot(call.line, "it writes a file whose name is not known")
            elif not path.startswith("/dev/"):
                appends = redirection.operator == ">>"
                self.host.write(path, outcome.output, call, appends=appends)
            outcome = Outcome(outcome.status, "")
        return outcome

    def _copied(self, variables: Variables) -> Variables:
        self._effort.spend(len(variables.named) * _VARIABLE_EFFORT)
        other = copy(variables)
        other.named = dict(variables.named)
        return other

    def called(self, call: Call) -> Outcome:
        """Carry out a command: the shell's own, a function of the script, or one of the host."""
        name = call.name
        if name in BUILTINS:
            return BUILTINS[name](self, call)
        body = self.functions.get(name)
        if body is None:
            outcome = self.host.call(call)
            self._effort.spend(len(outcome.output or ""))
            return outcome
        if self._calls >= _CALLS_MAX:
            self.host.cannot(call.line, f"the function '{name}' is called inside itself")
            return UNKNOWN
        self._calls += 1
        positional = self.variables.positional
        self.variables.positional = list(call.words[1:])
        try:
            with self._ending("return"):
                return self._node(body)
        except LeaveError as leave:
            if leave.kind != "return":
                raise
            return Outcome(leave.status, leave.output)
        finally:
            self._calls -= 1
            self.variables.positional = positional


def _merged(results: Sequence[Variables]) -> Variables:
    """Return variables of which one of several is right: known where all agree."""
    merged = results[0]
    for result in results[1:]:
        for name in {**merged.named, **result.named}:
            if merged.get(name) != result.get(name):
                merged.named[name] = None
        if merged.positional != result.positional:
            merged.positional = None
    merged.status = None
    return merged
