"""Which step of a network makes which value, from which, and where it has to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .. import limits
from ..errors import BrokenFile, UnsupportedNetwork, is_out_of_memory
from .cost import META, Cost
from .file import Network, Node
from .layers import LAYERS
from .node import Call, CannotRun, Operator
from .resize import RESIZES
from .shapes import SHAPES

OPERATORS: dict[str, Operator] = {**LAYERS, **SHAPES, **RESIZES}
# These hand on their first input; a Constant is one of the weights.
_PASS = ("Identity", "Dropout")
# Inputs by place that are read as numbers, not computed with.
HOST_INPUTS = {
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Clip": (1, 2),
    "Pad": (1, 2, 3),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Unsqueeze": (1,),
    "Squeeze": (1,),
    "ReduceMean": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
}
_FOLDED = 4096
FAILURES = (CannotRun, RuntimeError, IndexError, ValueError, TypeError, OverflowError)


class Step(NamedTuple):
    """One operation to run."""

    node: Node
    run: Operator
    inputs: tuple[str, ...]
    finished: tuple[str, ...]  # values that no later step uses
    on_host: bool


def refused(file: str, node: Node, error: Exception) -> Exception:
    """What is raised for an operation that failed."""
    if is_out_of_memory(error):
        return error  # the host frees memory and tells the user
    return _unsupported(file, node, str(error))


def _unsupported(file: str, node: Node, why: str) -> UnsupportedNetwork:
    name = f" ({node.name})" if node.name else ""
    return UnsupportedNetwork(
        f"{file} has the operation {node.operator}{name} that cannot be run: {why}",
        "a network of the operators of SCRFD and ArcFace is needed",
        "Use the original files of buffalo_l or antelopev2",
    )


class Plan:
    """The steps of a network; what depends on nothing but weights is worked out at once.

    Raises:
        UnsupportedNetwork: it needs an operator that is not known here, or far too much of one.
        BrokenFile: a value is used before it is made.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._constants = dict(network.constants)
        self._alias: dict[str, str] = {}
        self._known = {*self._constants, *(one.name for one in network.inputs)}
        self._nodes: list[tuple[Node, tuple[str, ...]]] = []
        # Numbers made of weights alone, the weights, and results that are left to runs.
        self._folded, self._derived = 0, dict[str, Tensor]()
        self._weights = sum(tensor.numel() for tensor in self._constants.values())
        if len(network.inputs) != 1:
            raise UnsupportedNetwork(
                f"{network.name} takes {len(network.inputs)} inputs",
                "a network of one picture is needed",
                "Use the original files of buffalo_l or antelopev2",
            )
        for node in network.nodes:
            self._add(node)
        for output in network.outputs:
            self._require(output.name, "the output")
        self._on_host = self._find_host_values()

    def origin(self, name: str) -> str:
        """The name under which a value is made."""
        return self._alias.get(name, name)

    def _require(self, name: str, user: str) -> None:
        if name and name not in self._known:
            raise BrokenFile(
                f"{self._network.name} is damaged: {user} uses {name!r} before it is made",
                "a whole .onnx file is needed",
                "Download it again",
            )

    def _add(self, node: Node) -> None:
        for name in node.inputs:
            self._require(name, node.operator)
        if not node.outputs or node.outputs[0] in self._known:
            raise BrokenFile(
                f"{self._network.name} is damaged: {node.operator} makes nothing new",
                "a whole .onnx file is needed",
                "Download it again",
            )
        output = node.outputs[0]
        self._known.add(output)
        inputs = tuple(self.origin(name) for name in node.inputs)
        if node.operator == "Constant":
            self._constants[output] = self._constant(node)
        elif node.operator in _PASS and inputs:
            self._alias[output] = inputs[0]
        elif node.operator not in OPERATORS:
            raise _unsupported(self._network.name, node, "it is not known to this pack")
        elif inputs and self._are_small(inputs):
            self._constants[output] = self._fold(node, inputs)
        else:
            self._require_bounded(node, inputs)
            self._nodes.append((node, inputs))

    def _constant(self, node: Node) -> Tensor:
        given = node.attributes
        if isinstance(tensor := given.get("value"), Tensor):
            return tensor
        kinds = {"value_float": torch.float32, "value_int": torch.int64}
        kinds |= {f"{name}s": kind for name, kind in kinds.items()}
        found = next((name for name in kinds if given.get(name) is not None), None)
        if found:
            try:
                return torch.tensor(given[found], dtype=kinds[found])
            except FAILURES as error:
                raise refused(self._network.name, node, error) from error
        raise _unsupported(self._network.name, node, "its value is of an unknown kind")

    def _are_small(self, inputs: tuple[str, ...]) -> bool:
        """Whether a node can be worked out at once: sizes and the like, never whole weights."""
        known = [self._constants.get(name) for name in inputs if name]
        return all(value is not None and value.numel() <= _FOLDED for value in known)

    def _fold(self, node: Node, inputs: tuple[str, ...]) -> Tensor:
        values = tuple(self._constants[name] if name else None for name in inputs)
        try:
            self._require_room(node, values)
            return OPERATORS[node.operator](Call(node, self._network.opset, values)).contiguous()
        except FAILURES as error:
            raise refused(self._network.name, node, error) from error

    def _require_bounded(self, node: Node, inputs: tuple[str, ...]) -> None:
        """The same for what is made of large weights alone, whenever the network runs."""
        values = tuple(self._constants.get(name, self._derived.get(name)) for name in inputs)
        made_of = [value for name, value in zip(inputs, values, strict=True) if name]
        if not made_of or any(value is None for value in made_of):
            return
        try:
            self._derived[node.outputs[0]] = self._require_room(node, values)
        except FAILURES as error:
            raise refused(self._network.name, node, error) from error

    def _require_room(self, node: Node, values: tuple[Tensor | None, ...]) -> Tensor:
        """Refuse a result that would be more than is worked out for any face model, all together.

        Returns:
            What it would be, without values.

        Raises:
            CannotRun: it would be.
        """
        numbers = HOST_INPUTS.get(node.operator, ())
        like = tuple(
            value if value is None or place in numbers else value.to(META)
            for place, value in enumerate(values)
        )
        call, cost = Call(node, self._network.opset, like), Cost(2 * self._weights)
        made = cost.step(lambda: OPERATORS[node.operator](call), 0)
        self._folded += cost.counts["made"]
        if self._folded > limits.ONNX_FOLDED + 2 * self._weights:
            raise CannotRun("what is made of its weights alone is far more than in a face model")
        return made

    def _find_host_values(self) -> set[str]:
        """Values made from shapes alone."""
        found: set[str] = set()
        for node, inputs in self._nodes:
            made = [name for name in inputs if name and name not in self._constants]
            if node.operator == "Shape" or all(name in found for name in made):
                found.add(node.outputs[0])
        return found

    def _uses(self) -> Iterable[tuple[str, bool]]:
        """Each constant that is used, and whether as a number."""
        for node, inputs in self._nodes:
            numbers = HOST_INPUTS.get(node.operator, ())
            for place, name in enumerate(inputs):
                if name in self._constants:
                    yield name, node.outputs[0] in self._on_host or place in numbers
        for output in self._network.outputs:
            if self.origin(output.name) in self._constants:
                yield self.origin(output.name), False

    def _is_moved(self, name: str) -> bool:
        return self._constants[name].is_floating_point()

    def device_constants(self) -> dict[str, Tensor]:
        """Weights that are computed with."""
        used = (name for name, on_host in self._uses() if not on_host and self._is_moved(name))
        return {name: self._constants[name] for name in used}

    def host_constants(self) -> dict[str, Tensor]:
        """Sizes, scales, bounds, indices."""
        used = (name for name, on_host in self._uses() if on_host or not self._is_moved(name))
        return {name: self._constants[name] for name in used}

    def steps(self) -> list[Step]:
        """What to run, in order."""
        kept = {self.origin(one.name) for one in self._network.outputs}
        last = {name: at for at, (_, inputs) in enumerate(self._nodes) for name in inputs}
        steps: list[Step] = []
        for at, (node, inputs) in enumerate(self._nodes):
            done = {n for n in inputs if last[n] == at and n not in kept}
            if node.outputs[0] not in last and node.outputs[0] not in kept:
                done.add(node.outputs[0])
            on_host = node.outputs[0] in self._on_host and node.operator != "Shape"
            run = OPERATORS[node.operator]
            steps.append(Step(node, run, inputs, tuple(sorted(done)), on_host))
        return steps
