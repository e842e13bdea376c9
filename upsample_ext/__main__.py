"""The command `python -m upsample_ext`, also installed as `upsample-ext`: `compare`, `report` and `info`."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from upsample_ext._progress import Progress
from upsample_ext.compare import checked_factor, compare_images
from upsample_ext.comparison_input import check_size, parse_matrix, read_image
from upsample_ext.comparison_ways import NAMES, Scale, checked_names
from upsample_ext.fuse import fuse
from upsample_ext.info import info
from upsample_ext.patch import patch
from upsample_ext.report import report

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

# The 2x2 inputs of the question that compare() answers
_QUESTION = ("1 0; 0 1", "1 2; 3 4")
# Longer messages, with an overlong name or number, are shortened in the middle
_MESSAGE = 600


class _UsageError(Exception):
    pass


class _ProgramFailed(Exception):
    """The program of `report` raised, and its traceback was printed."""


_UNDER: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "patch": patch,
    "dispatcher": lambda: patch("dispatcher"),
    "fuse": fuse,
    "nothing": nullcontext,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        print(self.format_help(), end="", file=file)  # argparse hides that it could not write


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (that of the process by default).

    Returns:
        The exit status: 0, 1 if the program of `report` raised, or 2 after a one-line message on stderr if
        the arguments, a file, a missing optional package or a lack of memory prevent the command. By the
        shell's convention for signals, 130 after Ctrl-C, and 141 if the reader of stdout is gone.

    Example:
        >>> main(["compare", "--factor", "0"])
        2
    """
    parser = _parser()
    try:
        _run(parser, argv)
        if sys.stdout is None:
            raise OSError("stdout is closed")
        sys.stdout.flush()  # where a disk is full it shows here
    except KeyboardInterrupt:
        return 130
    except _ProgramFailed:
        return 1
    except BrokenPipeError:
        _drop_output()
        return 141
    except (_UsageError, ImportError, OSError, TypeError, ValueError) as error:
        return _failed(parser.prog, str(error))
    except MemoryError:
        return _failed(parser.prog, "not enough memory")
    except RuntimeError as error:  # torch's, where it gets no memory
        if "allocate memory" not in str(error):
            raise
        return _failed(parser.prog, "not enough memory")
    return 0


def _run(parser: _Parser, argv: Sequence[str] | None) -> None:
    try:
        arguments = parser.parse_args(argv)
    except SystemExit:  # after --help; wrong arguments raise _UsageError
        return
    if arguments.command == "info":
        print(info())
    elif arguments.command == "report":
        _report(arguments)
    else:
        _compare(arguments)


