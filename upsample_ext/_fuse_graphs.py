"""The fusions of `fuse()` in graphs of torch.compile."""


def install() -> None: ...


def remove() -> None: ...
