"""The directive ``{results} NAME``: a table of `results_tables`, made when the page is built."""

from pathlib import Path

import recorded
import results_tables
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).resolve().parents[1] / "results"


def table_node(table: recorded.Table) -> nodes.table:
    """A docutils table of plain text; a status stands in bold."""
    group = nodes.tgroup(cols=len(table.headers))
    group += [nodes.colspec(colwidth=1) for _ in table.headers]

    def row(cells, strong=()) -> nodes.row:
        line = nodes.row()
        for cell in cells:
            kind = nodes.strong if cell in strong else nodes.Text
            content = kind("", cell) if kind is nodes.strong else kind(cell)
            line += nodes.entry("", nodes.paragraph("", "", content))
        return line

    group += nodes.thead("", row(table.headers))
    statuses = (
        *(results_tables.REPRODUCED, results_tables.DIFFERENT),
        *(results_tables.PARTIAL, recorded.NOT_RUN),
    )
    group += nodes.tbody("", *(row(cells, statuses) for cells in table.rows))
    # such as a status; the tables under a heading of their own have numbers there
    short = not table.title and all(len(row[-1]) <= 20 for row in table.rows)
    classes = ["results"] if short else []
    return nodes.table("", group, classes=[*classes, *(["one-line"] if table.one_line else [])])


class Results(SphinxDirective):
    """``{results} NAME``."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in results_tables.TABLES:
            known = ", ".join(results_tables.TABLES)
            raise self.error(f"no results table {name!r}; choose from {known}")
        for path in sorted(FOLDER.glob("*.csv")):  # the page is made anew when one changes
            self.env.note_dependency(str(path))
        found: list[nodes.Node] = []
        for table in results_tables.TABLES[name](FOLDER):
            if table.title:
                found.append(nodes.rubric("", table.title))
            paragraphs = table.text.split("\n\n") if table.text else ()
            found += [nodes.paragraph("", text) for text in paragraphs]
            found.append(table_node(table))
            if table.note:
                found.append(nodes.paragraph("", table.note, classes=["provenance"]))
        return found


def always_anew(app, env, docname_list_added, changed, removed):
    """A record that is new changes the page, though the page did not depend on it yet."""
    return [name for name in env.found_docs if name == "book/results"]


def setup(app):
    app.add_directive("results", Results)
    app.connect("env-get-outdated", always_anew)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
