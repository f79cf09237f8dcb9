"""The earlier name of `sklearn`."""

from hcr.data.formats.sklearn import Sklearn


class SklearnDigits(Sklearn):
    """See `Sklearn`."""
