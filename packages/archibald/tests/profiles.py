"""Random profiles: strategies that follow the schemas of the options."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from archibald.profile.options import table_for

Values = st.SearchStrategy[Any]


def values_for(schema: Any) -> Values:
    """Return a strategy of values that an option's schema accepts."""
    if "anyOf" in schema:
        return st.one_of([values_for(branch) for branch in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema.get("maximum", 2**40))
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "array":
        items = values_for(schema["items"])
        return st.lists(items, max_size=3, unique=True, min_size=schema.get("minItems", 0))
    return _matching(schema["pattern"]) if "pattern" in schema else st.just("")


@cache
def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern.replace("$)", r"\Z)")).map(lambda text: text.removesuffix("\n"))


def table_values(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of tables in which each option is right by itself, or left out."""
    table = table_for(name)
    assert table
    return st.fixed_dictionaries(
        {}, optional={option.name: values_for(option.schema) for option in table.options}
    )
