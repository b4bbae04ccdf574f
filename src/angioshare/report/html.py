"""What every page of a report is made with: templates that escape, files beside this one, and a policy on content.

A page loads nothing. Its policy names the scripts that it holds by their hash, so that no other one runs.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from angioshare.report import tables
from angioshare.report.limits import weak
from angioshare.report.pictures import Picture


def content_policy(style: str, scripts: Sequence[str]) -> str:
    """Content policy of a page: nothing is fetched, and only these very scripts run.

    plotly.js writes style attributes as it draws, so a page with scripts cannot name its styles by hash.

    Args:
        style: The page's one style sheet.
        scripts: The page's scripts, as they stand in it.

    Example:
        >>> "script-src 'none'" in content_policy("p {}", [])
        True
    """
    script_source = " ".join(_hash(script) for script in scripts) or "'none'"
    style_source = "'unsafe-inline'" if scripts else _hash(style)
    images = "data: blob:" if scripts else "data:"
    return (
        f"default-src 'none'; script-src {script_source}; style-src {style_source}; img-src {images}; "
        "base-uri 'none'; form-action 'none'"
    )


def asset(name: str) -> str:
    """Read a file that stands beside this one."""
    return files("angioshare.report").joinpath(name).read_text(encoding="utf-8")


@cache
def templates() -> Environment:
    """The templates; every text is escaped, every missing name is an error."""
    environment = Environment(
        loader=PackageLoader("angioshare", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.filters["data_uri"] = data_uri
    environment.filters["epsilon"] = tables.epsilon_words
    environment.tests["weak"] = weak
    return environment


def data_uri(picture: Picture) -> str:
    """A picture as an address that holds it."""
    return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"


def _hash(text: str) -> str:
    """A text's hash as a content policy writes it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
