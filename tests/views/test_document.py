"""One document of many files: nothing is left to load, and nothing in it ends it early."""

import re

import pytest

from mcp_server.offers.views import VIEWS, View
from mcp_server.offers.views.document import inline, joined, of_view


@pytest.mark.parametrize("view", VIEWS, ids=[view.tool for view in VIEWS])
def test_a_view_is_whole_in_itself(view: View) -> None:
    document = of_view(view)
    assert len(re.findall("</script", document)) == len(re.findall("</style", document)) == 1
    assert not re.search(r"^(import|export)\b", document, re.MULTILINE)
    assert not re.search(r"\b(src|href)=|@import|url\(|\bimport\(|\bfetch\(|innerHTML|eval\(", document)
    assert set(re.findall(r"https?://[^\"' ]+", document)) == {"http://www.w3.org/2000/svg"}


def test_modules_become_one_without_their_ways_to_each_other() -> None:
    first = "export const one = 1;\nexport async function two() {}\n"
    second = 'import { one, two } from "../web/first.js";\nexport class Three {}\nconst text = "export const";\n'
    assert joined([first, second]) == (
        'const one = 1;\nasync function two() {}\nclass Three {}\nconst text = "export const";\n'
    )


def test_text_that_would_end_a_script_or_a_style_does_not() -> None:
    assert inline('"</script>" "</STYLE>" "<!--" "<b>" a < b') == r'"<\/script>" "<\/STYLE>" "<\!--" "<b>" a < b'
