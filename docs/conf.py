"""The documentation as a site, by Sphinx: `scripts/docs.sh` builds it, and fails on anything it warns of.

Guides are Markdown. Two folders are made when Sphinx reads this file: `reference`, from the docstrings of
every public name, and `about`, of the notes that are kept elsewhere in the checkout.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import upsample_ext  # noqa: E402

project = "upsample_ext"
author = "The upsample_ext authors"
version = release = upsample_ext.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"upsample_ext {version}"
html_copy_source = html_show_sphinx = html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
myst_heading_anchors = 3

# Docstrings are Google's, with `code` between single backticks
default_role = "code"
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_typehints = "none"  # signatures have them
python_maximum_signature_line_length = 90
# Every name that is referred to exists, but for other projects'
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(torch|collections|matplotlib|os)\..*"), ("py:.*", r"optional|default")]


# ---- the reference -----------------------------------------------------------------------------------------

# What a page of the reference holds. A name that this version of the package lacks is left out, and one that
# is in no group goes to the last.
GROUPS = {
    "resize": ("Resize", ["interpolate", "upsample_bilinear2d"]),
    "fused": (
        "Fused with what follows",
        [
            "upsample_argmax",
            "upsample_threshold",
            "upsample_cross_entropy",
            "upsample_add",
            "upsample_concat",
        ],
    ),
    "transposed-convolution": (
        "Transposed convolution",
        [
            "conv_transpose2d",
            "conv_transpose1d",
            "fixed_conv_transpose2d",
            "fixed_conv_transpose1d",
            "bilinear_conv_transpose2d",
            "linear_conv_transpose1d",
            "bilinear_kernel",
            "make_bilinear_weights",
            "caffe_upsample_params",
        ],
    ),
    "modules": (
        "Modules",
        [
            "Upsample",
            "UpsamplingBilinear2d",
            "UpsamplingNearest2d",
            "UpsampleCrossEntropyLoss",
            "DepthwiseConvTranspose2d",
            "DepthwiseConvTranspose1d",
            "BilinearConvTranspose2d",
            "LinearConvTranspose1d",
            "DiagonalConvTranspose2d",
            "DiagonalConvTranspose1d",
        ],
    ),
    "tools": (
        "Tools",
        [
            *("patch", "fuse", "report", "Report", "convert", "revert", "conversions", "Conversions"),
            *("decompositions", "info", "Info"),
        ],
    ),
    "comparison": ("Comparison", ["compare", "Comparison"]),
}


# What a `Comparison` holds
PARTS = ["comparison_ways.Way", "comparison_ways.AxisTable", "comparison_differences.Difference"]


def reference() -> dict[str, str]:
    """The reference: the text of each page by its name."""
    public = [name for name in upsample_ext.__all__ if name != "__version__"]
    grouped = {name for _, names in GROUPS.values() for name in names}
    texts = {}
    for page, (title, names) in GROUPS.items():
        rest = [name for name in public if name not in grouped] if page == "tools" else []
        shown = [name for name in [*names, *rest] if name in public]
        blocks = [_directive(name) for name in shown]
        if page == "comparison":
            blocks += [f".. autoclass:: upsample_ext.{name}\n   :members:" for name in PARTS]
        texts[f"reference/{page}.rst"] = "\n\n".join([f"{title}\n{'=' * len(title)}", *blocks]) + "\n"
    return texts


def _directive(name: str) -> str:
    kind = "class" if isinstance(getattr(upsample_ext, name), type) else "function"
    members = "\n   :members:" if name in ("Comparison", "Report") else ""
    return f".. auto{kind}:: upsample_ext.{name}{members}"


def _without_signature(app, what, name, obj, options, signature, returns):
    """Those that this package makes itself are not shown with the arguments that it makes them of."""
    if what == "class" and hasattr(obj, "__dataclass_fields__"):
        return "", None
    return signature, returns


def _as_fields(app, what, name, obj, options, lines: list[str]) -> None:
    """Makes fields of the sections "Returns" and "Raises", which are sentences here, not lists of types."""
    made, section = [], None
    for line in lines:
        text = line.strip()
        if line in ("Returns:", "Raises:"):
            section = line
            made.append(":returns:" if line == "Returns:" else ":Raises:")
        elif section and text and not line.startswith(" "):
            section = None
            made.append(line)
        elif section == "Raises:" and text:
            error, colon, rest = text.partition(": ")
            typed = line[:5].count(" ") == 4 and re.fullmatch(r"[A-Z]\w*(, [A-Z]\w*)*", error) and colon
            begins = typed or (line[:5].count(" ") == 4 and made[-1].endswith((".", ":")))
            made.append(
                f"    - **{error}**: {rest}" if typed else f"    - {text}" if begins else f"      {text}"
            )
        else:
            made.append(line)
    lines[:] = made


# ---- pages from elsewhere in the checkout ------------------------------------------------------------------

ELSEWHERE = {
    "about/notes.md": "benchmarks/NOTES.md",
    "about/loops.md": "benchmarks/LOOPS.md",
    "about/contributing.md": "CONTRIBUTING.md",
    "about/changelog.md": "CHANGELOG.md",
}


def elsewhere() -> dict[str, str]:
    """The text of each such page by its path here."""
    return {page: (HERE.parent / source).read_text() for page, source in ELSEWHERE.items()}


def _follow_links(app, page: str, source: list[str]) -> None:
    """A link to a file of the checkout leads to the page that shows it; one to another becomes its text."""
    folder = (HERE.parent / ELSEWHERE.get(f"{page}.md", f"docs/{page}.md")).parent

    def follow(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        file = (folder / target).resolve()
        for shown, origin in ELSEWHERE.items():
            if file == HERE.parent / origin:
                return f"[{text}](/{shown}{anchor})"
        return f"[{text}](/{file.relative_to(HERE)}{anchor})" if HERE in file.parents else text

    source[0] = re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|/)([\w./]+\.\w+)(#[\w-]*)?\)", follow, source[0])


def setup(app) -> None:
    app.connect("autodoc-process-docstring", _as_fields, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _without_signature)
    app.connect("source-read", _follow_links)


for _name, _text in {**reference(), **elsewhere()}.items():
    _path = HERE / _name
    _path.parent.mkdir(exist_ok=True)
    if not _path.exists() or _path.read_text() != _text:  # what is unchanged is not read again
        _path.write_text(_text)
