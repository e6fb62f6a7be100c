"""The field's words, one for one thing, in whatever a reader of the course sees."""

import ast
import json
import re

import pytest
from chapter_cells import plain_python
from course import NOTEBOOKS, ROOT

# pattern -> what to write; patterns ignore case
TERMS = {
    r"\bown choice\b|\bmodel's own score": "mask with the highest predicted IoU",
    r"\bdiets?\b": "training data",
    r"\bcontestants?\b": "model",
    r"\b(?:made|drawn|generated) (?:scenes?|pictures?|images?|hillsides?)\b": "synthetic ...",
    r"\bplain (?:SAM|`?sam_mini)\b": "`sam_mini`, zero-shot; or: SAM without adapters",
    r"\ball is landslide\b": "all-positive baseline",
    r"\bno landslide anywhere\b|\bnever says? landslide|\bnever saying landslide"
    r"|\bmodel that says nothing|\bsaying nothing\b": "all-negative baseline",
    r"\bbeginner who knows": "untrained model",
    r"\bway back\b": "backward pass",
    r"\bin pieces\b": "gradient accumulation (micro-batches)",
    r"\battention in tiles\b": "tiled (memory-efficient) attention",
    r"\btokens? hears?\b|\bhears \d|\bATL hears\b": "receptive field; depends on",
    r"\breaders of the (?:masks|pre-training|row)\b": "output heads",
    r"\b(?:hold|holds|held(?!-)|holding)\b[^.;:|]{0,70}\bagainst\b": "compare X with Y",
    r"\bsaid aloud\b|\bnext cell (?:says|tells|looks|asks)\b": "prints, reports, shows",
    r"\bstands? under\b": "see",
    r"\bway through the (?:chapters|course)\b|\bpicture of the whole way\b": "course map",
    r"\bagainst_need\b": "throughput / demand",
    r"\beight (?:views|looks)\b": "test-time augmentation",
    r"\b(?:training|test|validation|real|synthetic) pictures?\b"
    r"|\bpictures? (?:seen|of a set|of landslides)\b": "images; a picture is a figure",
}
# strings of the package that readers see, beside the notebooks
SHOWN = ("cli", "exercises", "widgets", "audit", "experiments")


def found(text):
    """(term, what to write) for each term of the table in a text, code in backquotes left out."""
    prose = re.sub(r"~~~.*?~~~|^```(?:python|bash)\n.*?^```|`[^`\n]+`|<img [^>]*>|\]\([^)]*\)", " ",
                   text, flags=re.S | re.M)  # fmt: skip
    prose = re.sub(r"\s+", " ", prose)
    return [
        (match.group(0), right)
        for wrong, right in TERMS.items()
        for match in re.finditer(wrong, prose, re.I)
    ]


def strings(source):
    """The string literals of Python code, those of f-strings too; docstrings are left out."""
    tree = ast.parse(plain_python(source))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner
    ]


def texts_of(path):
    """(place, text) for all that a reader sees of a notebook."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source, about = "".join(cell["source"]), cell["metadata"].get("mystnb", {})
        if cell["cell_type"] == "markdown":
            yield cell["id"], source
        else:
            comments = re.findall(r"(?<!['\"])#\s.*$", source, re.M)
            yield from ((cell["id"], text) for text in [*strings(source), *comments])
        for kind, key in (("figure", "caption"), ("image", "alt")):
            yield cell["id"], about.get(kind, {}).get(key, "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_chapters_use_the_words_of_the_field(path):
    wrong = [(place, *one) for place, text in texts_of(path) for one in found(text)]
    assert wrong == []


@pytest.mark.parametrize("path", [*sorted((ROOT / "book").glob("*.md")), ROOT / "README.md"],
                         ids=lambda p: p.stem)  # fmt: skip
def test_pages_use_the_words_of_the_field(path):
    assert found(path.read_text("utf-8")) == []


def test_what_the_package_prints_uses_the_words_of_the_field():
    files = [p for name in SHOWN for p in (ROOT / "tlseg_lite" / name).rglob("*.py")]
    files += [ROOT / "tlseg_lite" / "plots.py", *(ROOT / "book" / "_ext").glob("*.py")]
    wrong = [
        (path.name, *one)
        for path in files
        for text in strings(path.read_text("utf-8"))
        if not text.isidentifier()  # older names of arguments and columns
        for one in found(text)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "Its own choice among three.", "scores on generated scenes", "Plain SAM with a click",
        "hold the columns against each other", "on the way back", "The next cell says which.",
        "It stands under [results](r.md).", "`code` and all is landslide",
    ],
)  # fmt: skip
def test_a_term_of_the_table_is_found(text):
    assert len(found(text)) == 1


def test_code_and_other_senses_are_left_alone():
    assert (
        found("`own_choice`, `diet`; the test holds; hold the line; ~~~python\nplain SAM\n~~~")
        == []
    )
    assert strings('"""A docstring."""\nprint(f"seen {x} twice", "y")') == ["y", "seen ", " twice"]
