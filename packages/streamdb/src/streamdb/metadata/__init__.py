"""What StreamDB knows of a file beside its bytes."""
