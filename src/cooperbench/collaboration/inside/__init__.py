"""What runs inside a sandbox, on the image's own programs; the harness imports nothing of it."""
