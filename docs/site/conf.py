"""How the pages become a site: make docs. Sphinx reads this file, with the folder of the project as the source.

The pages are those that people read on their own; nothing is written for the site but its list of contents.
"""

import raftx

project = "raftx"
author = copyright = "The raftx authors"
version = release = raftx.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "docs/site/api.md"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
html_theme = "furo"
html_title = f"raftx {version}"
html_extra_path = ["index.html"]
html_show_sphinx = False
autodoc_typehints = "none"  # signatures have them
autodoc_member_order = "bysource"
# A link to a folder or to a program leads to the repository, where the site has nothing.
suppress_warnings = ["myst.xref_missing", "toc.not_included", "ref.python"]

CONTENTS = {
    "The first hour": ("docs/getting-started", "docs/asyncio", "docs/cluster-file", "docs/recipes"),
    "In a service": ("docs/adoption", "docs/testing", "docs/reference", "docs/site/api"),
    "Coming from": ("docs/from-kazoo", "docs/from-pysyncobj"),
    "Running it": (
        "docs/operations", "docs/failure-modes", "docs/cli", "docs/admin", "docs/metrics", "docs/logs", "docs/upgrades",
    ),
    "A server for clients of etcd": ("docs/server", "docs/patroni"),
    "What it promises": ("docs/guarantees", "docs/parity", "docs/benchmarks"),
    "How it is built": (
        "docs/architecture", "docs/wire-format", "docs/wal-format", "docs/snapshots", "docs/developing", "CONTRIBUTING",
        "CHANGELOG",
    ),
}  # fmt: skip


def add_contents(app, name, source):
    """The list of contents stands at the end of the first page, where readers of the file do not need it."""
    if name == root_doc:
        for caption, pages in CONTENTS.items():
            lines = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n"


def setup(app):
    app.connect("source-read", add_contents)
