"""An executed notebook as one HTML page: no script, nothing from elsewhere, formulas as MathML.

The page is nbconvert's, through the template in `templates/report/`; what a template can't do, `_set_in_order` does.
"""

import html
import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from bs4 import BeautifulSoup
from jinja2 import pass_context
from latex2mathml.converter import convert_to_element
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from helpers.files import write_atomically


class ReportError(Exception):
    """What stopped the report, in one line. `status` is the exit status."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(" ".join(message.split()))
        self.status = status


# HTML that may stand in text and in outputs; any other tag, <script> first of all, is shown as the text it is.
TAGS = {
    *bleach.ALLOWED_TAGS, "p", "div", "span", "section", "pre", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6",
    "table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td", "dl", "dt", "dd", "img",
    "figure", "figcaption", "details", "summary", "del", "ins", "s", "sub", "sup", "kbd", "samp", "var", "mark",
}


def _allows(tag: str, name: str, value: str) -> bool:
    if tag == "img" and name == "src":
        return value.startswith("data:image/")  # the page asks nobody for anything
    if tag == "a" and name == "href":
        return not value.startswith("data:")
    return name in ("class", "lang", "title", "alt", "style", "colspan", "rowspan", "open", "start")


_CLEANER = bleach.Cleaner(TAGS, _allows, protocols={"http", "https", "mailto", "data"},
                          css_sanitizer=CSSSanitizer(allowed_css_properties=["text-align"]))


def clean_html(source: str) -> str:
    """`source` with nothing in it that runs, loads or restyles the page."""
    return _CLEANER.clean(re.sub(r"<style\b.*?</style>", "", str(source), flags=re.DOTALL | re.IGNORECASE))


# What an SVG may hold to stand in the page, as shapes and text; any other stays a picture, where nothing in it can run.
SVG_TAGS = {"svg", "g", "defs", "path", "text", "tspan", "use", "clipPath", "rect"}
SVG_ATTRIBUTES = {"role", "aria-label", "data-from", "viewBox", "version", "width", "height", "id", "d", "x", "y",
                  "transform", "style", "clip-path", "clipPathUnits"}


def to_inline_svg(source: str, number: int, alt: str) -> str | None:
    """A figure's SVG as it may stand in a page, its text selectable; None for one with anything foreign in it.

    number: the figure's on its page, in front of its ids: they would repeat from figure to figure. alt: its name.
    """
    svg, href = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError:
        return None
    # matplotlib's one rule, which would reach the whole page; what sets these itself, does so in its own style
    for defs in root.iter(f"{svg}defs"):
        for style in defs.findall(f"{svg}style"):
            if style.text != "*{stroke-linejoin: round; stroke-linecap: butt}":
                return None
            defs.remove(style)
    for node in root.iter():
        target = node.attrib.pop(href, "#")
        if (node.tag.removeprefix(svg) not in SVG_TAGS or not set(node.attrib) <= SVG_ATTRIBUTES
                or not target.startswith("#") or re.search(r"url\((?!#)", " ".join(node.attrib.values()))):
            return None
        node.tag = node.tag.removeprefix(svg)
        if target != "#":
            node.set("href", f"#figure{number}-{target[1:]}")
        for name, value in node.attrib.items():
            value = f"figure{number}-{value}" if name == "id" else value.replace("url(#", f"url(#figure{number}-")
            node.set(name, value)
    root.attrib.update({"style": "stroke-linejoin: round; stroke-linecap: butt", "role": "img", "aria-label": alt})
    return ElementTree.tostring(root, encoding="unicode")


_NUM_CHILDREN = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3}


def to_mathml(tex: str, display: str = "inline") -> str:
    """A TeX formula as MathML. Raises ReportError for one that can't be converted whole."""
    refusal = ReportError(f"formula that has no MathML form: {tex}")
    try:
        root = convert_to_element(tex, display=display)
    except Exception as error:  # the converter raises types of its own and bare IndexErrors alike
        raise refusal from error
    for node in root.iter():
        node.text = html.unescape(node.text or "")  # the converter writes "&#x003BC;" as text
        unread = "\\" in node.text or (node.text == "&" and r"\&" not in tex)
        if unread or len(node) != _NUM_CHILDREN.get(node.tag, len(node)):
            raise refusal
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


