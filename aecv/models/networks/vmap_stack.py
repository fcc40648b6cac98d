"""Networks of any model side by side, with the gradient by autograd."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from aecv.models.networks.model import Batch, Model

_State = dict[str, Tensor]


class VmapStack:
    """R independent networks of one model and one shape; see `Stack`.

    Every network sees its own batch; scalars and vectors among the parameters are matrices of one column for
    the optimiser.
    """

    def __init__(self, model: Model, networks: Sequence[nn.Module]) -> None:
        self._model, self._template, self.n_noise = model, copy.deepcopy(networks[0]), model.n_noise
        found, self._buffers = stack_module_state(list(networks))
        self._state = {name: value.detach() for name, value in found.items()}
        self._begin()

    def _begin(self) -> None:
        self.parameters = [_matrices(value) for value in self._state.values()]
        loss = _Losses(self._model, self._template)

        def terms(state: _State, buffers: _State, fields: dict[str, Tensor]) -> dict[str, Tensor]:
            named = {f"network.{name}": value for name, value in (state | buffers).items()}
            found: dict[str, Tensor] = functional_call(loss, named, (fields,))
            return found

        def total(state: _State, buffers: _State, fields: dict[str, Tensor]) -> Tensor:
            return terms(state, buffers, fields)["total"]

        self._terms, self._gradient = vmap(terms), vmap(grad_and_value(total))

    @property
    def n_stacked(self) -> int:
        return int(self.parameters[0].shape[0])

    def losses_and_gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        gradients, losses = self._gradient(self._state, self._buffers, _fields(batch))
        return losses, [_matrices(gradients[name]) for name in self._state]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            terms = self._terms(self._state, self._buffers, _fields(batch))
        assert batch.weights is not None
        factor = batch.weights.double().sum(dim=1) / batch.x.shape[2]
        return {name: value.double() * factor for name, value in terms.items()}

    def part(self, chosen: slice) -> "VmapStack":
        found = copy.copy(self)
        found._template = copy.deepcopy(self._template)  # functional_call changes it while it runs
        found._state = {name: value[chosen] for name, value in self._state.items()}
        found._buffers = {name: value[chosen] for name, value in self._buffers.items()}
        found._begin()
        return found

    def network(self, index: int) -> nn.Module:
        found = copy.deepcopy(self._template)
        own = {name: value[index] for name, value in (self._state | self._buffers).items()}
        found.load_state_dict(own, strict=False)
        return found


class _Losses(nn.Module):
    """A model's terms as the output of a module, for functional_call."""

    def __init__(self, model: Model, network: nn.Module) -> None:
        super().__init__()
        self._model, self.network = model, network

    def forward(self, fields: dict[str, Tensor]) -> dict[str, Tensor]:
        plain = {name: value for name, value in fields.items() if "/" not in name}
        columns = {name.partition("/")[2]: value for name, value in fields.items() if "/" in name}
        return self._model.losses(self.network, Batch(**plain, columns=columns))


def _fields(batch: Batch) -> dict[str, Tensor]:
    """What a batch has, for vmap, which knows no dataclasses."""
    plain = {name: getattr(batch, name) for name in ("x", "later", "noise")}
    if batch.weights is not None:
        plain["weights"] = batch.weights.to(batch.x.dtype)
    columns = {f"columns/{name}": value for name, value in batch.columns.items()}
    return {name: value for name, value in plain.items() if value is not None} | columns


def _matrices(values: Tensor) -> Tensor:
    """A view of shape (R, n, m): of vectors (R, n, 1), of scalars (R, 1, 1)."""
    return values.view(*values.shape, *[1] * (3 - values.ndim))
