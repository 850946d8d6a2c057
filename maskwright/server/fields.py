"""A request's fields: made from the options' own fields, so that they take what the command line takes."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass
from typing import Any

from ..errors import OptionError
from ..options import check_value, expected_value, option_kind, option_text

__all__ = ["SHORT", "FormField", "flag_field", "form_fields", "parse_extras", "parse_fields", "text_field"]

# rembg's names, which go on working beside the long ones.
SHORT = {
    "a": "alpha_matting",
    "af": "alpha_matting_foreground_threshold",
    "ab": "alpha_matting_background_threshold",
    "ae": "alpha_matting_erode_size",
    "om": "only_mask",
    "ppm": "post_process_mask",
    "dc": "decontaminate",
    "bgc": "bgcolor",
}
_BOOLEANS = {
    **dict.fromkeys(("true", "1", "on", "yes", "t", "y"), True),
    **dict.fromkeys(("false", "0", "off", "no", "f", "n"), False),
}


@dataclass(frozen=True)
class FormField:
    """One field of a request, in its query or its form.

    Attributes:
        name: Its long name.
        help: What it does, in sentences.
        schema: Its JSON schema.
        parse: Gives the value of a text.
    """

    name: str
    help: str
    schema: Mapping[str, Any]
    parse: Callable[[str], Any]


def form_fields(options: Iterable[Field[Any]]) -> list[FormField]:
    """A field for each option of a dataclass."""
    return [FormField(each.name, option_text(each), _schema(each), _parser(each)) for each in options]


def text_field(name: str, help: str, **schema: Any) -> FormField:  # noqa: A002
    """A field that is text; with `enum`, one of these texts."""
    choices = schema.get("enum")

    def parse(text: str) -> str:
        if choices is not None and text not in choices:
            raise OptionError(name, expected=" or ".join(choices), got=repr(text), hint="leave it out")
        return text

    return FormField(name, help, {"type": "string", **schema}, parse)


def flag_field(name: str, help: str) -> FormField:  # noqa: A002
    """A field that is true or false."""
    return FormField(name, help, {"type": "boolean", "default": False}, lambda text: _parse_bool(name, text))


def parse_fields(texts: Iterable[tuple[str, str]], known: Mapping[str, FormField]) -> dict[str, Any]:
    """The values of a request's texts, by their long names. What was left empty counts as left out.

    Args:
        texts: Names and texts as they were sent; of a name that comes twice, the last counts.
        known: The fields there are, by their long names.

    Raises:
        OptionError: There is no such field, or a text is no value of its field.
    """
    values = {}
    for sent, text in texts:
        name = SHORT.get(sent, sent)
        if name not in known:
            raise _unknown(sent, known)
        if text != "":
            values[name] = known[name].parse(text)
    return values


def _unknown(sent: str, known: Mapping[str, FormField]) -> OptionError:
    close = difflib.get_close_matches(sent, known, 3)
    hint = f"did you mean {' or '.join(close)}?" if close else "GET /api lists them"
    return OptionError("a field", expected="one that this request knows", got=repr(sent[:80]), hint=hint)


def _schema(option: Field[Any]) -> dict[str, Any]:
    kind, facts = option_kind(option), option.metadata
    if facts["choices"]:
        kind_of = "integer" if isinstance(facts["choices"][0], int) else "string"
        schema: dict[str, Any] = {"type": kind_of, "enum": list(facts["choices"])}
    elif kind in _TYPES:
        schema = {"type": _TYPES[kind]}
        schema |= {
            key: facts[side] for key, side in (("minimum", "low"), ("maximum", "high")) if facts[side] is not None
        }
    elif kind.startswith("tuple[int"):
        numbers = kind.count("int")
        schema = {"type": "string", "pattern": rf"^-?\d{{1,9}}(,-?\d{{1,9}}){{{numbers - 1}}}$"}
    else:
        schema = {"type": "string"}
    if isinstance(option.default, (bool, int, float, str)):
        schema["default"] = str(option.default) if schema["type"] == "string" else option.default
    elif isinstance(option.default, tuple):
        schema["default"] = ",".join(map(str, option.default))
    return schema


_TYPES = {"bool": "boolean", "int": "integer", "float": "number"}


def _parser(option: Field[Any]) -> Callable[[str], Any]:
    kind, choices = option_kind(option), option.metadata["choices"]
    if kind == "bool":
        return lambda text: _parse_bool(option.name, text)
    if kind in ("int", "float"):
        return lambda text: _parse_number(option, text, {"int": int, "float": float}[kind])
    if kind.startswith("tuple[int"):
        return lambda text: _parse_numbers(option, text)
    if kind.startswith("tuple"):
        return lambda text: tuple(part.strip().lower() for part in text.split(","))
    return lambda text: text if not choices or text in choices else text.lower()


def _parse_bool(name: str, text: str) -> bool:
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise OptionError(name, expected="true or false", got=repr(text[:80]), hint="leave it out for false")
    return value


def _parse_number(option: Field[Any], text: str, kind: Callable[[str], Any]) -> Any:
    try:
        value = kind(text)
    except ValueError as error:
        expected = expected_value(option) or "a number"
        raise OptionError(option.name, expected=expected, got=repr(text[:80]), hint="leave it out") from error
    check_value(option, value)  # here, because a text that another one overrides has to be right too
    return value


def _parse_numbers(option: Field[Any], text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise OptionError(
            option.name,
            expected="whole numbers with commas between",
            got=repr(text[:80]),
            hint="such as 255,255,255,255",
        ) from error


def parse_extras(text: str) -> str | None:
    """The part that rembg's `extras` names (its `cc`); None where it names none.

    Raises:
        OptionError: No JSON object, or one that asks for anything else: files of the server above all.
    """
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise OptionError("extras", expected="a JSON object", got=repr(text[:80]), hint="leave it out") from error
    unknown = sorted(set(values) - {"cc", "cloth_category"}) if isinstance(values, dict) else ["no object"]
    if unknown:
        raise OptionError(
            "extras", expected="only cc", got=", ".join(unknown)[:80], hint="use the fields of this request"
        )
    garment = values.get("cc") or values.get("cloth_category")
    return None if not garment else {"attire": "all"}.get(str(garment), str(garment))
