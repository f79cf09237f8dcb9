"""Architectures, optimizers, schedules and augmentations, and the models that are built of them."""
