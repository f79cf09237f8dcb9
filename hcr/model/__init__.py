"""Architectures, optimizers, schedules and augmentations, and the models built from them."""
