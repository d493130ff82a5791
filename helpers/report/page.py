"""An executed notebook as one HTML page: nothing from elsewhere, no script but ours, formulas as MathML.

The page is nbconvert's, through the template in `template/`; what a template can't do is done here.
"""

import html
import itertools
import os
import re
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from textwrap import shorten

from bs4 import BeautifulSoup
from jinja2 import pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from helpers.report import try_it
from helpers.report.content import ReportError, clean_html, to_inline_svg, to_mathml

SHOWN_TYPES = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
WIDGET = "application/vnd.jupyter.widget-view+json"
HEADING = re.compile("^h[1-6]$")
NUMBER = re.compile(r"[-+±<>−]? ?\d[^a-zA-Z]*|[-–—]?|nan", re.IGNORECASE)  # "99.45 ± 0.03 %", "–"
FOLDERS = re.compile(r"""(?x)  # of this machine, in a message
    (?<=['"]) (?:[A-Za-z]:)? [/\\] [^'"]* [/\\] (?=[^'"/\\])  # quoted: may hold spaces
    | (?<![\w.:/]) (?:[A-Za-z]:)? [/\\] (?:[^\s/\\'"<>:]+ [/\\])+ (?=[^\s/\\])""")


def to_html(nb, path: Path, networks: bytes = b"") -> str:
    """Returns an executed notebook as the page that will lie at `path`; tidies it in place.

    networks: the file for the section in which a reader draws (`results/networks.py`), if there are any.
    """
    tidy(nb)
    numbers = itertools.count(1)
    exporter = HTMLExporter(
        template_name="template", extra_template_basedirs=[str(Path(__file__).parent)],
        exclude_input_prompt=True, exclude_output_prompt=True, filters={
            "markdown2html": markdown_to_html, "clean_html": clean_html,
            "base64_alone": partial(re.sub, "[^A-Za-z0-9+/=]", ""),
            "without_folders": partial(FOLDERS.sub, ""),
            "inline_svg": lambda source, alt: to_inline_svg(source, next(numbers), alt)})
    exporter.config.NbConvertBase.display_data_priority = SHOWN_TYPES
    resources = {
        "failure": failure(nb), "metadata": {"name": path.stem}, "policy": try_it.POLICY if networks else try_it.CLOSED,
        "try_it": try_it.section(networks)}
    soup = BeautifulSoup(exporter.from_notebook_node(nb, resources)[0], "html.parser")
    for number, cell in enumerate(soup.select(".cell"), 1):
        set_formulas(cell, number)
    set_headings(soup)
    join_code(soup)
    fold_sections(soup)
    for number, table in enumerate(soup.find_all("table"), 1):
        heading = table.find_previous(HEADING)
        title = f": {heading.get_text()}" if heading else ""
        set_table(table)
        table.wrap(soup.new_tag("div", attrs={  # it goes where its table goes: a switch hides both
            "class": ["table", *table.get("class", [])], "role": "region",
            "aria-label": f"Table {number}{title}", "tabindex": "0"}))
    for block in soup.select("pre, math[display=block]"):
        block["tabindex"] = "0"  # a wide one scrolls, by keyboard too
    for image in soup.select("img:not([src^='data:image/'])"):  # the page fetches nothing
        image.replace_with(image.get("alt", ""))
    for link in soup.select(".text a[href^='#']"):
        link["href"] = link["href"].lower()  # Jupyter's own ids keep capitals
    for link in soup.find_all("a", href=re.compile("(?i)^(?!#|https?:|mailto:)")):
        link["href"] = re.sub(r"\.ipynb$", ".html", link["href"])  # a notebook beside it has a page
        if not os.path.exists(path.parent / link["href"]):  # it would lead nowhere
            link.unwrap()
    return str(soup).encode(errors="replace").decode()  # half a character can't be written


def tidy(nb) -> None:
    """Removes what is no result, in place: stderr, bars, widgets, papermill's own notes."""
    nb.metadata.pop("widgets", None)
    for cell in list(nb.cells):
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:  # those of this machine
            cell.source = re.sub(r"\n(output_dir|runs_dir|data_dir|scheduler) = .*", "", cell.source)
        if cell.cell_type == "code":
            cell.outputs = list(filter(_is_result, cell.outputs))
        if "papermill-error-cell-tag" in tags or cell.source.strip() == "# Parameters":
            nb.cells.remove(cell)


def _is_result(output) -> bool:
    if output.output_type == "stream":
        text = re.sub(r".*\r(?=[^\r\n])", "", output.text)  # what a terminal would have overwritten
        output.text = text.replace("\r", "")
        return output.name == "stdout" and output.text.strip() != ""
    return "ename" in output or (output.data and WIDGET not in output.data)


def failure(nb):
    """Returns where the notebook failed, in words, and its error; None when it did not fail."""
    section = "the beginning"
    number = 0  # as execution counts, which a dead kernel does not set
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            section = [section, *re.findall(r"(?m)^#+ +(.+?) *$", cell.source)][-1]
        elif cell.cell_type == "code" and cell.source.strip():
            number += 1
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"cell {number}, section “{section}”", output
    return None


