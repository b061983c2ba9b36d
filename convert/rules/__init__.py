"""What a machine needs and a container does not: rules as data, and how they are applied."""
