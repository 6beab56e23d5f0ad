"""Sphinx configuration of the documentation site (`make docs`)."""

import gta

project = "gta"
author = "The gta authors"
version = release = gta.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

# Docstrings write code in single backticks, as Markdown does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "gta"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_copyright = False
html_domain_indices = False
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True


def setup(app) -> None:
    """Keep napoleon from taking the words before a colon in an attribute's docstring for its type."""

    def begin_with_a_comment(app, what, name, obj, options, lines) -> None:
        if what in ("attribute", "data", "property"):
            lines[:0] = ["..", ""]  # an empty comment of reStructuredText: shows nothing, has no colon

    app.connect("autodoc-process-docstring", begin_with_a_comment, priority=400)  # before napoleon's 500
