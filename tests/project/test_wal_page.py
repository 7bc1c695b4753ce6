"""docs/wal-format.md names the versions and flags that are written."""

from tests.helpers.implementations import module
from tests.helpers.paths import ROOT


def test_the_page_names_the_versions_that_are_written(impl):
    """And the flags that there are."""
    page = (ROOT / "docs" / "wal-format.md").read_text()
    said = {
        part.partition("\n")[0].strip(): part.partition("| version")[2].partition("|")[0]
        for part in page.split("\n## ")
        if "| version" in part
    }
    modules = {"Founding": "founding", "Addresses": "book", "Skips": "skips"}
    for title, name in modules.items():
        assert said[title].endswith(f" {module(impl, 'storage.' + name).VERSION} "), title
    wal = module(impl, "storage.wal_format")
    assert said["Lives"].endswith(f" {wal.LIVES_VERSION} ")
    assert said["Mark"].startswith(f", {wal.VERSION};")
    founding = module(impl, "storage.founding")
    flags = page.partition("| flags; ")[2].partition("|")[0]
    assert sum(int(each.split(":")[0]) for each in flags.split("; ")) == founding.FLAGS
