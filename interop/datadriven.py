"""Scripts in the format of cockroachdb/datadriven: commands, and below a line of dashes what they print.

    # a comment
    command key key=value key=(value,value)
    input
    ----
    expected output, up to a blank line

Output that has blank lines itself stands between two pairs of ``----``. A line that ends with a backslash goes on
in the next one. ``subtest NAME`` and ``subtest end`` only group blocks.

Nothing here knows what the commands mean: ``run`` gives each block to a handler and compares.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = "----"
#: Lines around a difference that are shown.
CONTEXT = 5


class ScriptError(Exception):
    """A script that cannot be run: it is malformed, or a command has arguments that it does not take."""


class NumberError(ScriptError):
    """A value is not of the type that a command wants; the text is that of Go's strconv."""


def _unsigned(text: str, function: str, bits: int) -> int:
    if not text.isascii() or not text.isdecimal():
        raise NumberError(f'strconv.{function}: parsing "{text}": invalid syntax')
    value = int(text)
    if value >> bits:
        raise NumberError(f'strconv.{function}: parsing "{text}": value out of range')
    return value


def parse_uint(text: str) -> int:
    """A number in 0..2^64-1, written in decimal."""
    return _unsigned(text, "ParseUint", 64)


def parse_int(text: str, function: str = "ParseInt") -> int:
    """A number in -2^63..2^63-1, written in decimal, with a sign or without."""
    negative = text.startswith("-")
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdecimal():
        raise NumberError(f'strconv.{function}: parsing "{text}": invalid syntax')
    value = -int(digits) if negative else int(digits)
    if not -(2**63) <= value < 2**63:
        raise NumberError(f'strconv.{function}: parsing "{text}": value out of range')
    return value


def parse_bool(text: str) -> bool:
    """One of the words for true and false that Go knows."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise NumberError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


@dataclass(frozen=True)
class Argument:
    """``key``, ``key=value`` or ``key=(value, value)``; without ``=`` there are no values."""

    key: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        if len(self.values) > 1:
            return f"{self.key}=({','.join(self.values)})"
        return f"{self.key}={self.values[0]}" if self.values else self.key


@dataclass(frozen=True)
class Block:
    """One command with what it is given and what it should print."""

    path: str
    #: of the command, counted from 1
    line: int
    command: str
    arguments: tuple[Argument, ...]
    input: str
    expected: str
    #: where the expected output begins and ends, as indices of lines; where to put it when it is rewritten
    output: tuple[int, int]

    def values(self, key: str) -> tuple[str, ...]:
        """The values of the first argument of that name. Raises ScriptError when there is none."""
        for argument in self.arguments:
            if argument.key == key:
                return argument.values
        raise ScriptError(f"missing argument: {key}")

    def value(self, key: str) -> str:
        """The one value of that argument."""
        values = self.values(key)
        if len(values) != 1:
            raise ScriptError(f"{key}: one value wanted, not {len(values)}")
        return values[0]

    def first(self) -> str:
        """The name of the first argument."""
        if not self.arguments:
            raise ScriptError(f"{self.command}: an argument is missing")
        return self.arguments[0].key


def parse_command(line: str) -> tuple[str, tuple[Argument, ...]]:
    """A line's command and its arguments. Raises ScriptError."""
    rest = line.strip()
    command, _, rest = rest.partition(" ")
    rest = rest.lstrip()
    arguments = []
    while rest:
        end = next((at for at, letter in enumerate(rest) if letter in " ="), len(rest))
        key, rest = rest[:end], rest[end:]
        if not key:
            raise ScriptError(f"cannot parse: {line.strip()}")
        values: tuple[str, ...] = ()
        if rest.startswith("=("):
            values, rest = _list(rest[2:], line)
        elif rest.startswith("="):
            word, _, rest = rest[1:].partition(" ")
            values = (word,)
        arguments.append(Argument(key, values))
        rest = rest.lstrip()
    return command, tuple(arguments)


def _list(text: str, line: str) -> tuple[tuple[str, ...], str]:
    """The values up to the closing parenthesis, and what follows it. Values may hold pairs of parentheses."""
    values = []
    start, depth = 0, 1
    for at, letter in enumerate(text):
        if at < start:  # a blank behind a comma
            continue
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                values.append(text[start:at])
                return tuple(values), text[at + 1 :]
        elif letter == "," and depth == 1:
            values.append(text[start:at])
            start = at + 1
            while text[start : start + 1] == " ":
                start += 1
    raise ScriptError(f"a parenthesis is not closed: {line.strip()}")


