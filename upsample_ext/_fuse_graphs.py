"""The fusions of `fuse()` in the graphs of torch.compile: a pass that Inductor runs before autograd.

Only there is `F.cross_entropy` still one node; after it, it is fifteen, and its backward another graph. The
pass asks the functions of `_fused_readers` about nodes in place of tensors, so that a graph fuses what eager
code does. Inductor's hook is not public: where it is missing, graphs are left as `patch()` leaves them.
"""

import functools
import hashlib
import inspect
import operator
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from upsample_ext import _chain, _events, _fused_readers, _recipe
from upsample_ext._chain import Stage
from upsample_ext._fused_readers import FUSED_MODES, HALF_OR_SINGLE, Call, Derived, Maximum, decisions
from upsample_ext._lazy_resize import Pending
from upsample_ext._recipe import Recipe

# torch.fx.Node and torch.fx.Graph, whose arguments are unions too wide to be of use
Node = Any
Graph = Any

_OPS = torch.ops.upsample_ext
_BILINEAR = (_OPS.upsample_bilinear2d, _OPS.upsample_bilinear2d.default)
_IN_ANY_MODE = (_OPS.resample, _OPS.resample.default)
_OPERATORS = {
    **{getattr(operator, name): getattr(Tensor, f"__{name}__") for name in ("gt", "ge", "lt", "le", "add")},
    operator.getitem: Tensor.__getitem__,
}
# "__iadd__" and its kind: the names of methods, and the functions
_IN_PLACE_NAMES = {name for name in dir(operator) if re.fullmatch("__i.*__", name)} & {
    f"__i{name[2:]}" for name in dir(operator) if name.startswith("__")
}
_IN_PLACE = {
    "__setitem__",
    operator.setitem,
    *_IN_PLACE_NAMES,
    *(getattr(operator, n) for n in _IN_PLACE_NAMES),
}
_SETS_GRAD_MODE = torch._C._set_grad_enabled


class _LazyNode(Pending):
    """A node that holds a resized image."""

    def __init__(self, node: Node, source: Node, recipe: Recipe) -> None:
        self.node, self.source_node, self.recipe = node, source, recipe
        self.source: Tensor = source.meta["example_value"]
        self.like: Tensor = node.meta["example_value"]
        self.pending = True

    def is_pending(self) -> bool:
        return self.pending


