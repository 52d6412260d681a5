"""Of which family a file is: each family is asked, from the outermost wrapping inwards."""

from collections.abc import Iterable
from typing import Any

from latentzoo.errors import CheckpointError
from latentzoo.hub import compvis, fragment, layers, wrapping
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.zoo import shelf


def configuration(family: str, checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What a family reads from a file; None if it is of another one, or lacks tensors that tell.

    Raises:
        CheckpointError: If it is of the family, and not to be followed.
    """
    try:
        return shelf.family(family).infer(checkpoint)
    except CheckpointError as error:
        if str(error).startswith(path := str(checkpoint.path)):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    except (LookupError, ValueError, TypeError, ArithmeticError):
        return None


def recognise(
    checkpoint: Checkpoint, family: str | None
) -> tuple[str, dict[str, Any], Checkpoint]:
    """Sees of which family a file is, with which configuration, and which of its tensors are the network's.

    Raises:
        CheckpointError: If it is of none, or could be of several, or makes pictures of texts.
    """
    compvis.refuse_texts(checkpoint.tensors, source=str(checkpoint.path))
    if family is None:
        compvis.refuse_parts(checkpoint.tensors, source=str(checkpoint.path))
    candidates = [family] if family is not None else list(shelf.families())
    if (plan := network(checkpoint, candidates)) is not None:
        return plan
    some = ", ".join(list(checkpoint.tensors)[:4])
    scheduler = (checkpoint.records.get("scheduler") or {}).get("_class_name")
    if family is None and scheduler is not None:
        raise CheckpointError(
            f"{checkpoint.path}: no family reads its networks with its scheduler, {scheduler}; take one with another "
            "scheduler"
        )
    if family is None and (part := fragment.told(checkpoint)):
        raise CheckpointError(f"{checkpoint.path}: the file holds {part}")
    if family is not None:
        fact = f"is not of the family '{family}': it has the tensors {some}, ..."
    else:
        fact = f"is of no family that is known: it has the tensors {some}, ...; families: {', '.join(candidates)}"
    raise CheckpointError(f"{checkpoint.path}: {fact}")


def network(
    checkpoint: Checkpoint, families: Iterable[str]
) -> tuple[str, dict[str, Any], Checkpoint] | None:
    """The network of a file that is of one of the families, whatever is wrapped around it; None if there is none.

    Raises:
        CheckpointError: If there are several networks, or one could be of several families.
    """
    for layer in layers.layers(checkpoint):
        found = {
            prefix: {name: seen for name in families if (seen := configuration(name, inner))}
            for prefix, inner in layer.items()
        }
        found = {prefix: plans for prefix, plans in found.items() if plans}
        if not found:
            continue
        try:
            prefix = wrapping.choose(list(found))
        except CheckpointError as error:
            raise CheckpointError(f"{checkpoint.path}: {error}") from error
        plans = found[prefix]
        if len(plans) > 1:
            fact = f"could be of the families {', '.join(plans)}; say which with family="
            raise CheckpointError(f"{checkpoint.path}: {fact}")
        return *plans.popitem(), layer[prefix]
    return None
