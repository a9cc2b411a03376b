"""What of a tuned file is another in another model: layers by relative depth, modules by structure, and what stands in
absolute units (steps, radii, margins, ridges) by the size of the model's own numbers there."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from easyedit_unlearn.components import Method
from easyedit_unlearn.errors import ConfigError
from easyedit_unlearn.model.hooks import layer_shape
from easyedit_unlearn.model.scales import Scale, scales
from easyedit_unlearn.model.structure import layer_names, mlp_output, stream_share


class Reference(NamedTuple):
    """A model that files were tuned on.

    Attributes:
        depth, width: of the model. key_width: of its MLP. scales: by layer, stream, output and key.
    """

    depth: int
    width: int
    key_width: int
    scales: dict[int, Scale]


REFERENCE = "smollm2-135m"
REFERENCES = {
    "smollm2-135m": Reference(
        30, 576, 1536,
        {
            5: Scale(92.3, 20.51, 4.54), 7: Scale(102.0, 23.83, 5.09), 9: Scale(126.0, 31.53, 6.5),
            11: Scale(130.3, 30.18, 6.07),
        },
    ),
}  # fmt: skip


class Change(NamedTuple):
    """A value, and whence it comes."""

    value: Any
    why: str


class Derivation:
    """What of a reference file's ``values`` is another in this model."""

    def __init__(
        self, model: Any, tokenizer: Any, reference: Reference, values: dict[str, Any], method: Method
    ) -> None:
        self.model, self.tokenizer, self.method = model, tokenizer, method
        self.reference, self.values = reference, values
        self.names = layer_names(model)
        self.depth = len(self.names)

    def changes(self) -> dict[str, Change]:
        """By key, dotted where it lies deeper."""
        found: dict[str, Change] = {}
        if "rewrite_module_tmp" in self.values:
            found |= self._located()
        elif "inner_params" in self.values:
            found |= self._beside()
        elif "layer" in self.values:
            found |= self._one_layer()
        elif "layers" in self.values:
            found |= self._trained()
        return found

    def _layer(self, number: int) -> int:
        """The layer at the same relative depth, or the nearest with an MLP of its own."""
        wanted = self._depth(number)
        return min(self._usable(), key=lambda layer: (abs(layer - wanted), layer))

    def _depth(self, number: int) -> int:
        return max(0, min(self.depth - 1, round((number + 0.5) / self.reference.depth * self.depth - 0.5)))

    def _usable(self) -> list[int]:
        problem: ConfigError | None = None
        found = []
        for number, layer in enumerate(self.names):
            try:
                mlp_output(self.model, layer)
                found.append(number)
            except ConfigError as error:
                problem = problem or error
        if not found and problem:
            raise ConfigError(f"{self.method.name}: {problem.problem}", key="layers")
        return found

    def _span(self, layers: list[int]) -> list[int]:
        first, last = self._layer(min(layers)), self._layer(max(layers))
        return [number for number in self._usable() if first <= number <= last]

    def _module(self, layer: int) -> str:
        return mlp_output(self.model, self.names[layer])

    def _scale(self, layer: int) -> Scale:
        return scales(self.model, self.tokenizer, [(self.names[layer], self._module(layer))])[0]

    def _step(self, layer: int, reference: int, share: float | None) -> tuple[float, str]:
        """How many times larger a step of a value's coordinate is here."""
        mine, theirs = self._scale(layer), self.reference.scales[reference]
        here = mine.stream / share if share is not None else mine.output
        ratio = (here / self._shape(layer)[0] ** 0.5) / (theirs.stream / self.reference.width**0.5)
        return ratio, "in proportion to the size of this model's " + ("stream" if share is not None else "MLP output")

    def _located(self) -> dict[str, Change]:
        layers = self._span(self.values["layers"])
        last = layers[-1]
        share = stream_share(self.model, self.names[last], self._module(last))
        why = "the same relative depth"
        if share is None and len(layers) > 1:
            layers, why = [last], "one: a norm lies between its MLP and the stream, so no change is spread"
        rewrite = self._template(last, self._module(last))
        ratio, so = self._step(last, max(self.values["layers"]), share)
        mlp = rewrite.rpartition(".")[0]
        found = {
            "layers": Change(layers, why),
            "v_lr": Change(_rounded(float(self.values["v_lr"]) * ratio), so),
            "v_loss_layer": Change(self.depth - 1, "the last"),
            "rewrite_module_tmp": Change(rewrite, "what writes the MLP's output"),
            "layer_module_tmp": Change(self._template(last, self.names[last]), ""),
            "mlp_module_tmp": Change(mlp if "{}." in mlp else rewrite, ""),
            "attn_module_tmp": Change(self._attention(last), ""),
            "ln_f_module": Change(self._final_norm(), ""),
            "lm_head_module": Change(self._head(), ""),
        }
        if "L2" in self.values:
            key = self._scale(last).key / self.reference.scales[max(self.values["layers"])].key
            found["L2"] = Change(
                _rounded(float(self.values["L2"]) * key**2), "in proportion to the squared size of its keys"
            )
        dimensions = self.values["unlearn"].get("native", {}).get("null_space_dimensions")
        if dimensions:
            wide = self._shape(last)[1]
            same = round(dimensions / self.reference.key_width * wide)
            found["unlearn.native.null_space_dimensions"] = Change(same, f"the same share of {wide}")
        return found

    def _beside(self) -> dict[str, Change]:
        theirs = int(re.findall(r"\d+", self.values["inner_params"][0])[0])
        layer = self._layer(theirs)
        module = self._module(layer)
        path = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", module)
        share = stream_share(self.model, self.names[layer], module)
        ratio, so = self._step(layer, theirs, share)
        found = {"inner_params": Change([f"{path}.weight"], "the same relative depth; what writes the MLP's output")}
        if "eps" in self.values:
            key = self._scale(layer).key / self.reference.scales[theirs].key
            found["eps"] = Change(_rounded(float(self.values["eps"]) * key), "in proportion to the size of its keys")
            found["edit_lr"] = Change(_rounded(float(self.values["edit_lr"]) * ratio), so)
        if "act_margin" in self.values:
            mine = self._scale(layer)
            here = mine.stream / share if share is not None else mine.output
            size = here / self.reference.scales[theirs].stream
            margins = [_rounded(float(margin) * size) for margin in self.values["act_margin"]]
            found["act_margin"] = Change(margins, "alpha, beta, gamma, in proportion to the size of what it puts out")
            rate = self.values["unlearn"]["native"]["value_lr"]
            found["unlearn.native.value_lr"] = Change(_rounded(float(rate) * ratio), so)
        return found

    def _one_layer(self) -> dict[str, Change]:
        theirs = self.values["layer"]
        layer = self._layer(theirs)
        found = {"layer": Change(layer, "the same relative depth")}
        if "steering_coeff" in self.values:
            size = self._scale(layer).stream / self.reference.scales[theirs].stream
            found["steering_coeff"] = Change(
                _rounded(float(self.values["steering_coeff"]) * size),
                "in proportion to the size of this model's stream",
            )
        return found

    def _trained(self) -> dict[str, Change]:
        try:
            layers = self._span(self.values["layers"])
        except ConfigError:  # experts: nothing of them but the layer as a whole can be named
            first, last = (self._depth(number) for number in (min(self.values["layers"]), max(self.values["layers"])))
            return {
                "layers": Change(list(range(first, last + 1)), "the same relative depth"),
                "target_modules": Change(None, "all: its MLPs are experts"),
            }
        own = sorted({self._module(layer).rpartition(".")[2] for layer in layers})
        return {
            "layers": Change(layers, "the same relative depth"),
            "target_modules": Change(own, "what writes the MLP's output"),
        }

    def _template(self, layer: int, name: str) -> str:
        start = self.names[layer].removesuffix(str(layer))
        return f"{start}{{}}{name.removeprefix(self.names[layer])}"

    def _shape(self, layer: int) -> tuple[int, int]:
        shape = layer_shape(self.model.get_submodule(self._module(layer)))
        assert shape is not None  # noqa: S101  mlp_output names linear modules alone
        return shape

    def _attention(self, layer: int) -> str:
        """EasyEdit's alone read it."""
        whole = self.model.get_submodule(self.names[layer])
        inside = [name for name, _ in whole.named_children() if re.search("att(n|ention)(?!.*(norm|drop))", name)]
        return self._template(layer, f"{self.names[layer]}.{inside[0]}" if inside else self.names[layer])

    def _final_norm(self) -> str:
        base = self.names[0].rpartition(".")[0].rpartition(".")[0]
        around = self.model.get_submodule(base).named_children()
        norms = [
            name for name, module in around if re.search("norm|ln_f|layernorm", f"{name} {type(module).__name__}", re.I)
        ]
        return ".".join(filter(None, [base, norms[-1]])) if norms else self.names[-1]

    def _head(self) -> str:
        head = self.model.get_output_embeddings()
        return next((name for name, module in self.model.named_modules() if module is head), "lm_head")


def _rounded(value: float) -> float:
    """To three digits: nothing derived is more exact than that."""
    return float(f"{value:.3g}")
