"""Sphinx extension: numbered captions of the tables that cells print.

MyST-NB puts an output with ``mystnb: figure: {caption, name}`` into a figure. One with the class
``table`` becomes a *table* here: it is counted and referred to as one (``{numref}`tab-...```). A
cell that displays several tables leaves the name out, and each gets a number of its own.
"""

from docutils import nodes
from sphinx.transforms import SphinxTransform


class table_figure(nodes.figure):
    """A table with its caption."""


class TablesFromFigures(SphinxTransform):
    """Runs after a page is read, before its numbers are given."""

    default_priority = 800

    def apply(self):
        for node in list(self.document.findall(nodes.figure)):
            if "table" not in node["classes"] or isinstance(node, table_figure):
                continue
            made = table_figure("", *node.children, **node.attributes)
            made.source, made.line = node.source, node.line
            if not made["ids"]:
                self.document.set_id(made)  # a number needs one
            for identifier in made["ids"]:
                self.document.ids[identifier] = made
            node.replace_self(made)


def title_of(node):
    """The caption's text, for references."""
    return next((c.astext() for c in node.children if isinstance(c, nodes.caption)), "")


def visit_html(self, node):
    self.visit_figure(node)


def depart_html(self, node):
    self.depart_figure(node)


def setup(app):
    app.add_enumerable_node(table_figure, "table", title_of, html=(visit_html, depart_html))
    app.add_transform(TablesFromFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
