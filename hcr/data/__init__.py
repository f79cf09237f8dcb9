"""Where images come from, how they are split, what is checked."""

from hcr.data.dataset import Dataset
from hcr.data.sources import load_dataset
from hcr.data.splits import Splits, Subset, load_splits

__all__ = ["Dataset", "Splits", "Subset", "load_dataset", "load_splits"]
