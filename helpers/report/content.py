"""What may stand in a page: harmless HTML, our own figures as shapes, formulas as MathML."""

import html
import re
from xml.etree import ElementTree

import bleach
from bleach.css_sanitizer import CSSSanitizer
from latex2mathml.converter import convert_to_element

from helpers.files import FIGURE_MARK

# Any other tag, <script> first of all, is shown as the text it is.
HTML_TAGS = """
a abbr acronym b blockquote br caption code col colgroup dd del details div dl dt em fieldset figcaption
figure h1 h2 h3 h4 h5 h6 hr i img input ins kbd label legend li mark ol p pre s samp section span strong sub
summary sup table tbody td tfoot th thead tr ul var"""
HTML_ATTRIBUTES = "class lang title alt style colspan rowspan open start"
# Radio buttons with these names may stand in an output: a switch that works without a script.
SWITCH = {"type": re.compile("radio"), "name": re.compile(r"switch-\w+"), "id": re.compile(r"switch-\w+"),
          "checked": re.compile(".*")}
# Colours of our figures -> those of the page's scheme, so that one SVG stands on light and on dark ground.
SCHEME = {"#1a1a1a": "currentColor", "#000000": "currentColor", "#4d4d4d": "var(--muted)", "#808080": "var(--muted)",
          "#ffffff": "var(--page)", "#e4e4e4": "var(--line)", "#eeeeee": "var(--panel)"}
# What could load, run or cover the page: such an SVG becomes an <img>, in which it can't. A text may fall under it too.
ACTIVE = r'(?i)(href="|url\()(?!#)|\son\w+="|image-set|position|\\'
SVG_TAGS = "svg g defs path text tspan use clipPath rect"
CLEANER = bleach.Cleaner(
    HTML_TAGS.split(), {"*": HTML_ATTRIBUTES.split(), "a": ["href"], "img": ["src"], "label": ["for"],
                        "input": lambda tag, name, value: name in SWITCH and SWITCH[name].fullmatch(value)},
    ["http", "https", "mailto", "data"], css_sanitizer=CSSSanitizer(allowed_css_properties=["text-align"]))


class ReportError(Exception):
    """Why there is no report, or one of a notebook that failed."""


def clean_html(source: str) -> str:
    """Returns `source` with nothing in it that runs or restyles the page."""
    clean = CLEANER.clean(re.sub(r"(?is)<style\b.*?</style>", "", source))
    return re.sub(r'<input\b(?![^>]* type="radio")[^>]*>', "", clean)  # any other would be a field for text


def to_inline_svg(source: str, number: int, alt: str) -> str:
    """Returns one of our figures, the page's `number`th, its text selectable; "" for any other SVG."""
    source = source.replace(' xmlns="http://www.w3.org/2000/svg"', "").replace("xlink:href", "href")
    source = re.sub(r"(?s)<style\b.*?</style>\s*", "", source)  # it would reach the whole page
    source = re.sub(r'(\sid="|href="#|url\(#)', rf"\1figure{number}-", source)  # ids would repeat
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError:
        return ""
    for node in root.iter():
        style = node.get("style", "")
        node.set("style", re.sub("#[0-9a-f]{6}", lambda found: SCHEME.get(found[0], found[0]), style))
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt; fill: currentColor")  # matplotlib's own rule
    root.set("aria-label", alt)
    svg = ElementTree.tostring(root, encoding="unicode")
    tags = {node.tag for node in root.iter()}
    is_ours = root.get("data-from") == FIGURE_MARK and tags.issubset(SVG_TAGS.split())
    is_active = re.search(ACTIVE, svg)
    return svg if is_ours and not is_active else ""


def to_mathml(tex: str, display: str = "inline") -> str:
    """Returns a TeX formula as MathML. Raises ReportError for one that can't be converted whole."""
    refusal = ReportError(f"formula that has no MathML form: {tex}")
    try:
        root = convert_to_element(tex, display=display)
    except Exception as error:  # the converter raises its own types and bare IndexErrors alike
        raise refusal from error
    for node in root.iter():
        node.attrib.pop("href", None)
        node.text = html.unescape(node.text or "")  # the converter writes "&#x003BC;" as text
        stays_tex = "\\" in node.text or (node.text == "&" and r"\&" not in tex)
        if stays_tex or (len(node) == 1 and node.tag in ("mfrac", "munder", "mover")):  # lacks a part
            raise refusal
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
