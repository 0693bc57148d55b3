"""The rendered book: a strict build of the stored notebooks, seen by a browser if there is one."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow import book, params

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def _copy_sources(folder):
    """Copy what the book is rendered from, so that a book under ``_build`` stays as it is."""
    source = params.repository()
    shutil.copytree(source / "book", folder / "book")
    shutil.copytree(source / "notebooks", folder / "notebooks")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(source / name, folder)
    return folder


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The folder of the rendered book."""
    folder = _copy_sources(tmp_path_factory.mktemp("book"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "repository", lambda: folder)
        return book.render_stored().parent


@pytest.fixture(scope="module")
def pages(html):
    """Parsed pages by path, without those that Sphinx adds."""
    paths = [path for part in ("book", "notebooks") for path in (html / part).glob("*.html")]
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in paths}


@pytest.mark.slow
def test_every_page_of_the_table_of_contents_is_rendered(pages):
    names = {path.stem for path in pages}
    assert {*book._notebooks(), "intro", "glossary", "references"} <= names


@pytest.mark.slow
def test_every_picture_is_there_and_has_alternative_text(pages):
    pictures = [
        (path, picture)
        for path, page in pages.items()
        for picture in page.find("main").find_all("img")
    ]
    assert len(pictures) > 10
    for path, picture in pictures:
        assert (path.parent / unquote(picture["src"])).is_file(), (path.name, picture["src"])
        assert len(picture.get("alt", "")) > 20, (path.name, picture["src"])


@pytest.mark.slow
def test_every_link_inside_the_book_leads_somewhere(pages):
    for path, page in pages.items():
        for link in page.find("main").find_all("a", href=True):
            target = unquote(link["href"]).split("#")[0]
            if target and ":" not in target:
                assert (path.parent / target).exists(), (path.name, link["href"])


@pytest.mark.slow
def test_solutions_are_folded(pages):
    for path, page in pages.items():
        if path.parent.name == "notebooks":
            assert page.select("div.admonition.dropdown"), path.name


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.slow
def test_a_browser_shows_the_pages(html, tmp_path):
    for name in ("book/intro", "notebooks/23_compose_a_coculture"):
        shot = tmp_path / f"{Path(name).name}.png"
        subprocess.run(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={tmp_path}/profile",
                "--virtual-time-budget=8000",
                "--window-size=1200,2000",
                f"--screenshot={shot}",
                (html / f"{name}.html").as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        assert shot.stat().st_size > 30_000  # an empty page has a tenth of that


@pytest.mark.slow
def test_a_warning_fails_the_build(tmp_path, monkeypatch):
    _copy_sources(tmp_path)
    with open(tmp_path / "book" / "intro.md", "a") as page:
        page.write("\n[nowhere](nothing_of_that_name.md)\n")
    monkeypatch.setattr(params, "repository", lambda: tmp_path)
    with pytest.raises(DeepMuCSError, match="not rendered.*nothing_of_that_name"):
        book.render_stored()