def fuse_graph(graph: Graph) -> None:
    """Replaces what reads a resize by fused ops, and removes resizes that nothing reads any more."""
    _Fusion(graph).run()


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._lazy: dict[Node, _LazyNode] = {}
        self._maxima: dict[Node, Maximum] = {}
        self._detached: list[Node] = []
        self._grad_enabled = torch.is_grad_enabled()

    def run(self) -> None:
        for node in list(self._graph.nodes):
            if node.op not in ("call_function", "call_method", "call_module"):
                continue
            if node.target is _SETS_GRAD_MODE:
                self._grad_enabled = bool(node.args[0])
            elif _writes(node):
                self._forget_what_shares_memory(node)
            elif node.target in (*_BILINEAR, *_IN_ANY_MODE):
                self._resize(node)
            else:
                with torch.set_grad_enabled(self._grad_enabled):
                    self._read(node)
        for node in reversed(self._detached + list(self._lazy) + list(self._maxima)):
            if not node.users:
                self._graph.erase_node(node)

    def _put_off(self, node: Node, source: Node, recipe: Recipe) -> None:
        if _value(source).requires_grad and not _value(node).requires_grad:
            # Made in no_grad, or detached: a fused op must not find the way around that
            with self._graph.inserting_before(node):
                detached = self._graph.call_method("detach", (source,))
            detached.meta["example_value"] = _value(source).detach()
            self._detached.append(detached)
            source = detached
        self._lazy[node] = _LazyNode(node, source, recipe)

    def _resize(self, node: Node) -> None:
        image, size, *settings = node.args
        if node.kwargs or not _is_tensor(image):
            return
        mode, antialias, factors = "bilinear", False, None
        if node.target in _BILINEAR:
            align_corners, *scales = settings
            if scales and scales[0] is not None:
                factors = tuple(scales)
        else:
            mode, antialias, align_corners, factors = settings
        if antialias or mode not in FUSED_MODES or len(size) != 2:
            return
        extents = tuple(_value(extent) for extent in size)
        stage = Stage(extents, tuple(factors) if factors else None, align_corners, mode=mode)
        before = self._lazy.get(image)
        if before is not None and not (before.recipe.mode == mode == "bilinear"):
            before = None  # no chain
        if before is not None and before.pending and not before.recipe.then and len(before.recipe.axes) == 4:
            recipe = before.recipe._replace(stages=(*before.recipe.stages, stage))
            self._put_off(node, before.source_node, recipe)
        elif image.meta["example_value"].dtype in HALF_OR_SINGLE:
            self._put_off(node, image, Recipe((stage,)))

    def _read(self, node: Node) -> None:
        if node.target is operator.getitem and node.args[0] in self._maxima:
            if node.args[1] == 1:
                self._replace(node, self._maxima[node.args[0]].indices)
            return
        if not any(argument in self._lazy for argument in _nodes(node)):
            return
        decide = decisions.get(_function(node))
        if decide is None:
            return
        decision = decide(*self._described(node.args), **self._described(node.kwargs))
        match decision:
            case Call():
                self._replace(node, decision)
            case Derived():
                self._put_off(node, decision.of.source_node, decision.recipe)
            case Maximum():
                self._maxima[node] = decision
            case _LazyNode():  # a conversion to what it is
                self._put_off(node, decision.source_node, decision.recipe)

    def _described(self, argument: Any) -> Any:
        """An argument of a node as a function would be given it."""
        if isinstance(argument, torch.fx.Node):
            return self._lazy.get(argument) or _value(argument)
        if isinstance(argument, (tuple, list)):
            items = [self._described(item) for item in argument]
            return items if isinstance(argument, list) else tuple(items)
        if isinstance(argument, dict):
            return {key: self._described(item) for key, item in argument.items()}
        return argument

    def _replace(self, node: Node, call: Call) -> None:
        nodes = {id(n.meta.get("example_value")): n for n in self._graph.nodes if n.op != "output"}
        nodes |= {id(_value(argument)): argument for argument in _nodes(node)}
        nodes |= {id(lazy.source): lazy.source_node for lazy in self._lazy.values()}
        try:
            args = _as_arguments(call.args, nodes)
        except KeyError:  # a size that follows from others, such as that of a window
            return
        with self._graph.inserting_before(node):
            fused = self._graph.call_function(call.function, args)
        fused.meta["example_value"] = node.meta.get("example_value")
        node.replace_all_uses_with(fused)
        self._graph.erase_node(node)
        if _events.listeners:
            _events.record_fused(call.name)

    def _forget_what_shares_memory(self, node: Node) -> None:
        written = {_storage(n.meta.get("example_value")) for n in _nodes(node)} - {None}
        for lazy in self._lazy.values():
            lazy.pending &= not written & {_storage(lazy.source), _storage(lazy.like)}


def _is_tensor(node: Any) -> bool:
    return isinstance(node, torch.fx.Node) and isinstance(node.meta.get("example_value"), Tensor)


def _value(argument: Any) -> Any:
    """What a node stands for while the graph is made: a fake tensor, a size; other arguments as they are."""
    return argument.meta.get("example_value") if isinstance(argument, torch.fx.Node) else argument


def _nodes(node: Node) -> Iterator[Node]:
    return iter(node.all_input_nodes)


def _storage(value: Any) -> int | None:
    return value.untyped_storage()._cdata if isinstance(value, Tensor) else None


