"""The options of a run, made from its record: a field added to `spec.Run` is an option of `latentzoo sample`.

Every field gives an option of its name, with its type, range, default and help. A few are composed of words that
are easier to write than tables; `COMPOSED` has these.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import msgspec
import typer
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo, fields, replace

from latentzoo import kernels, place, zoo
from latentzoo.cli import prompts
from latentzoo.record import plain, spec, words

Words = Mapping[str, Any]
NAMES: dict[str, Callable[[], Any]] = {
    "generator": zoo.names,
    "device": lambda: place.DEVICES,
    "dtype": lambda: place.NUMBERS,
}
"""What a shell completes."""


class Composed(NamedTuple):
    """The options of a field that is written in several words, and how they make its value."""

    parameters: tuple[Parameter, ...]
    read: Callable[[Words], Any]


def asked(function: Callable[..., Any], record: type[spec.Run] = spec.Run) -> Callable[..., Any]:
    """Gives a command the options of a run's fields.

    Arguments:
        function: A command whose first argument is the record that the options make.
        record: The record whose fields are asked for.
    """
    _, *rest = inspect.signature(function).parameters.values()
    own = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in rest]
    asking = list(parameters(record))

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        said = {parameter.name: given.pop(parameter.name) for parameter in asking}
        return function(made(said, record), **given)

    command.__signature__ = inspect.Signature([*asking, *own])  # pyright: ignore[reportAttributeAccessIssue]
    command.__annotations__ = {p.name: p.annotation for p in [*asking, *own]}
    return command


def parameters(record: type[Struct] = spec.Run) -> Iterator[Parameter]:
    """The parameters of a command that asks for a record, in the order of its fields."""
    for field in fields(record):
        if field.name in COMPOSED:
            yield from COMPOSED[field.name].parameters
        else:
            yield single(field, record)


def made(said: Words, record: type[spec.Run] = spec.Run) -> spec.Run:
    """The record of the words that were said.

    Raises:
        SpecError: If a value is not allowed.
    """
    data = {}
    for field in fields(record):
        composed = COMPOSED.get(field.name)
        data[field.name] = said[field.name] if composed is None else composed.read(said)
    data = {key: value for key, value in data.items() if value not in (None, [])}
    return plain.parse(msgspec.to_builtins(data), source="the command line", record=record)


def single(field: FieldInfo, record: type[Struct] = spec.Run) -> Parameter:
    """The parameter of a field that is one word, or a list of words."""
    info = option(field.name, record)
    if field.required:
        info = typer.Argument(help=info.help, autocompletion=info.autocompletion)
        return _parameter(field.name, Annotated[str, info], Parameter.empty)
    return _parameter(
        field.name, Annotated[get_type_hints(record)[field.name], info], _default(field)
    )


def option(name: str, record: type[Struct] = spec.Run, *flags: str, **settings: Any) -> Any:
    """An option with the help and the range of a record's field.

    Arguments:
        name: The field.
        record: The record that has it.
        flags: The names of the option; by default the field's.
        settings: What is different from the field.
    """
    metas = list(_metas(get_type_hints(record, include_extras=True)[name]))
    default = next(_default(field) for field in fields(record) if field.name == name)
    ge = next((meta.ge for meta in metas if meta.ge is not None), None)
    lt = next((meta.lt for meta in metas if meta.lt is not None), None)
    said = {
        "help": next((meta.description for meta in metas if meta.description), None),
        "min": ge,
        "max": None if lt is None else lt - 1,
        "show_default": default is not None,
        "autocompletion": completed(NAMES[name]) if name in NAMES else None,
    }
    return typer.Option(*flags, **(said | settings))


def completed(names: Callable[[], Any]) -> Callable[[str], list[str]]:
    """What a shell offers for the beginning of a name."""

    def complete(incomplete: str) -> list[str]:
        return sorted(name for name in names() if name.startswith(incomplete))

    return complete


def _metas(hint: Any) -> Iterator[Meta]:
    """What a type says of its values, from outside to inside."""
    yield from (meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta))
    for part in get_args(hint):
        yield from _metas(part)


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not NODEFAULT:
        return field.default_factory()  # pyright: ignore[reportCallIssue]
    return Parameter.empty if field.default is NODEFAULT else field.default


def _parameter(name: str, annotation: Any, default: Any = None) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _energies(said: Words) -> list[spec.Term]:
    weight, model = said["weight"], said["model"]
    texts = [words.term(text, weight=weight) for text in said["text"] or []]
    others = [words.term(text, energy="", weight=weight) for text in said["energy"] or []]
    return [*(replace(term, model=model) for term in texts), *others]


def _kernel(said: Words) -> spec.KernelSettings | None:
    given = {key: said[key] for key in ("step_size", "precondition") if said[key] is not None}
    name = said["kernel"] or spec.KernelSettings().name
    return spec.KernelSettings(name=name, settings=given)


def _options(said: Words) -> dict[str, Any]:
    given = words.table(said["option"] or [], example="--option truncation=0.7")
    return prompts.added(given, said["prompt"], per_chain=said["per_chain"], chains=said["chains"])


TEXT = "What the picture should show, TEXT[:WEIGHT]."
ENERGY = "Any energy, KIND=TARGET[:WEIGHT]; options in parentheses, KIND(model=NAME)=TARGET."
WEIGHT = "The weight of energies that give none; default the one that is usual for each."
MODEL = (
    "The network that judges the texts; default the generator's companion, or else CLIP ViT-B/32."
)
STEP_SIZE = "The kernel's step size; default adapted, or the kernel's own."
PRECONDITION = "auto: learn the directions that matter, if few, and walk in their scale; none: do not. Default auto."
OPTION = "An argument of the map, KEY=VALUE, e.g. truncation=0.7."

Many = list[str] | None
COMPOSED: dict[str, Composed] = {
    "energies": Composed(
        (
            _parameter("text", Annotated[Many, typer.Option("--text", "-t", help=TEXT)]),
            _parameter("energy", Annotated[Many, typer.Option("--energy", "-e", help=ENERGY)]),
            _parameter(
                "weight",
                Annotated[
                    float | None, option("weight", spec.Term, "--weight", "-w", help=WEIGHT)
                ],
            ),
            _parameter("model", Annotated[str | None, option("model", spec.Term, help=MODEL)]),
        ),
        _energies,
    ),
    "kernel": Composed(
        (
            _parameter(
                "kernel",
                Annotated[
                    str,
                    option(
                        "name",
                        spec.KernelSettings,
                        "--kernel",
                        "-k",
                        autocompletion=completed(kernels.known),
                    ),
                ],
                spec.KernelSettings().name,
            ),
            _parameter("step_size", Annotated[float | None, typer.Option(help=STEP_SIZE)]),
            _parameter("precondition", Annotated[str | None, typer.Option(help=PRECONDITION)]),
        ),
        _kernel,
    ),
    "strength": Composed(
        (_parameter("strength", Annotated[str | None, option("strength", min=None)]),),
        lambda said: said["strength"],
    ),
    "options": Composed(
        (
            _parameter("prompt", Annotated[Many, typer.Option("--prompt", help=prompts.PROMPT)]),
            _parameter(
                "per_chain",
                Annotated[bool, typer.Option("--per-chain", help=prompts.PER_CHAIN)],
                False,
            ),
            _parameter("option", Annotated[Many, typer.Option("--option", help=OPTION)]),
        ),
        _options,
    ),
    "record": Composed((), lambda said: {}),  # what was measured is not asked for
}
