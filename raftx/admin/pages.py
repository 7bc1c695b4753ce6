"""The live page: one answer with its style and its script in it, and the policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "page"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_STYLE = _read("page.css")
_SCRIPT = _read("draw.js") + _read("page.js")

#: the page
PAGE = _read("page.html").replace("/* style */", _STYLE).replace("/* script */", _SCRIPT)
#: what a browser may load, run and ask for on its behalf: itself alone
POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