def parse(text: str, path: str = "<text>") -> Iterator[Block]:
    """The blocks of a script. Raises ScriptError."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    at = 0
    while at < len(lines):
        number = at + 1
        line = lines[at].strip()
        at += 1
        if line.startswith("#"):
            continue
        while line.endswith("\\") and at < len(lines):
            line = f"{line[:-1]} {lines[at].strip()}"
            at += 1
        if not line:
            continue
        try:
            command, arguments = parse_command(line)
        except ScriptError as error:
            raise ScriptError(f"{path}:{number}: {error}") from None
        if command == "subtest":
            continue
        begin = at
        while at < len(lines) and lines[at] != SEPARATOR:
            at += 1
        given = "\n".join(lines[begin:at]).strip()
        at += 1
        start = at
        if lines[at : at + 1] == [SEPARATOR]:
            expected, at = _until_dashes(lines, at + 1, f"{path}:{number}")
        else:
            while at < len(lines) and lines[at].strip():
                at += 1
            expected = "".join([f"{line}\n" for line in lines[start:at]])
        yield Block(path, number, command, arguments, given, expected, (min(start, len(lines)), min(at, len(lines))))


def _until_dashes(lines: Sequence[str], at: int, where: str) -> tuple[str, int]:
    """The output between two pairs of dashes, and the line behind the second pair, which has to be blank."""
    start = at
    while at < len(lines):
        if lines[at : at + 2] == [SEPARATOR, SEPARATOR]:
            if lines[at + 2 : at + 3] not in ([], [""]):
                raise ScriptError(f"{where}: a blank line is missing behind the output")
            return "".join([f"{line}\n" for line in lines[start:at]]), at + 2
        at += 1
    return "".join([f"{line}\n" for line in lines[start:]]), at


@dataclass(frozen=True)
class Difference:
    """A block whose output is not what the script has, both in the form in which they were compared."""

    block: Block
    expected: str
    got: str

    def __str__(self) -> str:
        block = self.block
        lines = [f"{block.path}:{block.line}: {' '.join([block.command, *map(str, block.arguments)])}"]
        lines += [f"    {line}" for line in block.input.splitlines()]
        changes = difflib.unified_diff(
            self.expected.split("\n")[:-1], self.got.split("\n")[:-1], "expected", "got", n=CONTEXT, lineterm=""
        )
        lines += [f"  {line}" for line in changes]
        return "\n".join(lines)


Handler = Callable[[Block], str]


def _exactly(output: str) -> str:
    return output


def run(
    path: str | Path,
    handler: Handler,
    normal: Callable[[str], str] = _exactly,
    *,
    rewrite: bool = False,
) -> list[Difference]:
    """Every block of the file through the handler; what differs. Raises ScriptError when the file is malformed.

    ``normal`` is applied to both sides before they are compared. An exception of the handler is a difference that
    ends the file: the state that the next blocks build on is not known. With ``rewrite`` the file takes over what
    was printed.
    """
    text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    blocks = list(parse(text, str(path)))
    outputs = []
    differences = []
    for block in blocks:
        try:
            output = handler(block)
        except Exception as error:
            if rewrite:
                raise ScriptError(f"{path}:{block.line}: {block.command}: {error}") from error
            failure = f"{type(error).__name__}: {error} (the rest of the file was not run)\n"
            differences.append(Difference(block, normal(block.expected), failure))
            break
        if output and not output.endswith("\n"):
            output += "\n"
        outputs.append(output)
        expected, got = normal(block.expected), normal(output)
        if expected != got:
            differences.append(Difference(block, expected, got))
    if rewrite:
        Path(path).write_text(_rewritten(text, blocks, outputs, normal), encoding="utf-8", errors="surrogateescape")
        return []
    return differences


def _rewritten(text: str, blocks: Sequence[Block], outputs: Sequence[str], normal: Callable[[str], str]) -> str:
    lines = text.split("\n")
    for block, output in reversed(list(zip(blocks, outputs))):
        begin, end = block.output
        new = normal(output).splitlines()
        if not all([line.strip() for line in new]):
            new = [SEPARATOR, *new, SEPARATOR, SEPARATOR]
        if begin == 0 or lines[begin - 1] != SEPARATOR:
            new = [SEPARATOR, *new]
        lines[begin:end] = new
    return "\n".join(lines).rstrip("\n") + "\n"


def main(
    make: Callable[[], Handler],
    description: str,
    normal: Callable[[str], str] = _exactly,
    arguments: Sequence[str] | None = None,
) -> int:
    """The command line of a runner: ``make`` gives a handler with a state of its own for each file."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--rewrite", action="store_true", help="put what is printed into the files")
    options = parser.parse_args(arguments)
    failed = 0
    for file in options.files:
        try:
            differences = run(file, make(), normal, rewrite=options.rewrite)
        except (ScriptError, OSError) as error:
            sys.stdout.write(f"{error}\nFAILED {file}\n")
            failed += 1
            continue
        for difference in differences:
            sys.stdout.write(f"{difference}\n\n")
        failed += bool(differences)
        sys.stdout.write(f"{'FAILED' if differences else 'ok'} {file}\n")
    if failed:
        sys.stdout.write(f"{failed} of {len(options.files)} files differ\n")
    return 1 if failed else 0
