import sys

# Where JupyterLab has brought this package, nbformat would compile a grammar with it, for 1.3 s; no notebook needs it.
sys.modules.setdefault("rfc3987_syntax", None)