class Renderer(IPythonRenderer):
    """Marks formulas: they become MathML after the cleaner, which lets no MathML through."""

    def inline_math(self, body: str, display: str = "inline") -> str:
        return f'<span class="tex {display}">{html.escape(body)}</span>'

    def block_math(self, body: str) -> str:
        return self.inline_math(body, "block")

    def image(self, text: str, url: str, title: str | None = None) -> str:
        name = url.removeprefix("attachment:")
        if name != url and name not in self.attachments:
            return html.escape(text)  # the picture was not kept with the notebook
        return super().image(text, url, title)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def set_formulas(cell, number: int) -> None:
    """Formulas of the page's `number`th cell become MathML; what has no such form stays TeX, with a warning."""
    for formula in cell.select("span.tex.inline, span.tex.block"):
        tex = formula.get_text()
        try:
            mathml = to_mathml(tex, formula["class"][1])
            formula.replace_with(BeautifulSoup(mathml, "html.parser"))
        except ReportError:
            print(f"warning: cell {number}: no MathML for ${shorten(tex, 60)}$, shown as typed", file=sys.stderr)
            formula.replace_with(f"${tex}$")


@pass_context
def markdown_to_html(context, source: str) -> str:
    """Returns Markdown as clean HTML with marked formulas; a filter of the template."""
    attachments = context.get("cell", {}).get("attachments", {})
    renderer = Renderer(escape=False, exclude_anchor_links=True, attachments=attachments)
    page = MarkdownWithMath(renderer=renderer).render(source)
    return clean_html(re.sub(r"(?<=\d) (?=%)", "\u00a0", page))  # number and unit stay together


def set_headings(soup: BeautifulSoup) -> None:
    """One h1, the first heading; no level left out after it; ids, contents, the page's title."""
    text = soup.find(class_="text")
    if not text.find(HEADING):
        text.insert(0, soup.new_tag("h1", string=soup.title.string))
    ids = Counter(["contents", "failed", "main", "all-code", ""])
    level = 0
    for heading in text.find_all(HEADING):
        level = min(max(int(heading.name[1]), 2), level + 1)
        heading.name = f"h{level}"
        title = heading.get_text()
        slug = re.sub(r"\W+", "-", title.lower()).strip("-")
        name = slug
        while slug in ids:
            ids[name] += 1
            slug = f"{name}-{ids[name]}"
        ids[slug] = 1
        heading["id"] = slug
        if level in (2, 3):
            entry = f'<li class="h{level}"><a href="#{slug}">{html.escape(title)}</a></li>'
            soup.nav.ul.append(BeautifulSoup(entry, "html.parser"))
    state = "Failed: " if soup.find(id="failed") else ""
    soup.title.string = state + soup.h1.get_text()
    sections = text.find_all("h2")
    if len(sections) > 1:  # the contents come before the second
        opening = soup.new_tag("div", attrs={"class": "text"})
        opening.extend(list(sections[1].find_parent(class_="cell").previous_siblings)[::-1])
        soup.nav.insert_before(opening)


def join_code(soup: BeautifulSoup) -> None:
    """The code of cells that show nothing joins that of the next cell: one fold for a run of cells."""
    for code in soup.select(".fold + .quiet"):
        cell = code.find_parent(class_="cell")
        following = cell.find_next_sibling()
        target = following and following.select_one(".fold + .code")
        if target:
            target.insert(0, *list(code.children))
            cell.decompose()


def fold_sections(soup: BeautifulSoup) -> None:
    """A section or subsection whose heading's cell is tagged "folded" opens on demand; its heading stays."""
    for cell in soup.select(".celltag_folded"):
        heading = cell.find(HEADING)
        if not heading:
            continue
        fold = soup.new_tag("details", attrs={"class": "section"})
        fold.append(soup.new_tag("summary", string="Show", attrs={"aria-label": f"Show: {heading.get_text()}"}))
        ends = [f"h{level}" for level in range(1, int(heading.name[1]) + 1)]  # headings of the next section
        below = itertools.takewhile(lambda cell, ends=ends: not cell.find(ends), cell.find_next_siblings(class_="cell"))
        for node in [*heading.next_siblings, *below]:
            fold.append(node)
        heading.insert_after(fold)


def set_table(table) -> None:
    """Header cells get their scope, columns of numbers and of sentences a class."""
    head = table.select("thead > tr")
    if len(head) == 2:
        pairs = list(zip(head[0].find_all("th"), head[1].find_all("th"), strict=False))
        if pairs and not any(over.text and under.text for over, under in pairs):
            for over, under in pairs:
                over.append(under.text)  # pandas gives the index's name its own row
            head[1].decompose()
    for cell in table.find_all("th"):
        words = cell.get_text(strip=True)
        if not words:
            cell.name = "td"  # a corner is no header
        elif cell.find_parent("thead"):
            cell["scope"] = "col"
        else:
            cell["scope"] = "row"
            if len(words) < 26:
                cell["class"] = ["short"]
    rows = []
    for row in table.find_all("tr"):
        del row["style"]  # pandas aligns all headers alike
        rows.append(row.find_all(["th", "td"])[::-1])  # a rowspan shifts those to its left
    for column in zip(*rows, strict=False):
        body = [cell.get_text(strip=True) for cell in column if not cell.find_parent("thead")]
        kind = []
        if body and all(map(NUMBER.fullmatch, body)):
            kind = ["number"]
        elif max(map(len, body), default=0) > 20:
            kind = ["long"]
        for cell in column:
            cell["class"] = cell.get("class", []) + kind
