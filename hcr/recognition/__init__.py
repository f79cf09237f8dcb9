"""Recognition of images with a finished run's model: images are prepared as its data set was, then classified."""

from hcr.recognition.recognizer import NoInkError, Recognizer

__all__ = ["NoInkError", "Recognizer"]
