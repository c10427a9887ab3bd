"""The image store of the embedded sandbox, beside real engines and a real registry."""
