"""Made from ``proto/hydramesh/v1`` by ``scripts/protocols``; a test fails while it is stale."""
