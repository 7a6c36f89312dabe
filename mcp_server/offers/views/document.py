"""A view as one HTML document that loads nothing: hosts show it in a frame that has no server behind it."""

import re
from html import escape
from importlib import resources

from mcp_server import __version__
from mcp_server.offers.views import View

_DOCUMENT = """\
<!doctype html>
<html lang="en" data-tool="{tool}" data-version="{version}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main aria-busy="true"><h1>{title}</h1></main>
<script type="module">
{script}</script>
</body>
</html>
"""
_IMPORT = re.compile(r'^import \{[^}]*\} from "[^"]*";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)


def of_view(view: View) -> str:
    """Returns the document of a view, made of the charts, the ways of all views, and its own module."""
    scripts = [_read("web", "charts.js"), *(_read("offers/views", name) for name in ("bridge.js", "frame.js"))]
    return _DOCUMENT.format(
        tool=view.tool,
        version=escape(__version__),
        title=escape(view.title),
        style=inline(_read("web", "charts.css") + _read("offers/views", "view.css")),
        script=inline(joined([*scripts, _read("offers/views", f"{view.tool}.js")])),
    )


def joined(modules: list[str]) -> str:
    """Returns modules as one, in the order in which they need each other. Their top-level names must differ."""
    return "".join(_EXPORT.sub("", _IMPORT.sub("", module)) for module in modules)


def inline(source: str) -> str:
    """Returns script or style that can't end its element. In a string, the backslash leaves the meaning."""
    return re.sub(r"<(?=/(?:script|style)|!--)", r"<\\", source, flags=re.IGNORECASE)


def _read(folder: str, name: str) -> str:
    return (resources.files("mcp_server") / folder / name).read_text("utf-8")
