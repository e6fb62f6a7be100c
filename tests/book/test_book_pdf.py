"""The book as one PDF: pages in reading order, each with a bookmark, printed by a browser."""

import pytest
from book_pdf import make, pages, title_of
from browser import needs_chromium
from course import toc_pages


def write(folder, name, title, text):
    file = folder / f"{name}.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    link = '<a class="headerlink" href="#x">#</a>'
    file.write_text(f"<h1>{title}{link}</h1><p>{text}</p>", "utf-8")
    return file


def test_all_pages_are_printed_in_the_order_of_the_contents():
    assert [name for _, name in pages()] == toc_pages()
    assert pages()[0][0] == ""
    assert all(part for part, _ in pages()[1:])


def test_a_title_is_the_heading_without_its_link(tmp_path):
    assert (
        title_of(write(tmp_path, "one", "From a model\n to a map", "")) == "From a model to a map"
    )


def test_a_page_that_was_not_built_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"gone.html is missing; run `jupyter-book build .` first"):
        make(tmp_path, tmp_path / "out.pdf", [("Start", "gone")])


@needs_chromium
def test_two_pages_become_one_file_with_bookmarks(tmp_path):
    from pypdf import PdfReader

    write(tmp_path, "book/intro", "Welcome", "The first text.")
    write(tmp_path, "notebooks/01", "Masks", "A second text with IoU 0.83.")
    out = tmp_path / "made" / "book.pdf"
    sheets = make(tmp_path, out, [("", "book/intro"), ("Chapters", "notebooks/01")])
    read = PdfReader(out)
    assert sheets == len(read.pages) == 2
    assert "IoU 0.83" in read.pages[1].extract_text()
    first, part, inside = read.outline
    assert (first.title, part.title, inside[0].title) == ("Welcome", "Chapters", "Masks")
    assert read.metadata.title == "Landslides with Segment Anything"
