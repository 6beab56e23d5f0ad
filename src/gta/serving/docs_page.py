"""The description of the routes as a page that needs no network."""

import json
from collections.abc import Mapping
from typing import Any

from gta.viz.page import Html, code, folded, isolated, join, page, paragraph, section, table, text


def docs_page(schema: Mapping[str, Any]) -> str:
    """An OpenAPI description as one self-contained page."""
    parts = [
        section(
            f"{method.upper()} {path}",
            paragraph(_words(route.get("description") or route.get("summary", ""))),
            *_parameters(route),
            *_bodies(route),
        )
        for path, methods in schema["paths"].items()
        for method, route in methods.items()
    ]
    return page(
        "gta serve: routes for programs",
        paragraph("The same as a file for programs: ", Html('<a href="openapi.json">openapi.json</a>.')),
        *parts,
        folded("openapi.json", code(json.dumps(schema, indent=2))),
    )


def _parameters(route: Mapping[str, Any]) -> list[Html]:
    rows = [
        [isolated(one["name"]), _words(one.get("description", "")), _values(one["schema"]), _default(one["schema"])]
        for one in route.get("parameters", ())
    ]
    return [table(["parameter", "meaning", "values", "default"], rows, text_columns=4)] if rows else []


def _values(schema: Mapping[str, Any]) -> str:
    """What a parameter can be."""
    (kind,) = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    if "enum" in kind:
        return ", ".join(map(str, kind["enum"]))
    name = {"integer": "whole number", "number": "number", "boolean": "true or false"}.get(kind["type"], "text")
    bounds = [kind.get("minimum"), kind.get("maximum")]
    return name if None in bounds else f"{name} from {bounds[0]:g} to {bounds[1]:g}"


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default", "")
    return str(default).lower() if isinstance(default, bool) else str(default)


def _words(sentence: str) -> Html:
    """A sentence, with what stands in backticks as code."""
    parts = sentence.split("`")
    return join(*(Html(f"<code>{text(part)}</code>") if place % 2 else text(part) for place, part in enumerate(parts)))


def _bodies(route: Mapping[str, Any]) -> list[Html]:
    content = route.get("requestBody", {}).get("content", {})
    return [
        paragraph(kind, ": ", join(*(isolated(name) for name in body["schema"].get("properties", {}))))
        for kind, body in content.items()
    ]
