"""An ONNX network as a torch module: its weights are parameters, its steps run in file order.

What depends on nothing but weights is computed once, when the module is made; arithmetic on shapes
stays on the processor, so that a step on another device never waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .cost import META, Cost
from .file import Network
from .node import Call
from .plan import FAILURES, HOST_INPUTS, Plan, Step, refused

_SHAPES = 64  # of pictures whose cost is remembered


class _Weights(nn.Module):
    """All weights in one leaf, as hosts that move models leaf by leaf want it."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        for index, tensor in enumerate(tensors):
            self.register_parameter(f"w{index}", nn.Parameter(tensor, requires_grad=False))


class OnnxModule(nn.Module):
    """Runs a network on the device of its input, in single precision.

    Raises:
        UnsupportedNetwork: it needs an operator that is not known here.
        BrokenFile: a value is used before it is made.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.file = network.name
        self.opset = network.opset
        self.inputs, self.outputs = network.inputs, network.outputs
        plan = Plan(network)
        self._host = plan.host_constants()
        moved = plan.device_constants()
        self._places = {name: f"w{index}" for index, name in enumerate(moved)}
        self.weights = _Weights(moved.values())
        self._steps = plan.steps()
        self._weighed: set[torch.Size] = set()
        self._results = [plan.origin(one.name) for one in network.outputs]

    @torch.no_grad()
    def forward(self, image: Tensor) -> list[Tensor]:
        """All outputs, in the order of the file.

        Raises:
            UnsupportedNetwork: an operator cannot be run, or takes more than those of face models.
        """
        if image.shape not in self._weighed:
            self.weigh(image.shape)
        values: dict[str, Tensor] = {self.inputs[0].name: image}
        for step in self._steps:
            call = self._call(step, values, image.device)
            values[step.node.outputs[0]] = self._result(step, call)
            for name in step.finished:
                values.pop(name, None)
        return [self._find(name, values, image.device, False) for name in self._results]

    @torch.no_grad()
    def weigh(self, shape: torch.Size) -> dict[str, int]:
        """Find out on shapes alone what a run takes, before anything is made.

        Returns:
            The most numbers that are held at once, all that are made, and multiplications.

        Raises:
            UnsupportedNetwork: it is far more than any face model needs.
        """
        cost, held = Cost(shape.numel()), shape.numel()
        values: dict[str, Tensor] = {self.inputs[0].name: torch.empty(shape, device=META)}
        for step in self._steps:
            call = self._call(step, values, META)
            made = cost.step(lambda step=step, call=call: self._result(step, call), held)
            values[step.node.outputs[0]] = made
            held += made.numel()
            for name in step.finished:
                held -= values.pop(name).numel() if name in values else 0
        if len(self._weighed) < _SHAPES:
            self._weighed.add(shape)
        return cost.counts

    def _call(self, step: Step, values: dict[str, Tensor], device: torch.device) -> Call:
        numbers = HOST_INPUTS.get(step.node.operator, ())
        found = tuple(
            self._find(name, values, device, step.on_host or place in numbers) if name else None
            for place, name in enumerate(step.inputs)
        )
        return Call(step.node, self.opset, found)

    def _result(self, step: Step, call: Call) -> Tensor:
        try:
            return step.run(call)
        except FAILURES as error:
            raise refused(self.file, step.node, error) from error

    def _find(
        self, name: str, values: dict[str, Tensor], device: torch.device, on_host: bool
    ) -> Tensor:
        if name in values:
            return values[name]
        if name in self._host and (on_host or name not in self._places):
            return self._host[name]
        weight: Tensor = getattr(self.weights, self._places[name])
        # A host that is short of memory may have left the weights where they were.
        return weight.to(device)
