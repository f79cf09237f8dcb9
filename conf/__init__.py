"""The YAML that ships with hcr: values only, no code."""
