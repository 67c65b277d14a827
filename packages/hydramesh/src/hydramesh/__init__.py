"""HydraMesh: an encrypted peer mesh that shares sample libraries."""
