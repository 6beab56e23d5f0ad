"""The description of the routes as a page that needs no network."""

import json
from collections.abc import Mapping
from typing import Any

from gta.viz.page import Html, code, folded, isolated, join, page, paragraph, section, table


def docs_page(schema: Mapping[str, Any]) -> str:
    """An OpenAPI description as one self-contained page."""
    parts = [
        section(
            f"{method.upper()} {path}",
            paragraph(route.get("description") or route.get("summary", "")),
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
        [isolated(one["name"]), one.get("description", ""), str(one["schema"].get("default", ""))]
        for one in route.get("parameters", ())
    ]
    return [table(["parameter", "meaning", "default"], rows)] if rows else []


def _bodies(route: Mapping[str, Any]) -> list[Html]:
    content = route.get("requestBody", {}).get("content", {})
    return [
        paragraph(kind, ": ", join(*(isolated(name) for name in body["schema"].get("properties", {}))))
        for kind, body in content.items()
    ]
