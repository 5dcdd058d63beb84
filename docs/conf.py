"""The documentation site: `make site` builds it from docs/ and the Markdown pages beside it into build/site."""

project = "PyTorch Video Analysis"
author = "The contributors"
copyright = author

# the whole project is the source folder, so that a link on a page leads to the same file on the site and on the disk
include_patterns = ["docs/**.md", "exps/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "data", "pretrained"]  # large, and without pages
root_doc = "docs/index"

extensions = ["myst_parser"]
myst_heading_anchors = 3  # the anchors that headings have on a page of the repository

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
templates_path = ["_templates"]
html_additional_pages = {"index": "redirect.html"}  # the landing page lies one folder deeper
