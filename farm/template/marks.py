"""What a column's name means in a workflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..work import FarmError
from .graph import Nodes, is_link, links, upstream

TEXTS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt")
SEEDS = ("seed", "noise_seed")
SCALES = ("scale", "weight")
PICTURES = ("image", "images", "style_image", "image_style")
MASKS = ("attn_mask", "mask")


@dataclass(frozen=True)
class Place:
    """An input of a node, by the node's id and the input's name."""

    node: str
    input: str


def places(graph: Nodes, mark: str) -> list[Place]:
    """What a mark stands for.

    Args:
        mark: `ID.INPUT` or `TITLE.INPUT`; or a word. A word is the title of a node with one value
            of that kind; or, for prompt, negative, seed, scale, reference and mask, the one node
            that can be meant; or the name of an input that one node has.

    Raises:
        FarmError: it stands for nothing, or for several nodes.
    """
    for at in [place for place, sign in enumerate(mark) if sign == "."]:
        named = _named(graph, mark[:at])
        found = [Place(node, mark[at + 1 :]) for node in named]
        found = [place for place in found if place.input in graph[place.node]["inputs"]]
        if found:
            return _one(graph, mark, found)
        if named:
            raise _unknown_input(graph, mark, named[0], mark[at + 1 :])
    for meant in (_titled(graph, mark), _role(graph, mark), _input_named(graph, mark)):
        if meant:
            return _one(graph, mark, meant)
    raise FarmError(
        f"the column {mark} fills nothing of the workflow. Give a node the title {mark} in the "
        f"editor, say --column {mark}=NODE.INPUT, or --column {mark}= for one that fills nothing; "
        f"there are {_listed(_values(graph))}"
    )


def _named(graph: Nodes, name: str) -> list[str]:
    if name in graph:
        return [name]
    return [key for key in graph if _title(graph, key).lower() == name.strip().lower()]


def _title(graph: Nodes, node: str) -> str:
    return str(graph[node].get("_meta", {}).get("title") or "")


def _titled(graph: Nodes, mark: str) -> list[Place]:
    """The value of a node that bears the mark as its title."""
    found: list[Place] = []
    for node in _named(graph, mark):
        inputs = [name for name, value in graph[node]["inputs"].items() if not is_link(value)]
        likely = [name for name in _KINDS.get(mark.lower(), ()) if name in inputs]
        likely += [mark.lower()] if mark.lower() in inputs and not likely else []
        if likely and mark.lower() in ("prompt", "negative"):
            found += [Place(node, name) for name in likely]  # both texts of an SDXL prompt
        elif likely or len(inputs) == 1:
            found.append(Place(node, (likely or inputs)[0]))
    return found


def _role(graph: Nodes, mark: str) -> list[Place]:
    roles: dict[str, Callable[[], list[Place]]] = {
        "prompt": lambda: _texts(graph, "positive", 0),
        "negative": lambda: _texts(graph, "negative", 1),
        "seed": lambda: _literals(graph, SEEDS),
        "scale": lambda: _literals(graph, SCALES, only=_is_adapter),
        "reference": lambda: _loaders(graph, PICTURES),
        "mask": lambda: _loaders(graph, MASKS),
    }
    return roles[mark.lower()]() if mark.lower() in roles else []


def _texts(graph: Nodes, side: str, output: int) -> list[Place]:
    """The texts that reach a sampler on one side, also past nodes that have both sides."""
    ahead = [value for node in graph.values() if is_link(value := node["inputs"].get(side))]
    seen: set[tuple[str, int]] = set()
    found: list[Place] = []
    while ahead:
        node, slot = ahead.pop()
        if (node, slot) in seen or node not in graph:
            continue
        seen.add((node, slot))
        inputs = graph[node]["inputs"]
        texts = [name for name in TEXTS if isinstance(inputs.get(name), str)]
        found += [Place(node, name) for name in texts]
        if texts:
            continue
        both = "positive" in inputs and "negative" in inputs
        names = [side] if both and slot == output else _CONDITIONS if not both else []
        ahead += [inputs[name] for name in names if is_link(inputs.get(name))]
    return list(dict.fromkeys(found))


_CONDITIONS = ["conditioning", "conditioning_1", "conditioning_to", "positive", "negative"]


def _is_adapter(kind: str) -> bool:
    return kind.startswith(("IPA", "Apply")) or "IPAdapter" in kind


def _literals(
    graph: Nodes, names: Iterable[str], only: Callable[[str], bool] = lambda kind: True
) -> list[Place]:
    return [
        Place(key, name)
        for key, node in graph.items()
        if only(node["class_type"])
        for name in names
        if isinstance(node["inputs"].get(name), int | float)
    ]


def _loaders(graph: Nodes, names: Iterable[str]) -> list[Place]:
    """What loads the files that come to such inputs of an adapter's nodes."""
    ends = [
        source
        for key, node in graph.items()
        if _is_adapter(node["class_type"])
        for name, source, _ in links(graph, key)
        if name in names
    ]
    found = [
        Place(key, "image")
        for key in graph
        if graph[key]["class_type"].startswith("LoadImage")
        and isinstance(graph[key]["inputs"].get("image"), str)
    ]
    reached = upstream(graph, ends)
    return [place for place in found if place.node in reached]


def _input_named(graph: Nodes, mark: str) -> list[Place]:
    return [place for place in _values(graph) if place.input == mark]


def _values(graph: Nodes) -> list[Place]:
    return [
        Place(key, name)
        for key, node in graph.items()
        for name, value in node["inputs"].items()
        if not is_link(value)
    ]


def _one(graph: Nodes, mark: str, found: list[Place]) -> list[Place]:
    """What was found, if it is of one node and no link."""
    linked = [one for one in found if is_link(graph[one.node]["inputs"][one.input])]
    if linked:
        raise FarmError(
            f"the column {mark} fills {_listed(linked)}, which gets its value by a link. Name the "
            f"input where the value is typed with --column {mark}=NODE.INPUT"
        )
    if len({one.node for one in found}) > 1:
        raise FarmError(
            f"the column {mark} could fill {_listed(found)}, and one is needed. Say which with "
            f"--column {mark}=NODE.INPUT, or give one of the nodes the title {mark}"
        )
    return found


def _unknown_input(graph: Nodes, mark: str, node: str, name: str) -> FarmError:
    inputs = ", ".join(graph[node]["inputs"]) or "none"
    return FarmError(
        f"the column {mark} names the input {name} of node {node}, which has {inputs}. Correct "
        "the name; an input that the editor left out of the file is written once it is set there"
    )


def _listed(found: list[Place]) -> str:
    names = [f"{one.node}.{one.input}" for one in found]
    rest = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return ", ".join(names[:30]) + rest


_KINDS = {
    "prompt": TEXTS,
    "negative": TEXTS,
    "seed": (*SEEDS, "value"),
    "scale": (*SCALES, "value"),
    "reference": ("image",),
    "mask": ("image",),
}
