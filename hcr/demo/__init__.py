"""A page in the browser on which a finished run's model classifies what is drawn or dropped."""