def _function(node: Node) -> Any:
    """PyTorch's function for what a node calls."""
    if node.op == "call_method":
        return getattr(Tensor, str(node.target), None)
    return _OPERATORS.get(node.target, node.target)


def _as_arguments(value: Any, nodes: dict[int, Any]) -> Any:
    """The arguments of a call, with the nodes that stand for tensors and for sizes."""
    if isinstance(value, _LazyNode):
        return value.node
    if isinstance(value, (Tensor, torch.SymInt, torch.SymFloat)):
        return nodes[id(value)]
    if isinstance(value, tuple):  # recipes too, which are tuples in a graph
        return tuple(_as_arguments(item, nodes) for item in value)
    if isinstance(value, list):
        return [_as_arguments(item, nodes) for item in value]
    return value


def _writes(node: Node) -> bool:
    """Whether a node may change a tensor that it is given. The graph is not functional yet."""
    target = node.target
    if node.op == "call_module" or "out" in node.kwargs:
        return True
    if isinstance(target, torch._ops.OpOverload):
        return bool(target._schema.is_mutable)
    if isinstance(target, torch._ops.HigherOrderOperator):
        return True
    if target in _IN_PLACE:
        return True
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        return True
    if getattr(F, name, None) is target:
        return _is_told_to_write(node)
    return False


def _is_told_to_write(node: Node) -> bool:
    """Whether a function of `torch.nn.functional` was called with ``inplace=True``."""
    try:
        given = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    except (TypeError, ValueError):  # a builtin, which has no such argument
        return False
    return given.arguments.get("inplace") is True


# ---- the hook ----------------------------------------------------------------------------------------------

_wanted = False


def install() -> None:
    """Has graphs fused from now on. Importing the compiler takes a second: that is left to who compiles."""
    global _wanted
    _wanted = True
    if "torch._inductor.config" in sys.modules:
        hook()


def remove() -> None:
    global _wanted
    _wanted = False
    config: Any = sys.modules.get("torch._inductor.config")
    if config is not None:
        found = config.pre_grad_custom_pass
        if isinstance(found, (list, tuple)):
            config.pre_grad_custom_pass = [p for p in found if not _is_ours(p)] or None
        elif _is_ours(found):
            config.pre_grad_custom_pass = found.before


def hook() -> None:
    """Puts the pass beside those that are there; torch.compile runs this when it meets a lazy resize."""
    if not _wanted:
        return
    import torch._inductor.config as config

    if not hasattr(config, "pre_grad_custom_pass"):
        return
    found: Any = config.pre_grad_custom_pass
    if isinstance(found, (list, tuple)):
        if not any(map(_is_ours, found)):
            config.pre_grad_custom_pass = [*found, _make_pass(None)]
    elif not _is_ours(found):
        config.pre_grad_custom_pass = _make_pass(found)


hook._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _hash_of_sources() -> str:
    modules = (sys.modules[__name__], _fused_readers, _recipe, _chain)
    return hashlib.sha256(b"".join(Path(str(m.__file__)).read_bytes() for m in modules)).hexdigest()


def _is_ours(graph_pass: Any) -> bool:
    return getattr(graph_pass, "fuses_resizes", False)


def _make_pass(before: Callable[[Graph], None] | None) -> Any:
    try:
        from torch._inductor.custom_graph_pass import CustomGraphPass as Base
    except ImportError:  # torch 2.5: any callable
        Base = object  # type: ignore[assignment, misc]

    class FuseResizes(Base):
        fuses_resizes = True

        def __init__(self) -> None:
            self.before = before

        def __call__(self, graph: Graph) -> None:
            if before is not None:
                before(graph)
            fuse_graph(graph)

        def uuid(self) -> Any:
            """What compiled code depends on: without that of the other pass it cannot be kept."""
            if before is None:
                return _hash_of_sources()
            other = before.uuid() if hasattr(before, "uuid") else None
            return None if other is None else f"{_hash_of_sources()} {other}"

    return FuseResizes()