class _Renderer(IPythonRenderer):
    """Markdown to HTML. Formulas wait as placeholders, so that the cleaner need not let MathML through from anyone."""

    def __init__(self, **options):
        super().__init__(escape=False, exclude_anchor_links=True, **options)
        self.formulas: dict[str, str] = {}

    def inline_math(self, body: str, display: str = "inline") -> str:
        placeholder = f"\ue000{len(self.formulas)}\ue001"  # private characters: they mean nothing in any text
        self.formulas[placeholder] = to_mathml(body, display)
        return placeholder

    def block_math(self, body: str) -> str:
        return self.inline_math(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return self.inline_math(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


class _Exporter(HTMLExporter):
    """nbconvert's HTML with the template `report`, MathML and clean text; `_set_in_order` does the rest."""

    def __init__(self):
        shown = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
        super().__init__(config=Config({"NbConvertBase": {"display_data_priority": shown}}), template_name="report",
                         extra_template_basedirs=[str(Path(__file__).parent / "templates")],
                         exclude_input_prompt=True, exclude_output_prompt=True)

        self.numbers, self.pictures = itertools.count(1), {}

    def default_filters(self):
        yield from super().default_filters()
        yield "inline_svg", self.inline_svg
        yield "clean_html", clean_html
        yield "alt_text", lambda metadata: next(
            (str(entry["alt"]) for entry in metadata.values() if isinstance(entry, dict) and entry.get("alt")),
            "A figure without a description")

    def inline_svg(self, source: str, alt: str) -> str:
        """A placeholder for the figure: the page's parser would rewrite its names. Empty for one that stays a picture.

        A private character begins it, which means nothing in any text.
        """
        svg = to_inline_svg(source, next(self.numbers), alt)
        placeholder = f"\ue002{len(self.pictures)}\ue003"
        if svg:
            self.pictures[placeholder] = svg
        return placeholder if svg else ""

    @pass_context
    def markdown2html(self, context, source):
        renderer = _Renderer(attachments=context.get("cell", {}).get("attachments", {}))
        page = clean_html(MarkdownWithMath(renderer=renderer).render(source))
        page = re.sub(r"(?<=\d) (?=%)", "\u00a0", page)  # a number and its unit stay on one line
        return re.sub("\ue000\\d+\ue001", lambda m: renderer.formulas.get(m[0], ""), page)


def _set_in_order(soup: BeautifulSoup, failed: bool) -> None:
    """Title, heading levels, ids, table of contents, tables and scrolling blocks; in place."""
    text = soup.find(class_="text")
    if not text.find(re.compile("^h[1-6]$")):
        text.insert(0, soup.new_tag("h1", string=soup.title.string))
    headings = text.find_all(re.compile("^h[1-6]$"))
    level, seen = 0, {"contents", "failed", "main", "all-code", ""}
    for heading in headings:
        level = min(max(int(heading.name[1]), 2), level + 1)  # one h1, the first heading; no level left out after it
        heading.name = f"h{level}"
        slug = re.sub(r"[^\w]+", "-", heading.get_text().lower()).strip("-")
        heading["id"] = next(s for s in (slug, *(f"{slug}-{n}" for n in range(2, 10**6))) if s not in seen)
        seen.add(heading["id"])
    soup.title.string = ("Failed: " if failed else "") + headings[0].get_text()

    contents = soup.find("nav")
    entries = "".join(f'<li class="{h.name}"><a href="#{h["id"]}">{html.escape(h.get_text())}</a></li>'
                      for h in headings if h.name in ("h2", "h3"))
    contents.ul.append(BeautifulSoup(entries, "html.parser"))
    sections = text.find_all("h2")
    if len(sections) > 1:  # what stands before the second section opens the page; the contents come after it
        second = next(cell for cell in sections[1].parents if cell.parent is text)
        opening = soup.new_tag("div", attrs={"class": "text"})
        opening.extend(list(second.previous_siblings)[::-1])
        contents.insert_before(opening)

    for number, table in enumerate(soup.find_all("table"), 1):
        _set_table(soup, table, number)
    for block in soup.find_all("pre"):
        block["tabindex"] = "0"  # a wide one scrolls, by keyboard too
    for image in soup.find_all("img", src=False):
        image.replace_with(image.get("alt", ""))  # it was not in the notebook but somewhere else


_NUMBER = re.compile(r"[-+±<>\u2212]? ?\d[^a-zA-Z]*|[-\u2013\u2014]?|nan", re.IGNORECASE)  # "99.45 ± 0.03 %", "–"


def _set_table(soup: BeautifulSoup, table, number: int) -> None:
    """Gives header cells their scope, aligns columns of numbers, and lets a wide table scroll in a named frame."""
    del table["style"]
    head = [row.find_all("th") for row in table.select("thead > tr")]
    if len(head) == 2 and len(head[0]) == len(head[1]):
        pairs = list(zip(*head, strict=True))
        if not any(over.text and under.text for over, under in pairs):  # pandas gives the index's name its own row
            for over, under in pairs:
                over.extend(under.contents[:])
            head[1][0].parent.decompose()
    rows = table.find_all("tr")
    for row in rows:
        del row["style"]  # pandas aligns all headers alike
        for cell in row.find_all("th"):
            if cell.get_text(strip=True):
                cell["scope"] = "col" if cell.find_parent("thead") else "row"
                if cell["scope"] == "row" and len(cell.get_text(strip=True)) < 35:
                    cell["class"] = ["short"]
            else:
                cell.name = "td"  # a corner is no header
    # From the right, where a first cell that spans several rows does not shift the columns.
    for column in zip(*(row.find_all(["th", "td"])[::-1] for row in rows), strict=False):
        body = [cell.get_text(strip=True) for cell in column if not cell.find_parent("thead")]
        if body and all(map(_NUMBER.fullmatch, body)):
            for cell in column:
                cell["class"] = [*cell.get("class", []), "number"]
    heading = table.find_previous(re.compile("^h[1-6]$"))
    name = f"Table {number}" + (f": {heading.get_text()}" if heading else "")
    table.wrap(soup.new_tag("div", attrs={"class": "table", "role": "region", "aria-label": name, "tabindex": "0"}))


def failure(nb):
    """Where the notebook failed, in words, and its error output; None when it did not fail."""
    section, number = "the beginning", 0
    for cell in nb.cells:
        number += cell.cell_type == "code" and cell.source.strip() != ""  # as execution counts; a dead kernel sets none
        if cell.cell_type == "markdown":
            section = (re.findall(r"^#+ +(.+?) *$", cell.source, re.MULTILINE) or [section])[-1]
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"cell {number}, section “{section}”", output
    return None


def tidy(nb) -> None:
    """Takes out what is no result: stderr, progress bars, widgets, empty outputs, papermill's own notes; in place."""
    nb.metadata.pop("widgets", None)
    nb.cells = [cell for cell in nb.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    for cell in nb.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = re.sub(r"\n(output_dir|runs_dir|data_dir|scheduler) = .*", "", cell.source)  # of this machine
    nb.cells = [cell for cell in nb.cells if cell.source.strip() != "# Parameters"]  # nothing else was injected
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                lines = (line.rstrip("\r").rpartition("\r")[2] for line in output.text.split("\n"))
                output.text = "\n".join(lines)  # without what a terminal would have overwritten
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_result(output)]


def _is_result(output) -> bool:
    if output.output_type == "stream":
        return output.name == "stdout" and output.text.strip() != ""
    return output.output_type == "error" or (
        len(output.data) > 0 and "application/vnd.jupyter.widget-view+json" not in output.data)


def to_html(nb, name: str = "Report", folder: Path | None = None) -> str:
    """An executed notebook, tidied in place, as one HTML page. Raises ReportError for a formula that stays TeX.

    folder: where the page will lie for its readers. Links to files that are not there become plain text.
    """
    tidy(nb)
    for output in (output for cell in nb.cells for output in cell.get("outputs", []) if output.output_type == "error"):
        output.evalue, *output.traceback = (_without_folders(text) for text in (output.evalue, *output.traceback))
    failed = failure(nb)
    exporter = _Exporter()
    page, _ = exporter.from_notebook_node(nb, {"failure": failed, "metadata": {"name": name}})
    soup = BeautifulSoup(page, "html.parser")
    _set_in_order(soup, failed=failed is not None)
    for link in soup.select("a[href]"):
        if not re.match(r"#|\w+:", link["href"]):
            link["href"] = re.sub(r"\.ipynb$", ".html", link["href"])  # the notebook beside this one is a page too
            if folder is None or not (folder / link["href"]).exists():
                link.unwrap()
    return re.sub("\ue002\\d+\ue003", lambda placeholder: exporter.pictures.get(placeholder[0], ""), str(soup))


def _without_folders(text: str) -> str:
    """A message without where on this machine its files lie."""
    text = re.sub(r"(['\"])(?:[A-Za-z]:)?[/\\][^'\"]*[/\\]([^'\"/\\]+)\1", r"\1\2\1", text)  # in quotes spaces too
    return re.sub(r"(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"<>:]+[/\\])+(?=[^\s/\\])", "", text)


def export(notebook_path: str | Path, html_path: str | Path) -> None:
    """Writes the page of an executed notebook, whole or not at all. Raises ReportError or OSError."""
    nb = nbformat.read(notebook_path, as_version=4)
    write_atomically(html_path, to_html(nb, Path(notebook_path).stem).encode())
