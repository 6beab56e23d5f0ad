"""Sphinx configuration of the documentation site (`make docs`)."""

from collections.abc import Collection

import sphinx.util.logging

import gta
from gta import synthetic

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


def undocumented(documented: Collection[str]) -> list[str]:
    """The public names that the reference, with the objects `documented`, does not have."""
    public = {f"gta.{name}" for name in gta.__all__ if not name.startswith("__")}
    public |= {f"gta.blocks.{name}" for name in gta.blocks.__all__} | {f"gta.ops.{name}" for name in gta.ops.__all__}
    public |= {f"gta.synthetic.{name}" for name in synthetic.__all__ if callable(getattr(synthetic, name))}
    public |= {f"gta.config.{name}" for name in ("ClipConfig", "DataConfig", "ModelConfig", "OptimConfig", "RunConfig")}
    public = {"gta.explain.explain" if name == "gta.explain" else name for name in public}
    return sorted(public.difference(documented))


def setup(app) -> None:
    """Keep napoleon from misreading docstrings of attributes, and miss no public name."""

    def warn(app, env) -> None:
        logger = sphinx.util.logging.getLogger(__name__)
        for name in undocumented(env.domains["py"].objects):
            logger.warning("%s is public, but has no docstring or no place in docs/api", name)

    app.connect("env-check-consistency", warn)

    # The words before a colon in an attribute's docstring are no type.
    def begin_with_a_comment(app, what, name, obj, options, lines) -> None:
        if what in ("attribute", "data", "property"):
            lines[:0] = ["..", ""]  # an empty comment of reStructuredText: shows nothing, has no colon

    app.connect("autodoc-process-docstring", begin_with_a_comment, priority=400)  # before napoleon's 500