def _failed(program: str, message: str) -> int:
    """Prints the message, in one line whatever a file is called, and returns the exit status."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    if sys.stderr is not None:
        if len(line) > _MESSAGE:
            line = f"{line[: _MESSAGE // 2]} ... {line[-_MESSAGE // 2 :]}"
        print(f"{program}: error: {line}", file=sys.stderr)
    _drop_output()
    return 2


def _drop_output() -> None:
    """Discards what cannot be written to stdout, which Python would otherwise retry and report at exit."""
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        if sys.stdout is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _parser() -> _Parser:
    parser = _Parser(
        prog="upsample-ext", description="Bilinear upsampling in PyTorch: comparison and installation."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="compare|report|info")
    text = "resize in several ways, and say where and why they differ"
    comparison = commands.add_parser("compare", help=text, description=text.capitalize() + ".")
    comparison.add_argument(
        "--factor", type=int, default=2, metavar="N", help="integer factor of both axes (2)"
    )
    comparison.add_argument("--shrink", action="store_true", help="divide the extents by the factor")
    comparison.add_argument(
        "--ways",
        metavar="NAMES",
        help=f'"modes", or of these, parted by ",": bilinear, {", ".join(NAMES)}; the last two are the '
        "transposed convolution, by what it reads outside (both align_corners and these; to shrink, modes)",
    )
    source = comparison.add_mutually_exclusive_group()
    source.add_argument(
        "--matrix",
        metavar="ROWS",
        help='rows parted by ";", such as "1 2; 3 4"; without this and --image: that, and the identity',
    )
    source.add_argument(
        "--image",
        metavar="FILE|NAME",
        help="a picture, or the name of a scikit-image sample such as astronaut",
    )
    comparison.add_argument("--plot", metavar="FILE", help="draw the (last) comparison too, PNG, SVG or PDF")
    text = "run a program, and say which of its resizes ran here, which in PyTorch, and why"
    reported = commands.add_parser("report", help=text, description=text.capitalize() + ".")
    reported.add_argument(
        "--under",
        choices=_UNDER,
        default="patch",
        help="what to run it under: patch() (the default), patch('dispatcher'), fuse() or nothing",
    )
    reported.add_argument("program", metavar="PROGRAM.py")
    reported.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="of the program")
    text = "versions, what the extension was built for, instruction-set level, threads"
    commands.add_parser("info", help=text, description=text.capitalize() + ".")
    return parser


def _report(arguments: argparse.Namespace) -> None:
    program = Path(arguments.program)
    if not program.is_file():
        raise FileNotFoundError(f"report: no such file: {_printable(arguments.program)}")
    sys.argv = [arguments.program, *arguments.arguments]
    sys.path[0] = str(program.resolve().parent)
    with _UNDER[arguments.under](), report() as result:
        try:
            _run_program(program)
        except Exception:
            traceback.print_exc()
            raise _ProgramFailed from None
        finally:
            print(f"\n{result}", flush=True)


def _run_program(path: Path) -> None:
    """Runs a program as Python itself would: as the main module, also to processes that it starts."""
    module = ModuleType("__main__")
    module.__file__ = str(path)
    names = ("__main__", "__mp_main__")
    found = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names, module))
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    finally:
        for name, before in found.items():
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before


def _compare(arguments: argparse.Namespace) -> None:
    factor, shrink = checked_factor(arguments.factor), arguments.shrink
    names = checked_names(None if arguments.ways is None else _split(arguments.ways), shrink)
    scale = Scale(factor, shrink)
    plot = None if arguments.plot is None else _plot_path(arguments.plot)
    if arguments.image is not None:
        inputs = [read_image(arguments.image, scale, len(names))]
    else:
        matrices = _QUESTION if arguments.matrix is None else (arguments.matrix,)
        inputs = [parse_matrix(text)[None] for text in matrices]
    progress = Progress()
    for index, x in enumerate(inputs):
        check_size(x.shape, scale, len(names))
        progress.begin("comparing")
        comparison = compare_images(x[None], scale, names, progress)
        if index:
            print("\n" + "-" * 110 + "\n")
        print(comparison, flush=True)
    if plot is not None:
        progress.begin("drawing")
        figure = comparison.plot()
        try:
            figure.savefig(plot)
        except OSError as error:
            raise OSError(f"--plot: {plot}: {error.strerror or error}") from None
        print(f"\nplot: {_printable(plot)}")


def _split(names: str) -> str | list[str]:
    """The names of ways, or the word that stands for several."""
    return names if names == "modes" else [name.strip() for name in names.split(",")]


def _plot_path(name: str) -> str:
    """The path of the picture, with `.png` added if it has no suffix; raises if it cannot be written."""
    if not name:
        raise ValueError("--plot: expected the name of a file, got an empty one")
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ModuleNotFoundError as error:
        raise ImportError(
            f"plot: {error.name} is not installed. Type: pip install upsample-ext[plot]"
        ) from error
    path = Path(name)
    if path.is_dir():
        raise IsADirectoryError(f"--plot: {name} is a directory")
    if path.exists() and not path.is_file():
        raise ValueError(f"--plot: {name} is not a regular file")
    if not path.suffix:
        path = path.with_name(path.name.rstrip(".") + ".png")
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ValueError(f"--plot: {name} ends in none of {', '.join(sorted(known))}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--plot: No such file or directory: {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"--plot: {name} cannot be written: permission denied")
    return str(path)


def _printable(text: str) -> str:
    """The text without what stdout cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


if __name__ == "__main__":
    sys.exit(main())
