"""The section in which a reader draws and the trained networks answer: its HTML, its script, the policy for both.

The networks' file (`results/networks.py`) comes beside the notebook, never out of an output.
"""

import html
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

TEMPLATE = Path(__file__).parent / "template"
SCRIPT = "".join((TEMPLATE / name).read_text(encoding="utf-8") for name in ("networks.js", "try_it.js"))
STYLES = (TEMPLATE / "style.css").read_text(encoding="utf-8")
HASH = b64encode(sha256(SCRIPT.encode()).digest()).decode()
# No request to anywhere and no script; with the section, no script but this one.
CLOSED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
POLICY = f"{CLOSED}; script-src 'sha256-{HASH}'"


NONE = "The networks of these runs were not kept, so there is nothing to try here."


def section(networks: bytes) -> str:
    """The section as HTML. networks: the file's content; empty where there are none."""
    if not networks:
        return f"<p>{NONE}</p>"
    data = b64encode(networks).decode()
    return (f'{(TEMPLATE / "try_it.html").read_text(encoding="utf-8")}'
            f'<script type="application/octet-stream" class="networks">{data}</script>'
            f"<script>{SCRIPT}</script></section>")


def frame(networks: bytes):
    """The section in a frame of its own, for Jupyter and Colab; text where there are no networks."""
    from IPython.display import IFrame, Markdown

    if not networks:
        return Markdown(NONE)
    page = (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Try it</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLES}</style></head>'
            f'<body class="framed"><div class="text">{section(networks)}</div></body></html>')
    return IFrame("about:blank", "100%", 1500, [f'srcdoc="{html.escape(page)}"'])
