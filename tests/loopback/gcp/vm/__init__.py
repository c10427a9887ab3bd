"""A VM of the loopback cloud: tasks in namespaces of their own, and a container engine that really runs containers."""
