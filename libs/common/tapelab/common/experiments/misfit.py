"""What is wrong with an experiment, in one sentence: from what the decoder says to expected and actual."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

#: Characters of a wrong value that a message shows.
_SHOWN: Final = 80

_TYPES: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "keys and values",
}
# "Expected `float` >= 0.0", "Expected `float | null`, got `str`", "Expected `str` matching regex '...'"
_EXPECTED: Final = re.compile(r"Expected `(?P<type>\w+)[^`]*`(?:, got `.*`)?(?P<limit>.*)")
_NAMED: Final = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def explain(
    error: msgspec.ValidationError, raw: Mapping[str, Any], struct: type[msgspec.Struct], words: Mapping[str, str]
) -> tuple[str, str, str]:
    """The field (empty for the whole), what was expected and what came.

    Args:
        raw: what did not convert to ``struct``.
        words: what regular expressions of the struct's texts ask for, for people.
    """
    what, _, place = str(error).partition(" - at ")
    path = place.strip("`").removeprefix("$")
    steps = [name or int(index) for name, index in _STEP.findall(path)]
    field = path.removeprefix(".")
    named, expected = _NAMED.fullmatch(what), _EXPECTED.fullmatch(what)
    if named is not None:
        name = ascii(named["name"]).strip("'")[:_SHOWN]
        of = f"{field}.{name}" if field else name
        if named["what"] == "missing required":
            return of, of, "nothing"
        return of, f"only fields that {field or 'an experiment'} has", f"the unknown {of}"
    if what.startswith("Invalid enum value"):
        return field, f"{field}: one of {', '.join(_choices(struct, steps))}", shown(_value(raw, steps))
    if expected is None or "`key`" in place:
        return field, "fields that are named by texts", "another key"
    limit = expected["limit"].strip()
    if limit.startswith("matching regex"):
        pattern = next((p for p in words if repr(p) in limit), None)
        return field, f"{field}: {words[pattern] if pattern else limit}", shown(_value(raw, steps))
    if limit:
        return field, f"{field} {limit.removesuffix('.0')}", shown(_value(raw, steps))
    wanted = f"{field or 'an experiment'}: {_TYPES.get(expected['type'], expected['type'])}"
    return field, wanted, shown(_value(raw, steps))


def shown(value: object) -> str:
    """A short, printable form of a value."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _value(raw: Any, steps: list[str | int]) -> Any:
    for step in steps:
        raw = raw[step]
    return raw


def _choices(struct: type[msgspec.Struct], steps: list[str | int]) -> list[str]:
    info: Any = msgspec.inspect.type_info(struct)
    for step in steps:
        # What may be left out is a union with nothing.
        info = next((kind for kind in getattr(info, "types", ()) if hasattr(kind, "fields")), info)
        info = next(field.type for field in info.fields if field.encode_name == step)
    info = next((kind for kind in getattr(info, "types", ()) if hasattr(kind, "values")), info)
    return [str(value) for value in info.values]
