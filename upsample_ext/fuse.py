"""`fuse`: resizes of unchanged code are fused with what reads them."""

from upsample_ext.patch import Handle


class fuse(Handle):
    def __init__(self) -> None:
        super().__init__("fuse")

    def __repr__(self) -> str:
        return f"fuse({self._state()})"
