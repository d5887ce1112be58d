"""What describes the API: the OpenAPI document, and a page that shows it and needs nothing from elsewhere."""

import base64
import hashlib
from importlib import resources

from aiohttp import hdrs, web

from hyperion.web.keys import DOCUMENT

_PAGE = resources.files(__package__).joinpath("page")
_STYLE, _SCRIPT, _FRAME = ((_PAGE / name).read_text(encoding="utf-8") for name in ("docs.css", "docs.js", "docs.html"))


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


PAGE = _FRAME.replace("{style}", _STYLE).replace("{script}", _SCRIPT)
# What is in the page may run because its digest is named; nothing else may, wherever it comes from.
POLICY = (
    f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; connect-src 'self'; "
    "img-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def show_document(request: web.Request) -> web.Response:
    """Describe this API in OpenAPI 3.1."""
    return web.Response(body=request.app[DOCUMENT], content_type="application/json")


async def show_page(_request: web.Request) -> web.Response:
    """Show this API as a page to read and to try."""
    return web.Response(text=PAGE, content_type="text/html", headers={hdrs.CONTENT_SECURITY_POLICY: POLICY})
