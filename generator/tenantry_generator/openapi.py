"""The generator's OpenAPI document: written by hand as YAML, for people, and served as JSON, for programs."""

import json
from importlib.resources import files

import yaml

__all__ = ["OPENAPI", "load_openapi"]

OPENAPI = "/api/v1/openapi.json"


def load_openapi() -> bytes:
    """Return the document as JSON."""
    text = files("tenantry_generator").joinpath("openapi.yaml").read_text()
    return json.dumps(yaml.safe_load(text), separators=(",", ":")).encode()
