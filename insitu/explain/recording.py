"""What every layer of a network answers, also where a layer is a function and no module (a ReLU in `forward`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import torch
    from torch import nn

_RECTIFIERS = ("relu", "relu_", "leaky_relu", "elu", "silu", "gelu")


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one layer gave for one image.

    Attributes
    ----------
    name : str
        Dotted name of the module; of a function ``MODULE:relu``, numbered where it comes again.
    kind : str
        Class of the module, or name of the function.
    maps : torch.Tensor of shape (channels, h, w)
    """

    name: str
    kind: str
    maps: torch.Tensor

    @property
    def rectifies(self) -> bool:
        """Whether it is a non-linearity that can fall silent."""
        return is_rectifier(self.kind)


def is_rectifier(kind: str) -> bool:
    """Say whether a class or function of this name is a non-linearity that can fall silent."""
    return kind.lower().rstrip("_").replace("_", "") in {"relu", "leakyrelu", "elu", "silu", "gelu"}


def record(module: nn.Module, images: torch.Tensor) -> list[Answer]:
    """Run `module` on one conditioned image (1, 1, H, W) and return what every layer gave, in order."""
    import torch
    from torch.overrides import TorchFunctionMode

    found: list[Answer] = []
    inside: list[tuple[str, str]] = []
    seen: dict[str, int] = {}

    def keep(name: str, kind: str, output: Any) -> None:  # noqa: ANN401 - whatever a layer gives
        if isinstance(output, torch.Tensor) and output.ndim == 4:
            seen[name] = seen.get(name, 0) + 1
            found.append(Answer(name if seen[name] == 1 else f"{name}#{seen[name]}", kind, output[0].detach().clone()))

    class Watching(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Callable[..., Any],
            _types: Any,  # noqa: ANN401 - torch's protocol
            args: Sequence[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:  # noqa: ANN401 - torch's protocol
            output = function(*args, **(kwargs or {}))
            name = getattr(function, "__name__", "")
            # a module of that kind is recorded by its own hook
            if name in _RECTIFIERS and inside and "ReLU" not in inside[-1][1] and "LU" not in inside[-1][1]:
                keep(f"{inside[-1][0]}:{name}".lstrip(":"), name, output)
            return output

    hooks = list(_hooked(module, inside, keep))
    try:
        with torch.inference_mode(), Watching():
            module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return _once(found)


def _once(found: list[Answer]) -> list[Answer]:
    """Leave out a rectifier that calls another one, as `leaky_relu` of some versions of torch does."""
    kept: list[Answer] = []
    for a in found:
        if kept and a.rectifies and kept[-1].rectifies and kept[-1].maps.equal(a.maps) and ":" in kept[-1].name:
            continue
        kept.append(a)
    return kept


def _hooked(module: nn.Module, inside: list[tuple[str, str]], keep: Callable[[str, str, Any], None]) -> Iterator[Any]:
    for name, part in module.named_modules():
        kind = type(part).__name__

        def enter(_module: nn.Module, _inputs: Any, name: str = name, kind: str = kind) -> None:  # noqa: ANN401 - torch's
            inside.append((name, kind))

        def leave(_module: nn.Module, _inputs: Any, output: Any, name: str = name, kind: str = kind) -> None:  # noqa: ANN401
            inside.pop()
            if name:
                keep(name, kind, output)

        yield part.register_forward_pre_hook(enter)
        yield part.register_forward_hook(leave)


def stages(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers that tell the story: parts of the network as a whole, and functions between them."""
    names = {a.name for a in answers}

    def whole(answer: Answer) -> bool:
        head, _, last = answer.name.rpartition(".")
        if ":" in answer.name:
            return "." not in answer.name and answer.name.split(":")[0] not in names
        # children of the network, and members of its lists, which have no answer of their own
        return not head or (head not in names and last.isdigit() and "." not in head)

    return [a for a in answers if whole(a)]


def chosen(answers: Sequence[Answer], wanted: Sequence[str]) -> list[Answer]:
    """Return the answers of the layers named, or the stages when none is.

    Raises
    ------
    CommandError
        No layer of this name.
    """
    import difflib

    if not wanted:
        return stages(answers)
    by_name = {a.name: a for a in answers}
    for name in wanted:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 1, 0.4)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise CommandError(f"the network has no layer '{name}'", f"{hint}layers: {', '.join(by_name)}")
    return [by_name[name] for name in wanted]
