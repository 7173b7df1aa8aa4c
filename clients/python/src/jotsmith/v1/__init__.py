"""What is generated from proto/jotsmith/v1."""
