"""What a chapter's code cells do, read from their source."""

import ast
import re

# calls that touch matplotlib or the project's figures, and draw nothing
_NO_PICTURE = {"close", "rcParams", "style", "get_cmap", "colormaps", "rc", "rc_context"}


def plain_python(source: str) -> str:
    """A cell's code without IPython's magics, so that it parses."""
    if source.lstrip().startswith("%%"):
        return ""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M)


def draws(source: str) -> bool:
    """Whether running a cell calls ``plt.*`` or ``plots.*``; definitions do not count."""

    class Calls(ast.NodeVisitor):
        found = False

        def visit_FunctionDef(self, node):  # a definition draws nothing
            pass

        visit_Lambda = visit_AsyncFunctionDef = visit_FunctionDef

        def visit_Call(self, node):
            names, part = [], node.func
            while isinstance(part, ast.Attribute):
                names.append(part.attr)
                part = part.value
            if isinstance(part, ast.Name):
                names.append(part.id)
            inner = names[1:]  # all but the function's own name
            if {"plt", "plots"} & set(inner) and not _NO_PICTURE & set(names):
                self.found = True
            self.generic_visit(node)

    calls = Calls()
    calls.visit(ast.parse(plain_python(source)))
    return calls.found
