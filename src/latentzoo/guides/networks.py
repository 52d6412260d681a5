"""The cards of the networks that judge pictures: what is known of them before they are there, and how they load."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from latentzoo import registry
from latentzoo.errors import SpecError
from latentzoo.hub import card as cards

FILE = "networks.yaml"
Role = TypeVar("Role")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Creates the card of a network that judges; written as a table in `networks.yaml`.

    Arguments:
        name: What an energy's `model` takes.
        energy: The kind of energy that it is for, or "features" if sets of pictures are compared in it.
        loader: What makes it, `module:function`: it takes the file's path, or a repository "owner/repo", and `config`.
        url: Where the weights are ("https://...", "hf://owner/repo", "package:NAME/PATH"); None if they must be given.
        sha256: The file's hash, or None: then the first download's hash is recorded and must match from then on.
        config: Further arguments of the loader.
        side: The side in pixels of the pictures it sees.
        parameters: How many numbers it has.
        gflop: The cost of one picture's forward pass; with the gradient, three times that.
        licence: The licence of the weights.
        notes: Where they are described.
    """

    name: str
    energy: str
    loader: str | None = None
    url: str | None
    sha256: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    side: int
    parameters: int | None = None
    gflop: float | None = None
    licence: str
    notes: str = ""

    def __str__(self) -> str:
        size = "" if self.parameters is None else f", {self.parameters / 1e6:.1f} M parameters"
        cost = "" if self.gflop is None else f", {self.gflop:g} GFLOP a picture"
        where = self.notes if self.url is None else self.url
        return f"{self.side}x{self.side} pixels{size}{cost}; licence: {self.licence}; {where}"


@cache
def known() -> dict[str, Network]:
    """The cards by name: the package's own, and those of the packages that add guides.

    Raises:
        SpecError: If a card is not sound, or two have one name.
    """
    packages = ["latentzoo.guides", *registry.shelves("guides")]
    return cards.read_all((registry.folder(package) / FILE for package in packages), Network)


def load(name: str, role: type[Role], **options: Any) -> Role | None:
    """Loads the network that a card, an entry point or `module:Class` names.

    Arguments:
        name: The name.
        role: What it must be able to do.
        options: Further arguments of what makes it; those that are None are left out.

    Returns:
        The network, frozen and in evaluation mode; None if the name is of another kind, or its card has no address.

    Raises:
        SpecError: If it has another role.
        The errors of what makes it.
    """
    given = {key: value for key, value in options.items() if value is not None}
    card = known().get(name)
    entry = registry.added("guides").get(name)
    if card is not None and card.loader is not None and card.url is not None:
        module, _, symbol = card.loader.partition(":")
        make = registry.Entry(name, module, symbol, "").load()
        made = _made(name, make, _place(card.url, card.sha256), **{**card.config, **given})
    elif entry is not None or (card is None and (entry := registry.written(name)) is not None):
        made = _made(name, entry.maker(role), **given)
    else:
        return None
    if not isinstance(made, role):
        raise SpecError(
            f"'{name}' is a {type(made).__name__}, and a {role.__name__} is needed; give it to another energy"
        )
    return made.eval().requires_grad_(False)  # pyright: ignore[reportAttributeAccessIssue]


def _made(name: str, make: Any, *source: str, **options: Any) -> Any:
    try:
        return make(*source, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        option = str(error).rpartition("argument ")[2]
        raise SpecError(f"the network '{name}' has no option {option}; leave it out") from error


def _place(url: str, sha256: str | None) -> str:
    """The path of a card's file, or the name of its repository, which `transformers` fetches by itself."""
    if (path := registry.packaged(url)) is not None:
        return str(path)
    from latentzoo.hub import fetch

    rest = url.removeprefix("hf://")
    return rest if rest != url and rest.count("/") == 1 else str(fetch.fetch(url, sha256=sha256))
