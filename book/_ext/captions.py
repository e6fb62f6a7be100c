"""Sphinx extension: what captions say of an output: a table is counted as one, four columns fold.

MyST-NB puts an output with ``mystnb: figure: {caption, name}`` into a figure. One with the class
``table`` becomes a *table* here: it is counted and referred to as one (``{numref}`tab-...```). A
cell that displays several tables leaves the name out, and each gets a number of its own.

A figure with the class ``four-columns`` gets its picture a second time. On a phone the style sheet
shows the left half of the first and below it the right half of the second, elsewhere the first
alone. One with two rows of four, ``four-columns two-rows``, gets it four times, a quarter of each
to be shown: the panels keep their order.
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


HALVES = ("left-half", "right-half")
QUARTERS = ("upper left-half", "upper right-half", "lower left-half", "lower right-half")


class FoldedFigures(SphinxTransform):
    """Runs before pictures are collected, which are one file then."""

    default_priority = 200

    def apply(self):
        for figure in list(self.document.findall(nodes.figure)):
            if "four-columns" not in figure["classes"]:
                continue
            for image in list(figure.findall(nodes.image)):
                fold(image, QUARTERS if "two-rows" in figure["classes"] else HALVES)


def fold(image, parts):
    """Put copies behind an image, so that there is one for each part; the first alone says it."""
    place, own = image.parent.index(image), image["classes"]
    image["classes"] = [*own, *parts[0].split()]
    for step, part in enumerate(parts[1:], 1):
        copy = image.deepcopy()
        copy["classes"] = [*own, *part.split(), "again"]
        copy["alt"] = ""
        image.parent.insert(place + step, copy)


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
    app.add_transform(FoldedFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 3}
